"""Split becomes one Slice an output, so that every view has one output."""

from __future__ import annotations

from ecp.ir.graph import Graph, Node
from ecp.passes.rewrite import drop_dead


def split_to_slices(graph: Graph) -> Graph:
    """Split -> one Slice an output."""
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op != "Split":
            nodes.append(node)
            continue
        rank, axis, start = len(graph.types[node.inputs[0]].shape), node.attrs["axis"], 0
        for index, (out, size) in enumerate(zip(node.outputs, node.attrs["sizes"])):
            starts = tuple(start if i == axis else 0 for i in range(rank))
            attrs = {"starts": starts, "steps": (1,) * rank, "shape": graph.types[out].shape}
            name, sources = f"{node.name}/{index}", node.sources or (node.name,)
            nodes.append(Node("Slice", node.inputs, (out,), attrs, name, sources))
            start += size
    return drop_dead(graph, nodes)
