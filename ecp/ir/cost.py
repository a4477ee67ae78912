"""Work of a graph in multiply-accumulates."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ecp.ir.graph import Graph, Node, Type


def node_macs(node: Node, types: Mapping[str, Type]) -> int:
    """Multiply-accumulates of one MatMul or Conv; 0 for every other operator."""
    if node.op == "MatMul":
        return types[node.output].size * types[node.inputs[0]].shape[-1]
    if node.op == "Conv":
        return types[node.output].size * math.prod(types[node.inputs[1]].shape[1:])
    return 0


def macs(graph: Graph) -> int:
    """Multiply-accumulates of the whole graph, the convention of "GMACs" tables: products only."""
    return sum(node_macs(n, graph.types) for n in graph.nodes)
