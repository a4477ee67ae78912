"""PyTorch on an NVIDIA GPU as fast as it goes without another compiler: the module captured in a CUDA graph.

Capture as PyTorch's notes on CUDA graphs say (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs): warm
up on a side stream, capture one forward pass with static inputs, then replay. What is timed is one replay and the
wait for its stream: the host's work per operator is gone, the kernels are those of eager PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from baselines.base import Description, RunConfig, Unavailable, Unsupported
from baselines.common import check_feeds, first_line
from baselines.torch_backend import TorchBackend

# Lazy initialisation of the libraries and cuDNN's search for its fastest kernels must not fall into the capture.
WARM_UPS = 5


class TorchCudaGraphBackend(TorchBackend):
    """PyTorch's forward pass as one CUDA graph; NVIDIA GPUs only."""

    name: ClassVar[str] = "torch-cuda-graph"

    def _place(self, torch: Any, config: RunConfig) -> Any:
        if config.options.get("device_class") != "nvidia":
            raise Unavailable(
                f"{self.name} needs an NVIDIA GPU, and device {config.device!r} is none; ask for --device local-gpu "
                "on a computer that has one"
            )
        return super()._place(torch, config)

    def _static_inputs(self) -> list[Any]:
        """The tensors that the graph reads at every replay, in the model's order."""
        return self._zeros()

    def _finish(self, module: Any) -> Any:
        """Warm up, then capture. The module is kept, because its weights are what the graph reads."""
        torch = self._torch
        self._inputs = self._static_inputs()
        self._stream = torch.cuda.current_stream(self._device)
        side = torch.cuda.Stream(self._device)
        self._graph = torch.cuda.CUDAGraph()
        try:
            with torch.inference_mode():
                side.wait_stream(self._stream)
                with torch.cuda.stream(side):
                    for _ in range(WARM_UPS):
                        module(*self._inputs)
                self._stream.wait_stream(side)
                with torch.cuda.graph(self._graph):
                    out = module(*self._inputs)
        except RuntimeError as error:  # what cannot be captured, and what the GPU's memory does not hold
            raise Unsupported(f"{self.name}: the capture failed: {first_line(error)}") from error
        self._captured: tuple[Any, ...] = tuple(out) if isinstance(out, tuple | list) else (out,)
        return module

    def describe(self) -> Description:
        """Also how the graph was made."""
        found = super().describe()
        more = {"warm_ups_before_capture": WARM_UPS, "memory_format": self._memory_format}
        return Description(found.version, found.true_backend, {**found.details, **more})

    @property
    def _mode(self) -> str:
        return "CUDA graph"

    @property
    def _memory_format(self) -> str:
        return "contiguous"

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Copy the inputs into the graph's own (which rounds them to the precision asked)."""
        for static, array in zip(self._inputs, check_feeds(self._interface, feeds), strict=True):
            static.copy_(self._torch.from_numpy(array.copy()))
        self._synchronize()

    def execute(self) -> None:
        """Replay the graph and wait for its stream."""
        self._graph.replay()
        self._stream.synchronize()
        self._results = self._captured

    def close(self) -> None:
        """Drop the graph before the module whose weights it reads."""
        self._graph, self._captured = None, ()
        super().close()


class TorchCudaNhwcGraphBackend(TorchCudaGraphBackend):
    """The same with weights and images in ``channels_last``, as PyTorch advises for convolutions in half."""

    name: ClassVar[str] = "torch-cuda-nhwc-graph"

    @property
    def _memory_format(self) -> str:
        return "channels_last"

    @property
    def _mode(self) -> str:
        return "CUDA graph, channels last"

    def _static_inputs(self) -> list[Any]:
        form = self._torch.channels_last
        return [z.contiguous(memory_format=form) if z.dim() == 4 else z for z in self._zeros()]

    def _finish(self, module: Any) -> Any:
        torch = self._torch
        if not any(isinstance(m, torch.nn.Conv2d) for m in module.modules()):
            raise Unsupported(f"{self.name}: the model has no convolution whose channels could be last")
        return super()._finish(module.to(memory_format=torch.channels_last))


class TorchCompileTunedBackend(TorchCudaGraphBackend):
    """``torch.compile(mode="max-autotune")``: inductor's kernels, tuned on the GPU, in its own CUDA graph.

    Tuning takes minutes in the first block of a model; inductor keeps what it found in its own cache.
    """

    name: ClassVar[str] = "torch-compile-tuned"

    @property
    def _mode(self) -> str:
        return "inductor max-autotune"

    def _finish(self, module: Any) -> Any:
        torch = self._torch
        compiled = torch.compile(module, dynamic=False, mode="max-autotune")
        self._inputs = self._static_inputs()
        self._stream = torch.cuda.current_stream(self._device)
        try:
            with torch.inference_mode():
                for _ in range(WARM_UPS):
                    compiled(*self._inputs)
        except Exception as error:  # inductor wraps compiler and lowering errors in many classes
            raise Unsupported(f"{self.name}: {first_line(error)}") from error
        return compiled

    def execute(self) -> None:
        """One call of the compiled module and the wait for its stream."""
        with self._torch.inference_mode():
            out = self._module(*self._inputs)
        self._stream.synchronize()
        self._results = tuple(out) if isinstance(out, tuple | list) else (out,)
