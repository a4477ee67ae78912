"""Meta-schedule tuning for TVM on this processor: bounded in trials and seconds, cached, resumable.

``python -m baselines.tvm_tune MODEL.onnx --trials 512 --seconds 1200`` fills the database that the backend
``tvm-tuned`` reads; called again it goes on where it stopped. Every trial is on disk when it is done, and a search
that did not use up what was asked is not called tuned. First every operator gets a few random schedules, then the
ones that cost the model most are searched by evolution with one learned cost model for all. Source: TVM
documentation, "End-to-End Optimize Model" (``static_shape_tuning``), with CPU weight prepacking.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from baselines.base import Unavailable
from baselines.common import cache_dir, first_line
from baselines.output import captured_output
from baselines.tvm_common import import_onnx, import_tvm, limit_threads, llvm_target, tvm_version
from ecp import checked
from ecp.frontend.identity import model_sha256

DATABASE = ("database_workload.json", "database_tuning_record.json")
SEAL = "checksums.json"
FIRST = 16
"""Random schedules that every operator gets before any is searched further."""
FAILED_S = 1e9
"""TVM's database holds a candidate that failed as one that takes 1e10 s."""
BATCH = 64
"""Trials of one round of evolution (TVM's default): its own cost is the same for one trial as for 64."""


def database_dir(threads: int) -> Path:
    """Folder of the tuning database: one per TVM version, processor and thread count, shared by all models."""
    target = json.dumps(dict(llvm_target(threads).export()), sort_keys=True, default=str)
    return cache_dir("tvm-tune", tvm_version(), hashlib.sha256(target.encode()).hexdigest()[:16])


def _progress_file(onnx_path: Path, threads: int) -> Path:
    return database_dir(threads) / f"model-{model_sha256(onnx_path)[:24]}.json"


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
    """Trials, tasks and seconds spent on this model so far, and whether the search is ``finished``."""
    return _summary(_read(_progress_file(onnx_path, threads)))


def _summary(progress: dict[str, Any]) -> dict[str, Any]:
    tasks = list(progress["tasks"].values())
    trials, asked = sum(t["trials"] for t in tasks), progress.get("asked")
    tried = sum(t["trials"] > 0 for t in tasks)
    used_up = asked is not None and (trials >= asked or all(t.get("done") for t in tasks))
    return {
        "trials": trials,
        "trials_asked": asked,
        "tasks": len(tasks),
        "tasks_tried": tried,
        "tasks_tuned": sum(t["best_s"] is not None for t in tasks),
        "seconds": round(progress["seconds"], 1),
        "finished": bool(tasks) and used_up and tried == len(tasks),
    }


def tune(onnx_path: Path, threads: int, trials: int, seconds: float) -> dict[str, Any]:
    """Search one task at a time until ``trials`` in all or ``seconds`` of this call are used up (one round over)."""
    import_tvm()
    from tvm.s_tir import meta_schedule as ms

    limit_threads(threads)
    folder = database_dir(threads)
    # The database numbers its workloads: two searches at once would mix them up.
    with FileLock(f"{folder}.lock"):
        restore(folder)
        return _tune(ms, onnx_path, threads, trials, seconds)


def _tune(ms: Any, onnx_path: Path, threads: int, trials: int, seconds: float) -> dict[str, Any]:
    start = time.monotonic()
    folder, target, file = database_dir(threads), llvm_target(threads), _progress_file(onnx_path, threads)
    extracted = ms.relax_integration.extract_tasks(tunable(onnx_path), target, {})
    progress = _read(file)
    progress["asked"] = trials
    spent = progress["seconds"]
    database = ms.database.JSONDatabase(work_dir=str(folder))
    for task in extracted:
        if str(task.task_name) not in progress["tasks"]:
            progress["tasks"][str(task.task_name)] = _known(database, task)
    model = _cost_model(ms, folder)
    while True:
        progress["seconds"] = spent + time.monotonic() - start
        _seal(folder)
        checked.write_json(file, progress)
        if time.monotonic() - start >= seconds or _summary(progress)["finished"]:
            return _summary(progress)
        name = _next(progress["tasks"])
        if name is None:
            return _summary(progress)
        task = next(t for t in extracted if str(t.task_name) == name)
        state = progress["tasks"][name]
        left = max(1, trials - _summary(progress)["trials"])
        count = FIRST if state["trials"] == 0 else min(BATCH, left)
        state["trials"], state["best_s"] = _search(ms, task, folder, threads, state, count, model)
        model.save(str(_model_file(folder)))
        checked.seal(_model_file(folder))


