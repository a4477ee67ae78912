"""LayerNorm written out in primitive operators becomes LayerNormalization."""

from __future__ import annotations

from ecp.ir.graph import Graph, Node
from ecp.passes.rewrite import drop_dead, scalar


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
