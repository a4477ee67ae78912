"""Coordinate search over schedule rows, judged by interleaved runs against the incumbent.

One field at a time is moved to its other values; a candidate replaces the incumbent where the median of its
paired time ratios is below ``1 - margin``. Pairs run back to back, so that drift of the machine cancels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ecp.codegen.schedule import Schedule
from ecp.compiler import compile_graph, sample
from ecp.errors import BuildError, EcpError
from ecp.ir.graph import Graph
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session
from ecp.tune.cache import Entry, store

# Values tried per field; the CPU rows only have what the CPU kernels read.
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
    "gpu": {"wg": ({"wg": (8, 8)}, {"wg": (16, 8)}, {"wg": (16, 16)})},
}  # fmt: skip


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
    """Search for at most ``seconds``; continues ``entry`` where an earlier search stopped."""
    deadline = time.monotonic() + seconds
    rng = np.random.default_rng(0)
    best = replace(default, **entry.best)
    bench = _Bench(graph, device, precision, threads, rng)
    incumbent = bench.session(best)
    for change in _candidates(device.device_class):
        text = repr(sorted(change.items()))
        if text in entry.tried or all(getattr(best, k) == v for k, v in change.items()):
            continue
        if time.monotonic() > deadline:
            store(entry)
            return entry
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
    entry.complete = True
    store(entry)
    incumbent.close()
    return entry


def _candidates(device_class: str) -> Iterator[Mapping[str, Any]]:
    for options in SPACE["cpu" if device_class == "cpu" else "gpu"].values():
        yield from options


def _judge(
    bench: _Bench, incumbent: Session, best: Schedule, change: Mapping[str, Any], rounds: int, margin: float
) -> Progress:
    try:
        candidate = bench.session(replace(best, **change))
    except (BuildError, EcpError) as error:
        return Progress(change, None, False, str(error).splitlines()[0])
    try:
        wrong = bench.error(incumbent, candidate)
        if wrong is not None:
            return Progress(change, None, False, wrong)
        ratio = bench.ratio(candidate, incumbent, rounds)
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
        bundle = compile_graph(self.graph, self.device.device_class, self.precision, schedule)
        if self.feeds is None:
            self.feeds = {p["name"]: sample(p, self.rng) for p in bundle.plan["inputs"]}
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

    def ratio(self, candidate: Session, incumbent: Session, rounds: int) -> float:
        """Median of candidate/incumbent over interleaved pairs in random order."""
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
        return float(np.median(ratios))
