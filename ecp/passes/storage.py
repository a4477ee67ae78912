"""Decide where every value that is written to memory lives, and in which layout.

A producer writes the layout that its consumers read best, so that no launch only moves data (paper,
section 3.3): the view that is dense at the consumer's operand is carried back through the transformative
operators to the producer. Parts of a Concat are written straight into the whole; constant parts are
written once, at load time, into memory that is never reused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from ecp.index.view import Digit, View
from ecp.ir.graph import Graph, Node, Type
from ecp.passes.rewrite import BIJECTIVE, is_view


@dataclass(frozen=True)
class Storage:
    """``view`` maps the value's coordinates to elements of ``buffer``."""

    buffer: str
    view: View


@dataclass
class Buffer:
    """Memory of one root value. ``kind``: arena, static (written at load), input, output or weights.

    ``image``: (width, height) in texels of 4 elements where kernels read it as an image.
    """

    name: str
    elements: int
    dtype: str
    kind: str
    init: np.ndarray | None = None
    image: tuple[int, int] | None = None

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return max(1, self.elements) * np.dtype(self.dtype).itemsize


@dataclass
class Placement:
    """Result of the pass: the graph (with copies added where a value cannot be pushed) and the tables."""

    graph: Graph
    storage: dict[str, Storage] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)


def place(graph: Graph, *, half: bool = False, layout_choice: bool = True) -> Placement:
    """Storage for every value that leaves a launch. ``half`` stores float32 activations as float16."""
    graph = add_concat_copies(graph)
    place = Placement(graph)
    maker = _Placer(place, half, layout_choice)
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
    return place


def storage_dtype(dtype: str, half: bool) -> str:
    """The dtype a value is stored in."""
    return "float16" if half and dtype == "float32" else dtype


class _Placer:
    def __init__(self, result: Placement, half: bool, layout_choice: bool):
        self.result, self.half, self.layout_choice = result, half, layout_choice
        self.graph = result.graph
        self.made = self.graph.producers()
        self.users = self.graph.consumers()

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

    def push(self, value: str, storage: Storage) -> str:
        """Carry storage up through bijective views; the value where it ends."""
        while (node := self.made.get(value)) is not None and node.op in BIJECTIVE:
            source = node.inputs[0]
            if len(self.users[source]) != 1 or source in self.result.storage or source in self.graph.outputs:
                return value
            view = back_through(node, storage.view, self.graph.types[source])
            if view is None:
                return value
            value, storage = source, replace(storage, view=view)
            self.result.storage[value] = storage
        return value

    def concat(self, node: Node) -> None:
        """Parts become slices of the whole; constants are written into it at load time."""
        result, shape = self.result, self.graph.types[node.output].shape
        if node.output not in result.storage:
            self.chosen(node.output)
        whole = result.storage[node.output]
        buffer = result.buffers[whole.buffer]
        axis, start = node.attrs["axis"], 0
        for part in node.inputs:
            extent = self.graph.types[part].shape
            starts = tuple(start if i == axis else 0 for i in range(len(shape)))
            view = whole.view.slice(starts, (1,) * len(shape), extent)
            if view is None:
                raise ValueError(f"concat part {part!r} does not align with the layout of {node.output!r}")
            if part in self.graph.constants:
                _prewrite(buffer, view, self.graph.constants[part])
            else:
                result.storage[part] = Storage(whole.buffer, view)
                self.push(part, result.storage[part])
            start += extent[axis]

    def chosen(self, value: str) -> None:
        """Storage in the layout that the consumers of ``value`` prefer."""
        t = self.graph.types[value]
        view = preferred(self.graph, self.users, self.made, value) if self.layout_choice else None
        self.add(value, view or View.dense(t.shape), "arena", storage_dtype(t.dtype, self.half), t.size)


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
