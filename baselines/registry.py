"""Backends by name, imported only when used: the built-in table below and the entry points of other packages.

Another package adds a backend without touching this one: ``[project.entry-points."ecp_bench.backends"]`` with
``name = "package.module:Class"``. A built-in name cannot be taken over, so that a name always means one thing.
"""

from __future__ import annotations

import importlib
import importlib.util
from importlib.metadata import entry_points

from baselines.base import Backend, Unavailable

ENTRY_POINT_GROUP = "ecp_bench.backends"
BUILT_IN: dict[str, str] = {
    "ecp": "baselines.ecp_backend:EcpBackend",
    "ecp-native": "baselines.ecp_native:EcpNativeBackend",
    "onnxruntime": "baselines.onnxruntime_backend:OnnxRuntimeBackend",
    "torch": "baselines.torch_backend:TorchBackend",
    "torch-compile": "baselines.torch_backend:TorchCompileBackend",
    "torch-compile-tuned": "baselines.torch_cuda_backend:TorchCompileTunedBackend",
    "torch-cuda-graph": "baselines.torch_cuda_backend:TorchCudaGraphBackend",
    "torch-cuda-nhwc-graph": "baselines.torch_cuda_backend:TorchCudaNhwcGraphBackend",
    "openvino": "baselines.openvino_backend:OpenVinoBackend",
    "mnn": "baselines.mnn_backend:MnnBackend",
    "mnn-opencl": "baselines.mnn_build:MnnOpenClBackend",
    "mnn-vulkan": "baselines.mnn_build:MnnVulkanBackend",
    "tnn": "baselines.tnn_backend:TnnBackend",
    "tnn-opencl": "baselines.tnn_backend:TnnOpenClBackend",
    "tvm": "baselines.tvm_backend:TvmBackend",
    "tvm-tuned": "baselines.tvm_backend:TvmTunedBackend",
    "tvm-rpc": "baselines.tvm_rpc:TvmRpcBackend",
    "tvm-opencl": "baselines.tvm_opencl:TvmOpenClBackend",
    "litert": "baselines.litert_backend:LiteRtBackend",
    "executorch": "baselines.executorch_backend:ExecuTorchBackend",
}


def _table() -> dict[str, str]:
    plugins = {e.name: e.value for e in entry_points(group=ENTRY_POINT_GROUP)}
    present = {n: t for n, t in BUILT_IN.items() if importlib.util.find_spec(t.partition(":")[0]) is not None}
    return {**plugins, **present}


def names() -> list[str]:
    """Names of all backends whose code is here (its framework may still be missing), sorted."""
    return sorted(_table())


def get(name: str) -> type[Backend]:
    """The backend's class. Raises KeyError for an unknown name, :class:`Unavailable` where the import fails."""
    module, _, attribute = _table()[name].partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise Unavailable(f"{name}: {error}; pip install -e '.[all]' installs what it needs") from error
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise TypeError(f"{module}:{attribute} is not a baselines.base.Backend")
    return found
