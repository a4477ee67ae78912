"""Decide where every value that is written to memory lives, and in which layout.

A producer writes the layout that its consumers read best, so that no launch only moves data (paper,
section 3.3): the view that is dense at the consumer's operand is carried back through the transformative
operators to the producer. Parts of a Concat are written straight into the whole; constant parts are
written once, at load time, into memory that is never reused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from ecp.index.view import Digit, View
from ecp.ir.graph import Graph, Node, Type
from ecp.passes.layoutchoice import Chooser
from ecp.passes.layoutcost import Row
from ecp.passes.rewrite import BIJECTIVE, is_view, rename_inputs

# Elements below which the layout of a value is not worth evaluating.
SMALL = 4096


@dataclass(frozen=True)
class Storage:
    """``view`` maps the value's coordinates to elements of ``buffer``."""

    buffer: str
    view: View


@dataclass
class Buffer:
    """Memory of one root value. ``kind``: arena, static (written at load), input, output or weights.

    ``image``: (width, height) in texels of 4 elements where kernels read it as an image. ``make`` gives the
    content instead of ``init`` where it is made when it is written.
    """

    name: str
    elements: int
    dtype: str
    kind: str
    init: np.ndarray | None = None
    image: tuple[int, int] | None = None
    make: Callable[[], np.ndarray] | None = None

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return max(1, self.elements) * np.dtype(self.dtype).itemsize


@dataclass
class Placement:
    """Result of the pass: the graph (with copies added where a value cannot be pushed) and the tables.

    ``views``: the graph before fusion, whose views kernels read through; None: those of ``graph`` are all.
    """

    graph: Graph
    storage: dict[str, Storage] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    views: Graph | None = None


def place(
    graph: Graph,
    *,
    half: bool = False,
    layout_choice: bool = True,
    row: Row | None = None,
    layouts: Mapping[str, View] | None = None,
) -> Placement:
    """Storage for every value that leaves a launch. ``half`` stores float32 activations as float16.

    ``row``: costs by which the layout of every edge is chosen (:mod:`ecp.passes.layoutchoice`); None keeps the rule.
    ``layouts`` gives layouts by value, for measuring them.
    """
    graph = add_concat_copies(graph)
    while True:
        maker = _attempt(graph, half, layout_choice, row, layouts or {})
        if not maker.stuck:
            return maker.result
        graph = _with_copies(graph, maker.stuck)


def _attempt(
    graph: Graph, half: bool, layout_choice: bool, row: Row | None, layouts: Mapping[str, View]
) -> _Placer:
    """Place everything; ``stuck`` names values that no launch could write where they must be."""
    place = Placement(graph)
    maker = _Placer(place, half, layout_choice)
    maker.layouts = layouts
    maker.chooser = None if row is None else Chooser(graph, row, back_through_shape)
    for name in graph.inputs:
        maker.dense(name, "input", graph.types[name].dtype)
    maker.outputs()
    for node in reversed(graph.nodes):
        if node.op == "Concat":
            maker.concat(node)
    for node in graph.nodes:
        for value in node.outputs if node.op == "Fused" else ():
            if value not in place.storage:
                maker.chosen(value)
    return maker


def storage_dtype(dtype: str, half: bool) -> str:
    """The dtype a value is stored in."""
    return "float16" if half and dtype == "float32" else dtype