def _known(database: Any, task: Any) -> dict[str, Any]:
    """A task's state at the start: what the database holds of it from another model with the same operator."""
    state: dict[str, Any] = {"trials": 0, "best_s": None, "weight": int(task.weight)}
    module = task.dispatched[0]
    if database.has_workload(module):
        records = database.get_top_k(database.commit_workload(module), 100_000)
        times = [min(float(s) for s in r.run_secs) for r in records if r.run_secs]
        valid = [t for t in times if t < FAILED_S]
        state |= {"trials": len(times), "best_s": min(valid, default=None)}
    return state


def _cost_model(ms: Any, folder: Path) -> Any:
    """One model for all tasks and calls: it predicts at random until it has seen as many trials as TVM wants."""
    try:
        model = ms.cost_model.XGBModel()
    except ImportError as exc:
        raise Unavailable(f"tuning needs xgboost ({first_line(exc)}); pip install xgboost-cpu") from exc
    if checked.sealed(_model_file(folder)):
        with captured_output():
            model.load(str(_model_file(folder)))
    return model


def _model_file(folder: Path) -> Path:
    return folder / "cost-model.tar"


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = checked.read_json(file) or {"tasks": {}, "seconds": 0.0}
    return found


def _seal(folder: Path) -> None:
    """Note what the database holds now: size and checksum of each of its files."""
    held = [folder / name for name in DATABASE if (folder / name).is_file()]
    checked.write_json(folder / SEAL, {p.name: [p.stat().st_size, checked.file_checksum(p)] for p in held})


def intact(folder: Path) -> bool:
    """Whether the database holds what it held when the last round of a search was over, and nothing else."""
    return _surplus(folder) == {}


def restore(folder: Path) -> None:
    """Take back what a killed search left after its last whole round; set a damaged database aside."""
    surplus = _surplus(folder)
    for path, size in (surplus or {}).items():
        os.truncate(path, size)
    if surplus is None:
        aside = folder.with_name(f"{folder.name}.damaged-{time.time_ns()}")
        checked.log.warning(
            "%s is not what was kept there: it is now %s, and tuning begins anew", folder, aside
        )
        folder.rename(aside)
        folder.mkdir()


def _surplus(folder: Path) -> dict[Path, int] | None:
    """Files that grew since they were noted, with their sizes then; None where the database is damaged."""
    noted = checked.read_json(folder / SEAL) or {}
    if any(os.path.lexists(folder / name) and name not in noted for name in DATABASE):
        return None
    try:
        if any(_checksum(folder / name, size) != wanted for name, (size, wanted) in noted.items()):
            return None
        return {folder / n: size for n, (size, _) in noted.items() if (folder / n).stat().st_size > size}
    except OSError:
        return None


def _checksum(path: Path, size: int) -> str:
    """Checksum of the first ``size`` bytes: a search appends, and one that was killed has appended more."""
    with checked.open_regular(path, links=False) as stream:
        return checked.checksum(stream.read(size))


def _next(tasks: dict[str, dict[str, Any]]) -> str | None:
    """Untried tasks first; then the one whose share of the model's time per trial spent is largest."""

    def gain(name: str) -> float:
        task = tasks[name]
        if task["trials"] == 0:
            return math.inf
        return 0.0 if task.get("done") else (task["best_s"] or 0.0) * task["weight"] / task["trials"]

    best = max(tasks, key=gain)
    return best if gain(best) > 0 else None


def _search(
    ms: Any, task: Any, folder: Path, threads: int, state: dict[str, Any], count: int, model: Any
) -> tuple[int, float | None]:
    """``count`` trials for one task, at random the first time: (trials in all, best seconds or None)."""
    builder, runner, times = _in_process()
    random_first = state["trials"] == 0
    with captured_output():
        contexts, weights = ms.relax_integration.extracted_tasks_to_tune_contexts(
            [task],
            str(folder),
            strategy="replay-trace" if random_first else "evolutionary",
            num_threads=threads,
            seed=1 + state["trials"],
        )
        ms.tune.tune_tasks(
            tasks=contexts,
            task_weights=weights,
            work_dir=str(folder),
            max_trials_global=count,
            num_trials_per_iter=count,
            builder=builder,
            runner=runner,
            cost_model=model,
            measure_callbacks=[ms.measure_callback.AddToDatabase(), ms.measure_callback.UpdateCostModel()],
        )
    # Evolution that finds fewer new schedules than it was asked for has seen all of a small space.
    state["done"] = not random_first and len(times) < count
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
