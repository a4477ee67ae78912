"""Coordinate search over schedule rows, judged by interleaved runs against the incumbent.

One field at a time is moved to its other values; a candidate replaces the incumbent where the median of its
paired time ratios is below ``1 - margin``. Pairs run back to back, so that drift of the machine cancels. What was
found is compared with the default once more in the end: many candidates, each judged by a noisy ratio, give a winner
whose ratio is too good.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ecp.codegen.schedule import Schedule
from ecp.compiler import compile_graph, resident_groups, sample
from ecp.errors import EcpError
from ecp.ir.graph import Graph
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session
from ecp.tune.cache import Entry, store

# Values tried per field and device class; a row only has what the kernels of its class read.
SPACE: dict[str, dict[str, tuple[Any, ...]]] = {
    "cpu": {
        "tile": ({"mr": 6, "nr": 4}, {"mr": 8, "nr": 3}, {"mr": 12, "nr": 2}, {"mr": 4, "nr": 6}, {"mr": 14, "nr": 2}),
        "unroll": ({"unroll": 1}, {"unroll": 2}, {"unroll": 4}, {"unroll": 8}),
        "attention": (
            {"attention_q": 2, "attention_k": 12}, {"attention_q": 2, "attention_k": 8},
            {"attention_q": 1, "attention_k": 12}, {"attention_q": 3, "attention_k": 8},
        ),
        "chunk": ({"chunk_k": 384}, {"chunk_k": 768}, {"chunk_k": 1536}, {"chunk_k": 4096}),
        "stream": ({"stream_bytes": 0}, {"stream_bytes": 1 << 20}, {"stream_bytes": 1 << 22}),
    },
    "adreno": {
        "tile": ({"mr": 4, "nr": 2}, {"mr": 8, "nr": 1}, {"mr": 4, "nr": 1}, {"mr": 2, "nr": 2}, {"mr": 8, "nr": 2}),
        "wg": ({"wg": (16, 8)}, {"wg": (8, 8)}, {"wg": (16, 4)}, {"wg": (32, 4)}, {"wg": (16, 16)}),
        "weights": ({"image": 16384}, {"image": 0}),
        "groups": ({"groups": 8}, {"groups": 4}, {"groups": 16}, {"groups": 32}),
        "operands": ({"local": False}, {"local": True}),
    },
    "generic": {
        "operands": ({"local": True}, {"local": False, "image": 0}, {"local": False, "image": 16384}),
        "tile": ({"mr": 4, "nr": 1}, {"mr": 4, "nr": 2}, {"mr": 8, "nr": 1}, {"mr": 8, "nr": 2}),
        "wg": ({"wg": (8, 8)}, {"wg": (16, 8)}, {"wg": (16, 16)}),
        "chunk": ({"bk": 16}, {"bk": 8}, {"bk": 32}),
        "groups": ({"groups": 64}, {"groups": 16}, {"groups": 32}, {"groups": 128}),
    },
    "nvidia": {
        "wg": ({"wg": (8, 8)}, {"wg": (16, 8)}, {"wg": (16, 16)}),
        "tile": ({"mr": 8, "nr": 2}, {"mr": 4, "nr": 2}, {"mr": 8, "nr": 1}),
        "chunk": ({"bk": 256}, {"bk": 128}, {"bk": 64}),
    },
}  # fmt: skip
PERSISTENT = "one persistent kernel computes this model, which has no schedule to search"


@dataclass(frozen=True)
class Progress:
    """One judged candidate: its change, the paired time ratio to the incumbent (None: rejected), and why."""

    change: Mapping[str, Any]
    ratio: float | None
    accepted: bool
    note: str = ""


def tune(
    graph: Graph,
    device: OpenCLDevice,
    entry: Entry,
    *,
    precision: str = "fp32",
    threads: int | None = None,
    default: Schedule,
    seconds: float = 120.0,
    margin: float = 0.01,
    rounds: int = 15,
    report: Callable[[Progress], None] = lambda _: None,
) -> Entry:
    """Search for about ``seconds``; continues ``entry`` where an earlier search stopped.

    The comparison with the default at the end comes on top: one compile and ``2 * rounds`` pairs.
    """
    deadline = time.monotonic() + seconds
    bench = _Bench(graph, device, precision, threads, np.random.default_rng(0))
    best = replace(default, **entry.best)
    incumbent = bench.session(best)
    judged = False
    try:
        if incumbent.bundle.plan.persistent:
            entry.complete, entry.note = True, PERSISTENT
            store(entry)
            return entry
        for change in () if entry.complete else _candidates(device.device_class):
            text = repr(sorted(change.items()))
            if text in entry.tried or all(getattr(best, k) == v for k, v in change.items()):
                continue
            if time.monotonic() > deadline:
                break
            judged = True
            progress = _judge(bench, incumbent, best, change, rounds, margin)
            entry.tried[text] = progress.ratio
            if progress.accepted and progress.ratio is not None:
                best = replace(best, **change)
                entry.best.update(change)
                entry.ratio *= progress.ratio
                incumbent.close()
                incumbent = bench.session(best)
            store(entry)
            report(progress)
        else:
            entry.complete = True
        if judged or not entry.confirmed:
            _confirm(bench, incumbent, default, entry, 2 * rounds)
        store(entry)
        return entry
    finally:
        incumbent.close()


def _confirm(bench: _Bench, best: Session, default: Schedule, entry: Entry, rounds: int) -> None:
    """Measure what the search found against the default; what is not faster is dropped.

    Where the default won, it is measured against itself: how far from 1 that is, is the noise.
    """
    with bench.session(default) as plain:
        entry.confirmed = bench.ratios(best, plain, rounds)
    entry.ratio, entry.note = float(np.median(entry.confirmed)), ""
    if entry.best and entry.ratio >= 1:
        found = ", ".join(f"{k}={v}" for k, v in entry.best.items())
        entry.note = f"{found}: {entry.ratio:.3f} of the default's time when measured again, dropped"
        entry.best = {}


def _candidates(device_class: str) -> Iterator[Mapping[str, Any]]:
    for options in SPACE[device_class].values():
        yield from options


def _judge(
    bench: _Bench, incumbent: Session, best: Schedule, change: Mapping[str, Any], rounds: int, margin: float
) -> Progress:
    import pyopencl as cl

    try:
        candidate = bench.session(replace(best, **change))
    except (EcpError, cl.Error) as error:  # too much local memory, too large a group: not on this device
        return Progress(change, None, False, (str(error).splitlines() or [type(error).__name__])[0])
    try:
        wrong = bench.error(incumbent, candidate)
        if wrong is not None:
            return Progress(change, None, False, wrong)
        ratio = float(np.median(bench.ratios(candidate, incumbent, rounds)))
    finally:
        candidate.close()
    return Progress(change, ratio, ratio < 1 - margin)


class _Bench:
    """Compiles and times schedules of one model on one input."""

    def __init__(
        self,
        graph: Graph,
        device: OpenCLDevice,
        precision: str,
        threads: int | None,
        rng: np.random.Generator,
    ):
        self.graph, self.device, self.precision, self.threads, self.rng = (
            graph,
            device,
            precision,
            threads,
            rng,
        )
        self.feeds: dict[str, np.ndarray] | None = None

    def session(self, schedule: Schedule) -> Session:
        """A session with the input staged and run once."""
        bundle = compile_graph(
            self.graph, self.device.device_class, self.precision, schedule,
            persistent_groups=resident_groups(self.device),
        )  # fmt: skip
        if self.feeds is None:
            self.feeds = {p.name: sample(p, self.rng) for p in bundle.plan.inputs}
        session = Session(bundle, self.device, self.threads)
        session.run(self.feeds)
        return session

    def error(self, reference: Session, candidate: Session) -> str | None:
        """A sentence where the candidate's output differs from the default schedule's beyond rounding."""
        limit = 1e-4 if self.precision == "fp32" else 2e-2
        want, got = reference.fetch(), candidate.fetch()
        for name, value in want.items():
            scale = max(1.0, float(np.max(np.abs(value), initial=0.0)))
            worst = float(np.max(np.abs(value - got[name]), initial=0.0))
            if not worst <= limit * scale:
                return f"output {name!r} differs by {worst:.3g}"
        return None

    def ratios(self, candidate: Session, incumbent: Session, rounds: int) -> list[float]:
        """Time of candidate / incumbent in interleaved pairs, each in random order."""
        ratios = []
        for _ in range(rounds):
            times = {}
            order = [candidate, incumbent]
            if self.rng.random() < 0.5:
                order.reverse()
            for session in order:
                began = time.perf_counter()
                session.execute()
                times[id(session)] = time.perf_counter() - began
            ratios.append(times[id(candidate)] / times[id(incumbent)])
        return ratios
