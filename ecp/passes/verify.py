"""Invariants of a placed graph: every element of a buffer is written once, and before anything reads it."""

from __future__ import annotations

import numpy as np

from ecp.errors import VerifyError
from ecp.index.view import View
from ecp.ir.graph import Node
from ecp.ir.verify import verify
from ecp.passes.rewrite import is_view
from ecp.passes.storage import Buffer, Placement, part_views, storage_dtype


def verify_placement(placed: Placement) -> None:
    """Raise :class:`VerifyError` unless the graph is well formed and its values are where they can be.

    Checked: what launches write and what the caller sees is stored; views have their value's shape, lie inside their
    buffer and are of its type; no two launches write one element; what a launch reads was written before, by launches,
    by the caller, or at load.
    """
    verify(placed.graph)
    for value, stored in placed.storage.items():
        _verify_storage(placed, value, stored.buffer, stored.view)
    walk = _Walk(placed)
    for node in placed.graph.nodes:
        if node.op == "Fused":
            walk.reads(node)
            walk.writes(node)
    for output in placed.graph.outputs:
        if output not in placed.graph.constants:
            walk.check_written(output, f"output {output!r}")


def _verify_storage(placed: Placement, value: str, buffer: str, view: View) -> None:
    where = f"value {value!r} in buffer {buffer!r}"
    known, declared = placed.buffers.get(buffer), placed.graph.types.get(value)
    declared = declared or (placed.views.types.get(value) if placed.views else None)
    if known is None:
        raise VerifyError(f"value {value!r} is stored in {buffer!r}, which is no buffer")
    if known.name != buffer:
        raise VerifyError(f"buffer {buffer!r} is named {known.name!r}")
    if declared is None:
        raise VerifyError(f"{where} has no type")
    if view.shape != declared.shape:
        raise VerifyError(f"{where} has the shape {view.shape}, its view {declared.shape}")
    if known.dtype not in (declared.dtype, storage_dtype(declared.dtype, True)):
        raise VerifyError(f"{where} is {declared.dtype}, the buffer {known.dtype}")
    low, high = view.bounds
    if declared.size and (low < 0 or high >= known.elements):
        raise VerifyError(f"{where} takes elements {low} to {high} of {known.elements}")


class _Walk:
    """The launches in their order, and which elements of every buffer are written so far."""

    def __init__(self, placed: Placement):
        self.graph, self.storage = placed.graph, placed.storage
        self.made = placed.graph.producers()
        self.written = {name: _at_load(buffer) for name, buffer in placed.buffers.items()}
        for node in self.graph.nodes:
            if node.op == "Concat":
                self.constants(node)

    def constants(self, concat: Node) -> None:
        """The constant parts of a Concat are written at load."""
        whole = self.storage.get(concat.output)
        if whole is None:
            raise VerifyError(f"Concat {concat.output!r} is stored nowhere")
        for part, view in zip(concat.inputs, part_views(self.graph, concat, whole.view) or ()):
            if part in self.graph.constants:
                _elements(self.written[whole.buffer], view)[...] = True

    def reads(self, node: Node) -> None:
        """Everything behind the operator's inputs is written."""
        pending, seen = [i for i in node.inputs if i], set[str]()
        while pending:
            value = pending.pop()
            if value in seen or value in self.graph.constants:
                continue
            seen.add(value)
            maker = self.made.get(value)
            if value in self.storage:
                self.check_written(value, f"{node.name!r} reads {value!r}")
            elif is_view(maker) and maker is not None:
                pending += maker.inputs
            else:
                raise VerifyError(f"{node.name!r} reads {value!r}, which is stored nowhere")

    def check_written(self, value: str, where: str) -> None:
        """Every element of a stored value is written."""
        if value not in self.storage:
            raise VerifyError(f"{where}, which is stored nowhere")
        stored = self.storage[value]
        if not _elements(self.written[stored.buffer], stored.view).all():
            raise VerifyError(f"{where} before all of it is written to buffer {stored.buffer!r}")

    def writes(self, node: Node) -> None:
        """The operator writes its outputs, each element once and to where nothing is yet."""
        for value in node.outputs:
            if value not in self.storage:
                raise VerifyError(f"{node.name!r} makes {value!r}, which is stored nowhere")
            stored = self.storage[value]
            mask = self.written[stored.buffer]
            elements = _elements(mask, stored.view)
            if elements.any():
                raise VerifyError(f"{node.name!r} writes {value!r} over what is in buffer {stored.buffer!r}")
            before = int(np.count_nonzero(mask))
            elements[...] = True
            if int(np.count_nonzero(mask)) - before != self.graph.types[value].size:
                raise VerifyError(f"{node.name!r} writes several elements of {value!r} to one place")


def _at_load(buffer: Buffer) -> np.ndarray:
    """Which elements are there before the first launch: all of an input."""
    return np.full(max(1, buffer.elements), buffer.kind == "input")


def _elements(mask: np.ndarray, view: View) -> np.ndarray:
    """The elements of ``mask`` that ``view`` takes, as a view of it; bounds were checked."""
    digits = [d for axis in view.axes for d in axis]
    if 0 in view.shape:
        return mask[:0]
    return np.lib.stride_tricks.as_strided(
        mask[view.offset :], [d.radix for d in digits], [d.stride for d in digits]
    )
