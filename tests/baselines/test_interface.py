"""The interface that every adapter reads from a model file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from baselines.common import read_interface
from ecp.errors import ModelError


def saved(folder: Path, input_shape: list[int | str], output_shape: list[int | str]) -> Path:
    node = helper.make_node("Reshape", ["x", "to"], ["y"])
    to = onnx.numpy_helper.from_array(np.array([2, -1], np.int64), "to")
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)], [to],
    )  # fmt: skip
    path = folder / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_symbolic_output_of_a_static_model_gets_its_shape(tmp_path):
    (output,) = read_interface(saved(tmp_path, [4, 6], ["n", "m"])).outputs
    assert output.shape == (2, 12)


def test_a_symbolic_input_is_refused(tmp_path):
    with pytest.raises(ModelError, match="x has an unknown dimension"):
        read_interface(saved(tmp_path, ["batch", 6], [2, 12]))
