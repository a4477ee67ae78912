"""OpenVINO's CPU plugin as its own guide tunes it for latency, with the fp32 hint forced and read back.

Without ``INFERENCE_PRECISION_HINT`` the plugin silently runs bfloat16 on CPUs that have it, which is another
precision than the one asked. Source: OpenVINO documentation, "CPU Device" and "High-level Performance Hints".
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from baselines.base import Backend, Description, OpTime, RunConfig, Unavailable, Unsupported
from baselines.common import (
    Interface,
    check_feeds,
    first_line,
    own_options,
    read_interface,
    require_local_cpu,
    require_precision,
    timed_ms,
    verify_threads,
    zero_feeds,
)

PRECISIONS = {"fp32": "f32", "fp16": "f16"}


class OpenVinoBackend(Backend):
    """OpenVINO on this computer's CPU. Options ``openvino.KEY`` are passed to the plugin as they are."""

    name: ClassVar[str] = "openvino"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Read and compile; raises where precision, threads or device are not the ones asked."""
        try:
            import openvino
        except ImportError as exc:
            raise Unavailable("openvino is not installed; pip install openvino") from exc
        require_local_cpu(config, self.name)
        require_precision(config, list(PRECISIONS), self.name)
        self._ov = openvino
        self._config = config
        self._interface: Interface = read_interface(onnx_path)
        self._core = openvino.Core()
        try:
            self._model = self._core.read_model(str(onnx_path))
            self._compiled = self._compile(perf_count=False)
        except RuntimeError as exc:
            raise Unsupported(f"openvino: {first_line(exc)}") from exc
        self._settings = self._read_back()
        self._request = self._compiled.create_infer_request()
        self.stage(zero_feeds(self._interface))
        self.execute()
        self._settings |= verify_threads(self.execute, config, self.name)

    def _compile(self, *, perf_count: bool) -> Any:
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": PRECISIONS[self._config.precision],
            "INFERENCE_NUM_THREADS": self._config.threads,
            "PERF_COUNT": perf_count,
        }
        return self._core.compile_model(self._model, "CPU", settings | own_options(self._config, self.name))

    def _read_back(self) -> dict[str, Any]:
        """What the plugin says it will do; anything other than the request is an error."""
        get = self._compiled.get_property
        precision = get("INFERENCE_PRECISION_HINT").get_type_name()
        if precision != PRECISIONS[self._config.precision]:
            asked = PRECISIONS[self._config.precision]
            raise Unsupported(f"openvino CPU: {asked} asked, the plugin set {precision}")
        threads = int(get("INFERENCE_NUM_THREADS"))
        if threads != self._config.threads:
            raise Unsupported(f"openvino CPU: {self._config.threads} threads asked, the plugin set {threads}")
        return {
            "inference_precision": precision,
            "inference_num_threads": threads,
            "performance_hint": str(get("PERFORMANCE_HINT")),
            "num_streams": int(get("NUM_STREAMS")),
            "execution_devices": list(get("EXECUTION_DEVICES")),
        }

    def describe(self) -> Description:
        """Version, the plugin and devices that execute, and the settings read back."""
        devices = "+".join(self._settings["execution_devices"])
        return Description(self._ov.__version__, f"OpenVINO {devices} plugin", dict(self._settings))

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Copy the inputs into the request's own tensors: other ones would be bound anew inside the clock."""
        for port, array in zip(self._interface.inputs, check_feeds(self._interface, feeds), strict=True):
            self._request.get_tensor(port.name).data[...] = array

    def execute(self) -> None:
        """One synchronous inference."""
        self._request.infer()

    def fetch(self) -> dict[str, np.ndarray]:
        """Copies of the outputs by ONNX name."""
        return {p.name: np.array(self._request.get_tensor(p.name).data) for p in self._interface.outputs}

    def profile(self, feeds: Mapping[str, np.ndarray], repeats: int) -> list[OpTime]:
        """Times per primitive from ``PERF_COUNT``, on a second compilation: plain runs carry no hooks."""
        compiled = self._compile(perf_count=True)
        request = compiled.create_infer_request()
        for port, array in zip(self._interface.inputs, check_feeds(self._interface, feeds), strict=True):
            request.set_tensor(port.name, self._ov.Tensor(array))
        request.infer()
        times: dict[str, list[float]] = defaultdict(list)
        info: dict[str, Any] = {}
        passes = []
        for _ in range(repeats):
            passes.append(timed_ms(request.infer))
            for item in request.get_profiling_info():
                if item.status == item.Status.EXECUTED:
                    times[item.node_name].append(item.real_time.total_seconds() * 1e3)
                    info[item.node_name] = item
        self.profiled_pass_ms = statistics.median(passes)
        facts = _runtime_facts(compiled)
        return [
            OpTime(
                name,
                info[name].node_type,
                statistics.median(ms),
                "openvino-perf-count",
                {"exec_type": info[name].exec_type, **facts.get(name, {})},
            )
            for name, ms in times.items()
        ]

    def close(self) -> None:
        """Drop request, compiled model and core."""
        for name in ("_request", "_compiled", "_model", "_core"):
            self.__dict__.pop(name, None)


def _runtime_facts(compiled: Any) -> dict[str, dict[str, Any]]:
    """Per executed primitive: the ONNX layers it came from and the bytes it writes."""
    facts: dict[str, dict[str, Any]] = {}
    for op in compiled.get_runtime_model().get_ops():
        info = op.get_rt_info()
        original = str(info["originalLayersNames"].value) if "originalLayersNames" in info else ""
        layer = str(info["layerType"].value) if "layerType" in info else ""
        if layer in ("Const", "Input", "Output"):
            continue
        size = sum(
            int(np.prod(list(out.get_shape()), dtype=np.int64)) * out.get_element_type().size
            for out in op.outputs()
        )
        facts[op.get_friendly_name()] = {"onnx_nodes": original, "output_bytes": size}
    return facts
