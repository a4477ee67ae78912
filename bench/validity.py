"""Validity before statistics: the machine's state before and after each block, and gates that judge it.

:func:`capture` reads what can change from block to block, in a few milliseconds and without root. Every
reading carries where it came from; what cannot be read is ``unknown`` with the reason and never counts as
fine. A phone's transport fills the same keys over adb, so the gates are the same for every device.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SYS = Path("/sys")
PROC = Path("/proc")

Reading = dict[str, Any]


def known(value: Any, source: str) -> Reading:
    """A reading that succeeded; ``source`` names the file or call."""
    return {"value": value, "source": source}


def unknown(reason: str, source: str) -> Reading:
    """A reading that could not be made. ``value`` is ``None``, so that nobody takes it for zero."""
    return {"value": None, "source": source, "unknown": reason}


def read(source: str, function: Callable[[], Any]) -> Reading:
    """Call ``function`` and wrap its value; any refusal of the system becomes :func:`unknown`."""
    try:
        value = function()
    except (OSError, ValueError, IndexError, KeyError, AttributeError) as error:
        return unknown(f"{type(error).__name__}: {error}", source)
    if value is None or value in ([], {}):
        return unknown("this system does not show it", source)
    return known(value, source)


def _numbers(paths: Iterable[Path], scale: float) -> list[float]:
    return [int(p.read_text()) * scale for p in sorted(paths)]


def is_virtual() -> bool:
    """Whether the processor says that it runs under a hypervisor (which hides the true clock)."""
    try:
        return " hypervisor" in (PROC / "cpuinfo").read_text()
    except OSError:
        return False


def _clocks() -> Reading:
    source = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq"
    paths = list((SYS / "devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    if paths:
        return read(source, lambda: _numbers(paths, 1e-3))
    why = "a virtual machine shows only a nominal clock" if is_virtual() else "no cpufreq driver"
    return unknown(why, source)


def _temperatures() -> list[float]:
    zones = list((SYS / "class/thermal").glob("thermal_zone*/temp"))
    sensors = list((SYS / "class/hwmon").glob("hwmon*/temp*_input"))
    return _numbers(zones or sensors, 1e-3)


def _throttle_count() -> int | None:
    paths = list((SYS / "devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    return sum(int(p.read_text()) for p in paths) if paths else None


def _governors() -> list[str]:
    paths = (SYS / "devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return sorted({p.read_text().strip() for p in paths})


def _cpu_seconds() -> dict[str, float]:
    """Busy and stolen processor seconds of the whole machine since boot."""
    fields = [int(v) for v in (PROC / "stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    tick = os.sysconf("SC_CLK_TCK")
    return {"busy": (user + nice + system + irq + softirq) / tick, "steal": steal / tick}


def _own_seconds(also: Iterable[int] = ()) -> float:
    """Processor seconds of this process, of its children that have ended, and of the processes ``also``."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used) + sum(_seconds_of(pid) for pid in also)


def _seconds_of(pid: int) -> float:
    """Processor seconds of a process and its ended children; one that has ended stays readable until reaped."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _memory_mib() -> dict[str, float]:
    rows = (line.split() for line in (PROC / "meminfo").read_text().splitlines())
    table = {row[0].rstrip(":"): int(row[1]) / 1024 for row in rows}
    swap = table["SwapTotal"] - table["SwapFree"]
    return {"available": table["MemAvailable"], "total": table["MemTotal"], "swap_used": swap}


def speed_probe_ms(repeats: int = 25, size: int = 10_000) -> float:
    """Time of a fixed loop of integer arithmetic (minimum of ``repeats``): needs no permission."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        total = 0
        for i in range(size):
            total += i
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def capture(also: Iterable[int] = ()) -> dict[str, Any]:
    """State of this machine now: JSON-ready, one :data:`Reading` per key.

    Call it in the process that measures, right before and right after the measured stretch: ``own_cpu_s`` is
    that process's own processor time (with that of the processes ``also``, which take turns with it), so the
    rest of the machine's busy time is other people's.
    """
    return {
        "utc": known(datetime.now(UTC).isoformat(timespec="milliseconds"), "clock_gettime(REALTIME)"),
        "monotonic_s": known(time.monotonic(), "clock_gettime(MONOTONIC)"),
        "affinity": read("sched_getaffinity", lambda: sorted(os.sched_getaffinity(0))),
        "governor": read("/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor", _governors),
        "clocks_mhz": _clocks(),
        "speed_probe_ms": known(speed_probe_ms(), "timed loop, minimum of 25"),
        "temperature_c": read("/sys/class/thermal or /sys/class/hwmon", _temperatures),
        "throttle_count": read("/sys/devices/system/cpu/cpu*/thermal_throttle", _throttle_count),
        "load_1min": read("/proc/loadavg", lambda: os.getloadavg()[0]),
        "cpu_s": read("/proc/stat", _cpu_seconds),
        "own_cpu_s": read("getrusage(SELF, CHILDREN), /proc/PID/stat", lambda: _own_seconds(also)),
        "memory_mib": read("/proc/meminfo", _memory_mib),
    }


