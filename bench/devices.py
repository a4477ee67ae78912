"""devices.yaml as checked data, and whether each device can be reached right now.

Reaching a phone is the business of ``bench.phones``; it is imported only when a phone is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.escape import line
from bench.names import check_name
from bench.paths import devices_file
from bench.schema import explain
from ecp.errors import DeviceError, UsageError

LARGEST_FILE = 1 << 20


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CacheLevel(_Strict):
    """One cache: size and line in bytes, associativity in ways (powers of two, as simulators ask)."""

    bytes: int = Field(gt=0)
    ways: int = Field(gt=0)
    line: int = Field(gt=0)


class CacheGeometry(_Strict):
    """Caches of the device's processor for simulation; ``provenance`` says where the numbers are from."""

    provenance: str
    i1: CacheLevel
    d1: CacheLevel
    l2: CacheLevel
    ll: CacheLevel


class Gpu(_Strict):
    """The device's GPU; ``device_class`` chooses the compiler's schedule row."""

    name: str
    device_class: Literal["nvidia", "adreno", "generic"]


class Match(_Strict):
    """How a connected phone is recognised: ``ro.product.model`` or ``ro.soc.model``."""

    product_models: list[str] = Field(min_length=1)
    soc_models: list[str] = []


class GpuMatch(_Strict):
    """Which GPUs an entry of this computer stands for: names as OpenCL gives them, compared whole."""

    gpu_names: list[str] = Field(min_length=1)


class Sysfs(_Strict):
    """Where the kernel shows the GPU's clock, heat and memory."""

    gpu: str


class Limits(_Strict):
    """How much disturbance a block may show before it is ``unstable``; absent: the harness's default.

    ``others_cpus``: processors busy for others on average; ``clock``, ``probe``: relative change of clock and
    of a fixed loop; ``temperature_c``: degrees; ``steady``: relative agreement of adjacent warm-up windows.
    """

    others_cpus: float | None = Field(default=None, ge=0)
    clock: float | None = Field(default=None, gt=0)
    probe: float | None = Field(default=None, gt=0)
    temperature_c: float | None = Field(default=None, gt=0)
    steady: float | None = Field(default=None, gt=0)


class LocalDevice(_Strict):
    """A device of this computer, chosen by the OpenCL selector ``opencl``; with ``match`` no other GPU answers."""

    transport: Literal["local"]
    title: str
    opencl: Literal["local", "local-cpu", "local-pocl", "local-rusticl", "local-gpu"]
    match: GpuMatch | None = None
    limits: Limits = Limits()
    cache: CacheGeometry | None = None
    published: list[str] = []


class AdbDevice(_Strict):
    """A phone (or an emulated one) behind adb."""

    transport: Literal["adb"]
    title: str
    match: Match
    abi: Literal["arm64-v8a", "x86_64"]
    serial: str | None = None
    memory_gb: int | None = None
    gpu: Gpu | None = None
    opencl_libraries: list[str] = Field(min_length=1)
    sysfs: Sysfs | None = None
    limits: Limits = Limits()
    cache: CacheGeometry | None = None
    emulated: bool = False
    published: list[str] = []


Device = Annotated[LocalDevice | AdbDevice, Field(discriminator="transport")]


class DevicesFile(_Strict):
    """The whole file: ``version`` 1 and a table of devices by name."""

    version: Literal[1]
    devices: dict[str, Device] = Field(min_length=1)


@dataclass(frozen=True)
class Reach:
    """Whether a device can be used now. ``detail``: what it is, or why not and what to do.

    ``opencl``: the selector that finds a device of this computer, ``opencl_name`` what its driver calls it.
    """

    reachable: bool
    detail: str
    device_class: str = "cpu"
    opencl: str = ""
    opencl_name: str = ""

    @property
    def options(self) -> dict[str, str]:
        """What a backend is told of the device beyond its name (``RunConfig.options``)."""
        found = {"device_class": self.device_class}
        return found | ({"opencl": self.opencl, "opencl_name": self.opencl_name} if self.opencl else {})


