"""Scale and shift of a LayerNormalization move into the products that read it.

``(z * scale + shift) @ W + b = z @ (scale[:, None] * W) + (shift @ W + b)``, with z of mean 0 and deviation 1: what is
left to compute at every row is the normalisation itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecp.ir.graph import Graph, Node, Type
from ecp.passes.rewrite import drop_dead, fresh, readers, scalar


def affine(graph: Graph) -> Graph:
    """Where only products by weights of their own read a LayerNormalization, through views of whole rows."""
    users = graph.consumers()
    edit = _Edit(graph, users)
    for node in graph.nodes:
        products = _products(graph, node.output, users) if _has_own(graph, node) else None
        if products:
            edit.move(node, products)
    return edit.result()


def _has_own(graph: Graph, node: Node) -> bool:
    """True for a normalisation over the last axis with a constant scale or shift that does something."""
    if node.op != "LayerNormalization" or len(node.inputs) < 2:
        return False
    if node.attrs["axis"] not in (-1, len(graph.types[node.inputs[0]].shape) - 1):
        return False
    own = [i for i in node.inputs[1:] if i]
    idle = scalar(graph, own[0]) == 1 and (len(own) < 2 or scalar(graph, own[1]) == 0)
    return node.inputs[1] != "" and all(i in graph.constants for i in own) and not idle


def _products(graph: Graph, value: str, users: dict[str, list[Node]]) -> list[Node] | None:
    """The products by constant weights that read rows of ``value``; None where anything else reads it."""
    ends = readers(graph, users, value, lambda view: _keeps_rows(graph, view)) or []
    for operand, user in ends:
        if user.op != "MatMul" or user.inputs[0] != operand or not _own_weights(graph, user, users):
            return None
    return [user for _, user in ends]


def _own_weights(graph: Graph, product: Node, users: dict[str, list[Node]]) -> bool:
    weights = product.inputs[1]
    shared = weights in graph.outputs or len(users[weights]) > 1
    return weights in graph.constants and graph.constants[weights].ndim == 2 and not shared


def _keeps_rows(graph: Graph, view: Node) -> bool:
    """True where the view moves, drops or repeats whole rows along the last axis, and makes none up."""
    shape, out = graph.types[view.inputs[0]].shape, graph.types[view.outputs[0]].shape
    last, attrs = len(shape) - 1, view.attrs
    if len(view.outputs) != 1 or not out or out[-1] != shape[-1]:
        return False
    if view.op == "Transpose":
        return bool(attrs["perm"][-1] == last)
    if view.op == "Slice":
        return bool(attrs["starts"][-1] == 0 and attrs["steps"][-1] == 1)
    if view.op == "Gather":
        return bool(attrs["axis"] != last)
    return view.op in ("Reshape", "Identity")


class _Edit:
    """Nodes and constants under change."""

    def __init__(self, graph: Graph, users: dict[str, list[Node]]):
        self.graph, self.users = graph, users
        self.constants, self.types = dict(graph.constants), dict(graph.types)
        self.replaced: dict[str, list[Node]] = {}

    def result(self) -> Graph:
        """The graph as it is now."""
        if not self.replaced:
            return self.graph
        nodes = [new for n in self.graph.nodes for new in self.replaced.get(n.outputs[0], [n])]
        changed = self.graph.with_nodes(nodes, constants=self.constants, types=self.types)
        return drop_dead(changed, changed.nodes)

    def move(self, norm: Node, products: Sequence[Node]) -> None:
        """``norm`` without scale and shift, and ``products`` with them."""
        constants = self.graph.constants
        scale = constants[norm.inputs[1]]
        shift = constants[norm.inputs[2]].astype(np.float64) if norm.inputs[2:] and norm.inputs[2] else None
        ones = self._constant(f"{norm.output}@ones", np.ones_like(constants[norm.inputs[1]]))
        self.replaced[norm.output] = [
            Node(norm.op, (norm.inputs[0], ones), norm.outputs, norm.attrs, norm.name, norm.sources)
        ]
        for product in products:
            weights = constants[product.inputs[1]]
            scaled = self._constant(f"{product.inputs[1]}@scaled", scale[:, None] * weights)
            node = Node(
                "MatMul",
                (product.inputs[0], scaled),
                product.outputs,
                product.attrs,
                product.name,
                product.sources,
            )
            self.replaced[product.output] = [node]
            if shift is not None:
                self._add(node, (shift @ weights.astype(np.float64)).astype(weights.dtype))

    def _add(self, product: Node, bias: np.ndarray) -> None:
        """``bias`` onto ``product``: in the constant that is added to it anyway, else by an addition of its own."""
        graph, out = self.graph, product.output
        readers = [] if out in graph.outputs else self.users.get(out, [])
        after = readers[0] if len(readers) == 1 and readers[0].op == "Add" else None
        other = next((i for i in after.inputs if i != out), "") if after else ""
        if after and other in graph.constants and graph.constants[other].shape == bias.shape:
            total = self._constant(f"{other}@shifted", graph.constants[other] + bias, bias.dtype)
            inputs = tuple(total if i == other else i for i in after.inputs)
            self.replaced[after.output] = [
                Node("Add", inputs, after.outputs, after.attrs, after.name, after.sources)
            ]
            return
        inner, name = fresh(graph, f"{out}@product", set(self.types)), f"{product.name}/shift"
        self.types[inner] = self.types[out]
        moved = Node("MatMul", product.inputs, (inner,), product.attrs, product.name, product.sources)
        added = Node("Add", (inner, self._constant(f"{out}@shift", bias)), (out,), {}, name, product.sources)
        self.replaced[out] = [moved, added]

    def _constant(self, base: str, array: np.ndarray, dtype: np.dtype | None = None) -> str:
        name = fresh(self.graph, base, set(self.types))
        self.constants[name] = np.ascontiguousarray(array, dtype or array.dtype)
        self.types[name] = Type(array.shape, self.constants[name].dtype.name)
        return name
