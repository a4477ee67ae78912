"""The clocks: latency and peak memory of one prepared backend inside a worker process.

Only ``execute`` is timed. Warm-up is stored, not thrown away, and ends when two adjacent windows agree; a
block that never gets there is ``unstable``, it is not averaged.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.base import Backend
from bench import energy
from bench.protocol import Request
from bench.stats.steady import steady_start
from bench.timed_path import TimedPath
from bench.turns import Turn

WINDOW = 8
TOLERANCE = 0.05
# A shorter stretch says little about a level even when 50 iterations fit into it.
LEAST_SECONDS = 0.5
LEAST_SAMPLES = 5


@dataclass
class Session:
    """What a metric gets: the prepared backend with its inputs staged, and the process's idle memory.

    ``turn``: the channel of an interleaved pair, where this block is one side of it. ``path``: gives every timed
    inference an input of its own and looks at outputs.
    """

    backend: Backend
    idle_kib: int
    prepared_kib: int
    turn: Turn | None = None
    path: TimedPath | None = None

    def between(self) -> None:
        """Outside the clock, before a timed inference."""
        if self.path is not None:
            self.path.between()

    def finish(self, times_ms: Sequence[float], own_clock: bool = False) -> None:
        """After the last timed inference; see :meth:`TimedPath.finish`."""
        if self.path is not None:
            self.path.finish(times_ms, own_clock)


def latency(request: Request, session: Session) -> dict[str, Any]:
    """Warm up to steady state, then sample ``execute``; all times in ms."""
    execute = session.backend.execute
    first = _timed(execute)
    own = getattr(session.backend, "own_latency", None)
    if own is not None:
        # A program that can only be run as a whole clocks itself; its start is not part of an inference.
        session.between()
        samples, what = own()
        session.finish(samples, own_clock=True)
        extra = {"source": "framework clock", "unit": "ms", "sample": what}
        return {"status": "measured", "first_ms": first, "samples_ms": samples, "extra": extra}
    tolerance = float(request.limits.get("steady", TOLERANCE))
    warmup, steady = warm_up(execute, request.warmup_seconds, tolerance, session.between)
    more: dict[str, Any] = {"steady": steady}
    joules = energy.read()
    cpu, start = time.process_time(), time.perf_counter()
    if session.turn is None:
        samples = sample(execute, request.min_samples, request.min_seconds, session.between)
        wall = time.perf_counter() - start
        more["energy"] = energy.between(joules, energy.read(), len(samples))
    else:
        turns, wall = session.turn.sample(execute, statistics.median(warmup[-WINDOW:]), session.between)
        samples = [time_ms for one in turns for time_ms in one]
        more["turn_lengths"] = [len(one) for one in turns]
    busy = (time.process_time() - cpu) / wall if wall else 0.0
    session.finish(samples)
    status, reason = _judge(request, steady, busy)
    return {
        "status": status,
        "reason": reason,
        "first_ms": first,
        "warmup_ms": warmup,
        "samples_ms": samples,
        "extra": {**more, "source": "wall", "unit": "ms", "clock": "perf_counter_ns", "busy_cpus": busy},
    }


def _judge(request: Request, steady: bool, busy: float) -> tuple[str, str]:
    """Processor time over wall time shows how many processors really worked, for every framework alike."""
    if busy > request.threads + 0.3:
        return (
            "failed",
            f"{request.threads} threads were asked, {busy:.1f} processors were busy: not a fair figure",
        )
    if not steady:
        return "unstable", (
            f"no steady state in {request.warmup_seconds:g} s: no two adjacent windows of {WINDOW} runs agreed "
            f"within {request.limits.get('steady', TOLERANCE):.0%}"
        )
    return "measured", ""


def memory(request: Request, session: Session) -> dict[str, Any]:
    """Peak resident memory (MiB) of the whole process after a few inferences; one sample a process."""
    first = _timed(session.backend.execute)
    for _ in range(4):
        session.backend.execute()
    mib = 1 / 1024
    # A backend whose model lives in a process of its own reports that process, not this one.
    elsewhere = getattr(session.backend, "memory", None)
    if elsewhere is not None:
        own = elsewhere()
        return {
            "status": "measured",
            "first_ms": first,
            "samples_ms": [own["VmHWM"] / 2**20],
            "extra": {"source": "rss", "unit": "MiB", "process": "the backend's own", **own},
        }
    peak = status_kib("VmHWM")
    return {
        "status": "measured",
        "first_ms": first,
        "samples_ms": [peak * mib],
        "extra": {
            "source": "rss",
            "unit": "MiB",
            "idle_mib": session.idle_kib * mib,
            "prepared_mib": session.prepared_kib * mib,
            "above_idle_mib": (peak - session.idle_kib) * mib,
        },
    }


def _nothing() -> None:
    pass


def warm_up(
    execute: Callable[[], None],
    limit_s: float,
    tolerance: float = TOLERANCE,
    between: Callable[[], None] = _nothing,
) -> tuple[list[float], bool]:
    """Run until two adjacent windows agree or ``limit_s`` is over: (all times in ms, reached steady state).

    ``between`` is called before each run, outside its time.
    """
    times: list[float] = []
    end = time.perf_counter() + limit_s
    while True:
        between()
        times.append(_timed(execute))
        if len(times) >= 2 * WINDOW and steady_start(times, WINDOW, tolerance) is not None:
            return times, True
        if time.perf_counter() > end and len(times) >= LEAST_SAMPLES:
            # A slow model cannot fill two windows in the time given: a window of two tells as much as it can.
            short = len(times) < 2 * WINDOW
            return times, short and steady_start(times, 2, 2 * tolerance) is not None


def sample(
    execute: Callable[[], None], least: int, seconds: float, between: Callable[[], None] = _nothing
) -> list[float]:
    """Times in ms of repeated runs: ``least`` of them and half a second, or as many as fit in ``seconds``.

    ``between`` is called before each run, outside its time.
    """
    times: list[float] = []
    start = time.perf_counter()
    while True:
        between()
        times.append(_timed(execute))
        elapsed = time.perf_counter() - start
        enough = len(times) >= least and elapsed >= min(LEAST_SECONDS, seconds)
        if enough or (elapsed >= seconds and len(times) >= LEAST_SAMPLES):
            return times


def status_kib(field: str) -> int:
    """A size of /proc/self/status in KiB (``VmHWM``: peak resident set, ``VmRSS``: now)."""
    with Path("/proc/self/status").open() as stream:
        for line in stream:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


def _timed(execute: Callable[[], None]) -> float:
    start = time.perf_counter_ns()
    execute()
    return (time.perf_counter_ns() - start) / 1e6
