"""Which layout an intermediate value is stored in (paper, section 3.3): candidates, then exhaustive evaluation.

An edge is a value that one launch writes and others read through views. Its candidates put each reduction
dimension of its readers innermost, at each point of the views between them, and are carried back to the writer.
Edges do not depend on each other (every kernel is generated for the views it is given), so the best choice of the
whole is the best of every edge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ecp.index.view import Digit, View
from ecp.ir.graph import Graph, Node
from ecp.passes.layoutcost import Row, cost
from ecp.passes.layoutwalk import Access, accesses, operand_axes
from ecp.passes.rewrite import BIJECTIVE

#: Candidates of one edge, the rule's first; more are not evaluated.
MOST = 6
#: The rule's layout stays unless another is predicted to be this much cheaper: the model is no oracle.
MARGIN = 0.95

Back = Callable[[Node, View, tuple[int, ...]], View | None]


@dataclass(frozen=True)
class Choice:
    """Candidate layouts of one edge and their predicted nanoseconds, writer and readers together."""

    value: str
    views: tuple[View, ...]
    predicted: tuple[float, ...]
    best: int


class Chooser:
    """Evaluates the edges of one graph; equal edges (repeated blocks) are evaluated once."""

    def __init__(self, graph: Graph, row: Row, back: Back):
        self.graph, self.row, self.back = graph, row, back
        self.made, self.users = graph.producers(), graph.consumers()
        self._known: dict[object, Choice] = {}

    def choose(self, value: str, rule: View) -> Choice:
        """The evaluated choice for ``value``, whose layout by rule is ``rule``."""
        key = (rule, signature(self.graph, self.made, self.users, value))
        if key not in self._known:
            views = self.candidates(value, rule)
            found = accesses(self.graph, self.made, self.users, value) if len(views) > 1 else []
            predicted = [self._cost(found, view) for view in views]
            best = int(np.argmin(predicted)) if predicted else 0
            if not found or predicted[best] > MARGIN * predicted[0]:
                best = 0
            self._known[key] = Choice(value, tuple(views), tuple(predicted), best)
        return self._known[key]

    def _cost(self, found: list[Access], view: View) -> float:
        offsets = flat_offsets(view)
        return sum(cost(self.row, access, offsets) for access in found)

    def candidates(self, value: str, rule: View) -> list[View]:
        """Distinct layouts that the writer can write, the rule's first."""
        chain: list[Node] = []
        end = value
        while len(after := self.users.get(end, [])) == 1 and after[0].op in BIJECTIVE:
            if end in self.graph.outputs:
                break
            chain.append(after[0])
            end = after[0].output
        found = [rule]
        for length in range(len(chain), -1, -1):
            point = chain[length - 1].output if length else value
            for view in self._at(point):
                for node in reversed(chain[:length]):
                    source = self.graph.types[node.inputs[0]].shape
                    carried = self.back(node, view, source)
                    if carried is None:
                        break
                    view = carried
                else:
                    if view.injective and view not in found and self._holds_parts(value, view):
                        found.append(view)
        return found[:MOST]

    def _holds_parts(self, value: str, view: View) -> bool:
        """True unless ``value`` is a Concat whose axis is cut into digits, which its parts need not fill."""
        node = self.made.get(value)
        return node is None or node.op != "Concat" or len(view.axes[node.attrs["axis"]]) <= 1

    def _at(self, point: str) -> list[View]:
        """Row-major at ``point``, then each reduction dimension of the readers innermost, then the other axes."""
        shape = self.graph.types[point].shape
        rank, reduced = len(shape), operand_axes(self.graph, self.users, point)
        axes = sorted((i for i in range(rank) if shape[i] > 1), key=lambda i: (i not in reduced, -i))
        return [View.dense(shape)] + [
            innermost(shape, [*(i for i in range(rank) if i != axis), axis]) for axis in axes
        ]


def innermost(shape: tuple[int, ...], order: list[int]) -> View:
    """Dense storage whose axes lie in memory in ``order``, outer to inner."""
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return View(tuple((Digit(n, s),) if n > 1 else () for n, s in zip(shape, strides)))


def flat_offsets(view: View) -> np.ndarray:
    """Element offset of every logical coordinate, as an array of the view's shape."""
    total = np.full((1,) * len(view.axes), view.offset, np.int32)
    for i, axis in enumerate(view.axes):
        here = np.zeros(1, np.int32)
        for d in axis:
            here = (here[:, None] + np.arange(d.radix, dtype=np.int32) * d.stride).reshape(-1)
        total = total + here.reshape([-1 if j == i else 1 for j in range(len(view.axes))])
    return np.ascontiguousarray(total)


def signature(graph: Graph, made: Mapping[str, Node], users: Mapping[str, list[Node]], value: str) -> object:
    """Equal for edges whose writer, views and readers are equal up to names."""
    return graph.types[value], _written(graph, made, value), _read(graph, users, value)


def _written(graph: Graph, made: Mapping[str, Node], value: str) -> object:
    node = made.get(value)
    if node is None or node.op == "Fused":
        return None if node is None else _body(node, value)
    return node.op, _attrs(node), tuple(_written(graph, made, i) for i in node.inputs)


def _read(graph: Graph, users: Mapping[str, list[Node]], value: str) -> object:
    found: list[object] = []
    for node in users.get(value, []):
        if node.op == "Fused":
            found.append(_body(node, value))
        else:
            shapes = tuple(graph.types[o].shape for o in node.outputs)
            found.append((node.op, _attrs(node), shapes, tuple(_read(graph, users, o) for o in node.outputs)))
    return tuple(found)


def _body(node: Node, value: str) -> object:
    body: Graph = node.attrs["body"]
    number = {v: i for i, v in enumerate([*body.inputs, *(o for n in body.nodes for o in n.outputs)])}
    rows = tuple(
        (n.op, _attrs(n), tuple(number.get(i, -1) for i in n.inputs), body.types[n.outputs[0]].shape)
        for n in body.nodes
    )
    shapes = tuple(body.types[i].shape for i in body.inputs if i in body.types)
    return node.attrs["kind"], rows, shapes, number[value]


def _attrs(node: Node) -> object:
    return tuple(
        (k, v.tobytes() if isinstance(v, np.ndarray) else repr(v)) for k, v in sorted(node.attrs.items())
    )
