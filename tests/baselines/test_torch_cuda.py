"""PyTorch on CUDA: order of warm-up, capture and replay (on a stand-in), the card asked for, fp32 without TF32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from baselines import registry, torch_backend, torch_cuda_backend
from baselines.base import RunConfig, Unavailable, Unsupported
from baselines.contract import AdapterContract, block_model, reference, sample

GRAPHS = ("torch-cuda-graph", "torch-cuda-nhwc-graph", "torch-compile-tuned")
MODULE = "baselines.torch_contract:torch_module"


class TestTorch(AdapterContract):
    """The whole contract on the processor."""

    backend = "torch"


class TestTorchCudaGraph(AdapterContract):
    """The whole contract, on a computer with an NVIDIA GPU."""

    backend = "torch-cuda-graph"
    device = "local-gpu"
    config_options = {"device_class": "nvidia"}  # noqa: RUF012


def config(**options: str) -> RunConfig:
    found = {"model": "block", "torch_module": MODULE, "device_class": "nvidia", "opencl": "local-gpu"}
    return RunConfig("nvidia-h200", "fp32", 1, found | options)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return block_model(tmp_path / "block.onnx")


@pytest.mark.parametrize("name", GRAPHS)
def test_a_processor_is_no_gpu(name: str, model: Path) -> None:
    with pytest.raises(Unavailable, match=r"needs an NVIDIA GPU, and device 'nvidia-h200' is none"):
        registry.get(name)().prepare(model, config(device_class="cpu"))


@pytest.mark.parametrize("name", (*GRAPHS, "torch"))
def test_without_cuda_there_is_no_answer(name: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Unavailable, match="no CUDA device"):
        registry.get(name)().prepare(model, config())


def test_the_card_that_opencl_names_is_the_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = ["NVIDIA A100", "NVIDIA H200"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: cards[index])
    place = torch_backend._torch_device
    assert place(torch, config(opencl_name="NVIDIA H200")) == torch.device("cuda", 1)
    assert place(torch, config()) == torch.device("cuda", 0)
    with pytest.raises(
        Unavailable, match="OpenCL device is NVIDIA H100, and torch sees NVIDIA A100, NVIDIA H200"
    ):
        place(torch, config(opencl_name="NVIDIA H100"))
    with pytest.raises(Unsupported, match="oneplus11"):
        place(torch, RunConfig("oneplus11", options={"device_class": "nvidia"}))


def test_tf32_that_stays_on_is_refused() -> None:
    class Stubborn:
        allow_tf32 = property(lambda self: True, lambda self, value: None)

    def fake(convolutions: Any) -> Any:
        products = SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True))
        backends = SimpleNamespace(cuda=products, cudnn=convolutions)
        return SimpleNamespace(backends=backends, cuda=SimpleNamespace(set_device=lambda device: None))

    obedient = fake(SimpleNamespace(allow_tf32=True, benchmark=False))
    torch_backend._cuda_settings(obedient, "cuda")
    assert not obedient.backends.cudnn.allow_tf32 and not obedient.backends.cuda.matmul.allow_tf32
    with pytest.raises(Unsupported, match="TF32"):
        torch_backend._cuda_settings(fake(Stubborn()), "cuda")


class FakeCuda:
    """A CUDA that logs what is asked of it; a replay computes the module on the captured tensors."""

    def __init__(self, adapter: Any) -> None:
        self.adapter, self.log, self.where = adapter, [], "host"
        self.outputs: torch.Tensor | None = None

    def stream(self, name: str) -> Any:
        return SimpleNamespace(
            wait_stream=lambda other: self.log.append(f"{name} waits"),
            synchronize=lambda: self.log.append("synchronize"),
            name=name,
        )

    @contextlib.contextmanager
    def within(self, where: str) -> Iterator[None]:
        self.where, before = where, self.where
        yield
        self.where = before

    def forward(self, module: Any, args: Any, output: torch.Tensor) -> None:
        self.log.append(f"forward {self.where}")
        if self.where == "capture":
            self.outputs = output

    def replay(self) -> None:
        self.log.append("replay")
        with torch.inference_mode():
            self.outputs.copy_(torch_backend._module(config()).to(torch.float32)(*self.adapter._inputs))


@pytest.fixture
def captured(model: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, FakeCuda]:
    adapter = torch_cuda_backend.TorchCudaGraphBackend()
    cuda = FakeCuda(adapter)
    monkeypatch.setattr(adapter, "_place", lambda *_: torch.device("cpu"), raising=True)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: cuda.stream("main"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device=None: cuda.stream("side"))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: cuda.within(stream.name))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=cuda.replay))
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: cuda.within("capture"))
    build = torch_backend._module

    def hooked(settings: RunConfig) -> Any:
        module = build(settings)
        module.register_forward_hook(cuda.forward)
        return module

    monkeypatch.setattr(torch_backend, "_module", hooked)
    adapter.prepare(model, config())
    monkeypatch.setattr(torch_backend, "_module", build)
    return adapter, cuda


def test_warm_up_on_a_side_stream_then_one_capture(captured: tuple[Any, FakeCuda]) -> None:
    _, cuda = captured
    warm = ["forward side"] * torch_cuda_backend.WARM_UPS
    assert cuda.log == ["side waits", *warm, "main waits", "forward capture"]


def test_what_is_timed_is_a_replay_on_the_same_tensors(captured: tuple[Any, FakeCuda]) -> None:
    adapter, cuda = captured
    (static,) = adapter._inputs
    for seed in (0, 1):
        adapter.stage({"input": sample(seed)})
        cuda.log.clear()
        adapter.execute()
        assert cuda.log == ["replay", "synchronize"]
        assert adapter._inputs[0] is static
        np.testing.assert_allclose(adapter.fetch()["logits"], reference(sample(seed)), rtol=1e-3, atol=1e-4)


def test_a_module_that_cannot_be_captured_is_unsupported(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = torch_cuda_backend.TorchCudaGraphBackend()
    monkeypatch.setattr(adapter, "_place", lambda *_: torch.device("cpu"))

    def refuse(*_: Any) -> Any:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: FakeCuda(adapter).stream("main"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device=None: FakeCuda(adapter).stream("side"))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "graph", refuse)
    with pytest.raises(Unsupported, match="the capture failed: CUDA error"):
        adapter.prepare(model, config())


def test_channels_last_needs_convolutions(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = torch_cuda_backend.TorchCudaNhwcGraphBackend()
    monkeypatch.setattr(adapter, "_place", lambda *_: torch.device("cpu"))
    with pytest.raises(Unsupported, match="no convolution"):
        adapter.prepare(model, config())
