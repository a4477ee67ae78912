"""ONNX's backend interface (``onnx.backend.base``) on top of the compiler, so that ONNX's own tests run against it.

``prepare(model, device).run(inputs)``; devices are ``CPU``, ``GPU`` or any name that ``ecp.compile`` takes.
A model whose inputs decide shapes (axes, sizes, pads given as inputs) is compiled at the first run, for the
values given there, and again when they change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, namedtupledict

from ecp.codegen.schedule import schedule_for
from ecp.compiler import compile_graph
from ecp.errors import DeviceError, InputError
from ecp.frontend.specialize import import_with_feeds
from ecp.ir.graph import Graph
from ecp.runtime.devices import OpenCLDevice, resolve
from ecp.runtime.session import Session

#: ONNX's device names -> ours; a number after a colon is dropped.
_DEVICES = {"CPU": "local-cpu", "GPU": "local-gpu", "OPENCL": "local", "CUDA": "local-gpu"}


def run_graph(
    graph: Graph, feeds: Mapping[str, np.ndarray], device: str | OpenCLDevice = "local-cpu"
) -> dict[str, np.ndarray]:
    """Compile an imported graph, run it once, and return the outputs by name."""
    with open_session(graph, device) as session:
        return session.run(feeds)


def open_session(graph: Graph, device: str | OpenCLDevice) -> Session:
    """A session of a graph in fp32 with the default schedule."""
    target = device if isinstance(device, OpenCLDevice) else resolve(device)
    bundle = compile_graph(graph, target.device_class, "fp32", schedule_for(target.device_class))
    return Session(bundle, device=target)


class EcpRep(BackendRep):
    """A prepared model."""

    def __init__(self, model: onnx.ModelProto, device: OpenCLDevice) -> None:
        self._model = model
        self._device = device
        self._names = [o.name for o in model.graph.output]
        constants = {t.name for t in model.graph.initializer}
        self._inputs = [i.name for i in model.graph.input if i.name not in constants]
        self._sessions: dict[Any, tuple[Session, list[str]]] = {}

    def run(self, inputs: Any, **kwargs: Any) -> Any:
        """Outputs as a named tuple. ``inputs``: arrays in the order of the model's inputs, or by name."""
        feeds = self._feeds(inputs)
        key = tuple(
            (k, v.shape, v.tobytes() if v.dtype.kind in "iub" or v.size <= 16 else b"")
            for k, v in feeds.items()
        )
        if key not in self._sessions:
            graph, left = import_with_feeds(self._model, feeds)
            self._sessions = {key: (open_session(graph, self._device), list(left))}
        session, names = self._sessions[key]
        got = session.run({k: feeds[k] for k in names})
        return namedtupledict("Outputs", self._names)(*(got[n] for n in self._names))

    def _feeds(self, inputs: Any) -> dict[str, np.ndarray]:
        if isinstance(inputs, Mapping):
            return {k: np.asarray(v) for k, v in inputs.items()}
        arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        if len(arrays) != len(self._inputs):
            raise InputError(
                f"{len(arrays)} inputs given, the model has {len(self._inputs)}: {', '.join(self._inputs)}"
            )
        return {k: np.asarray(v) for k, v in zip(self._inputs, arrays)}


class EcpBackend(Backend):
    """The backend; all methods are class methods, as ONNX asks."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> EcpRep:
        """Raises the errors of :mod:`ecp.errors` where model or device cannot be used."""
        return EcpRep(model, _device(device))

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> Any:
        """Prepare and run once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Sequence[np.ndarray],
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run one node on arrays."""
        arrays = [np.asarray(a) for a in inputs]
        names = [n for n in node.input if n]
        typed = [
            onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in zip(names, arrays)
        ]
        outs = [
            onnx.helper.make_tensor_value_info(n, onnx.TensorProto.UNDEFINED, None) for n in node.output if n
        ]
        graph = onnx.helper.make_graph([node], "node", typed, outs)
        version = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(node.domain, version)])
        return cls.run_model(model, arrays, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """True where the device can be opened."""
        try:
            _device(device)
        except DeviceError:
            return False
        return True


def _device(name: str) -> OpenCLDevice:
    return resolve(_DEVICES.get(name.partition(":")[0].upper(), name))


is_compatible = EcpBackend.is_compatible
prepare = EcpBackend.prepare
run_model = EcpBackend.run_model
run_node = EcpBackend.run_node
supports_device = EcpBackend.supports_device
