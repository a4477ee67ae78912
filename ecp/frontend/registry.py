"""The converters' registry and what a converter sees of its node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from ecp.errors import UnsupportedOperatorError
from ecp.frontend.builder import Builder
from ecp.frontend.loading import array_of
from ecp.ir.graph import Type

Converter = Callable[["NodeContext"], "str | Sequence[str]"]
CONVERTERS: dict[str, Converter] = {}


def converter(*names: str) -> Callable[[Converter], Converter]:
    """Register a function for ONNX operators of the default domain."""

    def register(fn: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(names, fn))
        return fn

    return register


class NodeContext:
    """One ONNX node: its attributes, its inputs as IR values, and ways to emit IR for it."""

    def __init__(
        self, builder: Builder, node: onnx.NodeProto, inputs: Sequence[str], opset: int, label: str
    ) -> None:
        self.builder = builder
        self.node = node
        self.op = node.op_type
        self.inputs = list(inputs)
        while self.inputs and not self.inputs[-1]:
            self.inputs.pop()
        self.opset = opset
        self.label = label
        self._attrs = {a.name: a for a in node.attribute}

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute as a Python value: int, float, str, list or numpy array."""
        found = self._attrs.get(name)
        if found is None:
            return default
        if found.type == onnx.AttributeProto.TENSOR:
            return array_of(found.t, f"attribute {name!r} of {self.label}")
        value = onnx.helper.get_attribute_value(found)
        if isinstance(value, bytes):
            return value.decode()
        return list(value) if found.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS) else value

    def has(self, index: int) -> bool:
        """True where the optional input is present."""
        return index < len(self.inputs) and bool(self.inputs[index])

    def input(self, index: int) -> str:
        """An input that must be there."""
        if not self.has(index):
            raise ValueError(f"input {index} is missing")
        return self.inputs[index]

    def type(self, value: str | int) -> Type:
        """Type of a value, or of the input with that index."""
        return self.builder.types[self.input(value) if isinstance(value, int) else value]

    def shape(self, value: str | int) -> tuple[int, ...]:
        """Shape of a value, or of the input with that index."""
        return self.type(value).shape

    def constant_of(self, value: str) -> np.ndarray | None:
        """The constant behind a value, None where it is computed at run time."""
        return self.builder.constants.get(value)

    def const(self, index: int, what: str = "") -> np.ndarray:
        """A constant input; a run-time value there is an unsupported form of the operator."""
        array = self.constant_of(self.input(index))
        if array is None:
            raise self.unsupported(f"input {index}{f' ({what})' if what else ''} is computed at run time")
        return array

    def ints(self, index: int, what: str = "") -> list[int]:
        """A constant input as a list of int."""
        return [int(v) for v in self.const(index, what).reshape(-1)]

    def axis(self, value: int, rank: int | None = None) -> int:
        """A non-negative axis of input 0 (or of the given rank); ValueError outside."""
        rank = len(self.shape(0)) if rank is None else rank
        if not -rank <= value < max(rank, 1):
            raise ValueError(f"axis {value} outside rank {rank}")
        return value % rank if rank else 0

    def emit(self, op: str, *inputs: str, **attrs: Any) -> str:
        """Emit an operator with one output."""
        return self.emit_many(op, inputs, 1, **attrs)[0]

    def emit_many(self, op: str, inputs: Sequence[str], outputs: int, **attrs: Any) -> tuple[str, ...]:
        """Emit an operator with several outputs."""
        hint = next((o for o in self.node.output if o), self.label)
        return self.builder.emit(op, inputs, attrs, hint=f"{hint}.{op}", source=self.label, outputs=outputs)

    def add_const(self, array: Any, like: str | None = None) -> str:
        """A constant value, in the dtype of another value where given."""
        value = np.asarray(array)
        if like is not None:
            value = value.astype(self.type(like).dtype)
        return self.builder.constant(value, f"{next((o for o in self.node.output if o), self.label)}.const")

    def reshape(self, value: str, shape: Sequence[int]) -> str:
        """Reshape unless the shape is already that."""
        wanted = tuple(int(d) for d in shape)
        return value if self.shape(value) == wanted else self.emit("Reshape", value, shape=wanted)

    def transpose(self, value: str, perm: Sequence[int]) -> str:
        """Transpose unless the permutation is the identity."""
        order = tuple(int(p) for p in perm)
        return value if order == tuple(range(len(order))) else self.emit("Transpose", value, perm=order)

    def unused(self, *indices: int) -> None:
        """Refuse optional outputs that no kernel produces."""
        for i in indices:
            if i < len(self.node.output) and self.node.output[i]:
                raise self.unsupported(f"optional output {i} ({self.node.output[i]!r}) is used")

    def unsupported(self, reason: str) -> UnsupportedOperatorError:
        """The error for a form of the operator that cannot be compiled."""
        return UnsupportedOperatorError(
            f"operator {self.op} in node {self.label!r} is not supported here: {reason}"
        )
