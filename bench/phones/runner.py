"""``ecp-run`` on a phone: the right binary, the right OpenCL library, and running bundles."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.devices import AdbDevice
from bench.escape import brief, visible
from bench.phones.connect import Identity
from bench.transports.base import Completed, Transport
from bench.transports.store import Store
from ecp.errors import BundleError, DeviceError, EcpError
from ecp.native import build
from ecp.runtime.devices import OpenCLDevice

ANDROID_ROOT, LINUX_ROOT = "/data/local/tmp/ecp-bench", "/tmp/ecp-bench"  # noqa: S108 - on the device
LIST_TIMEOUT_S = 120.0


def preset_for(identity: Identity) -> str:
    """Which build of the runner a device needs. Raises :class:`DeviceError` for a processor without one."""
    if identity.abi == "arm64-v8a":
        return "android-arm64" if identity.is_android else "aarch64-linux-gnu"
    if identity.abi == "x86_64" and not identity.is_android:
        return "host"
    raise DeviceError(f"there is no native runner for {identity.abi or 'an unknown processor'}")


@dataclass(frozen=True)
class Finished:
    """A run of the runner: its JSON document."""

    document: dict[str, Any]
    sent_bytes: int


class PhoneRunner:
    """The runner installed on one device. Construction pushes it and finds the OpenCL device."""

    def __init__(self, transport: Transport, identity: Identity, device: AdbDevice):
        self.transport = transport
        self.root = ANDROID_ROOT if identity.is_android else LINUX_ROOT
        self.store = Store(transport, self.root)
        folder = self.store.put(build.runner(preset_for(identity))).path
        self._program = f"{folder}/ecp-run"
        self.cache = f"{self.root}/kernels"
        self.library, self.opencl = self._find_opencl(device)

    def compile_target(self, name: str) -> OpenCLDevice:
        """The device as the compiler wants it described; ``handle`` is None, because it is not here."""
        found = self.opencl
        return OpenCLDevice(
            name=name,
            platform=found["platform"],
            device=found["name"],
            driver=f"{found['driver_version']} / {found['opencl']}",
            device_class=device_class(found),
            compute_units=int(found["compute_units"]),
            fp16="cl_khr_fp16" in found["extensions"].split(),
            images=bool(found["images"]),
            image_max=(int(found["image_width"]), int(found["image_height"])),
            handle=None,
        )

    def put(self, source: Path) -> str:
        """A file or folder on the phone, by content: its folder there."""
        return self.store.put(source).path

    def command(self, options: list[str]) -> list[str]:
        """The command line on the phone, for programs that start the runner themselves."""
        return [self._program, *options]

    def run(
        self,
        options: list[str],
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        watch: Callable[[list[str]], list[str]] = list,
    ) -> dict[str, Any]:
        """The runner's document. Raises by its exit code, with its own words; exit code 1 of ``--check`` too.

        ``watch`` makes another command line of the runner's, one that keeps its exit code and streams.
        """
        done = self.transport.run(watch(self.command(options)), timeout_s=timeout_s, env=env)
        if done.code != 0 or not done.stdout:
            raise _error(done)
        return _document(done.text)

    def device_options(self) -> list[str]:
        """Options that pin the runner to the OpenCL device found at construction."""
        chosen = [
            "--platform",
            self.opencl["platform"],
            "--device",
            self.opencl["name"],
            "--cache",
            self.cache,
        ]
        return [*chosen, *(["--opencl-lib", self.library] if self.library else [])]

    def _find_opencl(self, device: AdbDevice) -> tuple[str, dict[str, Any]]:
        """The first library of devices.yaml that opens, and its first GPU (else its first device)."""
        problems = []
        for library in device.opencl_libraries:
            try:
                found = self.run(["--list", "--opencl-lib", library], LIST_TIMEOUT_S)["devices"]
            except EcpError as error:
                problems.append(f"{library}: {error}")
                continue
            gpus = [d for d in found if d["type"] == "gpu"]
            if device.gpu is not None and not gpus:
                problems.append(f"{library}: no GPU in it")
                continue
            if found:
                return library, (gpus or found)[0]
        raise DeviceError(
            "no usable OpenCL on the phone: " + "; ".join(p.replace("\n", " ") for p in problems)
        )


def device_class(found: Mapping[str, Any]) -> str:
    """Which schedule rows the compiler uses for a device of ``ecp-run --list``."""
    text = f"{found['platform']} {found['name']}".lower()
    if "adreno" in text or "qualcomm" in text:
        return "adreno"
    return "cpu" if found["type"] == "cpu" else "generic"


def _document(text: str) -> dict[str, Any]:
    """The runner's JSON. Its strings are the driver's and the phone's: escapes in them are spelled out too."""
    try:
        found = _visible(json.loads(text))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DeviceError(f"native runner: it answered no JSON document but {brief(text, 100)}")
    return found


def _visible(value: Any) -> Any:
    if isinstance(value, dict):
        return {visible(name): _visible(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_visible(one) for one in value]
    return visible(value) if isinstance(value, str) else value


def _error(done: Completed) -> EcpError:
    words = done.error_text.removeprefix("ecp-run: ") or f"ended with status {done.code} and no word"
    if done.code == 137:
        words = f"killed on the phone, as the system does when memory runs out ({words})"
    kind = {2: BundleError, 3: DeviceError}.get(done.code, EcpError)
    return kind(f"native runner: {words[-2000:]}")
