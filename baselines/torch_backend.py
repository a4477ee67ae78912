"""PyTorch, eager and compiled, on the module that the ONNX file was exported from.

The module comes from a factory named in the options (``torch_module = "package:function"``, called with
``options["model"]``), because this package may not know the harness's model registry. The same seed gives the
same weights as the ONNX file; the harness's error check would show any difference.
"""

from __future__ import annotations

import importlib
import statistics
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from baselines.base import Backend, Description, OpTime, RunConfig, Unavailable, Unsupported
from baselines.common import (
    check_feeds,
    first_line,
    opencl_selector,
    read_interface,
    require_precision,
    timed_ms,
)


class TorchBackend(Backend):
    """PyTorch eager: the CPU, or CUDA where the device asked for is an NVIDIA GPU."""

    name: ClassVar[str] = "torch"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Build the module, set threads and read them back."""
        try:
            import torch
        except ImportError as error:
            raise Unavailable("torch is not installed; pip install torch") from error
        require_precision(config, ["fp32", "fp16"], self.name)
        self._torch = torch
        self._device = self._place(torch, config)
        if self._device.type == "cuda":
            _cuda_settings(torch, self._device)
        torch.set_num_threads(config.threads)
        if torch.get_num_threads() != config.threads:
            raise Unsupported(
                f"torch set {torch.get_num_threads()} threads where {config.threads} were asked"
            )
        self._interface = read_interface(onnx_path)
        self._dtype = {"fp32": torch.float32, "fp16": torch.float16}[config.precision]
        module = _module(config).eval().to(device=self._device, dtype=self._dtype)
        self._module = self._finish(module)
        self._results: tuple[Any, ...] = ()

    def _place(self, torch: Any, config: RunConfig) -> Any:
        return _torch_device(torch, config)

    def _finish(self, module: Any) -> Any:
        return module

    def _zeros(self) -> list[Any]:
        """Inputs of zeros on the device, in the precision asked."""
        torch = self._torch
        zeros = [torch.zeros(p.shape, dtype=getattr(torch, p.dtype)) for p in self._interface.inputs]
        return [
            z.to(self._device, self._dtype) if z.is_floating_point() else z.to(self._device) for z in zeros
        ]

    def describe(self) -> Description:
        """Version, device and the threads read back."""
        torch = self._torch
        details = {
            "threads": torch.get_num_threads(),
            "interop_threads": torch.get_num_interop_threads(),
            "device": str(self._device),
            "dtype": str(self._dtype),
            "mkldnn": torch.backends.mkldnn.is_available(),
        }
        kind = "CPU"
        if self._device.type == "cuda":
            kind = torch.cuda.get_device_name(self._device)
            details |= _cuda_facts(torch)
        return Description(torch.__version__, f"PyTorch {self._mode} on {kind}", details)

    @property
    def _mode(self) -> str:
        return "eager"

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Copy the inputs to the device (and round them to the precision asked)."""
        tensors = [self._torch.from_numpy(a.copy()) for a in check_feeds(self._interface, feeds)]
        self._inputs = [
            t.to(self._device, self._dtype) if t.is_floating_point() else t.to(self._device) for t in tensors
        ]
        self._synchronize()

    def execute(self) -> None:
        """One inference; on CUDA until the device has finished."""
        with self._torch.inference_mode():
            out = self._module(*self._inputs)
        self._synchronize()
        self._results = tuple(out) if isinstance(out, tuple | list) else (out,)

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            self._torch.cuda.synchronize(self._device)

    def fetch(self) -> dict[str, np.ndarray]:
        """Outputs of the last run as float32, by ONNX output name."""
        names = [p.name for p in self._interface.outputs]
        return {n: r.float().cpu().numpy() for n, r in zip(names, self._results, strict=True)}

    def profile(self, feeds: Mapping[str, np.ndarray], repeats: int) -> list[OpTime]:
        """Self time per ATen operator from torch.profiler: per call order, the median over ``repeats`` runs."""
        torch = self._torch
        self.stage(feeds)
        self.execute()
        runs: list[dict[str, float]] = []
        passes: list[float] = []
        for _ in range(repeats):
            with torch.profiler.profile() as profiler:
                passes.append(timed_ms(self.execute))
            total: dict[str, float] = defaultdict(float)
            for event in profiler.key_averages():
                own = getattr(event, "self_device_time_total", 0.0) or 0.0
                total[event.key] += (own if self._device.type == "cuda" else event.self_cpu_time_total) / 1e3
            runs.append(total)
        self.profiled_pass_ms = statistics.median(passes)
        names = sorted({name for run in runs for name in run})
        return [
            OpTime(name, name, statistics.median(run.get(name, 0.0) for run in runs), "torch-profiler")
            for name in names
        ]

    def close(self) -> None:
        """Drop the module."""
        self._module = None
        self._results = ()


