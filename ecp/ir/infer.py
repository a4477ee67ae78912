"""Type inference of nodes, through the op table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ecp.ir.graph import Graph, Node, Type
from ecp.ir.ops import OPS


def type_of(array: np.ndarray) -> Type:
    """The static type of an array."""
    return Type(tuple(int(d) for d in array.shape), array.dtype.name)


def infer_node(node: Node, types: Mapping[str, Type]) -> tuple[Type, ...]:
    """Types of the node's outputs. Raises ValueError where inputs, attributes and operator do not fit."""
    op = OPS.get(node.op)
    if op is None:
        raise ValueError(f"operator {node.op!r} is not in the op table")
    low, high = op.arity
    if not low <= len(node.inputs) <= high or any(not i for i in node.inputs[:low]):
        raise ValueError(f"{node.op} takes {low} to {high} inputs, not {node.inputs}")
    if set(node.attrs) != set(op.attrs):
        raise ValueError(f"{node.op} has attributes {sorted(op.attrs)}, not {sorted(node.attrs)}")
    return op.infer(node.attrs, [types[i] if i else None for i in node.inputs])


def infer_graph(
    nodes: Sequence[Node], inputs: Mapping[str, Type], constants: Mapping[str, np.ndarray]
) -> dict[str, Type]:
    """Types of every value of a list of nodes in topological order."""
    types = {**inputs, **{k: type_of(v) for k, v in constants.items()}}
    for node in nodes:
        types.update(zip(node.outputs, infer_node(node, types)))
    return types


def retype(graph: Graph) -> Graph:
    """The graph with its type table computed afresh from inputs and constants."""
    inputs = {i: graph.types[i] for i in graph.inputs}
    return graph.with_nodes(graph.nodes, types=infer_graph(graph.nodes, inputs, graph.constants))
