"""The watcher of ``limits``, its cells, and the choice of ``tune-baselines``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from baselines.contract import block_model
from bench import estimate, limits, limits_process, one_process, tune_baselines
from bench.cli import main, make_app
from bench.options import RunOptions
from bench.records import BlockRecord, CellKey, RunFolder, read_records
from ecp.errors import UsageError

ECHO = [sys.executable, "-c", "import sys; print('noise'); print(sys.stdin.read())"]


def run(code: str, seconds: float = 20.0, memory_gb: float = 4.0) -> dict[str, Any]:
    return limits_process.watched([sys.executable, "-c", code], "{}", seconds, memory_gb)


def test_the_answer_is_the_last_line() -> None:
    assert limits_process.watched(ECHO, '{"status": "measured"}', 20, 4) == {"status": "measured"}


def test_time_memory_and_signals_are_told_apart() -> None:
    assert "not done after 0.3 s" in run("import time; time.sleep(30)", seconds=0.3)["reason"]
    grow = "x = bytearray(700 * 2**20); import time; time.sleep(30)"
    assert "more than 0.5 GiB" in run(grow, memory_gb=0.5)["reason"]
    assert "signal SIGSEGV" in run("import os; os.kill(os.getpid(), 11)")["reason"]
    assert "status 7" in run("import sys; sys.exit(7)")["reason"]


def test_a_converters_memory_is_not_the_frameworks() -> None:
    child = "import subprocess, sys, time; grow = 'x = bytearray(700 * 2**20); import time; time.sleep(1.5)';"
    child += "{}; subprocess.run([sys.executable, '-c', grow]); print('{{}}')"
    assert run(child.format("pass"), memory_gb=0.5) == {}
    assert "more than 0.5 GiB" in run(child.format("print('prepared', flush=True)"), memory_gb=0.5)["reason"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "vit_bse"], "did you mean vit_base"),
        (["--sizes", "224,huge"], "'@huge' is not"),
        (["--precision", "fp23"], "did you mean fp32"),
    ],
)
def test_a_mistake_is_told_before_anything_is_tried(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["limits", "--device", "local-cpu", "--out", str(tmp_path), *arguments]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_cell_keeps_the_largest_batch_and_the_first_failure() -> None:
    base = {"device": "local", "precision": "fp32", "threads": 2}
    tries = [
        {"status": "measured", "reason": "", "batch": 1, "ms": 1.0},
        {"status": "measured", "reason": "", "batch": 2, "ms": 2.0},
        {"status": "failed", "reason": "out of memory", "batch": 4},
    ]
    cell = limits.make_cell(base, "mnn", "vit_base@512", tries, {"seconds": 1.0}, 8)
    assert cell["status"] == "measured" and cell["value"] == 2
    assert cell["extra"]["first_failure"] == {"batch": 4, "reason": "out of memory"}
    none = limits.make_cell(
        base, "tnn", "m", [{"status": "unavailable", "reason": "TNN_HOME", "batch": 1}], {}, 8
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
    good = limits_process.watched(worker, json.dumps(request), 120, 4)
    assert good["status"] == "measured" and good["ms"] > 0 and good["peak_mib"] > 10
    bad = limits_process.watched(worker, json.dumps({**request, "precision": "fp16"}), 120, 4)
    assert bad["status"] == "unsupported" and "\n" not in bad["reason"]
    folder = one_process.open_folder(tmp_path, "limits", {})
    limits._record(folder, request, "onnxruntime", "m", {**bad, "batch": 1}, 1)
    (record,) = read_records(folder.records_path).records
    assert record.status == "unsupported" and record.extra["batch"] == 1


def test_the_best_setting_is_the_fastest_measured_one() -> None:
    def cell(threads: int, value: float | None, precision: str = "fp32") -> dict[str, Any]:
        names = {"device": "local", "backend": "mnn", "model": "m", "precision": precision}
        return {**names, "value": value, "status": "x", "extra": {"threads": threads}}

    cells = [cell(1, 3.0), cell(2, 2.0), cell(4, None), cell(1, 2.5, "fp16"), cell(2, 1.5, "fp16")]
    tune_baselines.mark_best(cells)
    assert [c["extra"]["best"] for c in cells] == [False, True, False, False, True]
    assert [c["extra"]["fastest"] for c in cells] == [False, False, False, False, True]


def test_the_search_covers_threads_and_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)))
    found = {(v.threads, v.precision) for v in tune_baselines.variants(RunOptions())}
    assert found == {(t, p) for t in (1, 2, 4, 6) for p in ("fp32", "fp16")}


class TestResume:
    """What an earlier call tried is not tried again, and a climb that was stopped has no value."""

    @pytest.fixture
    def asked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        asked: list[str] = []
        # The lock of a device lies in the cache: here it is nobody else's, whatever is measured meanwhile.
        monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))

        def attempt(_base: Any, backend: str, model: str, _bounds: Any) -> dict[str, Any]:
            asked.append(f"{backend} {model}")
            if model.endswith("@b4"):
                return {"status": "failed", "reason": "out of memory"}
            if len(asked) == 2 and self.interrupt:
                raise KeyboardInterrupt
            return {"status": "measured", "reason": "", "ms": 1.0, "compile_s": 2.0, "peak_mib": 3.0}

        monkeypatch.setattr(limits_process, "attempt", attempt)
        return asked

    def call(self, tmp_path: Path, *more: str) -> tuple[int, list[dict[str, Any]]]:
        file = tmp_path / "cells.json"
        names = ["--device", "local-cpu", "--backends", "mnn,torch", "--sizes", "224"]
        result = CliRunner().invoke(
            make_app(), ["limits", *names, "--out", str(tmp_path), "--json", str(file), *more]
        )
        return result.exit_code, json.loads(file.read_text())

    def test_an_interrupted_climb_goes_on_where_it_stopped(self, tmp_path: Path, asked: list[str]) -> None:
        self.interrupt = True
        code, cells = self.call(tmp_path)
        assert code == 130 and [c["status"] for c in cells] == ["not-run", "not-run"]
        assert cells[0]["value"] is None and cells[0]["extra"]["tries"][0]["ms"] == 1.0
        self.interrupt = False
        asked.clear()
        code, cells = self.call(tmp_path, "--resume")
        assert asked == [f"mnn vit_base@224@b{b}" for b in (2, 4)] + [
            f"torch vit_base@224@b{b}" for b in (1, 2, 4)
        ]
        assert code == 0 and [c["value"] for c in cells] == [2, 2]
        assert cells[0]["extra"]["tries"][0]["compile_s"] == 2.0
        assert cells[0]["extra"]["first_failure"] == {"batch": 4, "reason": "out of memory"}
        assert self.call(tmp_path)[0] == 0, "a new run starts afresh"
        result = CliRunner().invoke(
            make_app(), ["limits", "--resume", "--out", str(tmp_path), "--device", "local-cpu"]
        )
        assert result.exit_code == 2 or isinstance(result.exception, UsageError)

    def test_no_try_starts_after_the_time_given(self, tmp_path: Path, asked: list[str]) -> None:
        self.interrupt = False
        code, cells = self.call(tmp_path, "--minutes", "0")
        assert code == 1 and asked == [] and "--resume" in cells[0]["reason"]
        code, cells = self.call(tmp_path, "--resume", "--quick")
        assert code == 2 or cells[0]["status"] == "not-run", "other options are another request"


def test_a_search_of_settings_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, int | None, bool]] = []

    def measure(asked: RunOptions, again: bool, _: Any) -> tuple[int, list[dict[str, Any]]]:
        calls.append((asked.precision, asked.threads, again))
        return (130 if len(calls) == 2 else 0), [{"value": 1.0, "id": len(calls)}]

    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(tune_baselines, "_measure", measure)
    asked = RunOptions(out=tmp_path, blocks=3)
    cells, interrupted = tune_baselines.Search.new(asked).carry_out(Console(stderr=True), again=False)
    assert interrupted and [c["id"] for c in cells] == [1]
    cells, interrupted = tune_baselines.Search.find(asked).carry_out(Console(stderr=True), again=True)
    assert not interrupted and [c["id"] for c in cells] == [1, 3, 4, 5]
    assert calls == [
        *(("fp32", 1, False), ("fp32", 2, False), ("fp32", 2, True)),
        *(("fp16", 1, False), ("fp16", 2, False)),
    ]
    with pytest.raises(UsageError, match="no interrupted search"):
        tune_baselines.Search.find(asked)


def test_the_expected_time_comes_from_records(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "20260101T000000Z-latency-aaaaaa")
    folder.create()
    folder.write_run({"metric": "latency"})
    cell = CellKey("local", "mnn", "1", "vit_tiny", "", "fp32", "latency")
    for number, seconds in enumerate((50.0, 60.0, 1000.0)):
        record = BlockRecord("r", number, 0, cell, "measured", "", extra={"block_wall_s": seconds})
        folder.append(record)
    known = estimate.block_seconds(tmp_path)
    assert known == {("mnn", "vit_tiny"): 60.0}
    text = estimate.announce([("mnn", "vit_tiny"), ("torch", "vit_tiny")], 3, 600, known)
    assert "6 blocks" in text and "about 3 min" in text and "3 blocks of which no record tells" in text
    assert "not known" in estimate.announce([("torch", "x")], 3, 600, known)
