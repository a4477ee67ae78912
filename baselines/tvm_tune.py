"""Meta-schedule tuning for TVM on this processor: bounded in trials and seconds, cached, resumable.

``python -m baselines.tvm_tune MODEL.onnx --trials 512 --seconds 1200`` fills the database that the backend
``tvm-tuned`` reads; called again it goes on where it stopped. Every trial is on disk when it is done. Source:
TVM documentation, "End-to-End Optimize Model" (``static_shape_tuning``), with CPU weight prepacking.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from baselines.common import cache_dir
from baselines.output import captured_output
from baselines.tvm_common import import_onnx, import_tvm, limit_threads, llvm_target, tvm_version

BATCH = 16


def database_dir(threads: int) -> Path:
    """Folder of the tuning database: one per TVM version, processor and thread count, shared by all models."""
    target = json.dumps(dict(llvm_target(threads).export()), sort_keys=True, default=str)
    return cache_dir("tvm-tune", tvm_version(), hashlib.sha256(target.encode()).hexdigest()[:16])


def _progress_file(onnx_path: Path, threads: int) -> Path:
    return database_dir(threads) / f"model-{hashlib.sha256(onnx_path.read_bytes()).hexdigest()[:24]}.json"


def tunable(onnx_path: Path) -> Any:
    """The module that is tuned and to which the database is applied: fused, weights free to be laid out."""
    tvm = import_tvm()
    from tvm import relax

    steps = [
        relax.transform.DecomposeOpsForInference(),
        relax.transform.CanonicalizeBindings(),
        relax.get_pipeline("zero"),
        relax.transform.AttachAttrLayoutFreeBuffers(),
    ]
    return tvm.transform.Sequential(steps)(import_onnx(onnx_path))


def summary(onnx_path: Path, threads: int) -> dict[str, Any]:
    """Trials, tasks and seconds spent on this model so far; zeros where nothing was tuned."""
    return _summary(_read(_progress_file(onnx_path, threads)))


def _summary(progress: dict[str, Any]) -> dict[str, Any]:
    tasks = progress["tasks"].values()
    return {
        "trials": sum(t["trials"] for t in tasks),
        "tasks": len(tasks),
        "tasks_tuned": sum(t["best_s"] is not None for t in tasks),
        "seconds": round(progress["seconds"], 1),
    }


def tune(onnx_path: Path, threads: int, trials: int, seconds: float) -> dict[str, Any]:
    """Search one task at a time until ``trials`` in all or ``seconds`` of this call are used up."""
    import_tvm()
    from tvm.s_tir import meta_schedule as ms

    limit_threads(threads)
    start = time.monotonic()
    folder, target, file = database_dir(threads), llvm_target(threads), _progress_file(onnx_path, threads)
    extracted = ms.relax_integration.extract_tasks(tunable(onnx_path), target, {})
    progress = _read(file)
    spent = progress["seconds"]
    for task in extracted:
        fresh = {"trials": 0, "best_s": None, "weight": int(task.weight)}
        progress["tasks"].setdefault(str(task.task_name), fresh)
    while time.monotonic() - start < seconds and _summary(progress)["trials"] < trials:
        name = _next(progress["tasks"])
        if name is None:
            break
        task = next(t for t in extracted if str(t.task_name) == name)
        state = progress["tasks"][name]
        state["trials"], state["best_s"] = _search(ms, task, folder, threads, state)
        progress["seconds"] = spent + time.monotonic() - start
        file.write_text(json.dumps(progress))
    return _summary(progress)


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"tasks": {}, "seconds": 0.0}
    return found


def _next(tasks: dict[str, dict[str, Any]]) -> str | None:
    """Untried tasks first; then the one whose share of the model's time per trial spent is largest."""

    def gain(name: str) -> float:
        task = tasks[name]
        if task["trials"] == 0:
            return math.inf
        # A search that once found nothing new (all of a small space is known) is not asked again.
        return 0.0 if task.get("done") else (task["best_s"] or 0.0) * task["weight"] / task["trials"]

    best = max(tasks, key=gain)
    return best if gain(best) > 0 else None