def load_devices(path: Path | None = None) -> dict[str, LocalDevice | AdbDevice]:
    """Devices by name. Raises :class:`UsageError` naming the file and the place of the first mistake."""
    file = devices_file() if path is None else path
    try:
        text = file.read_bytes()
        if len(text) > LARGEST_FILE:
            raise UsageError(f"{file}: {len(text)} bytes; at most {LARGEST_FILE} are read")
        if b"&" in text and any(isinstance(t, yaml.AliasToken) for t in yaml.scan(text.decode())):
            raise UsageError(f"{file}: aliases (*name) are not read; write the entry out")
        data = yaml.safe_load(text.decode())
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except RecursionError as error:
        raise UsageError(f"{file}: nested too deeply") from error
    except ValueError as error:
        raise UsageError(f"{file}: {line(error)}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    try:
        return dict(DevicesFile.model_validate(data).devices)
    except ValidationError as error:
        raise UsageError(f"{file}: {explain(error)}") from error


def get_device(name: str) -> LocalDevice | AdbDevice:
    """One entry; an unknown name raises :class:`UsageError` with the nearest names (exit code 2)."""
    known = load_devices()
    return known[check_name("device", name, known)]


def probe(name: str, device: LocalDevice | AdbDevice) -> Reach:
    """Look for the device now; never raises, a problem is an answer."""
    try:
        return _probe_local(device) if isinstance(device, LocalDevice) else _probe_phone(name, device)
    except DeviceError as error:
        return Reach(False, str(error).removeprefix(f"device '{name}' is not reachable: "))


def require(name: str) -> Reach:
    """The device's :class:`Reach`; raises :class:`DeviceError` (exit code 3) with what to do."""
    device = get_device(name)
    found = probe(name, device)
    if not found.reachable:
        raise DeviceError(f"device '{name}' is not reachable: {found.detail}")
    return found


def _probe_local(device: LocalDevice) -> Reach:
    if importlib.util.find_spec("ecp.runtime.devices") is None:
        raise DeviceError("this installation lacks the OpenCL runtime part (ecp.runtime.devices)")
    runtime: Any = importlib.import_module("ecp.runtime.devices")
    try:
        found = runtime.resolve(device.opencl)
    except DeviceError as error:
        raise DeviceError(str(error).removeprefix(f"device '{device.opencl}' is not reachable: ")) from error
    if device.match is not None and found.device not in device.match.gpu_names:
        raise DeviceError(_another_gpu(device.match.gpu_names, found.device))
    return Reach(True, f"{found.device} ({found.platform})", found.device_class, device.opencl, found.device)


def _another_gpu(wanted: list[str], found: str) -> str:
    """What to ask for instead, so that no record carries the name of a GPU that did not run."""
    known = [
        name
        for name, other in load_devices().items()
        if isinstance(other, LocalDevice) and other.match is not None and found in other.match.gpu_names
    ]
    instead = " or ".join([*known, "local-gpu"])
    return f"this computer has {found}, not {' or '.join(wanted)}; ask for --device {instead}"


def _probe_phone(name: str, device: AdbDevice) -> Reach:
    spec = importlib.util.find_spec("bench.phones")
    if spec is None or spec.origin is None:
        raise DeviceError(how_to_connect(device))
    phones: Any = importlib.import_module("bench.phones")
    reachable, detail = phones.probe(name, device)
    kind = device.gpu.device_class if device.gpu else "generic"
    return Reach(bool(reachable), str(detail), kind)


def how_to_connect(device: AdbDevice) -> str:
    """One sentence for a person with the phone in hand."""
    if device.emulated:
        return "start the emulated system first (docs/phones.md)"
    return (
        f"connect a {device.title.split(' (')[0]} by USB, switch on Settings > Developer options > USB debugging, "
        "accept the computer's key on the phone's screen, and check that `adb devices` lists it as 'device'"
    )
