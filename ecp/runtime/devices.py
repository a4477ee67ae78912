"""Find the OpenCL device that a name asks for. A name never resolves to another kind of device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ecp.errors import DeviceError, UsageError
from ecp.runtime import drivers, icd

# What each local name means; the first matching device wins.
LOCAL_NAMES = ("local", "local-cpu", "local-pocl", "local-gpu", "local-rusticl")


@dataclass(frozen=True)
class OpenCLDevice:
    """One device. ``device_class`` picks the schedule rows: cpu, nvidia, adreno or generic.

    ``kind`` is the specific name (``local-cpu``, ...) of a device that was found under any name, "" elsewhere.
    """

    name: str
    platform: str
    device: str
    driver: str
    device_class: str
    compute_units: int
    fp16: bool
    images: bool
    image_max: tuple[int, int]
    handle: Any
    kind: str = ""

    @property
    def identity(self) -> str:
        """Text that keys caches: another driver or device is another identity."""
        return f"{self.platform}|{self.device}|{self.driver}"


def resolve(name: str = "local") -> OpenCLDevice:
    """The OpenCL device for ``local``, ``local-cpu``, ``local-pocl``, ``local-gpu`` or ``local-rusticl``.

    Raises :class:`~ecp.errors.DeviceError` (with what to install) where there is none and
    :class:`~ecp.errors.UsageError` for an unknown name.
    """
    if name not in LOCAL_NAMES:
        raise UsageError(f"unknown OpenCL device {name!r}; known: {', '.join(LOCAL_NAMES)}")
    why = ""
    for kind in {"local": ("local-gpu", "local-cpu")}.get(name, (name,)):
        found, why = _enumerate(kind)
        for device in found:
            if _matches(kind, device):
                return replace(device, name=name)
    raise DeviceError(f"device {name!r} is not reachable: {_advice(name)}{f' ({why})' if why else ''}")


def probe() -> list[tuple[str, OpenCLDevice | None, str]]:
    """Every local name with its device, or None and the reason."""
    rows: list[tuple[str, OpenCLDevice | None, str]] = []
    for name in LOCAL_NAMES:
        try:
            rows.append((name, resolve(name), ""))
        except DeviceError as error:
            rows.append((name, None, str(error)))
    return rows


def _enumerate(kind: str) -> tuple[list[OpenCLDevice], str]:
    """Devices of the drivers that can serve ``kind`` (and of drivers that this process loaded before)."""
    icd.setup()
    try:
        import pyopencl as cl

        visible = drivers.platforms(kind)
    except ImportError as error:
        return [], f"pyopencl cannot be imported: {error}"
    except cl.Error as error:
        return [], f"no OpenCL platform: {error}"
    found = []
    for platform in visible:
        try:
            devices = platform.get_devices()
        except cl.Error:
            continue  # a platform without devices (an installed driver without its hardware)
        found += [_describe(platform, d) for d in devices]
    return found, ""


def _describe(platform: Any, device: Any) -> OpenCLDevice:
    import pyopencl as cl

    is_cpu = bool(device.type & cl.device_type.CPU)
    text = f"{platform.name} {device.vendor} {device.name}".lower()
    if "pocl" in platform.name.lower() or "portable computing" in platform.name.lower():
        name, klass = "local-pocl", "cpu"
    elif "rusticl" in platform.name.lower() and "llvmpipe" in device.name.lower():
        name, klass = "local-rusticl", "cpu"
    elif is_cpu:
        name, klass = "local-cpu", "cpu"
    else:
        name = "local-gpu"
        klass = (
            "nvidia"
            if "nvidia" in text
            else "adreno"
            if "adreno" in text or "qualcomm" in text
            else "generic"
        )
    images = bool(device.image_support)
    return OpenCLDevice(
        name=name,
        platform=platform.name.strip(),
        device=device.name.strip(),
        driver=f"{device.driver_version.strip()} / {platform.version.strip()}",
        device_class=klass,
        compute_units=device.max_compute_units,
        fp16="cl_khr_fp16" in device.extensions,
        images=images,
        image_max=(device.image2d_max_width, device.image2d_max_height) if images else (0, 0),
        handle=device,
        kind=name,
    )


def _matches(kind: str, device: OpenCLDevice) -> bool:
    if kind == "local-cpu":
        # The embedded runtime; PoCL also is a CPU device and serves where the embedded one is missing
        # only under its own name, so that a record never mixes the two.
        return device.name == "local-cpu"
    return device.name == kind


def _advice(name: str) -> str:
    return {
        "local-gpu": "no OpenCL GPU is visible; install its vendor's OpenCL driver (an .icd in /etc/OpenCL/vendors)",
        "local-pocl": "PoCL is not installed; on Debian or Ubuntu: apt install pocl-opencl-icd",
        "local-rusticl": "Mesa's rusticl is not installed; on Debian or Ubuntu: apt install mesa-opencl-icd",
    }.get(
        name,
        "no OpenCL CPU runtime; on x86-64 Linux: pip install intel-opencl-rt intel-cmplr-lib-rt "
        "(elsewhere install PoCL and ask for local-pocl)",
    )
