"""What numbers are stored and multiplied in, by name, and who may ask for it."""

from __future__ import annotations

from ecp.errors import DeviceError, UsageError
from ecp.runtime.devices import OpenCLDevice

PRECISIONS = ("fp32", "fp16")
ARITHMETICS = ("float", "half")
# Device classes whose products have a form in half arithmetic.
HALF_CLASSES = ("adreno", "generic")


def check_precision(precision: str, arithmetic: str, device_class: str | None = None) -> None:
    """Raise :class:`~ecp.errors.UsageError` for an unknown name, for half arithmetic on float storage, and for
    half arithmetic on a device class that has no kernel in it.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
    if arithmetic not in ARITHMETICS:
        raise UsageError(f"unknown arithmetic {arithmetic!r}; known: {', '.join(ARITHMETICS)}")
    if arithmetic == "float":
        return
    if precision != "fp16":
        raise UsageError(f"arithmetic half belongs to precision fp16; {precision} multiplies in float")
    if device_class is not None and device_class not in HALF_CLASSES:
        raise UsageError(
            f"arithmetic half is written for the device classes {' and '.join(HALF_CLASSES)}, not for "
            f"{device_class}; compile with arithmetic float"
        )


def check_device(device: OpenCLDevice, precision: str, arithmetic: str) -> None:
    """Raise where ``device`` cannot do what is asked: half is never replaced by float behind the caller's back.

    :class:`~ecp.errors.DeviceError` where the device lacks cl_khr_fp16, else as :func:`check_precision`.
    """
    if arithmetic == "half" and not device.fp16:
        raise DeviceError(
            f"device {device.name!r} ({device.device}, {device.platform}) has no cl_khr_fp16, which arithmetic "
            "half needs; compile with arithmetic float"
        )
    check_precision(precision, arithmetic, device.device_class)
