"""ExecuTorch with the XNNPACK delegate, its documented way to run fp32 models on CPUs.

Source: ExecuTorch documentation, "Using ExecuTorch with XNNPACK". What XNNPACK does not take runs on the portable
reference kernels; how many operators those are is in the record.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from baselines.base import Backend, Description, OpTime, RunConfig, Unavailable, Unsupported
from baselines.common import (
    check_feeds,
    first_line,
    read_interface,
    require_local_cpu,
    require_precision,
    timed_ms,
    verify_threads,
    zero_feeds,
)
from baselines.output import captured_output
from baselines.torch_source import converted

TOTALS = re.compile(r"(OPERATOR|DELEGATE)_CALL|(Method|Program)::.*")
"""Events of ETDump that contain others: an operator's call around its kernel, a delegate around its operators."""


class ExecuTorchBackend(Backend):
    """ExecuTorch's runtime from its Python wheel on this computer's CPU, fp32."""

    name: ClassVar[str] = "executorch"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Convert in another process (cached), load, set and check the threads."""
        require_local_cpu(config, self.name)
        require_precision(config, ["fp32"], "executorch with XNNPACK from fp32 source")
        try:
            with captured_output():
                import executorch.extension.pybindings.portable_lib as pybindings
            self._version = version("executorch")
        except (ImportError, PackageNotFoundError) as exc:
            raise Unavailable("executorch is not installed; pip install executorch") from exc
        self._interface = read_interface(onnx_path)
        program, facts = converted(
            "executorch", onnx_path, self._interface, config, sys.executable, self._version
        )
        with captured_output():
            pybindings._unsafe_reset_threadpool(config.threads)
            threads = int(pybindings._threadpool_get_thread_count())
        if threads != config.threads:
            raise Unsupported(f"executorch: {config.threads} threads asked, its pool has {threads}")
        self._program, self._load = program, pybindings._load_for_executorch
        try:
            with captured_output():
                self._module: Any = self._load(str(program))
        except RuntimeError as exc:
            raise Unsupported(f"executorch: {first_line(exc)}") from exc
        self._facts: dict[str, Any] = {
            "delegate": "XnnpackBackend",
            "threadpool": threads,
            "program_bytes": program.stat().st_size,
            "from": "torch.export of the PyTorch source (not the ONNX bytes)",
            **facts,
        }
        self.stage(zero_feeds(self._interface))
        self.execute()
        self._facts |= verify_threads(self.execute, config, self.name)

    def describe(self) -> Description:
        """The wheel's version and the delegate."""
        return Description(self._version, "ExecuTorch XNNPACK delegate on CPU", dict(self._facts))

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Wrap the inputs as tensors."""
        import torch

        self._inputs = tuple(torch.from_numpy(a.copy()) for a in check_feeds(self._interface, feeds))

    def execute(self) -> None:
        """One forward pass."""
        self._results = self._module.run_method("forward", self._inputs)

    def fetch(self) -> dict[str, np.ndarray]:
        """Copies of the outputs by ONNX name."""
        ports = self._interface.outputs
        return {p.name: np.array(r.numpy()) for p, r in zip(ports, self._results, strict=True)}

    def profile(self, feeds: Mapping[str, np.ndarray], repeats: int) -> list[OpTime]:
        """Times from ETDump on a second load with tracing: plain runs carry no hooks.

        XNNPACK reports every operator inside its delegate. The first traced run is left out (it plans memory).
        """
        self.stage(feeds)
        with captured_output(), tempfile.TemporaryDirectory() as folder:
            from executorch.devtools import Inspector

            traced = self._load(str(self._program), enable_etdump=True)
            passes = [
                timed_ms(lambda: traced.run_method("forward", self._inputs)) for _ in range(repeats + 1)
            ]
            dump = Path(folder) / "profile.etdump"
            traced.write_etdump_result_to_file(str(dump))
            blocks = Inspector(etdump_path=str(dump)).event_blocks
        self.profiled_pass_ms = statistics.median(passes[1:])
        return operators(event for block in blocks if block.name == "Execute" for event in block.events)

    def close(self) -> None:
        """Drop the program."""
        for name in ("_results", "_inputs", "_module"):
            self.__dict__.pop(name, None)


def operators(events: Iterable[Any]) -> list[OpTime]:
    """ETDump's events of one method as operators: median ms over the runs after the first, totals left out.

    ``events`` are ExecuTorch's ``devtools.inspector.Event``. A kernel is named ``native_call_NAME.out``, an operator of
    XNNPACK ``NAME #N`` with N counted inside one delegate, so that a name is made unique by its instruction.
    """
    found = []
    for position, event in enumerate(events):
        if TOTALS.fullmatch(event.name) or event.perf_data is None:
            continue
        kind = re.sub(r" #\d+$", "", event.name).removeprefix("native_call_")
        runs = event.perf_data.raw[1:]
        details = {"delegate": event.delegate_backend_name} if event.is_delegated_op else {}
        found.append(OpTime(f"{position}:{event.name}", kind, statistics.median(runs), "etdump", details))
    return found
