"""MNN from its Python wheel: CPU only, converted from the shared ONNX bytes without contacting anyone.

Two traps are closed here. The ``mnnconvert`` command, and even ``import MNN.tools``, install a logging SDK and
post usage data: only the extension module ``_tools`` is imported, which converts and does nothing else. And a
backend that the wheel lacks is replaced by the CPU with a printed remark: it is read, and it is an error.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from baselines.base import Backend, Description, OpTime, RunConfig, Unavailable, Unsupported
from baselines.common import (
    cache_dir,
    check_feeds,
    derived,
    first_line,
    own_options,
    read_interface,
    require_local_cpu,
    require_precision,
    timed_ms,
    verify_threads,
    zero_feeds,
)
from baselines.output import captured_output

FORWARD_TYPES = {
    0: "CPU",
    1: "METAL",
    2: "CUDA",
    3: "OPENCL",
    6: "OPENGL",
    7: "VULKAN",
    13: "CPU (extension)",
}
"""MNNForwardType of MNN's public header MNNForwardType.h; 13 is the CPU backend with wide vectors."""

FALLBACK = re.compile(r"Can't Find type=(\d+) backend, use (\d+) instead")
SESSION_MEMORY_MB, SESSION_BACKEND = 0, 2


class MnnBackend(Backend):
    """MNN's CPU backend in fp32 (MNN's precision "high"). Options ``mnn.KEY`` go to its configuration."""

    name: ClassVar[str] = "mnn"
    forward: ClassVar[str] = "CPU"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Convert (cached by content), load, and check backend, precision and threads."""
        require_local_cpu(config, self.name)
        require_precision(config, ["fp32"], "mnn's x86 CPU backend")
        mnn = _import_mnn()
        import MNN.expr as expr
        import MNN.nn as nn

        self._expr, self._mnn, self._config = expr, mnn, config
        self._interface = read_interface(onnx_path)
        self._model_file = convert(onnx_path)
        self._settings = {
            "backend": self.forward,
            "precision": "high",
            "numThread": config.threads,
            **own_options(config, self.name),
        }
        with captured_output() as text:
            runtime = nn.create_runtime_manager((self._settings,))
            self._net = nn.load_module_from_file(
                str(self._model_file),
                [p.name for p in self._interface.inputs],
                [p.name for p in self._interface.outputs],
                runtime_manager=runtime,
            )
        self._runtime = runtime
        raise_on_fallback(text())
        self._facts = self._session_facts()
        self.stage(zero_feeds(self._interface))
        self.execute()
        self._facts |= verify_threads(self.execute, config, self.name)

    def _session_facts(self) -> dict[str, Any]:
        """Backend and memory as a session with the same settings reports them."""
        with captured_output() as text:
            interpreter = self._mnn.Interpreter(str(self._model_file))
            session = interpreter.createSession(self._settings)
            forward = int(interpreter.getSessionInfo(session, SESSION_BACKEND))
            memory = float(interpreter.getSessionInfo(session, SESSION_MEMORY_MB))
        raise_on_fallback(text())
        true = FORWARD_TYPES.get(forward, f"type {forward}")
        if not true.startswith(self.forward):
            raise Unsupported(f"mnn: {self.forward} asked, the session runs on {true}")
        return {"session_backend": true, "session_memory_mb": round(memory, 3)}

    def describe(self) -> Description:
        """MNN's version and the backend that its session named."""
        details = dict(self._facts) | {"settings": {k: str(v) for k, v in self._settings.items()}}
        return Description(version("mnn"), f"MNN {self._facts['session_backend']}", details)

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Copy the inputs into MNN's variables."""
        arrays = check_feeds(self._interface, feeds)
        self._vars = [self._expr.const(a, list(a.shape), self._expr.NCHW) for a in arrays]

    def execute(self) -> None:
        """One forward pass; the outputs are read inside, because MNN may compute them only then."""
        outputs = self._net.forward(self._vars)
        self._raw = [o.read() for o in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]

    def fetch(self) -> dict[str, np.ndarray]:
        """Outputs by ONNX name, as row-major copies."""
        return {p.name: np.array(raw).reshape(p.shape) for p, raw in zip(self._interface.outputs, self._raw)}

    def profile(self, feeds: Mapping[str, np.ndarray], repeats: int) -> list[OpTime]:
        """Times between MNN's own before and after callbacks of every operator."""
        with captured_output():
            interpreter = self._mnn.Interpreter(str(self._model_file))
            session = interpreter.createSession(self._settings)
        arrays = check_feeds(self._interface, feeds)
        self._passes_ms: list[float] = []
        passes = [self._callback_pass(interpreter, session, arrays) for _ in range(repeats + 1)][1:]
        self.profiled_pass_ms = statistics.median(self._passes_ms[-repeats:])
        median = [statistics.median(p[i].ms for p in passes) for i in range(len(passes[0]))]
        return [
            OpTime(op.name, op.op_type, ms, op.source, op.details)
            for op, ms in zip(passes[0], median, strict=True)
        ]

    def _callback_pass(self, interpreter: Any, session: Any, arrays: list[np.ndarray]) -> list[OpTime]:
        mnn = self._mnn
        for port, array in zip(self._interface.inputs, arrays, strict=True):
            kind = mnn.Halide_Type_Float if array.dtype == np.float32 else mnn.Halide_Type_Int
            host = mnn.Tensor(array.shape, kind, array, mnn.Tensor_DimensionType_Caffe)
            interpreter.getSessionInput(session, port.name).copyFrom(host)  # MNN may reuse the input's memory
        ops: list[OpTime] = []
        start = [0.0]

        def before(_tensors: Any, _info: Any) -> bool:
            start[0] = time.perf_counter()
            return True

        def after(tensors: Any, info: Any) -> bool:
            ms = (time.perf_counter() - start[0]) * 1e3
            size = sum(4 * int(np.prod(t.getShape(), dtype=np.int64)) for t in tensors)
            details = {"mflops": info.getFlops(), "output_bytes": size}
            ops.append(OpTime(info.getName(), info.getType(), ms, "mnn-callbacks", details))
            return True

        self._passes_ms.append(
            timed_ms(lambda: interpreter.runSessionWithCallBackInfo(session, before, after))
        )
        return ops

    def close(self) -> None:
        """Drop the module and its runtime."""
        for name in ("_net", "_runtime", "_vars", "_raw"):
            self.__dict__.pop(name, None)