class TorchCompileBackend(TorchBackend):
    """``torch.compile`` (inductor). Its compilation is part of ``prepare``; needs a C++ compiler on CPUs.

    On CPUs with frozen weights, which are then packed once for oneDNN and folded, as PyTorch's guide to inference on
    CPUs advises.
    """

    name: ClassVar[str] = "torch-compile"

    @property
    def _mode(self) -> str:
        return "inductor"

    @property
    def _inductor(self) -> Any:
        return importlib.import_module("torch._inductor.config")

    def _finish(self, module: Any) -> Any:
        # Dynamo reads this while it traces: as an option of torch.compile it would come too late and change nothing.
        self._inductor.freezing = self._device.type == "cpu"
        self._plain = module
        return self._compiled(module)

    def _compiled(self, module: Any) -> Any:
        torch = self._torch
        compiled = torch.compile(module, dynamic=False)
        # Made outside of inference mode, as the staged inputs are: Dynamo would compile again for those.
        zeros = self._zeros()
        try:
            with torch.inference_mode():
                compiled(*zeros)
        except Exception as error:  # inductor wraps compiler and lowering errors in many classes
            text = first_line(error)
            if "compiler" in text.lower() or "g++" in text.lower():
                raise Unavailable(f"torch.compile needs a C++ compiler (apt install g++): {text}") from error
            raise Unsupported(f"torch.compile: {text}") from error
        return compiled

    def describe(self) -> Description:
        """As eager, with inductor's setting."""
        found = super().describe()
        details = {**found.details, "freezing": bool(self._inductor.freezing)}
        return Description(found.version, found.true_backend, details)

    def profile(self, feeds: Mapping[str, np.ndarray], repeats: int) -> list[OpTime]:
        """As eager, of the module compiled once more with its C++ kernels named: plain runs carry no hooks."""
        fast = self._module
        self._inductor.cpp.enable_kernel_profile = True
        self._torch._dynamo.reset()
        try:
            self._module = self._compiled(self._plain)
            return super().profile(feeds, repeats)
        finally:
            self._inductor.cpp.enable_kernel_profile = False
            self._module = fast

    def close(self) -> None:
        """Drop both modules."""
        super().close()
        self._plain = None


def _torch_device(torch: Any, config: RunConfig) -> Any:
    kind = config.options.get("device_class", "cpu")
    if opencl_selector(config) not in ("local", "local-cpu", "local-gpu"):
        raise Unsupported(f"torch runs on this computer's CPU or CUDA GPU, not on device {config.device!r}")
    if kind == "cpu":
        return torch.device("cpu")
    if kind == "nvidia" and torch.cuda.is_available():
        return _cuda_device(torch, str(config.options.get("opencl_name", "")))
    raise Unavailable(
        "this torch cannot use the GPU that was asked for (no CUDA device); compare on local-cpu"
    )


def _cuda_device(torch: Any, name: str) -> Any:
    """The first CUDA device, or the first with the name that OpenCL gave: the two may count in different orders."""
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if name and name not in names:
        raise Unavailable(f"the OpenCL device is {name}, and torch sees {', '.join(names)}")
    return torch.device("cuda", names.index(name) if name else 0)


def _cuda_settings(torch: Any, device: Any) -> None:
    """fp32 means fp32, without the TF32 that PyTorch allows in convolutions; :class:`Unsupported` where it stays on.

    cuDNN may search for its fastest kernels, as PyTorch's tuning guide advises for fixed shapes.
    """
    torch.cuda.set_device(device)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    if torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32:
        raise Unsupported("torch kept TF32 on where fp32 was asked for")


def _cuda_facts(torch: Any) -> dict[str, Any]:
    """Settings of the CUDA libraries, read back."""
    return {
        "tf32": bool(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32),
        "cudnn_benchmark": bool(torch.backends.cudnn.benchmark),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def _module(config: RunConfig) -> Any:
    factory, model = config.options.get("torch_module"), config.options.get("model")
    if not factory or not model:
        raise Unsupported("torch needs the model's PyTorch source (options torch_module and model)")
    if str(model).startswith("onnx:"):
        raise Unsupported("torch needs the model's PyTorch source; an ONNX file carries none")
    package, _, function = str(factory).partition(":")
    return getattr(importlib.import_module(package), function)(model)
