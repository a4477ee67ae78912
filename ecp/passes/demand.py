"""Compute only what is asked for: a slice moves up through the operators that work row by row.

A classifier reads one token of the last block. Sliced where it is read, the block computes all of them; sliced
above, its second half (attention of the other queries, projection, MLP) shrinks to one row, 6 % of a ViT. A slice
moves from a value to what makes it where every reader of the value is a slice of the same axis; it stops at values
that are read whole (keys and values of the attention) and where more than half would be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ecp.ir.graph import Graph, Node
from ecp.ir.infer import infer_node
from ecp.ir.opinfo import ONE_TO_ONE
from ecp.ir.ops import info, is_key
from ecp.passes.rewrite import drop_dead, fresh, rename_inputs, rewrites


@dataclass(frozen=True)
class Run:
    """``start`` .. ``start + count`` of one axis."""

    axis: int
    start: int
    count: int


def narrow(graph: Graph) -> Graph:
    """The graph with every slice as far up as it goes (:func:`rewrites`); outputs are unchanged."""
    for _ in range(rewrites(graph)):
        changed = _once(graph)
        if changed is None:
            break
        graph = changed
    return drop_dead(graph, graph.nodes)


def _once(graph: Graph) -> Graph | None:
    users = graph.consumers()
    for node in reversed(graph.nodes):
        if len(node.outputs) != 1 or node.output in graph.outputs:
            continue
        run = _wanted(graph, users.get(node.output, []))
        if run is None:
            continue
        rewrite = _Rewrite(graph, run)
        narrowed = rewrite.of(node)
        if narrowed is not None:
            return rewrite.apply(node, narrowed, users[node.output])
    return None


def run_of(graph: Graph, node: Node) -> Run | None:
    """The run that a Slice keeps; None where it strides, or cuts several axes or none."""
    if node.op != "Slice":
        return None
    shape, attrs = graph.types[node.inputs[0]].shape, node.attrs
    cut = [i for i, size in enumerate(shape) if attrs["shape"][i] != size]
    if len(cut) != 1 or attrs["steps"][cut[0]] != 1 or any(s != 1 for s in attrs["steps"]):
        return None
    return Run(cut[0], attrs["starts"][cut[0]], attrs["shape"][cut[0]])


def _wanted(graph: Graph, readers: Sequence[Node]) -> Run | None:
    """What all readers together keep of a value, where they slice one axis and keep at most half of it."""
    runs = [run_of(graph, reader) for reader in readers]
    kept = [run for run in runs if run is not None]
    if not kept or len(kept) != len(runs) or len({run.axis for run in kept}) != 1:
        return None
    if any(reader.output in graph.outputs for reader in readers):
        return None
    start, end = min(run.start for run in kept), max(run.start + run.count for run in kept)
    extent = graph.types[readers[0].inputs[0]].shape[kept[0].axis]
    return Run(kept[0].axis, start, end - start) if 2 * (end - start) <= extent else None


class _Rewrite:
    """One step: a node made to compute ``run`` of its output only, with slices of its operands in front."""

    def __init__(self, graph: Graph, run: Run):
        self.graph, self.run = graph, run
        self.types, self.constants = dict(graph.types), dict(graph.constants)
        self.before: list[Node] = []

    def of(self, node: Node) -> Node | None:
        """The narrowed node, still with its old output name; None where its operator mixes the axis."""
        if is_key(node.op) and info(node.op).fusion == ONE_TO_ONE:
            return self._elementwise(node)
        rule = {
            "LayerNormalization": self._normalised, "Softmax": self._normalised, "MatMul": self._product,
            "Transpose": self._transposed, "Reshape": self._reshaped, "Slice": self._sliced, "Concat": self._joined,
        }.get(node.op)  # fmt: skip
        return rule(node) if rule else None

    def apply(self, node: Node, narrowed: Node, readers: Sequence[Node]) -> Graph:
        """The graph with ``narrowed`` in place of ``node``; its readers slice what is left, or read it whole."""
        out = fresh(self.graph, f"{node.output}/part", set(self.types))
        narrowed = replace(narrowed, outputs=(out,))
        self.types[out] = infer_node(narrowed, self.types)[0]
        renamed: dict[str, str] = {}
        moved: dict[str, Node] = {}
        for reader in readers:
            own = run_of(self.graph, reader)
            assert own is not None
            if own.count == self.run.count:
                renamed[reader.output] = out
            else:
                starts = list(reader.attrs["starts"])
                starts[own.axis] = own.start - self.run.start
                attrs = {**reader.attrs, "starts": tuple(starts)}
                moved[reader.output] = replace(reader, inputs=(out,), attrs=attrs)
        nodes: list[Node] = []
        for other in self.graph.nodes:
            if other is node:
                nodes += [*self.before, narrowed]
            elif other.outputs[0] in moved:
                nodes.append(moved[other.outputs[0]])
            elif other.outputs[0] not in renamed:
                nodes.append(rename_inputs(other, renamed))
        return self.graph.with_nodes(nodes, constants=self.constants, types=self.types)

    def _cut(self, value: str, axis: int, run: Run | None = None) -> str:
        """The run of a value along ``axis``: a new constant, or a Slice in front."""
        run = run or self.run
        shape = self.graph.types[value].shape
        name = fresh(self.graph, f"{value}/{run.start}+{run.count}@{axis}", set(self.types))
        kept = tuple(run.count if i == axis else n for i, n in enumerate(shape))
        self.types[name] = replace(self.graph.types[value], shape=kept)
        starts = tuple(run.start if i == axis else 0 for i in range(len(shape)))
        if value in self.graph.constants:
            index = tuple(slice(s, s + n) for s, n in zip(starts, kept))
            self.constants[name] = np.ascontiguousarray(self.graph.constants[value][index])
        else:
            attrs = {"starts": starts, "steps": (1,) * len(shape), "shape": kept}
            self.before.append(Node("Slice", (value,), (name,), attrs, name))
        return name

    def _aligned(self, value: str, rank: int) -> str:
        """An operand that is broadcast against an output of ``rank`` axes, cut where it has the axis."""
        own = self.run.axis - (rank - len(self.graph.types[value].shape)) if value else -1
        return value if own < 0 or self.graph.types[value].shape[own] == 1 else self._cut(value, own)

    def _elementwise(self, node: Node) -> Node:
        rank = len(self.graph.types[node.output].shape)
        return replace(node, inputs=tuple(self._aligned(value, rank) for value in node.inputs))

    def _normalised(self, node: Node) -> Node | None:
        first, rank = node.attrs["axis"], len(self.graph.types[node.output].shape)
        inside = self.run.axis == first % rank if node.op == "Softmax" else self.run.axis >= first % rank
        return (
            None
            if inside
            else replace(node, inputs=(self._cut(node.inputs[0], self.run.axis), *node.inputs[1:]))
        )

    def _product(self, node: Node) -> Node | None:
        left, right = node.inputs
        ranks = [len(self.graph.types[value].shape) for value in (left, right)]
        rank = len(self.graph.types[node.output].shape)
        if min(ranks) < 2:
            return None
        if self.run.axis == rank - 2:
            return replace(node, inputs=(self._cut(left, ranks[0] - 2), right))
        if self.run.axis == rank - 1:
            return replace(node, inputs=(left, self._cut(right, ranks[1] - 1)))
        return replace(node, inputs=(self._aligned(left, rank), self._aligned(right, rank)))

    def _transposed(self, node: Node) -> Node:
        return replace(node, inputs=(self._cut(node.inputs[0], node.attrs["perm"][self.run.axis]),))

    def _reshaped(self, node: Node) -> Node | None:
        """Only an axis that the operand has as well, with as many elements before it."""
        source, shape = self.graph.types[node.inputs[0]].shape, self.graph.types[node.output].shape
        before = int(np.prod(shape[: self.run.axis], dtype=np.int64))
        for axis, size in enumerate(source):
            if size == shape[self.run.axis] and int(np.prod(source[:axis], dtype=np.int64)) == before:
                kept = tuple(self.run.count if i == self.run.axis else n for i, n in enumerate(shape))
                return replace(
                    node, inputs=(self._cut(node.inputs[0], axis),), attrs={**node.attrs, "shape": kept}
                )
        return None

    def _sliced(self, node: Node) -> Node:
        axis, attrs = self.run.axis, node.attrs
        starts, shape = list(attrs["starts"]), list(attrs["shape"])
        starts[axis] += self.run.start * attrs["steps"][axis]
        shape[axis] = self.run.count
        return replace(node, attrs={**attrs, "starts": tuple(starts), "shape": tuple(shape)})

    def _joined(self, node: Node) -> Node:
        axis = self.run.axis
        if node.attrs["axis"] != axis:
            return replace(node, inputs=tuple(self._cut(value, axis) for value in node.inputs))
        parts, at = [], 0
        for value in node.inputs:
            size = self.graph.types[value].shape[axis]
            low, high = max(self.run.start - at, 0), min(self.run.start + self.run.count - at, size)
            if low < high:
                whole = high - low == size
                parts.append(value if whole else self._cut(value, axis, Run(axis, low, high - low)))
            at += size
        return (
            replace(node, op="Identity", inputs=tuple(parts), attrs={})
            if len(parts) == 1
            else replace(node, inputs=tuple(parts))
        )
