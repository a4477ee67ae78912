"""The phone's condition at one moment: heat, clocks, battery.

Each reading has a source, or a reason for its absence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.phones import parsers
from bench.transports.base import Transport

CPU_CLOCKS = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq"


def capture(transport: Transport, gpu_sysfs: str | None) -> dict[str, Any]:
    """``{name: {"value", "source", "reason"}}``; ``gpu_sysfs`` is the folder of KGSL or None."""
    thermal = _read(
        "dumpsys thermalservice", lambda: parsers.thermalservice(_say(transport, "dumpsys", "thermalservice"))
    )
    status: Any = thermal["value"]
    state = {
        "thermal_status": {**thermal, "value": status.status_name if status else None},
        "celsius": {**thermal, "value": status.celsius if status else None},
        "battery": _read("dumpsys battery", lambda: parsers.battery(_say(transport, "dumpsys", "battery"))),
        "cpu_khz": _read("cpufreq", lambda: _cpu_clocks(transport)),
    }
    for key, file, parse in (
        ("gpu_mhz", "gpuclk", parsers.kgsl_clock_mhz),
        ("gpu_celsius", "temp", parsers.kgsl_celsius),
        ("gpu_throttling", "throttling", _number),
    ):
        if gpu_sysfs is None:
            state[key] = _absent("kgsl", "devices.yaml names no sysfs folder of the GPU")
            continue
        state[key] = _read("kgsl", lambda path=f"{gpu_sysfs}/{file}", p=parse: _file(transport, path, p))  # type: ignore[misc]
    return state


def hottest(state: dict[str, Any]) -> float | None:
    """Highest processor, GPU or skin temperature that could be read, in degrees Celsius; None = unknown."""
    values = [
        v for k, v in (state["celsius"]["value"] or {}).items() if k.split(":")[0] in ("cpu", "gpu", "skin")
    ]
    if state["gpu_celsius"]["value"] is not None:
        values.append(state["gpu_celsius"]["value"])
    return max(values) if values else None


def _say(transport: Transport, *argv: str) -> str:
    done = transport.run(argv)
    if done.code != 0:
        raise ValueError(done.error_text or f"{argv[0]} ended with {done.code}")
    return done.text


def _cpu_clocks(transport: Transport) -> dict[int, int]:
    # The shell expands the pattern on the phone; -H prints each file's name before its content.
    clocks = parsers.cpuinfo_max_khz(_say(transport, "sh", "-c", f"grep -H '' {CPU_CLOCKS} 2>/dev/null"))
    if not clocks:
        raise ValueError("no readable cpufreq files (root would read them)")
    return clocks


def _file(transport: Transport, path: str, parse: Callable[[str], Any]) -> Any:
    text = transport.read_text(path)
    value = parse(text) if text is not None else None
    if value is None:
        raise ValueError(f"{path} cannot be read (absent, or root is needed)")
    return value


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdigit() else None


def _read(source: str, get: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"value": get(), "source": source, "reason": None}
    except ValueError as error:
        return _absent(source, " ".join(str(error).split())[:300])


def _absent(source: str, reason: str) -> dict[str, Any]:
    return {"value": None, "source": source, "reason": reason}
