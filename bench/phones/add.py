"""``devices --add``: an entry of devices.yaml from the phone that is plugged in."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import yaml

from bench import devices
from bench.phones import parsers
from bench.phones.connect import Identity, read_identity
from bench.phones.runner import PhoneRunner, device_class
from bench.transports.adb import AdbTransport, list_devices
from bench.transports.base import Transport
from ecp.errors import DeviceError, EcpError, UsageError

LIBRARIES = (
    "libOpenCL.so",
    "/vendor/lib64/libOpenCL.so",
    "/system/vendor/lib64/libOpenCL.so",
    "libOpenCL-pixel.so",
    "/vendor/lib64/egl/libGLES_mali.so",
)
LINUX_LIBRARIES = ("libOpenCL.so.1", "libOpenCL.so")
KGSL = "/sys/class/kgsl/kgsl-3d0"


def add(name: str, file: Path, serial: str | None = None) -> dict[str, Any]:
    """Ask the one usable phone (or ``serial``), append its entry as ``name`` to ``file``, return the entry.

    The new file is read back before it replaces the old one. Raises :class:`UsageError` for a name that is
    taken or malformed, :class:`DeviceError` where there is not exactly one phone.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise UsageError(f"{name!r} is no device name: small letters, digits, - and _")
    if name in devices.load_devices(file):
        raise UsageError(f"{file} has a device '{name}' already; choose another name or edit the file")
    with contextlib.closing(AdbTransport(serial or _only_serial())) as transport:
        entry = describe(transport, read_identity(transport, transport.serial))
    partial = file.with_name(file.name + ".part")
    partial.write_text(insert(file.read_text(), name, entry))
    try:
        devices.load_devices(partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return entry


def insert(text: str, name: str, entry: dict[str, Any]) -> str:
    """The file's text with one more entry at the end of its table ``devices``; everything else stays as it is."""
    pairs: Any = yaml.compose(text)
    table = next(value for key, value in pairs.value if key.value == "devices")
    block = yaml.safe_dump({name: entry}, sort_keys=False, allow_unicode=True, width=120)
    indent = " " * table.value[0][0].start_mark.column
    lines = text.splitlines()
    # Before the comments and blank lines that belong to what follows the table.
    at = min(table.end_mark.line, len(lines))
    while at > 0 and (not lines[at - 1].strip() or lines[at - 1].lstrip().startswith("#")):
        at -= 1
    return "\n".join([*lines[:at], "", *(indent + line for line in block.splitlines()), *lines[at:], ""])


def describe(transport: Transport, identity: Identity) -> dict[str, Any]:
    """The entry: what the phone says, and what its OpenCL says where the runner can be built for it."""
    if not identity.product_model:
        raise DeviceError(f"{transport.identity} has no ro.product.model to be recognised by")
    title = f"{identity.manufacturer} {identity.product_model}".strip()
    chip = identity.soc_model or identity.board
    entry: dict[str, Any] = {
        "transport": "adb",
        "title": f"{title} ({chip})" if chip else title,
        "match": {
            "product_models": [identity.product_model],
            "soc_models": [identity.soc_model] if identity.soc_model else [],
        },
        "abi": identity.abi,
    }
    memory = re.search(r"MemTotal:\s*(\d+) kB", transport.read_text("/proc/meminfo") or "")
    if memory:
        entry["memory_gb"] = max(1, round(int(memory.group(1)) / 2**20))
    entry["opencl_libraries"] = list(LIBRARIES if identity.is_android else LINUX_LIBRARIES)
    entry |= _opencl(transport, identity, entry)
    if parsers.kgsl_clock_mhz(transport.read_text(f"{KGSL}/gpuclk") or "") is not None:
        entry["sysfs"] = {"gpu": KGSL}
    return entry


def _opencl(transport: Transport, identity: Identity, entry: dict[str, Any]) -> dict[str, Any]:
    """The library that works first, and the GPU. Without a runner (no NDK) the list stays as it is."""
    try:
        runner = PhoneRunner(transport, identity, devices.AdbDevice.model_validate(entry))
    except EcpError:
        return {}
    others = [library for library in entry["opencl_libraries"] if library != runner.library]
    found: dict[str, Any] = {"opencl_libraries": [runner.library, *others]}
    if runner.opencl["type"] == "gpu":
        found["gpu"] = {"name": runner.opencl["name"], "device_class": device_class(runner.opencl)}
    return found


def _only_serial() -> str:
    listed = list_devices()
    usable = [d for d in listed if d.usable]
    if len(usable) == 1:
        return usable[0].serial
    if usable:
        raise DeviceError(
            f"several devices are connected ({', '.join(d.serial for d in usable)}): unplug all but the new one"
        )
    problems = "; ".join(f"{d.serial} is {d.state}: {d.advice}" for d in listed)
    raise DeviceError(problems or "adb lists no device: plug the phone in and switch on USB debugging")
