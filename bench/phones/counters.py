"""Cache misses on a phone: processor counters by simpleperf, Adreno's by its kernel driver (KGSL).

Both count one run of the runner with warm kernels. What a counter is called differs by GPU generation; the
numbers are those of the public register lists (freedreno's a6xx and a7xx tables), not read on a phone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bench.phones import parsers
from bench.transports.base import Transport

# Asked one group at a time, so that few counters share the hardware at once.
SIMPLEPERF_GROUPS = (
    ("cache-references", "cache-misses"),
    ("L1-dcache-loads", "L1-dcache-load-misses"),
    ("raw-l2d-cache", "raw-l2d-cache-refill"),
    ("raw-l3d-cache", "raw-l3d-cache-refill"),
)
# Below this share of the time a counter is a guess more than a count.
LEAST_SHARE = 0.5
UCHE, TP = 0x8, 0x9
_COUNTABLES: dict[str, dict[str, tuple[int, int]]] = {
    "6": {
        "tp-l1-cacheline-requests": (TP, 6),
        "tp-l1-cacheline-misses": (TP, 7),
        "uche-read-requests-tp": (UCHE, 9),
    },
    "7": {
        "tp-l1-cacheline-requests": (TP, 7),
        "tp-l1-cacheline-misses": (TP, 8),
        "uche-read-requests-tp": (UCHE, 12),
    },
}


@dataclass(frozen=True)
class GpuCounter:
    """``group:countable`` as ``ecp-run --kgsl-counter`` takes it."""

    name: str
    group: int
    countable: int

    @property
    def option(self) -> str:
        """The argument's text."""
        return f"{self.group}:{self.countable}"


def gpu_counters(gpu_name: str) -> tuple[GpuCounter, ...]:
    """Counters of the generation that ``gpu_name`` (``Adreno (TM) 740``) belongs to; empty where it is unknown."""
    found = re.search(r"adreno\D*(\d)\d\d", gpu_name, re.I)
    numbers = _COUNTABLES.get(found.group(1), {}) if found else {}
    return tuple(GpuCounter(name, group, countable) for name, (group, countable) in numbers.items())


def simpleperf(transport: Transport, command: list[str], timeout_s: float) -> dict[str, dict[str, Any]]:
    """``{event: {"value", "source", "reason"}}`` of one run of ``command`` for each group of events."""
    found: dict[str, dict[str, Any]] = {}
    for events in SIMPLEPERF_GROUPS:
        done = transport.run(
            ["simpleperf", "stat", "--csv", "--group", ",".join(events), *command], timeout_s=timeout_s
        )
        try:
            counters = parsers.simpleperf_csv(done.text)
        except ValueError as error:
            found |= {event: _absent(_why(done.code, done.error_text or str(error))) for event in events}
            continue
        found |= {event: _judged(counters.get(event)) for event in events}
    return found


def gpu_reading(document: dict[str, Any], counters: tuple[GpuCounter, ...]) -> dict[str, dict[str, Any]]:
    """Counters of a runner's document by name; all with the driver's reason where it refused."""
    if not counters:
        return {"gpu-cache": _absent("no counter numbers are known for this GPU", "kgsl")}
    reading = document["kgsl_counters"]
    if reading["reason"]:
        return {c.name: _absent(reading["reason"], "kgsl") for c in counters}
    return {
        counter.name: {"value": row["delta"], "source": "kgsl", "reason": None}
        for counter, row in zip(counters, reading["values"], strict=True)
    }


def _judged(counter: parsers.Counter | None) -> dict[str, Any]:
    if counter is None:
        return _absent("this processor does not count it")
    if not counter.share >= LEAST_SHARE:
        return _absent(f"counted only {counter.share:.0%} of the time")
    return {"value": counter.count, "source": "simpleperf", "reason": None}


def _why(code: int, words: str) -> str:
    if code == 127:
        return "no simpleperf on the phone (Android 10 and later have it; the NDK brings one)"
    advice = "; adb shell setprop security.perf_harden 0 allows it" if "denied" in words.lower() else ""
    return " ".join(words.split())[-200:] + advice


def _absent(reason: str, source: str = "simpleperf") -> dict[str, Any]:
    return {"value": None, "source": source, "reason": reason}
