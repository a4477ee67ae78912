"""``f(Concat(a, const))`` becomes ``Concat(f(a), f(const))`` with the constant part folded.

So a class token is data that is written once and not a launch.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ecp.ir.graph import Graph, Node
from ecp.ir.infer import infer_node
from ecp.ir.interp import evaluate
from ecp.passes.rewrite import is_elementwise, rewrites


def split_over_concat(graph: Graph) -> Graph:
    """Move element-wise operators with constant operands above a Concat that has a constant part."""
    for _ in range(rewrites(graph)):
        changed = _split_once(graph)
        if changed is None:
            break
        graph = changed
    return graph


def _split_once(graph: Graph) -> Graph | None:
    made, users = graph.producers(), graph.consumers()
    for node in graph.nodes:
        if not is_elementwise(node) or len(node.outputs) != 1:
            continue
        ports = [i for i, v in enumerate(node.inputs) if v not in graph.constants]
        if len(ports) != 1 or len(node.inputs) > 2:
            continue
        concat = made.get(node.inputs[ports[0]])
        if (
            concat is None
            or concat.op != "Concat"
            or len(users[concat.output]) != 1
            or concat.output in graph.outputs
        ):
            continue
        if not any(i in graph.constants for i in concat.inputs):
            continue
        if graph.types[node.output].shape != graph.types[concat.output].shape:
            continue
        return _distribute(graph, node, concat, ports[0])
    return None


def _distribute(graph: Graph, node: Node, concat: Node, port: int) -> Graph:
    constants, types, extra = dict(graph.constants), dict(graph.types), []
    axis, start, parts = concat.attrs["axis"], 0, []
    for index, part in enumerate(concat.inputs):
        size = graph.types[part].shape[axis]
        inputs = [part if i == port else v for i, v in enumerate(node.inputs)]
        for i, value in enumerate(node.inputs):
            if i != port:
                inputs[i] = f"{value}/part{index}@{node.output}"
                constants[inputs[i]] = _cut(
                    graph.constants[value], graph.types[node.output].shape, axis, start, size
                )
                types[inputs[i]] = replace(types[value], shape=constants[inputs[i]].shape)
        out = f"{node.output}/part{index}"
        piece = replace(node, inputs=tuple(inputs), outputs=(out,), name=f"{node.name}/part{index}")
        types[out] = infer_node(piece, types)[0]
        if part in constants:
            constants[out] = evaluate(piece, constants)[0]
        else:
            extra.append(piece)
        parts.append(out)
        start += size
    joined = replace(
        concat, inputs=tuple(parts), outputs=node.outputs, sources=(*concat.sources, *node.sources)
    )
    nodes: list[Node] = []
    for n in graph.nodes:
        if n is node:
            nodes += [*extra, joined]
        elif n is not concat:
            nodes.append(n)
    return graph.with_nodes(nodes, constants=constants, types=types)


def _cut(array: np.ndarray, shape: tuple[int, ...], axis: int, start: int, size: int) -> np.ndarray:
    """The part of a broadcast operand that lines up with ``start .. start+size`` of ``axis``."""
    own = axis - (len(shape) - array.ndim)
    if own < 0 or array.shape[own] == 1:
        return array
    index = [slice(None)] * array.ndim
    index[own] = slice(start, start + size)
    return np.ascontiguousarray(array[tuple(index)])
