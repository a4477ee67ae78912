"""TVM on this processor through LLVM: ``tvm`` as it compiles by default, ``tvm-tuned`` with a tuning database.

TVM has no hand-written matmul schedule for CPUs: without tuning it emits a plain loop nest, so the default row
is labelled untuned and must not be read as what TVM can do. ``tvm-tuned`` uses what ``baselines.tvm_tune`` found
and refuses to run where nothing was tuned, so that neither row can pass for the other.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
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
from baselines.tvm_common import (
    import_onnx,
    import_tvm,
    limit_threads,
    llvm_target,
    tvm_version,
)


class TvmBackend(Backend):
    """TVM's default LLVM pipeline: operator fusion, no tuned schedules."""

    name: ClassVar[str] = "tvm"
    label: ClassVar[str] = "untuned"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Import, compile for this processor, start the virtual machine, check the threads."""
        require_local_cpu(config, self.name)
        require_precision(config, ["fp32"], "tvm (an fp32 ONNX file keeps its types)")
        limit_threads(config.threads)
        self._tvm = import_tvm()
        from tvm import relax

        self._interface = read_interface(onnx_path)
        self._target = llvm_target(config.threads)
        self._facts: dict[str, Any] = {"schedules": self.label, "target": str(self._target)}
        mod = self._module(onnx_path, config)
        try:
            self._executable = relax.build(mod, self._target)
        except Exception as exc:  # any pass may refuse the model, in an error class of its own
            raise Unsupported(f"tvm: {first_line(exc)}") from exc
        self._device = self._tvm.cpu()
        self._vm = relax.VirtualMachine(self._executable, self._device)
        self._main = self._vm["main"]
        self.stage(zero_feeds(self._interface))
        # One run, the first: an untuned base model takes minutes.
        self._facts |= verify_threads(self.execute, config, self.name, repeats=1)

    def _module(self, onnx_path: Path, config: RunConfig) -> Any:
        from tvm import relax

        return relax.get_pipeline("zero")(import_onnx(onnx_path))

    def describe(self) -> Description:
        """The wheel's version; the true backend names the state of tuning."""
        return Description(tvm_version(), f"TVM LLVM ({self._facts['schedules']})", dict(self._facts))

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Copy the inputs into TVM tensors."""
        arrays = check_feeds(self._interface, feeds)
        self._inputs = [self._tvm.runtime.tensor(a, self._device) for a in arrays]

    def execute(self) -> None:
        """One call of the virtual machine; on the CPU it returns when the outputs are there."""
        self._result = self._main(*self._inputs)

    def fetch(self) -> dict[str, np.ndarray]:
        """Outputs by ONNX name."""
        ports = self._interface.outputs
        values = [self._result] if len(ports) == 1 and hasattr(self._result, "numpy") else list(self._result)
        return {p.name: v.numpy().copy() for p, v in zip(ports, values, strict=True)}

    def profile(self, feeds: Mapping[str, np.ndarray], repeats: int) -> list[OpTime]:
        """Times of every function that the virtual machine calls, from its instrument hook."""
        from tvm import relax

        vm = relax.VirtualMachine(self._executable, self._device)
        recorder = _Recorder()
        vm.set_instrument(recorder)
        arrays = [self._tvm.runtime.tensor(a, self._device) for a in check_feeds(self._interface, feeds)]
        passes, walls = [], []
        for _ in range(repeats + 1):
            recorder.calls = []
            walls.append(timed_ms(lambda: vm["main"](*arrays)))
            passes.append(recorder.calls)
        warm = passes[1:]
        self.profiled_pass_ms = statistics.median(walls[1:])
        return [
            OpTime(
                name, name, statistics.median(p[i][1] for p in warm), "tvm-instrument", {"output_bytes": size}
            )
            for i, (name, _, size) in enumerate(warm[0])
            if not name.startswith("vm.builtin.") or "copy" in name
        ]

    def close(self) -> None:
        """Drop the virtual machine."""
        for name in ("_result", "_inputs", "_main", "_vm", "_executable"):
            self.__dict__.pop(name, None)


class TvmTunedBackend(TvmBackend):
    """TVM with the best schedules of a finished meta-schedule search for this processor and thread count."""

    name: ClassVar[str] = "tvm-tuned"
    label: ClassVar[str] = "meta-schedule tuned"

    def _module(self, onnx_path: Path, config: RunConfig) -> Any:
        from tvm import relax

        from baselines.tvm_tune import database_dir, intact, summary, tunable

        folder = database_dir(config.threads)
        found = summary(onnx_path, config.threads)
        if not found["finished"]:
            raise Unavailable(f"tvm-tuned: {_unfinished(found)}; {_how(onnx_path, config.threads, found)}")
        if not intact(folder):
            how = _how(onnx_path, config.threads, found)
            raise Unavailable(
                f"tvm-tuned: the tuning database {folder} is damaged, or a search was killed; {how}"
            )
        self._facts["tuning"] = found
        self._facts["schedules"] = (
            f"{self.label} with {found['trials']} trials, {found['tasks_tuned']} of {found['tasks']} operators"
        )
        # Weights are constants here, so that folding lays them out at compile time and `main` keeps its inputs.
        with captured_output(), self._target:
            apply = [
                relax.transform.MetaScheduleApplyDatabase(str(folder)),
                relax.transform.SplitLayoutRewritePreproc(),
                relax.transform.FoldConstant(),
            ]
            return self._tvm.transform.Sequential(apply)(tunable(onnx_path))


def _unfinished(found: Mapping[str, Any]) -> str:
    if not found["trials"]:
        return "nothing was tuned for this model and processor yet"
    asked = "an unknown number" if found["trials_asked"] is None else found["trials_asked"]
    return (
        f"tuning stopped after {found['trials']} of {asked} trials with {found['tasks_tried']} of "
        f"{found['tasks']} operators tried, which is not what tuned TVM can do"
    )


def _how(onnx_path: Path, threads: int, found: Mapping[str, Any]) -> str:
    trials = found["trials_asked"] or 512
    options = f"--threads {threads} --trials {trials} --seconds 1200"
    return f"python -m baselines.tvm_tune {onnx_path} {options} (goes on where it stopped)"


class _Recorder:
    """The instrument: pairs the calls before and after each function. Callable as TVM asks."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float, int]] = []
        self._start = 0.0

    def __call__(self, _func: Any, symbol: str, before: bool, _result: Any, *args: Any) -> int:
        if before:
            self._start = time.perf_counter()
            return 0  # VMInstrumentReturnKind.NO_OP
        ms = (time.perf_counter() - self._start) * 1e3
        self.calls.append((symbol, ms, _nbytes(args[-1]) if args else 0))
        return 0


def _nbytes(value: Any) -> int:
    """Bytes of the last argument, which is the output of a destination-passing call."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None or dtype is None:
        return 0
    return int(np.prod([int(d) for d in shape], dtype=np.int64)) * np.dtype(str(dtype)).itemsize