@dataclass(frozen=True)
class Limits:
    """How much may change within one block.

    ``others_cpus``: processors kept busy by others on average; ``clock``/``probe``: relative change;
    ``temperature_c``: degrees; ``memory_mib``: least free memory; ``clock_jump_s``: wall clock against
    monotonic clock.
    """

    others_cpus: float = 0.25
    clock: float = 0.05
    probe: float = 0.25
    temperature_c: float = 5.0
    memory_mib: float = 256.0
    clock_jump_s: float = 0.5


@dataclass(frozen=True)
class Gate:
    """One judgement. ``status`` is ok, failed or unknown. ``decides``: a failure makes the block unstable."""

    name: str
    status: str
    detail: str
    decides: bool = True


def _value(state: Mapping[str, Any], key: str) -> Any:
    reading = state.get(key)
    return reading.get("value") if isinstance(reading, Mapping) else None


def _why(state: Mapping[str, Any], key: str) -> str:
    reading = state.get(key)
    return str(reading.get("unknown", "not read")) if isinstance(reading, Mapping) else "not read"


def _relative(name: str, key: str, before: Mapping, after: Mapping, limit: float, unit: str) -> Gate:
    a, b = _value(before, key), _value(after, key)
    if a is None or b is None:
        return Gate(name, "unknown", _why(before if a is None else after, key))
    first = max(a) if isinstance(a, list) else float(a)
    second = max(b) if isinstance(b, list) else float(b)
    change = second / first - 1.0
    status = "ok" if abs(change) <= limit else "failed"
    return Gate(name, status, f"{first:.4g} -> {second:.4g} {unit} ({change:+.1%}, limit {limit:.0%})")


def _elapsed(before: Mapping[str, Any], after: Mapping[str, Any]) -> float | None:
    a, b = _value(before, "monotonic_s"), _value(after, "monotonic_s")
    return None if a is None or b is None or b <= a else float(b - a)


def _others(before: Mapping[str, Any], after: Mapping[str, Any], limit: float) -> Gate:
    elapsed = _elapsed(before, after)
    a, b = _value(before, "cpu_s"), _value(after, "cpu_s")
    if a is None or b is None or elapsed is None:
        return Gate("load-by-others", "unknown", _why(before, "cpu_s"))
    if _value(before, "own_cpu_s") is None or _value(after, "own_cpu_s") is None:
        return Gate("load-by-others", "unknown", "this process's own processor time is not known")
    own = _value(after, "own_cpu_s") - _value(before, "own_cpu_s")
    total = b["busy"] - a["busy"] + b["steal"] - a["steal"]
    # The kernel counts in ticks of 10 ms per processor: a short block cannot be judged more finely.
    others = max(0.0, total - own - 0.02 * (os.cpu_count() or 1)) / elapsed
    status = "ok" if others <= limit else "failed"
    return Gate("load-by-others", status, f"{others:.2f} processors busy for others (limit {limit:g})")


def _temperature(before: Mapping[str, Any], after: Mapping[str, Any], limit: float) -> Gate:
    a, b = _value(before, "temperature_c"), _value(after, "temperature_c")
    if a is None or b is None:
        return Gate("temperature", "unknown", _why(before, "temperature_c"))
    rise = max(b) - max(a)
    status = "ok" if abs(rise) <= limit else "failed"
    return Gate("temperature", status, f"{max(a):.1f} -> {max(b):.1f} C (limit +-{limit:g})")


