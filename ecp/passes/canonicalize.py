"""Bring equivalent forms to one form, so that later passes match it.

* Split becomes one Slice an output, so that every view has one output;
* rotations and reorderings written as Concat of Slices of one tensor become one Gather (Swin's roll);
* ``f(Concat(a, const))`` becomes ``Concat(f(a), f(const))`` with the constant part folded, so that a class
  token is data that is written once and not a launch;
* scalar factors on the operands of a matrix product move behind it;
* LayerNorm and GELU written out in primitive operators become LayerNormalization and Gelu;
* slices move up, so that only what is asked for is computed (:mod:`ecp.passes.demand`);
* scale and shift of a LayerNorm move into the products that read it (:mod:`ecp.passes.affine`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ecp.ir.graph import Graph, Node
from ecp.ir.infer import infer_node
from ecp.ir.interp import evaluate
from ecp.ir.opinfo import ONE_TO_ONE
from ecp.ir.ops import info, is_key
from ecp.passes.activations import gelu
from ecp.passes.affine import affine
from ecp.passes.demand import narrow
from ecp.passes.rewrite import drop_dead, readers, rename_inputs, rewrites, scalar


def canonicalize(graph: Graph) -> Graph:
    """All rewrites of this file, in order."""
    steps = (
        layer_norm,
        gelu,
        split_to_slices,
        concat_of_slices,
        split_over_concat,
        hoist_scale,
        narrow,
        affine,
    )
    for step in steps:
        graph = step(graph)
    return graph


def is_elementwise(node: Node) -> bool:
    """True for key operators that work element by element."""
    return is_key(node.op) and info(node.op).fusion == ONE_TO_ONE


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


def concat_of_slices(graph: Graph) -> Graph:
    """Concat(Slice(x), Slice(x), ...) along one axis -> Gather(x, indices)."""
    made, nodes = graph.producers(), []
    for node in graph.nodes:
        parts = [made.get(i) for i in node.inputs] if node.op == "Concat" else []
        if not parts or not all(p is not None and p.op == "Slice" for p in parts):
            nodes.append(node)
            continue
        slices = [p for p in parts if p is not None]
        source, axis = slices[0].inputs[0], node.attrs["axis"]
        shape = graph.types[source].shape
        whole = all(
            s.inputs[0] == source
            and all(
                i == axis
                or (s.attrs["starts"][i] == 0 and s.attrs["steps"][i] == 1 and s.attrs["shape"][i] == n)
                for i, n in enumerate(shape)
            )
            for s in slices
        )
        if not whole:
            nodes.append(node)
            continue
        runs = [
            s.attrs["starts"][axis] + s.attrs["steps"][axis] * np.arange(s.attrs["shape"][axis])
            for s in slices
        ]
        attrs = {"axis": axis, "indices": np.concatenate(runs).astype(np.int64)}
        nodes.append(replace(node, op="Gather", inputs=(source,), attrs=attrs))
    return drop_dead(graph, nodes)


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


def layer_norm(graph: Graph) -> Graph:
    """ReduceMean, Sub, Pow or Mul, ReduceMean, Add, Sqrt, Div (, Mul, Add) -> LayerNormalization."""
    made, users = graph.producers(), graph.consumers()
    replaced: dict[str, Node] = {}
    for node in graph.nodes:
        if node.op == "Div":
            found = _match_norm(graph, node, made)
            if found is not None:
                replaced.update(_with_affine(graph, node, found, users))
    if not replaced:
        return graph
    nodes = [replaced.get(n.outputs[0], n) for n in graph.nodes]
    return drop_dead(graph, nodes)


def _match_norm(graph: Graph, div: Node, made: dict[str, Node]) -> tuple[str, int, float] | None:
    """(x, first axis, epsilon) where ``div`` is (x - mean) / sqrt(var + eps) over trailing axes."""
    sub, root = made.get(div.inputs[0]), made.get(div.inputs[1])
    if sub is None or root is None or sub.op != "Sub" or root.op != "Sqrt":
        return None
    add = made.get(root.inputs[0])
    if add is None or add.op != "Add":
        return None
    port = 0 if scalar(graph, add.inputs[1]) is not None else 1
    epsilon, variance = scalar(graph, add.inputs[1 - port]), made.get(add.inputs[port])
    if epsilon is None or variance is None or variance.op != "ReduceMean":
        return None
    square = made.get(variance.inputs[0])
    if square is None:
        return None
    squared = square.op == "Pow" and square.inputs[0] == sub.output and scalar(graph, square.inputs[1]) == 2
    squared = squared or (square.op == "Mul" and square.inputs == (sub.output, sub.output))
    mean = made.get(sub.inputs[1])
    if not squared or mean is None or mean.op != "ReduceMean" or mean.inputs[0] != sub.inputs[0]:
        return None
    rank = len(graph.types[sub.inputs[0]].shape)
    axes = sorted(mean.attrs["axes"])
    if axes != sorted(variance.attrs["axes"]) or axes != list(range(rank - len(axes), rank)):
        return None
    return sub.inputs[0], axes[0], epsilon


def _with_affine(
    graph: Graph, div: Node, found: tuple[str, int, float], users: dict[str, list[Node]]
) -> dict[str, Node]:
    """The replacement, with scale and shift taken in where they follow as constants of the normalised shape."""
    x, axis, epsilon = found
    shape = graph.types[x].shape[axis:]
    inputs, last = [x], div
    for op in ("Mul", "Add"):
        after = users.get(last.output, [])
        if len(after) != 1 or after[0].op != op or last.output in graph.outputs:
            break
        other = next((i for i in after[0].inputs if i != last.output), "")
        if other not in graph.constants or graph.types[other].shape != shape:
            break
        inputs.append(other)
        last = after[0]
    attrs = {"axis": axis, "epsilon": epsilon}
    return {
        last.output: Node(
            "LayerNormalization", tuple(inputs), last.outputs, attrs, last.name, (*div.sources, *last.sources)
        )
    }
