"""Cache counters of the processor through ``perf stat``, attached to a worker only while it executes."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.protocol import Request
from ecp import children
from ecp.errors import EcpError

EVENTS = (
    *("L1-dcache-loads", "L1-dcache-load-misses", "l2_rqsts.references", "l2_rqsts.miss"),
    *("LLC-loads", "LLC-load-misses"),
)
RUNS = 20
SUPPORT_TIMEOUT_S, WORKER_TIMEOUT_S = 20.0, 3600.0


class CounterError(EcpError):
    """perf or the worker failed while counting."""


@dataclass(frozen=True)
class Counted:
    """Events per inference; ``running``: share of the time the event was on the counter (below 1: scaled)."""

    events: dict[str, float]
    running: dict[str, float]

    def rates(self) -> dict[str, float]:
        """Local miss rates in % of the levels whose two events were counted."""
        pairs = {"L1": EVENTS[0:2], "L2": EVENTS[2:4], "L3": EVENTS[4:6]}
        return {
            level: 100.0 * self.events[miss] / self.events[refs]
            for level, (refs, miss) in pairs.items()
            if self.events.get(refs) and miss in self.events
        }


def parse(text: str, runs: int) -> Counted:
    """``perf stat -x,`` output: value, unit, event, time, percent. Unsupported events are left out."""
    events, running = {}, {}
    for row in csv.reader(text.splitlines()):
        if len(row) < 5 or not re.fullmatch(r"[\d.]+", row[0]):
            continue
        name = row[2].removesuffix(":u")
        events[name] = float(row[0]) / runs
        running[name] = float(row[4] or 0) / 100.0
    return Counted(events, running)


def missing_parts() -> str:
    """Why counters cannot be had here, and what would make them available ('' where they can)."""
    if shutil.which("perf") is None:
        return "perf is not installed (apt install linux-perf)"
    command = ["perf", "stat", "-x,", "-e", "L1-dcache-load-misses:u", "true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SUPPORT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"perf does not answer: {error}"
    if "<not supported>" in done.stderr:
        return (
            "this processor shows no counters, as is usual in a virtual machine; measure on the real machine"
        )
    if done.returncode:
        words = " ".join(done.stderr.split())[:200]
        return f"perf may not count ({words}); lower /proc/sys/kernel/perf_event_paranoid to 1"
    return "" if parse(done.stderr, 1).events else "perf counted nothing"


def _expect(said: Iterator[str], word: str) -> dict[str, Any]:
    line = next(said, "")
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise CounterError(f"the worker ended before it was {word}: {line.strip()[:200]}") from error
    if answer.get("state") != word:
        raise CounterError(f"the worker failed: {answer.get('reason', line.strip()[:200])}")
    return answer


def count(request: Request, runs: int = RUNS) -> tuple[Counted, Mapping[str, Any]]:
    """Counters of ``runs`` inferences after warm-up, and the worker's description of its backend."""
    worker = children.start(
        [sys.executable, "-m", "bench.cache_worker", str(runs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    perf = None
    if worker.stdin is None or worker.stdout is None:
        raise RuntimeError("pipes were asked for")
    try:
        worker.stdin.write(json.dumps(request.to_dict()).encode() + b"\n")
        worker.stdin.flush()
        lines = children.lines(worker, WORKER_TIMEOUT_S)
        described = _expect(lines, "ready")
        perf = _attach(worker.pid)
        worker.stdin.write(b"go\n")
        worker.stdin.flush()
        _expect(lines, "done")
        perf.send_signal(signal.SIGINT)
        _, said = perf.communicate(timeout=SUPPORT_TIMEOUT_S)
    except (BrokenPipeError, children.TooLate) as error:
        raise CounterError(f"the worker did not get through: {error}") from error
    finally:
        for process in filter(None, (worker, perf)):
            children.end(process)
    counted = parse(said, runs)
    if not counted.events:
        raise CounterError(f"perf counted nothing: {' '.join(said.split())[:200]}")
    return counted, described


def _attach(pid: int) -> subprocess.Popen[str]:
    names: Sequence[str] = [f"{event}:u" for event in EVENTS]
    perf = children.start(
        ["perf", "stat", "-x,", "-e", ",".join(names), "-p", str(pid)], stderr=subprocess.PIPE, text=True
    )
    # perf gives no sign that it has attached; the worker is idle meanwhile, so waiting costs no counts.
    time.sleep(0.5)
    if perf.poll() is not None:
        words = perf.stderr.read() if perf.stderr else ""
        raise CounterError(f"perf could not attach: {' '.join(words.split())[:200]}")
    return perf