class _Placer:
    def __init__(self, result: Placement, half: bool, layout_choice: bool):
        self.result, self.half, self.layout_choice = result, half, layout_choice
        self.graph = result.graph
        self.made = self.graph.producers()
        self.users = self.graph.consumers()
        self.stuck: list[str] = []
        self.layouts: Mapping[str, View] = {}
        self.chooser: Chooser | None = None

    def dense(self, value: str, kind: str, dtype: str) -> None:
        """Row-major storage of its own."""
        shape = self.graph.types[value].shape
        self.add(value, View.dense(shape), kind, dtype, prod(shape))

    def add(self, value: str, view: View, kind: str, dtype: str, elements: int) -> None:
        """A new buffer for ``value``."""
        self.result.buffers[value] = Buffer(value, elements, dtype, kind)
        self.result.storage[value] = Storage(value, view)

    def outputs(self) -> None:
        """Model outputs are dense in the model's own dtype; a producer behind views writes through them."""
        for output in self.graph.outputs:
            if output in self.result.storage or output in self.graph.constants:
                continue
            shape = self.graph.types[output].shape
            self.add(output, View.dense(shape), "output", self.graph.types[output].dtype, prod(shape))
            self.push(output, self.result.storage[output])

    def push(self, value: str, storage: Storage) -> None:
        """Carry storage up through bijective views to the launch (or Concat) that can write it, else it is stuck."""
        first = value
        while (node := self.made.get(value)) is not None and node.op in BIJECTIVE:
            source = node.inputs[0]
            view = back_through(node, storage.view, self.graph.types[source])
            if (
                view is None
                or len(self.users[source]) != 1
                or source in self.result.storage
                or source in self.graph.outputs
                or not self._aligned(source, view)
            ):
                self.stuck.append(value)
                return
            value, storage = source, replace(storage, view=view)
            self.result.storage[value] = storage
        if node is None or (is_view(node) and node.op != "Concat") or not self._aligned(first, storage.view):
            self.stuck.append(value)

    def _layout(self, value: str) -> View:
        """The layout given for a value, or the one that is predicted to be cheapest, or the rule's."""
        if value in self.layouts:
            return self.layouts[value]
        rule = preferred(self.graph, self.users, self.made, value) or View.dense(
            self.graph.types[value].shape
        )
        if self.chooser is None or self.graph.types[value].size < SMALL:
            return rule
        choice = self.chooser.choose(value, rule)
        return choice.views[choice.best]

    def _aligned(self, value: str, view: View) -> bool:
        """True where ``value`` is no Concat, or one whose parts are slices of ``view``."""
        node = self.made.get(value)
        return node is None or node.op != "Concat" or part_views(self.graph, node, view) is not None

    def concat(self, node: Node) -> None:
        """Parts become slices of the whole; constants are written into it at load time."""
        result = self.result
        if node.output not in result.storage:
            self.chosen(node.output)
        whole = result.storage[node.output]
        buffer = result.buffers[whole.buffer]
        for part, view in zip(node.inputs, part_views(self.graph, node, whole.view) or ()):
            if part in self.graph.constants:
                _prewrite(buffer, view, self.graph.constants[part])
            else:
                result.storage[part] = Storage(whole.buffer, view)
                self.push(part, result.storage[part])

    def chosen(self, value: str) -> None:
        """Storage in the layout that the consumers of ``value`` prefer."""
        t = self.graph.types[value]
        view = self._layout(value) if self.layout_choice else None
        if view is not None and not self._aligned(value, view):
            view = None
        self.add(value, view or View.dense(t.shape), "arena", storage_dtype(t.dtype, self.half), t.size)


def part_views(graph: Graph, node: Node, whole: View) -> list[View] | None:
    """The view of every part of a Concat stored as ``whole``; None where one does not align with its digits."""
    axis, start, views = node.attrs["axis"], 0, []
    rank = len(graph.types[node.output].shape)
    for part in node.inputs:
        extent = graph.types[part].shape
        starts = tuple(start if i == axis else 0 for i in range(rank))
        view = whole.slice(starts, (1,) * rank, extent)
        if view is None:
            return None
        views.append(view)
        start += extent[axis]
    return views


def _prewrite(buffer: Buffer, view: View, array: np.ndarray) -> None:
    if buffer.kind in ("arena", "output"):
        buffer.kind = "static"
    if buffer.init is None:
        buffer.init = np.zeros(buffer.elements, buffer.dtype)
    flat = np.full(view.shape, view.offset, np.int64)
    for i, axis in enumerate(view.axes):
        inner, coord = (
            1,
            np.arange(view.shape[i]).reshape([-1 if j == i else 1 for j in range(len(view.axes))]),
        )
        for d in reversed(axis):
            flat = flat + coord // inner % d.radix * d.stride
            inner *= d.radix
    buffer.init[flat] = array


def back_through(node: Node, view: View, source: Type) -> View | None:
    """The view of the operator's input that puts its output where ``view`` says."""
    if node.op == "Reshape":
        return view.reshape(source.shape)
    if node.op == "Transpose":
        inverse = tuple(int(i) for i in np.argsort(node.attrs["perm"]))
        return view.permute(inverse)
    return view


def back_through_shape(node: Node, view: View, shape: tuple[int, ...]) -> View | None:
    """:func:`back_through` for the input's shape."""
    return back_through(node, view, Type(shape))


def preferred(
    graph: Graph, users: Mapping[str, list[Node]], made: Mapping[str, Node], value: str
) -> View | None:
    """The view that is dense where the consumers read, None for row-major."""
    chain: list[Node] = []
    end = value
    while len(after := users.get(end, [])) == 1 and after[0].op in BIJECTIVE and end not in graph.outputs:
        chain.append(after[0])
        end = after[0].output
    for length in range(len(chain), 0, -1):
        view: View | None = _at_consumer(graph, users, made, chain[length - 1].output)
        for node in reversed(chain[:length]):
            view = None if view is None else back_through(node, view, graph.types[node.inputs[0]])
        if view is not None:
            return view
    return _at_consumer(graph, users, made, value)


