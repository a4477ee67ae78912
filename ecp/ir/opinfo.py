"""What the op table knows about one operator. Shared by the ``op_*`` modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecp.ir.graph import Type

Attrs = Mapping[str, Any]
#: Inputs in order; ``None`` stands for an absent optional one (trailing ones may also be missing).
Infer = Callable[[Attrs, Sequence[Any]], tuple[Type, ...]]
Evaluate = Callable[[Attrs, Sequence[Any]], tuple[np.ndarray, ...]]

KEY = "key"
TRANSFORMATIVE = "transformative"
ONE_TO_ONE = "one-to-one"
ONE_TO_MANY = "one-to-many"
MANY_TO_MANY = "many-to-many"
REORGANIZE = "reorganize"
SHUFFLE = "shuffle"


@dataclass(frozen=True)
class OpInfo:
    """One row of the op table.

    ``klass``: ``key`` computes values, ``transformative`` only moves them.
    ``fusion``: mapping type of DNNFusion (Niu et al., PLDI 2021, table 2).
    ``input_layout_dependent`` / ``output_layout_free``: the four classes of SmartMem (Niu et al.,
    ASPLOS 2024): does speed depend on the layout of the input; may the output take any layout.
    ``arity``: least and most inputs. ``attrs``: exactly the attribute names that a node carries.
    ``infer(attrs, types)`` raises ValueError where the inputs do not fit; ``evaluate(attrs, arrays)``
    is the semantics, in the dtype of its inputs (float16 accumulates in float32).
    """

    name: str
    klass: str
    fusion: str
    input_layout_dependent: bool
    output_layout_free: bool
    arity: tuple[int, int]
    attrs: tuple[str, ...]
    infer: Infer
    evaluate: Evaluate
    doc: str


def broadcast(*shapes: Sequence[int]) -> tuple[int, ...]:
    """Numpy broadcasting of shapes; ValueError where they do not fit."""
    return tuple(int(d) for d in np.broadcast_shapes(*(tuple(s) for s in shapes)))


def wide(x: np.ndarray) -> np.ndarray:
    """The array in the dtype that sums are accumulated in: float16 becomes float32."""
    return x.astype(np.float32) if x.dtype == np.float16 else x
