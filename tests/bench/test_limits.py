"""The watcher of ``limits``, its cells, and the choice of ``tune-baselines``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import limits, tune_baselines
from bench.options import RunOptions
from bench.records import read_records
from tests.baselines.contract import block_model

ECHO = [sys.executable, "-c", "import sys; print('noise'); print(sys.stdin.read())"]


def run(code: str, seconds: float = 20.0, memory_gb: float = 4.0) -> dict[str, Any]:
    return limits.watched([sys.executable, "-c", code], "{}", seconds, memory_gb)


def test_the_answer_is_the_last_line() -> None:
    assert limits.watched(ECHO, '{"status": "measured"}', 20, 4) == {"status": "measured"}


def test_time_memory_and_signals_are_told_apart() -> None:
    assert "not done after 0.3 s" in run("import time; time.sleep(30)", seconds=0.3)["reason"]
    grow = "x = bytearray(700 * 2**20); import time; time.sleep(30)"
    assert "more than 0.5 GiB" in run(grow, memory_gb=0.5)["reason"]
    assert "signal SIGSEGV" in run("import os; os.kill(os.getpid(), 11)")["reason"]
    assert "status 7" in run("import sys; sys.exit(7)")["reason"]


def test_the_cell_keeps_the_largest_batch_and_the_first_failure() -> None:
    base = {"device": "local", "precision": "fp32", "threads": 2}
    tries = [
        {"status": "measured", "reason": "", "batch": 1, "ms": 1.0},
        {"status": "measured", "reason": "", "batch": 2, "ms": 2.0},
        {"status": "failed", "reason": "out of memory", "batch": 4},
    ]
    cell = limits.make_cell(base, "mnn", "vit_base@512", tries, {"seconds": 1.0})
    assert cell["status"] == "measured" and cell["value"] == 2
    assert cell["extra"]["first_failure"] == {"batch": 4, "reason": "out of memory"}
    none = limits.make_cell(
        base, "tnn", "m", [{"status": "unavailable", "reason": "TNN_HOME", "batch": 1}], {}
    )
    assert none["status"] == "unavailable" and none["value"] is None and none["reason"] == "TNN_HOME"


def test_a_real_try_runs_and_an_impossible_one_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))
    request = {
        "device": "local-cpu",
        "precision": "fp32",
        "threads": 1,
        "options": {"device_class": "cpu"},
        "backend": "onnxruntime",
        "onnx": str(block_model(tmp_path / "m.onnx")),
    }
    worker = [sys.executable, "-m", "bench.limits_worker"]
    good = limits.watched(worker, json.dumps(request), 120, 4)
    assert good["status"] == "measured" and good["ms"] > 0 and good["peak_mib"] > 10
    bad = limits.watched(worker, json.dumps({**request, "precision": "fp16"}), 120, 4)
    assert bad["status"] == "unsupported" and "\n" not in bad["reason"]
    folder = limits._open(tmp_path, {})
    limits._record(folder, request, "onnxruntime", "m", {**bad, "batch": 1}, 1)
    (record,) = read_records(folder.records_path).records
    assert record.status == "unsupported" and record.extra["batch"] == 1


def test_the_best_setting_is_the_fastest_measured_one() -> None:
    def cell(threads: int, value: float | None) -> dict[str, Any]:
        names = {"device": "local", "backend": "mnn", "model": "m", "precision": "fp32"}
        return {**names, "value": value, "status": "x", "extra": {"threads": threads}}

    cells = [cell(1, 3.0), cell(2, 2.0), cell(4, None)]
    tune_baselines.mark_best(cells)
    assert [c["extra"]["best"] for c in cells] == [False, True, False]


def test_the_search_covers_threads_and_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)))
    found = {(v.threads, v.precision) for v in tune_baselines.variants(RunOptions())}
    assert found == {(t, p) for t in (1, 2, 4, 6) for p in ("fp32", "fp16")}
