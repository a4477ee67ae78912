"""One kernel at a time, at the sizes of ViT-S: how fast, and still right (against numpy)."""

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import ecp

TOKENS, DIM, HEADS = 197, 384, 6
RNG = np.random.default_rng(0)


def _model(nodes, out_shape, in_shape, **weights):
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    value = [helper.make_tensor_value_info("x", TensorProto.FLOAT, in_shape)]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, out_shape)]
    graph = helper.make_graph(nodes, "kernel", value, out, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def matmul(n):
    w = RNG.standard_normal((DIM, n), dtype=np.float32)
    model = _model([helper.make_node("MatMul", ["x", "w"], ["y"])], [1, TOKENS, n], [1, TOKENS, DIM], w=w)
    return model, lambda x: x @ w


def layernorm_matmul(n):
    w = RNG.standard_normal((DIM, n), dtype=np.float32)
    scale, shift = np.ones(DIM, np.float32), np.zeros(DIM, np.float32)
    nodes = [
        helper.make_node("LayerNormalization", ["x", "scale", "shift"], ["h"], axis=-1, epsilon=1e-6),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    model = _model(nodes, [1, TOKENS, n], [1, TOKENS, DIM], w=w, scale=scale, shift=shift)

    def truth(x):
        centred = x - x.mean(-1, keepdims=True)
        return (centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)) @ w

    return model, truth


def softmax():
    nodes = [helper.make_node("Softmax", ["x"], ["y"], axis=-1)]
    shape = [1, HEADS, TOKENS, TOKENS]

    def truth(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    return _model(nodes, shape, shape), truth


CASES = {
    "matmul_qkv": lambda: matmul(3 * DIM),
    "matmul_mlp": lambda: matmul(4 * DIM),
    "layernorm_qkv": lambda: layernorm_matmul(3 * DIM),
    "softmax": softmax,
}


@pytest.mark.parametrize("name", CASES)
def test_kernel(benchmark, tmp_path, name):
    model, truth = CASES[name]()
    path = tmp_path / f"{name}.onnx"
    onnx.save(model, path)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    x = RNG.standard_normal(shape, dtype=np.float32)
    with ecp.Session(ecp.compile(path, device="local")) as session:
        session.stage({"x": x})
        session.execute()
        (y,) = session.fetch().values()
        wanted = truth(x.astype(np.float64))
        assert np.abs(y - wanted).max() <= 1e-4 * np.abs(wanted).max()
        benchmark.extra_info.update(
            device="local",
            driver=session.driver_version,
            true_backend=session.device_name,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        benchmark(session.execute)