def _at_consumer(graph: Graph, users: Mapping[str, list[Node]], made: Mapping[str, Node], value: str) -> View:
    shape = graph.types[value].shape
    kinds = {_window_kind(n, value) for n in users.get(value, [])} | {_window_kind(made.get(value), value)}
    if len(shape) >= 4 and "conv" in kinds:
        return channels_last(shape)
    return View.dense(shape)


def _window_kind(node: Node | None, value: str) -> str:
    """``conv`` where the node slides windows over (or writes windows into) ``value``."""
    if node is None or node.op != "Fused":
        return ""
    for inner in node.attrs["body"].nodes:
        if inner.op in ("Conv", "MaxPool", "AveragePool"):
            return "conv"
    return ""


def channels_last(shape: tuple[int, ...]) -> View:
    """[N, C, *S] stored with the channels innermost."""
    n, c, *spatial = shape
    strides = [prod(spatial[i + 1 :]) * c for i in range(len(spatial))]
    axes = [
        (Digit(n, c * prod(spatial)),),
        (Digit(c, 1),),
        *[(Digit(s, t),) for s, t in zip(spatial, strides)],
    ]
    return View(tuple(tuple(d for d in a if d.radix > 1) for a in axes))


def add_concat_copies(graph: Graph) -> Graph:
    """Give every Concat part a producer of its own: a copy launch (with its reason) where there is none."""
    made, users = graph.producers(), graph.consumers()
    owned: set[str] = set()
    nodes: list[Node] = []
    types = dict(graph.types)
    for node in graph.nodes:
        if node.op != "Concat":
            nodes.append(node)
            continue
        parts = []
        for index, part in enumerate(node.inputs):
            reason = _not_pushable(graph, made, users, owned, part)
            if reason is None:
                parts.append(part)
                continue
            name = f"{node.output}/part{index}"
            types[name] = types[part]
            nodes.append(_copy(graph, node, part, name, reason))
            parts.append(name)
        nodes.append(replace(node, inputs=tuple(parts)))
    return graph.with_nodes(nodes, types=types)


def _copy(graph: Graph, node: Node, part: str, name: str, reason: str) -> Node:
    t = graph.types[part]
    inner = Node("Identity", (part,), (name,), {}, name, node.sources)
    body = Graph((inner,), (part,), (name,), {}, {part: t, name: t})
    attrs = {"kind": "copy", "body": body, "reason": reason}
    return Node("Fused", (part,), (name,), attrs, f"copy:{name}", node.sources or (node.name,))


def _with_copies(graph: Graph, stuck: list[str]) -> Graph:
    """A copy launch for every stuck value: its view evaluated into place, or a Concat's result copied."""
    made, nodes, types = graph.producers(), list(graph.nodes), dict(graph.types)
    reason = "its layout cannot be carried back to the launch that computes it"
    for value in dict.fromkeys(stuck):
        node = made[value]
        if node.op != "Concat":
            body = Graph(
                (node,), (node.inputs[0],), (value,), {}, {v: types[v] for v in (node.inputs[0], value)}
            )
            attrs = {"kind": "copy", "body": body, "reason": f"{value!r}: {reason}"}
            copy = Node(
                "Fused", (node.inputs[0],), (value,), attrs, f"copy:{value}", node.sources or (node.name,)
            )
            nodes[nodes.index(node)] = copy
            continue
        name = f"{value}/copy"
        types[name] = types[value]
        at = nodes.index(node) + 1
        rest = [rename_inputs(n, {value: name}) if n.op == "Concat" else n for n in nodes[at:]]
        nodes[at:] = [_copy(graph, node, value, name, f"{value!r}: {reason}"), *rest]
    return graph.with_nodes(nodes, types=types)


def _not_pushable(
    graph: Graph, made: Mapping[str, Node], users: Mapping[str, list[Node]], owned: set[str], part: str
) -> str | None:
    """Why the part cannot be written in place by its producer; None where it can."""
    if part in graph.constants:
        return None
    value = part
    while (node := made.get(value)) is not None and node.op in BIJECTIVE:
        if len(users[value]) != 1 or value in graph.outputs:
            return f"{value!r} is a part of a Concat and is read elsewhere through a view"
        value = node.inputs[0]
    if value in owned:
        return f"{value!r} is part of two Concats"
    if value in graph.outputs:
        return f"{value!r} is also a model output"
    if node is None:
        return f"{value!r} is a model input"
    if value != part and len(users[value]) != 1:
        return f"{value!r} is a part of a Concat and is read elsewhere"
    if node.op == "Fused" or node.op == "Concat":
        owned.add(value)
        return None
    if is_view(node):
        return f"a {node.op} of a stored value is part of a Concat"
    return f"{value!r} has no launch that could write it in place"
