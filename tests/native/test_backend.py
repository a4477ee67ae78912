"""Backend ``ecp-native``: the same bundle as ``ecp``, so the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from baselines import registry
from baselines.base import RunConfig, Unavailable
from ecp.errors import UsageError
from ecp.native import build


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    weights = {
        "w1": rng.standard_normal((24, 40)).astype(np.float32),
        "w2": rng.standard_normal((40, 10)).astype(np.float32),
        "b": rng.standard_normal(40).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Softmax", ["c"], ["d"], axis=-1),
        helper.make_node("MatMul", ["d", "w2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 7, 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 7, 10])],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_same_bits_as_session(runner, any_device, model, precision):
    config = RunConfig(device=any_device.name, precision=precision, threads=1)
    x = np.random.default_rng(5).standard_normal((1, 7, 24)).astype(np.float32)
    results = {}
    for name in ("ecp", "ecp-native"):
        backend = registry.get(name)()
        backend.prepare(model, config)
        results[name] = backend.run({"x": x})
        launches = [(o.name, o.op_type, o.source) for o in backend.profile({"x": x}, 2)]
        results[name + " launches"] = launches
        described = backend.describe()
        assert any_device.device in described.true_backend
        backend.close()
    assert results["ecp"]["y"].tobytes() == results["ecp-native"]["y"].tobytes()
    assert results["ecp launches"] == results["ecp-native launches"] != []


def test_memory_is_of_the_runner_not_of_python(runner, any_device, model):
    backend = registry.get("ecp-native")()
    backend.prepare(model, RunConfig(device=any_device.name, threads=1))
    backend.stage({"x": np.zeros((1, 7, 24), np.float32)})
    backend.execute()
    assert 0 < backend.memory()["VmHWM"] < 1 << 30
    backend.close()


def test_options_are_honoured_or_refused(runner, any_device, model):
    backend = registry.get("ecp-native")()
    with pytest.raises(UsageError, match="command_buffer"):
        backend.prepare(model, RunConfig(any_device.name, options={"ecp-native.speed": "high"}))


def test_no_compiler_is_unavailable(monkeypatch, model, any_device):
    def missing(preset: str = "host") -> Path:
        raise build.NoToolchain("needs a compiler: apt install g++")

    monkeypatch.setattr(build, "runner", missing)
    with pytest.raises(Unavailable, match="apt install"):
        registry.get("ecp-native")().prepare(model, RunConfig(any_device.name))
