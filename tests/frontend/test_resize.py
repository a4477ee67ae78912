"""Interpolated maps: the same numbers as ONNX Runtime, and vectors along channels where there are many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecp.compiler import compile_onnx
from ecp.frontend.onnx import import_onnx
from ecp.ir.interp import run


def upsampled(path: Path, channels: int) -> Path:
    """3x3 convolution, bilinear 7x5 -> 14x15, 1x1 convolution."""
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.standard_normal((channels, 3, 3, 3)),
        "u": rng.standard_normal((8, channels, 1, 1)),
        "scales": np.array([1, 1, 2, 3]),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Resize", ["c", "", "scales"], ["r"], mode="linear"),
        helper.make_node("Conv", ["r", "u"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3, 7, 5))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 8, 14, 15))],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("channels", [3, 32])
def test_means_what_onnx_runtime_says(tmp_path: Path, channels: int) -> None:
    path = upsampled(tmp_path / "m.onnx", channels)
    x = np.random.default_rng(1).standard_normal((2, 3, 7, 5)).astype(np.float32)
    (want,) = ort.InferenceSession(path).run(None, {"x": x})
    got = run(import_onnx(path), {"x": x}, np.float64)["y"]
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_many_channels_are_the_columns(tmp_path: Path) -> None:
    """A product for each image and one for each of its rows, not one for each channel."""
    bundle = compile_onnx(upsampled(tmp_path / "m.onnx", 32), "local-cpu", "fp32", cache=False)
    products = [launch for launch in bundle.plan.launches if launch.family == "matmul"]
    assert sorted(launch.global_size[2] for launch in products) == [2, 2 * 14]
    assert not any(launch.layout for launch in bundle.plan.launches)