def _search(
    ms: Any, task: Any, folder: Path, threads: int, state: dict[str, Any]
) -> tuple[int, float | None]:
    """One batch of trials for one task: (trials in all, best seconds or None)."""
    builder, runner, times = _in_process()
    with captured_output():
        contexts, weights = ms.relax_integration.extracted_tasks_to_tune_contexts(
            [task], str(folder), num_threads=threads, seed=1 + state["trials"]
        )
        ms.tune.tune_tasks(
            tasks=contexts,
            task_weights=weights,
            work_dir=str(folder),
            max_trials_global=BATCH,
            num_trials_per_iter=BATCH,
            builder=builder,
            runner=runner,
            measure_callbacks=[ms.measure_callback.AddToDatabase(), ms.measure_callback.UpdateCostModel()],
        )
    state["done"] = len(times) < BATCH
    known = [t for t in (state["best_s"], *times) if t is not None]
    return state["trials"] + max(1, len(times)), min(known, default=None)


def _in_process() -> tuple[Any, Any, list[float | None]]:
    """Builder and runner inside this process, and the list that collects the times.

    TVM's own start a fresh interpreter for every batch and give up after 30 s, which a small busy machine
    exceeds by imports alone. A candidate that crashed would end the search, and the database keeps what was found.
    """
    tvm = import_tvm()
    from tvm.ir.utils import derived_object
    from tvm.s_tir import meta_schedule as ms
    from tvm.s_tir.meta_schedule.builder.local_builder import default_build

    built: dict[str, Any] = {}
    times: list[float | None] = []

    @derived_object
    class Builder(ms.builder.PyBuilder):  # type: ignore[misc]
        def build(self, build_inputs: list[Any]) -> list[Any]:
            results = []
            for number, item in enumerate(build_inputs):
                key, problem = f"memory-{len(built)}-{number}", None
                try:
                    built[key] = default_build(item.mod, item.target, None)
                except Exception as exc:  # an invalid schedule is a result of the search, not an error
                    problem = str(exc)
                results.append(ms.builder.BuilderResult(None if problem else key, problem))
            return results

    @derived_object
    class Runner(ms.runner.PyRunner):  # type: ignore[misc]
        def run(self, runner_inputs: list[Any]) -> list[Any]:
            futures = []
            for item in runner_inputs:
                outcome = _time(tvm, built.pop(item.artifact_path), item.args_info)
                times.append(None if isinstance(outcome, str) else min(outcome))
                futures.append(_future(outcome))
            return futures

    return Builder(), Runner(), times


def _time(tvm: Any, module: Any, args_info: Any) -> list[float] | str:
    """Seconds of one candidate on random inputs, or the error's text."""
    try:
        rng = np.random.default_rng(0)
        args = []
        for info in args_info:
            _kind, dtype, shape = info.as_json()
            values = rng.random(tuple(int(d) for d in shape)).astype(dtype)
            args.append(tvm.runtime.tensor(values, tvm.cpu()))
        evaluator = module.time_evaluator("main", tvm.cpu(), number=1, repeat=3, min_repeat_ms=10)
        return [float(t) for t in evaluator(*args).results]
    except Exception as exc:  # whatever the candidate did wrong
        return str(exc)


def _future(outcome: list[float] | str) -> Any:
    from tvm.s_tir.meta_schedule.runner import RunnerFuture, RunnerResult

    failed = isinstance(outcome, str)
    result = RunnerResult(None if failed else outcome, outcome if failed else None)
    return RunnerFuture(f_done=lambda: True, f_result=lambda: result)


def main(argv: list[str] | None = None) -> int:
    """Command line: tune one model and print the summary as JSON."""
    parser = argparse.ArgumentParser(prog="python -m baselines.tvm_tune", description=__doc__)
    parser.add_argument("model", type=Path, help="an ONNX file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--trials", type=int, default=512, help="trials in all, earlier calls included")
    parser.add_argument("--seconds", type=float, default=1200, help="time of this call")
    args = parser.parse_args(argv)
    print(json.dumps(tune(args.model, args.threads, args.trials, args.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
