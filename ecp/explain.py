"""What the compiler did with every operator of a model: vanished, fused, or materialized and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ecp.index.maps import view_through
from ecp.index.view import View
from ecp.ir.graph import Graph, Node
from ecp.passes.fuse import fuse
from ecp.passes.rewrite import is_view
from ecp.passes.storage import place
from ecp.pipeline import canonicalize


@dataclass(frozen=True)
class Line:
    """One operator: its fate (``fused``, ``absorbed``, ``pushed``, ``materialized``) and the detail."""

    op: str
    name: str
    fate: str
    detail: str


def explain(graph: Graph) -> list[Line]:
    """Fate of every operator of the canonical graph, in order."""
    canonical = canonicalize(graph)
    placed = place(fuse(canonical))
    inside = {n.name: f for f in placed.graph.nodes if f.op == "Fused" for n in f.attrs["body"].nodes}
    lines = []
    for node in canonical.nodes:
        launch = inside.get(node.name)
        if launch is not None and launch.attrs["kind"] == "copy":
            lines.append(Line(node.op, node.name, "materialized", launch.attrs["reason"]))
        elif launch is not None:
            lines.append(Line(node.op, node.name, "fused", launch.name))
        elif node.op == "Concat":
            lines.append(Line(node.op, node.name, "pushed", "parts are written in place by their producers"))
        elif is_view(node):
            lines.append(Line(node.op, node.name, "absorbed", _form(canonical, node)))
    for node in placed.graph.nodes:
        if node.op == "Fused" and node.attrs["kind"] == "copy" and node.name.startswith("copy:"):
            lines.append(Line("Copy", node.name, "materialized", node.attrs["reason"]))
    return lines


def _form(graph: Graph, node: Node) -> str:
    """How the operator's index map is expressed: strides, digits, or a general expression."""
    source = graph.types[node.inputs[0]].shape
    view = view_through(node.op, node.attrs, View.dense(source), graph.types[node.outputs[0]].shape)
    if view is None:
        return "as an index expression"
    return "as strides" if view.strides is not None else "as mixed-radix digits"


def summary(lines: list[Line]) -> Counter[str]:
    """Number of operators by fate."""
    return Counter(line.fate for line in lines)
