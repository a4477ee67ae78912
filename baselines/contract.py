"""The contract every adapter must keep, as tests that any adapter can be run through.

In a test file of your own::

    from baselines.contract import AdapterContract

    class TestMine(AdapterContract):
        backend = "my_package.my_backend:MyBackend"   # or a name of the registry

Class attributes below say what is special about the adapter. Where the framework is not installed the tests skip
with the adapter's own reason; a wrong answer, a silent fallback or a leaked exception fails. Needs pytest.
"""

# ruff: noqa: D102 - the names of the tests say what they ask
from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from baselines import registry
from baselines.base import Backend, Description, OpTime, RunConfig, Unavailable, Unsupported
from ecp.errors import EcpError

TOKENS, WIDTH, HEADS = 6, 8, 2


def weights() -> dict[str, np.ndarray]:
    """Weights of :func:`block_model`, the same at every call."""
    rng = np.random.default_rng(3)
    shapes = {"qkv": (WIDTH, 3 * WIDTH), "proj": (WIDTH, WIDTH), "head": (WIDTH, 5)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def block_model(path: Path) -> Path:
    """One small attention block with a head: the transposes, splits and products of a ViT, no downloads."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    const: dict[str, np.ndarray] = {
        "shape5": np.array([1, TOKENS, 3, HEADS, WIDTH // HEADS], np.int64),
        "shape3": np.array([1, TOKENS, WIDTH], np.int64),
        "axis0": np.array([0], np.int64),
        "scale": np.array(0.5, np.float32),
        **weights(),
    }
    node = helper.make_node
    nodes = [
        node("MatMul", ["input", "qkv"], ["qkv_out"], name="/qkv/MatMul"),
        node("Reshape", ["qkv_out", "shape5"], ["r"], name="/Reshape"),
        node("Transpose", ["r"], ["t"], perm=[2, 0, 3, 1, 4], name="/Transpose"),
        node("Split", ["t"], ["q5", "k5", "v5"], axis=0, name="/Split"),
        *(node("Squeeze", [f"{n}5", "axis0"], [n], name=f"/Squeeze_{n}") for n in "qkv"),
        node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2], name="/Transpose_k"),
        node("MatMul", ["q", "kt"], ["s0"], name="/attn/MatMul"),
        node("Mul", ["s0", "scale"], ["s1"], name="/attn/Mul"),
        node("Softmax", ["s1"], ["p"], axis=-1, name="/attn/Softmax"),
        node("MatMul", ["p", "v"], ["o0"], name="/attn/MatMul_1"),
        node("Transpose", ["o0"], ["o1"], perm=[0, 2, 1, 3], name="/Transpose_o"),
        node("Reshape", ["o1", "shape3"], ["o2"], name="/Reshape_o"),
        node("MatMul", ["o2", "proj"], ["o3"], name="/proj/MatMul"),
        node("Add", ["o3", "input"], ["y"], name="/Add"),
        node("ReduceMean", ["y"], ["m"], axes=[1], keepdims=0, name="/ReduceMean"),
        node("MatMul", ["m", "head"], ["logits"], name="/head/MatMul"),
    ]
    graph = helper.make_graph(
        nodes,
        "block",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, TOKENS, WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(v, k) for k, v in const.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def reference(x: np.ndarray) -> np.ndarray:
    """The block in float64 numpy."""
    w = {k: v.astype(np.float64) for k, v in weights().items()}
    x = x.astype(np.float64)
    parts = (x @ w["qkv"]).reshape(1, TOKENS, 3, HEADS, WIDTH // HEADS).transpose(2, 0, 3, 1, 4)
    q, k, v = parts
    s = q @ k.transpose(0, 1, 3, 2) * 0.5
    p = np.exp(s - s.max(-1, keepdims=True))
    o = (p / p.sum(-1, keepdims=True)) @ v
    y = o.transpose(0, 2, 1, 3).reshape(1, TOKENS, WIDTH) @ w["proj"] + x
    return y.mean(1) @ w["head"]


def sample(seed: int = 0) -> np.ndarray:
    """A random input of the block."""
    return np.random.default_rng(seed).standard_normal((1, TOKENS, WIDTH)).astype(np.float32)


class AdapterContract:
    """Subclass with ``backend`` set; see the module's docstring."""

    backend: ClassVar[str] = ""
    device: ClassVar[str] = "local-cpu"
    tolerance: ClassVar[float] = 1e-3
    profiles: ClassVar[bool | None] = None
    """Whether it has operator times; None: it has them where it defines ``profile``."""
    config_options: ClassVar[dict[str, Any]] = {}
    shared_cache: ClassVar[bool] = False
    """Convert once for all tests of the class: for adapters whose converter takes a minute."""

    def new(self) -> Backend:
        """A fresh adapter."""
        if ":" in self.backend:
            module, _, name = self.backend.partition(":")
            found: type[Backend] = getattr(importlib.import_module(module), name)
            return found()
        return registry.get(self.backend)()

    def config(self, **changes: Any) -> RunConfig:
        """The run's settings; ``changes`` replace fields."""
        options = {
            "model": "block",
            "torch_module": "baselines.torch_contract:torch_module",
            "device_class": "cpu",
        }
        values: dict[str, Any] = {
            "device": self.device,
            "threads": 1,
            "options": options | self.config_options,
        }
        return RunConfig(**{**values, **changes})

    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        """The block as an ONNX file."""
        return block_model(tmp_path / "block.onnx")

    @pytest.fixture
    def prepared(
        self,
        model: Path,
        tmp_path: Path,
        tmp_path_factory: pytest.TempPathFactory,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[Backend]:
        """A prepared adapter; skips where the framework is not here."""
        shared = tmp_path_factory.getbasetemp() / "shared-cache"
        monkeypatch.setenv("ECP_CACHE", str(shared if self.shared_cache else tmp_path))
        adapter = self.new()
        try:
            adapter.prepare(model, self.config())
        except Unavailable as reason:
            pytest.skip(str(reason))
        yield adapter
        adapter.close()

    def test_answers_are_right_and_follow_the_input(self, prepared: Backend) -> None:
        for seed in (0, 1):
            got = prepared.run({"input": sample(seed)})
            assert list(got) == ["logits"] and got["logits"].shape == (1, 5)
            wanted = reference(sample(seed))
            error, limit = np.abs(got["logits"] - wanted).max(), self.tolerance * np.abs(wanted).max()
            assert error <= limit, f"largest error {error:.3g} against float64, limit {limit:.3g}"

    def test_every_run_may_have_an_input_of_its_own(self, prepared: Backend) -> None:
        """The harness stages another input before every timed run, and only the run is inside the clock."""
        for seed in (2, 3, 4, 2):
            prepared.stage({"input": sample(seed)})
            prepared.execute()
            wanted = reference(sample(seed))
            error, limit = np.abs(prepared.fetch()["logits"] - wanted).max(), np.abs(wanted).max()
            assert error <= self.tolerance * limit

    def test_staging_computes_nothing(self, prepared: Backend) -> None:
        prepared.run({"input": sample(0)})
        prepared.stage({"input": sample(1)})
        wanted = reference(sample(1))
        error = np.abs(prepared.fetch()["logits"] - wanted).max()
        assert error > self.tolerance * np.abs(wanted).max(), "outputs of an input before execute was called"

    def test_executing_again_changes_nothing(self, prepared: Backend) -> None:
        first = prepared.run({"input": sample()})["logits"].copy()
        prepared.execute()
        np.testing.assert_array_equal(prepared.fetch()["logits"], first)

    def test_fetched_outputs_survive_the_next_run(self, prepared: Backend) -> None:
        first = prepared.run({"input": sample(0)})["logits"]
        kept = first.copy()
        prepared.run({"input": sample(1)})
        np.testing.assert_array_equal(first, kept)

    def test_the_description_names_version_and_true_backend(self, prepared: Backend) -> None:
        described = prepared.describe()
        assert isinstance(described, Description) and described.version and described.true_backend
        json.dumps(dict(described.details), default=str)

    @pytest.mark.parametrize(
        "feeds",
        [{"wrong": sample()}, {"input": sample()[:, :1]}, {"input": sample().astype(np.float64)}, {}],
        ids=["name", "shape", "dtype", "missing"],
    )
    def test_a_wrong_feed_is_refused(self, prepared: Backend, feeds: dict[str, np.ndarray]) -> None:
        with pytest.raises(EcpError):
            prepared.stage(feeds)

    def test_profile_times_are_positive_and_named(self, prepared: Backend) -> None:
        profiles = type(prepared).profile is not Backend.profile if self.profiles is None else self.profiles
        if not profiles:
            with pytest.raises(Unsupported):
                prepared.profile({"input": sample()}, 2)
            return
        ops = prepared.profile({"input": sample()}, 2)
        assert ops and all(isinstance(o, OpTime) and o.name and o.op_type and o.source for o in ops)
        assert all(o.ms >= 0 for o in ops) and sum(o.ms for o in ops) > 0
        clocked = prepared.profiled_pass_ms
        assert clocked is None or clocked > 0

    def test_another_device_is_refused_not_replaced(self, model: Path) -> None:
        with pytest.raises((Unsupported, Unavailable, EcpError)):
            self.new().prepare(model, self.config(device="oneplus11"))

    def test_an_unknown_precision_is_refused(self, model: Path) -> None:
        with pytest.raises((Unsupported, Unavailable, EcpError)):
            self.new().prepare(model, self.config(precision="int3"))

    def test_closing_twice_is_harmless(self, prepared: Backend) -> None:
        prepared.close()
        prepared.close()
