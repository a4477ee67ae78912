"""Every backend keeps the protocol; the three that are always there also give right answers and refuse the rest."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines import registry
from baselines.base import Backend, RunConfig, Unavailable, Unsupported
from ecp.errors import DeviceError, InputError

WEIGHT = np.random.default_rng(1).standard_normal((8, 4)).astype(np.float32)
X = np.random.default_rng(2).standard_normal((1, 8)).astype(np.float32)
ALWAYS = ("ecp", "onnxruntime", "torch")


def torch_module(name: str) -> Any:
    """The tiny model as PyTorch source, for the torch backend's factory option."""
    import torch

    layer = torch.nn.Linear(8, 4, bias=False)
    layer.weight = torch.nn.Parameter(torch.from_numpy(WEIGHT.T.copy()))
    return layer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "w"], ["logits"], name="product")],
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECP_CACHE", str(tmp_path))
    monkeypatch.delenv("ECP_NO_BUNDLE_CACHE", raising=False)


def config(**changes: Any) -> RunConfig:
    options = {
        "model": "tiny",
        "torch_module": "tests.baselines.test_contract:torch_module",
        "device_class": "cpu",
    }
    values: dict[str, Any] = {"device": "local-cpu", "threads": 1, "options": options}
    values.update(changes)
    return RunConfig(**values)


@pytest.mark.parametrize("name", registry.names())
def test_every_registered_backend_is_one(name: str) -> None:
    found = registry.get(name)
    assert issubclass(found, Backend) and found.name == name and found.__doc__
    for method in ("prepare", "describe", "stage", "execute", "fetch"):
        assert not getattr(getattr(found, method), "__isabstractmethod__", False), method


def test_the_registry_imports_no_framework() -> None:
    code = (
        "import sys; from baselines import registry; names = registry.names();"
        "print([m for m in ('torch', 'onnxruntime', 'openvino', 'MNN', 'tvm', 'pyopencl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_backend_and_missing_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError):
        registry.get("none")
    monkeypatch.setitem(registry.BUILT_IN, "broken", "baselines.registry:nothing")
    with pytest.raises(AttributeError):
        registry.get("broken")


@pytest.mark.parametrize("name", ALWAYS)
def test_right_answers_and_an_honest_description(name: str, model: Path) -> None:
    backend = registry.get(name)()
    backend.prepare(model, config())
    got = backend.run({"input": X})
    assert list(got) == ["logits"]
    np.testing.assert_allclose(got["logits"], X @ WEIGHT, atol=1e-5)
    described = backend.describe()
    assert described.version and described.true_backend
    details = described.details
    assert details.get("threads", details.get("intra_op_num_threads")) == 1
    backend.stage({"input": 2 * X})
    backend.execute()
    np.testing.assert_allclose(backend.fetch()["logits"], 2 * X @ WEIGHT, atol=1e-5)
    backend.close()


@pytest.mark.parametrize("name", ALWAYS)
@pytest.mark.parametrize(
    "feeds",
    [{}, {"image": X}, {"input": X, "more": X}, {"input": X[:, :4]}, {"input": X.astype(np.float64)}],
    ids=["none", "wrong name", "one too many", "shape", "dtype"],
)
def test_wrong_feeds_are_named(name: str, feeds: dict, model: Path) -> None:
    backend = registry.get(name)()
    backend.prepare(model, config())
    with pytest.raises(InputError, match=r"input|more"):
        backend.stage(feeds)


@pytest.mark.parametrize("name", ALWAYS)
def test_the_processor_never_answers_for_a_gpu(name: str, model: Path) -> None:
    from bench.devices import get_device, probe

    if probe("local-gpu", get_device("local-gpu")).reachable:
        pytest.skip("this machine has a GPU")
    gpu = config(device="local-gpu", options={**config().options, "device_class": "generic"})
    with pytest.raises((Unsupported, Unavailable, DeviceError), match=r"(?i)gpu"):
        registry.get(name)().prepare(model, gpu)


def test_onnxruntime_refuses_what_it_would_fake(model: Path) -> None:
    with pytest.raises(Unsupported, match="fp32, not fp16"):
        registry.get("onnxruntime")().prepare(model, config(precision="fp16"))
    with pytest.raises(Unsupported, match="oneplus11"):
        registry.get("onnxruntime")().prepare(model, config(device="oneplus11"))


def test_onnxruntime_profile_lists_its_nodes(model: Path) -> None:
    backend = registry.get("onnxruntime")()
    backend.prepare(model, config())
    (node,) = backend.profile({"input": X}, repeats=5)
    assert node.op_type == "MatMul" and node.ms >= 0 and node.source == "onnxruntime-profiler"


def test_torch_needs_the_source_of_the_model(model: Path) -> None:
    with pytest.raises(Unsupported, match="ONNX file carries none"):
        registry.get("torch")().prepare(model, config(options={**config().options, "model": "onnx:/x.onnx"}))


def test_torch_compile_has_frozen_weights_and_compiles_before_the_first_run(model: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler (apt install g++)")
    from torch._dynamo.utils import counters

    backend = registry.get("torch-compile")()
    backend.prepare(model, config())
    assert backend.describe().details["freezing"] is True
    compiled = counters["stats"]["unique_graphs"]
    assert compiled >= 1
    for scale in (2, 3, 1):
        backend.stage({"input": X * np.float32(scale)})
        backend.execute()
        assert counters["stats"]["unique_graphs"] == compiled, (
            "compiled again for another input of this shape"
        )
    np.testing.assert_allclose(backend.fetch()["logits"], X @ WEIGHT, atol=1e-5)
    kinds = {o.op_type for o in backend.profile({"input": X}, 2)}
    # Frozen, the linear layer is a constant's product: no parameter is transposed at run time.
    assert any("mm" in kind or "linear" in kind for kind in kinds) and "aten::t" not in kinds


def test_ecp_compiles_once_and_says_so(model: Path) -> None:
    origins = []
    for _ in range(2):
        backend = registry.get("ecp")()
        backend.prepare(model, config())
        details = backend.describe().details
        origins.append(details["origin"])
        backend.close()
    assert origins == ["compiled", "cache"]
    assert details["launches"] == 1 and details["layout_launches"] == 0
