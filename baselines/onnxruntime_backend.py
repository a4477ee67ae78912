"""ONNX Runtime's CPU provider with all graph optimizations: what a user gets from its own guide.

Threads: ``intra_op_num_threads`` as asked, one inter-op thread, sequential execution (its default for one model).
Arena, memory pattern and spinning stay as shipped. Source: ONNX Runtime documentation, "Thread management" and
"Graph optimizations".
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from baselines.base import Backend, Description, OpTime, RunConfig, Unavailable, Unsupported
from baselines.common import (
    check_feeds,
    first_line,
    own_options,
    read_interface,
    require_local_cpu,
    timed_ms,
)

PROVIDER = "CPUExecutionProvider"


class OnnxRuntimeBackend(Backend):
    """ONNX Runtime on this computer's CPU. Options ``onnxruntime.KEY=VALUE`` become session config entries."""

    name: ClassVar[str] = "onnxruntime"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Load and optimize. fp16 is refused: the CPU provider would compute in fp32 behind casts."""
        try:
            import onnxruntime
        except ImportError as error:
            raise Unavailable("onnxruntime is not installed; pip install onnxruntime") from error
        require_local_cpu(config, self.name)
        if config.options.get("device_class", "cpu") != "cpu":
            raise Unavailable(
                "this onnxruntime has the CPU provider only and the device is a GPU; compare on local-cpu"
            )
        if config.precision != "fp32":
            raise Unsupported(f"onnxruntime's CPU provider computes in fp32, not {config.precision}")
        self._ort = onnxruntime
        self._path, self._config = onnx_path, config
        self._interface = read_interface(onnx_path)
        self._session = self._open(profile=False)
        self._outputs = [p.name for p in self._interface.outputs]
        self._results: list[np.ndarray] = []

    def _open(self, *, profile: bool, prefix: str = "") -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._config.threads
        options.inter_op_num_threads = 1
        options.execution_mode = self._ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        if profile:
            options.enable_profiling = True
            options.profile_file_prefix = prefix
        for key, value in own_options(self._config, self.name).items():
            options.add_session_config_entry(key, str(value))
        try:
            session = self._ort.InferenceSession(str(self._path), options, providers=[PROVIDER])
        except Exception as error:  # the library raises bare pybind exceptions of its own per status code
            raise Unsupported(f"onnxruntime: {first_line(error)}") from error
        if session.get_providers() != [PROVIDER]:
            raise Unsupported(f"onnxruntime chose {session.get_providers()} where {PROVIDER} was asked")
        return session

    def describe(self) -> Description:
        """Version and what the session says of itself."""
        options = self._session.get_session_options()
        details = {
            "intra_op_num_threads": options.intra_op_num_threads,
            "inter_op_num_threads": options.inter_op_num_threads,
            "graph_optimization_level": str(options.graph_optimization_level).rpartition(".")[2],
            "providers": self._session.get_providers(),
        }
        return Description(self._ort.__version__, f"ONNX Runtime {PROVIDER}", details)

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Check the inputs and keep them; ONNX Runtime reads numpy memory in place."""
        arrays = check_feeds(self._interface, feeds)
        self._feeds = {p.name: a for p, a in zip(self._interface.inputs, arrays, strict=True)}

    def execute(self) -> None:
        """One synchronous inference."""
        self._results = self._session.run(self._outputs, self._feeds)

    def fetch(self) -> dict[str, np.ndarray]:
        """Outputs of the last run by name."""
        return dict(zip(self._outputs, self._results, strict=True))

    def profile(self, feeds: Mapping[str, np.ndarray], repeats: int) -> list[OpTime]:
        """Node times from ONNX Runtime's own profiler, in a second session; its first run is dropped."""
        with tempfile.TemporaryDirectory() as folder:
            session = self._open(profile=True, prefix=str(Path(folder) / "ort"))
            self.stage(feeds)
            passes = [timed_ms(lambda: session.run(self._outputs, self._feeds)) for _ in range(repeats + 1)]
            self.profiled_pass_ms = statistics.median(passes[1:])
            events = json.loads(Path(session.end_profiling()).read_text())
        return _node_times(events, repeats)

    def close(self) -> None:
        """Drop the session."""
        self._session = None
        self._results = []


def _node_times(events: list[dict[str, Any]], repeats: int) -> list[OpTime]:
    """Median ms per node over the last ``repeats`` runs of a profile (kernel events, category ``Node``)."""
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event.get("name", "").endswith("_kernel_time"):
            key = (event["name"].removesuffix("_kernel_time"), event["args"]["op_name"])
            times[key].append(event["dur"] / 1e3)
    return [
        OpTime(name, op, statistics.median(values[-repeats:]), "onnxruntime-profiler")
        for (name, op), values in times.items()
    ]
