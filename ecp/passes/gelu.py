"""GELU written out with erf becomes Gelu: one function of one value, which a kernel computes with one division less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isclose, sqrt

from ecp.ir.graph import Graph, Node
from ecp.passes.rewrite import drop_dead, scalar


def gelu(graph: Graph) -> Graph:
    """``x * (1 + erf(x / sqrt(2))) * 0.5``, its factors in any order -> Gelu(x)."""
    made, users = graph.producers(), graph.consumers()
    position = {id(n): i for i, n in enumerate(graph.nodes)}
    replaced: dict[str, Node] = {}
    for node in graph.nodes:
        found = _argument(graph, node, made)
        spelled = found and _product(graph, node, *found, made, users)
        if found and spelled:
            ordered = sorted(spelled, key=lambda n: position[id(n)])
            last = ordered[-1]
            sources = tuple(s for n in ordered for s in n.sources or (n.name,))
            attrs = {"approximate": "none"}
            replaced[last.output] = Node("Gelu", (found[0],), last.outputs, attrs, last.name, sources)
    if not replaced:
        return graph
    return drop_dead(graph, [replaced.get(n.outputs[0], n) for n in graph.nodes])


def _argument(graph: Graph, node: Node, made: Mapping[str, Node]) -> tuple[str, Node] | None:
    """``x`` and the node that scales it where ``node`` is erf(x / sqrt(2)), divided or multiplied by a constant."""
    inner = made.get(node.inputs[0]) if node.op == "Erf" else None
    if inner is None or inner.op not in ("Div", "Mul"):
        return None
    for x, by in (inner.inputs, inner.inputs[::-1] if inner.op == "Mul" else inner.inputs):
        factor, wanted = scalar(graph, by), sqrt(2) if inner.op == "Div" else sqrt(0.5)
        if factor is not None and isclose(factor, wanted, rel_tol=1e-6):
            return x, inner
    return None


def _product(
    graph: Graph,
    erf: Node,
    x: str,
    inner: Node,
    made: Mapping[str, Node],
    users: Mapping[str, Sequence[Node]],
) -> list[Node] | None:
    """All nodes of the GELU; None where something else is computed, or a value between is read by others too."""
    spelled, last, missing = [inner, erf], erf, {"1", "x", "0.5"}
    while missing:
        after = users.get(last.output, [])
        if len(after) != 1 or last.output in graph.outputs or len(after[0].inputs) != 2:
            return None
        other = after[0].inputs[after[0].inputs[0] == last.output]
        half = made.get(other)
        part = _factors(graph, after[0].op, other, x, half)
        if not part or not part <= missing or ("1" in missing) != (part == {"1"}):
            return None
        last, missing = after[0], missing - part
        spelled += [half, last] if half is not None and len(part) == 2 else [last]
    return spelled


def _factors(graph: Graph, op: str, other: str, x: str, half: Node | None) -> set[str]:
    """What is added or multiplied: some of ``1``, ``x`` and ``0.5``, or nothing of these. ``half`` makes ``other``."""
    value = scalar(graph, other)
    if op == "Add":
        return {"1"} if value == 1 else set()
    if op != "Mul":
        return set()
    if other == x:
        return {"x"}
    if half is not None and half.op == "Mul" and x in half.inputs:
        return {"x", "0.5"} if scalar(graph, half.inputs[half.inputs[0] == x]) == 0.5 else set()
    return {"0.5"} if value == 0.5 else set()
