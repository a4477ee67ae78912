"""Check the layout model against the device: compile every candidate of every distinct edge, time it, correlate.

The time of a candidate is the device time of the launches that write and read the edge, run by themselves for the
first few of equal edges (repeated blocks), measured in turns with the other candidates of the edge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from math import log
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from ecp.codegen.schedule import Schedule, schedule_for
from ecp.errors import UsageError
from ecp.index.view import View
from ecp.ir.graph import Graph, Node
from ecp.options import CompileOptions
from ecp.passes.fuse import fuse
from ecp.passes.layoutchoice import Choice, Chooser
from ecp.passes.layoutcost import ROWS
from ecp.passes.storage import Placement, back_through_shape, place
from ecp.pipeline import Runner, canonicalize, launches
from ecp.runtime.bundle import Bundle
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session

#: Of equal edges, how many are run.
INSTANCES = 3


@dataclass
class Edge:
    """Equal edges of a model: their values, the candidates, and what was measured (milliseconds, by turn)."""

    choice: Choice
    values: list[str] = field(default_factory=list)
    measured: list[list[float]] = field(default_factory=list)

    @property
    def medians(self) -> list[float]:
        """Median milliseconds of every candidate."""
        return [float(np.median(m)) for m in self.measured]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        views = [[[[d.radix, d.stride] for d in a] for a in v.axes] for v in self.choice.views]
        return {
            "values": self.values, "candidates": views, "predicted_ns": list(self.choice.predicted),
            "best": self.choice.best, "measured_ms": self.measured,
        }  # fmt: skip


class Study:
    """The distinct edges of one model with more than one candidate layout."""

    def __init__(self, graph: Graph, device: OpenCLDevice, precision: str = "fp32"):
        if device.device_class not in ROWS:
            raise UsageError(
                f"no cost row for device class {device.device_class!r}: its layouts follow the rule"
            )
        self.device, self.precision = device, precision
        self.canonical = canonicalize(graph)
        self.fused = fuse(self.canonical)
        self.edges = self._edges()

    def _edges(self) -> list[Edge]:
        """Edges in the order of the graph; equal ones are one."""
        placed = self._placed({})
        chooser = Chooser(placed.graph, ROWS[self.device.device_class], back_through_shape)
        found: dict[int, Edge] = {}
        for value, storage in placed.storage.items():
            if storage.buffer != value or placed.buffers[value].kind not in ("arena", "static"):
                continue
            choice = chooser.choose(value, storage.view)
            if len(choice.views) > 1:
                found.setdefault(id(choice), Edge(choice)).values.append(value)
        return list(found.values())

    def _placed(self, layouts: Mapping[str, View]) -> Placement:
        return place(self.fused, half=self.precision == "fp16", layouts=layouts)

    def measure(self, edge: Edge, turns: int = 7, repeats: int = 5) -> None:
        """Time the candidates of one edge in turns; order within a turn is shuffled with a fixed seed."""
        rng = np.random.default_rng(0)
        with self.opened(edge) as sessions:
            edge.measured = [[] for _ in sessions]
            for _ in range(turns):
                for index in rng.permutation(len(sessions)):
                    edge.measured[index].append(sum(t.ms for t in sessions[index].profile(repeats)))

    @contextmanager
    def opened(self, edge: Edge) -> Iterator[list[Session]]:
        """A warm session of the touched launches for every candidate of an edge."""
        with ExitStack() as stack:
            sessions = [stack.enter_context(self._session(edge, view)) for view in edge.choice.views]
            for session in sessions:
                session.profile(2)
            yield sessions

    def _session(self, edge: Edge, view: View) -> Session:
        values = edge.values[:INSTANCES]
        placed = self._placed(dict.fromkeys(edge.values, view))
        touched = set(_touching(placed.graph, set(values)))
        nodes = tuple(n for n in placed.graph.nodes if n.op != "Fused" or n.name in touched)
        part = replace(placed, graph=replace(placed.graph, nodes=nodes), views=self.canonical)
        session = Session(bundle_of(part, self.device, self.precision), device=self.device)
        session.stage({p.name: np.zeros(p.shape, p.dtype) for p in session.bundle.plan.inputs})
        return session


def _touching(graph: Graph, values: set[str]) -> Iterator[str]:
    """Names of the launches that write or read one of ``values``, also through views and Concat."""
    writes, reads = set(values), set(values)
    for node in reversed(graph.nodes):
        if node.op != "Fused" and any(o in writes for o in node.outputs):
            writes.update(node.inputs)
    for node in graph.nodes:
        if node.op != "Fused" and any(i in reads for i in node.inputs):
            reads.update(node.outputs)
    for node in (n for n in graph.nodes if n.op == "Fused"):
        if any(o in writes for o in node.outputs) or any(i in reads for i in _inputs(node)):
            yield node.name


def _inputs(node: Node) -> tuple[str, ...]:
    return (*node.inputs, *node.attrs["body"].inputs)


def bundle_of(placed: Placement, device: OpenCLDevice, precision: str) -> Bundle:
    """A bundle of placed launches, be they some of a graph's, with the shipped schedule, for timing."""
    schedule: Schedule = schedule_for(device.device_class, int(device.handle.native_vector_width_float or 16))
    options = CompileOptions(schedule=schedule, precision=precision)
    # Launches without those that write what they read, which a whole graph's may not be.
    plan, sources, pools = launches(placed, Runner(options, verify=False))
    plan.device_class, plan.precision = device.device_class, precision
    return Bundle(plan, sources, pools)


def correlation(edges: list[Edge]) -> dict[str, Any]:
    """Spearman's rank correlation between predicted and measured time of the candidates, within their edges.

    ``rank_correlation`` pools all candidates, each as the logarithm of its time over the edge's geometric mean (sizes
    of edges cancel); ``by_edge`` is one number an edge, ``mean_by_edge`` their mean. ``regret``: measured time of the
    predicted best over the measured best, all edges together; ``regret_of_rule``: the same for the rule's layout.
    """
    predicted, measured, by_edge = [], [], []
    chosen = rule = best = 0.0
    for edge in edges:
        a = [log(p) for p in edge.choice.predicted]
        b = [log(m) for m in edge.medians]
        by_edge.append(float(spearmanr(a, b).statistic) if len(set(a)) > 1 else None)
        predicted += [x - sum(a) / len(a) for x in a]
        measured += [x - sum(b) / len(b) for x in b]
        chosen += edge.medians[edge.choice.best]
        rule += edge.medians[0]
        best += min(edge.medians)
    result = spearmanr(predicted, measured)
    return {
        "edges": len(edges), "candidates": len(predicted), "rank_correlation": float(result.statistic),
        "p": float(result.pvalue),
        "mean_by_edge": float(np.mean([r for r in by_edge if r is not None])), "by_edge": by_edge,
        "regret": chosen / best, "regret_of_rule": rule / best,
    }  # fmt: skip