def _throttled(before: Mapping[str, Any], after: Mapping[str, Any]) -> Gate:
    a, b = _value(before, "throttle_count"), _value(after, "throttle_count")
    if a is None or b is None:
        return Gate("throttling", "unknown", _why(before, "throttle_count"))
    return Gate("throttling", "ok" if a == b else "failed", f"{b - a} throttling events")


def _memory(after: Mapping[str, Any], limit: float) -> Gate:
    memory = _value(after, "memory_mib")
    if memory is None:
        return Gate("free-memory", "unknown", _why(after, "memory_mib"))
    free = float(memory["available"])
    return Gate("free-memory", "ok" if free >= limit else "failed", f"{free:.0f} MiB free (limit {limit:g})")


def _clock_jump(before: Mapping[str, Any], after: Mapping[str, Any], limit: float) -> Gate:
    elapsed = _elapsed(before, after)
    a, b = _value(before, "utc"), _value(after, "utc")
    if elapsed is None or a is None or b is None:
        return Gate("wall-clock", "unknown", "no clock readings", decides=False)
    jump = (datetime.fromisoformat(b) - datetime.fromisoformat(a)).total_seconds() - elapsed
    status = "ok" if abs(jump) <= limit else "failed"
    return Gate(
        "wall-clock", status, f"wall clock moved {jump:+.2f} s against the monotonic clock", decides=False
    )


def _affinity(before: Mapping[str, Any], after: Mapping[str, Any], asked: Iterable[int] | None) -> Gate:
    got = _value(after, "affinity")
    if got is None:
        return Gate("affinity", "unknown", _why(after, "affinity"))
    wanted = _value(before, "affinity") if asked is None else sorted(asked)
    status = "ok" if got == wanted else "failed"
    return Gate("affinity", status, f"asked for processors {wanted}, read back {got}")


def gates(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    affinity: Iterable[int] | None = None,
    wall_ms: float | None = None,
    device_ms: float | None = None,
    correct: bool | None = None,
    limits: Limits | None = None,
) -> list[Gate]:
    """Judge one block. ``before``/``after``: two :func:`capture` results (or a phone's, same keys).

    ``affinity``: processors that were asked for. ``wall_ms``/``device_ms``: wall time of the measured stretch
    and the sum of device events inside it; a device that claims to have worked longer than the wall, or a
    wall that did not wait for the device, is caught here. ``correct``: whether the output matched the
    reference; ``None`` means that nobody looked.
    """
    bounds = limits or Limits()
    judged = [
        _affinity(before, after, affinity),
        _others(before, after, bounds.others_cpus),
        _relative("clocks", "clocks_mhz", before, after, bounds.clock, "MHz"),
        _relative("speed-probe", "speed_probe_ms", before, after, bounds.probe, "ms"),
        _temperature(before, after, bounds.temperature_c),
        _throttled(before, after),
        _memory(after, bounds.memory_mib),
        _clock_jump(before, after, bounds.clock_jump_s),
    ]
    if wall_ms is None or device_ms is None:
        judged.append(Gate("device-time", "unknown", "no device events beside the wall time"))
    else:
        fits = device_ms <= wall_ms * 1.001
        detail = f"device events {device_ms:.3f} ms within wall {wall_ms:.3f} ms"
        judged.append(Gate("device-time", "ok" if fits else "failed", detail))
    if correct is None:
        judged.append(Gate("output", "unknown", "output not compared with the reference"))
    else:
        detail = "output matches the reference" if correct else "output differs from the reference"
        judged.append(Gate("output", "ok" if correct else "failed", detail))
    return judged


def failures(judged: Iterable[Gate]) -> list[Gate]:
    """Gates whose failure makes the block ``unstable``."""
    return [g for g in judged if g.status == "failed" and g.decides]


def to_json(judged: Iterable[Gate]) -> list[dict[str, Any]]:
    """For a record's ``extra["gates"]``."""
    return [asdict(g) for g in judged]
