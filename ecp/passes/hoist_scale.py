"""Scalar factors on the operands of a matrix product move behind it, where they are computed with its result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ecp.ir.graph import Graph, Node
from ecp.passes.rewrite import readers, rename_inputs, scalar


def hoist_scale(graph: Graph) -> Graph:
    """MatMul(a * c, b) -> MatMul(a, b) * c for a scalar c, also through views, where only products read a * c."""
    users = graph.consumers()
    rename: dict[str, str] = {}
    factors: dict[str, float] = {}
    for node in graph.nodes:
        found = _by_scalar(graph, node)
        ends = _product_ends(graph, users, node.output) if found is not None else None
        if found is None or not ends:
            continue
        rename[node.output] = found[0]
        for product in ends:
            factors[product.output] = factors.get(product.output, 1.0) * found[1]
    nodes: list[Node] = []
    types, constants = dict(graph.types), dict(graph.constants)
    for node in graph.nodes:
        if node.outputs[0] in rename:
            continue
        node = rename_inputs(node, rename)
        if node.outputs[0] not in factors:
            nodes.append(node)
            continue
        raw, const = f"{node.output}/unscaled", f"{node.output}/scale"
        types[raw] = types[node.output]
        constants[const] = np.asarray(factors[node.output], types[node.output].dtype)
        types[const] = replace(types[node.output], shape=())
        nodes.append(replace(node, outputs=(raw,)))
        nodes.append(Node("Mul", (raw, const), node.outputs, {}, f"{node.name}/scale", node.sources))
    return graph.with_nodes(nodes, types=types, constants=constants)


def _by_scalar(graph: Graph, node: Node) -> tuple[str, float] | None:
    """(data, factor) where the node multiplies or divides by one number."""
    if node.op not in ("Mul", "Div") or node.output in graph.outputs:
        return None
    numbers = [scalar(graph, i) for i in node.inputs]
    index = 1 if numbers[1] is not None else 0
    number, data = numbers[index], node.inputs[1 - index]
    if number is None or number == 0 or data in graph.constants or (node.op == "Div" and index == 0):
        return None
    if graph.types[data] != graph.types[node.output] or not graph.types[data].dtype.startswith("float"):
        return None
    return data, (number if node.op == "Mul" else 1.0 / number)


def _product_ends(graph: Graph, users: dict[str, list[Node]], value: str) -> list[Node] | None:
    """Products of two computed values that read ``value`` through views, once per operand; None if others do."""
    ends = readers(graph, users, value, lambda view: view.op not in ("Concat", "Pad")) or []
    if any(u.op != "MatMul" or any(i in graph.constants for i in u.inputs) for _, u in ends):
        return None
    return [user for operand, user in ends for _ in range(user.inputs.count(operand))]
