"""Indices and bounds at import: constants outside are refused, and run-time ones of operators that need constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecp.errors import ModelError, UnsupportedOperatorError
from ecp.frontend.onnx import import_onnx


def model(
    op: str, inputs: Sequence[np.ndarray | tuple[int, ...]], outputs: int = 1, **attrs: Any
) -> onnx.ModelProto:
    """One node called ``pick``: an array is a constant, a shape a float input, a list of int an int64 input."""
    given, inits, names = [], [], []
    for i, value in enumerate(inputs):
        names.append(f"v{i}")
        if isinstance(value, np.ndarray):
            inits.append(numpy_helper.from_array(value, names[-1]))
        else:
            kind = TensorProto.INT64 if isinstance(value, list) else TensorProto.FLOAT
            given.append(helper.make_tensor_value_info(names[-1], kind, list(value)))
    outs = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, outs, name="pick", **attrs)
    typed = [helper.make_empty_tensor_value_info(o) for o in outs]
    graph = helper.make_graph([node], "indices", given, typed, inits)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def ints(*values: Any) -> np.ndarray:
    return np.array(values, np.int64)


CONSTANT = {
    "Gather": [(4, 3), ints(0, 4)],
    "GatherElements": [(4, 3), ints([0, 1, -5])],
    "GatherND": [(4, 3), ints([0, 3])],
    "ScatterND": [(4, 3), ints([1, -4]), (1,)],
    "ScatterElements": [(4, 3), ints([4, 1, 0]), (1, 3)],
    "ReverseSequence": [(4, 3), ints(1, 5, 2)],
}  # fmt: skip


@pytest.mark.parametrize("op", list(CONSTANT))
def test_a_constant_index_outside_is_refused(op: str) -> None:
    """Flat, GatherElements' -5 of 4 rows would be inside the table."""
    with pytest.raises(ModelError, match="pick"):
        import_onnx(model(op, CONSTANT[op]))


RUN_TIME = {
    "ScatterND": [(4, 3), [1, 1], (1, 3)], "ScatterElements": [(4, 3), [1, 3], (1, 3)],
    "Slice": [(4, 3), [1], ints(2)], "Pad": [(4, 3), [4]], "TopK": [(4, 3), [1]], "Tile": [(4, 3), [2]],
    "Expand": [(4, 3), [2]], "CumSum": [(4, 3), []], "ReverseSequence": [(4, 3), [3]], "OneHot": [[3], [1], (2,)],
}  # fmt: skip


@pytest.mark.parametrize("op", list(RUN_TIME))
def test_what_must_be_constant_is_refused_at_run_time(op: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"'pick'.*computed at run time"):
        import_onnx(model(op, RUN_TIME[op], 2 if op == "TopK" else 1))


@pytest.mark.parametrize("op", ["Gather", "GatherElements", "GatherND"])
def test_no_index_is_inside_an_empty_axis(op: str) -> None:
    with pytest.raises(ModelError, match="pick"):
        import_onnx(model(op, [(0, 3), [2, 1]]))