def _import_mnn() -> Any:
    try:
        with captured_output():  # the module greets on import
            import MNN
    except ImportError as exc:
        raise Unavailable("MNN is not installed; pip install MNN") from exc
    return MNN


def convert(onnx_path: Path) -> Path:
    """The model in MNN's format, cached by the model's content and MNN's version.

    Raises :class:`Unsupported` with the converter's own words where it does not succeed.
    """
    _import_mnn()

    def make(out: Path) -> None:
        with captured_output():
            import _tools  # the converter itself; MNN.tools would install an SDK and post usage data
        arguments = ["mnnconvert", "-f", "ONNX", "--modelFile", str(onnx_path)]
        with captured_output() as text:
            _tools.mnnconvert([*arguments, "--MNNModel", str(out), "--bizCode", "bench"])
        if "Converted Success" not in text() or not out.exists():
            raise Unsupported(f"mnn converter: {_complaint(text())}")

    return derived(onnx_path, cache_dir("mnn", version("mnn")), ".mnn", make)


def _complaint(log: str) -> str:
    """The converter's line that names the problem, else its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    told = [line for line in lines if re.search(r"error|not support|fail|can't", line, re.IGNORECASE)]
    return first_line((told or lines[-1:] or ["no output"])[0])


def raise_on_fallback(log: str) -> None:
    """Raise where MNN printed that it replaced the asked backend by another."""
    found = FALLBACK.search(log)
    if found:
        asked, used = (FORWARD_TYPES.get(int(g), f"type {g}") for g in found.groups())
        raise Unsupported(
            f"mnn: this build has no {asked} backend and silently used {used} ({found.group(0)})"
        )
