"""Tuning is bounded, resumable and never called tuned before its budget is used up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from baselines import tvm_tune
from baselines.base import RunConfig, Unavailable
from baselines.contract import block_model, reference, sample
from ecp import checked


def task(trials: int, best: float | None, weight: int = 1, done: bool = False) -> dict[str, Any]:
    return {"trials": trials, "best_s": best, "weight": weight, "done": done}


def progress(asked: int | None, *tasks: dict[str, Any]) -> dict[str, Any]:
    return {"tasks": {str(i): t for i, t in enumerate(tasks)}, "seconds": 1.0, "asked": asked}


def test_a_search_is_finished_when_its_trials_are_used_and_every_operator_was_tried() -> None:
    def finished(*args: Any) -> bool:
        return bool(tvm_tune._summary(progress(*args))["finished"])

    assert finished(32, task(16, 1.0), task(16, 1.0))
    assert not finished(33, task(16, 1.0), task(16, 1.0))
    assert not finished(16, task(64, 1.0), task(0, None)), "an operator was never tried"
    assert finished(500, task(3, 1.0, done=True), task(2, 1.0, done=True)), "small spaces were all seen"
    assert not finished(None, task(600, 1.0)), "an old file that does not say what was asked"
    assert not finished(0), "no operators are no search"


def test_untried_operators_come_first_then_the_one_that_costs_most_per_trial() -> None:
    tasks = {"a": task(16, 1e-3, weight=12), "b": task(0, None), "c": task(16, 5e-3, weight=1)}
    assert tvm_tune._next(tasks) == "b"
    tasks["b"] = task(16, 1e-6)
    assert tvm_tune._next(tasks) == "a"
    tasks["a"]["trials"] = 80
    assert tvm_tune._next(tasks) == "c"
    assert tvm_tune._next({"a": task(1, 1.0, done=True)}) is None


def test_an_unfinished_search_is_refused_with_its_trials_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tvm")
    from baselines.tvm_backend import TvmTunedBackend

    monkeypatch.setenv("ECP_CACHE", str(tmp_path))
    model = block_model(tmp_path / "m.onnx")
    file = tvm_tune._progress_file(model, 1)
    checked.write_json(file, progress(512, task(49, 1e-3), task(0, None)))
    with pytest.raises(
        Unavailable, match=r"stopped after 49 of 512 trials with 1 of 2 operators.*--trials 512"
    ):
        TvmTunedBackend().prepare(model, RunConfig(device="local-cpu", threads=1))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_bounded_search_ends_resumes_and_gives_a_labelled_right_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tvm")
    from baselines.tvm_backend import TvmTunedBackend

    monkeypatch.setenv("ECP_CACHE", str(tmp_path))
    monkeypatch.setattr(tvm_tune, "FIRST", 2)
    model = block_model(tmp_path / "m.onnx")
    stopped = tvm_tune.tune(model, 1, trials=1000, seconds=0)
    assert stopped["trials"] == 0 and not stopped["finished"]
    found = tvm_tune.tune(model, 1, trials=4, seconds=1500)
    assert (
        found["finished"] and found["trials"] >= 2 * found["tasks"] and found["tasks_tuned"] == found["tasks"]
    )
    again = tvm_tune.tune(model, 1, trials=4, seconds=1500)
    assert again["trials"] == found["trials"], "a finished search does nothing"
    backend = TvmTunedBackend()
    backend.prepare(model, RunConfig(device="local-cpu", threads=1))
    got = backend.run({"input": sample()})["logits"]
    assert abs(got - reference(sample())).max() < 1e-3 * abs(reference(sample())).max()
    assert f"{found['trials']} trials" in backend.describe().true_backend
