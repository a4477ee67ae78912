"""The roofline command's records: two measured peaks and each model's share, readable like any other run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import roofline
from bench.cli import main
from bench.records import read_records
from ecp.errors import UsageError
from ecp.runtime.session import LaunchTime

PEAKS = roofline.Peaks((100.0, 200.0, 150.0), (8.0, 10.0))


def launch(name: str, ms: float, flops: int, moved: int) -> LaunchTime:
    return LaunchTime(name, "matmul", ms, flops, moved, ("/a/MatMul", "/a/Add"))


# 2e8 flops at 200 GFLOP/s is 1 ms; 2e7 bytes at 10 GB/s is 2 ms.
LAUNCHES = [launch("0:mm_0", 2.0, 200_000_000, 1000), launch("1:copy_0", 4.0, 0, 20_000_000)]


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "measure_peaks", lambda device, threads: PEAKS)
    monkeypatch.setattr(roofline, "_profile", lambda *_: (LAUNCHES, "f" * 64))


def test_the_result_is_a_run_of_records(invented: None, tmp_path: Path) -> None:
    target = tmp_path / "cells.json"
    code = main(
        [
            "roofline",
            "--device",
            "local-cpu",
            "--models",
            "vit_tiny",
            "--out",
            str(tmp_path),
            "--json",
            str(target),
        ]
    )
    assert code == 0
    (file,) = tmp_path.glob("*-roofline-*/records.jsonl")
    fma, copy, model = read_records(file).records
    assert (fma.cell.model, fma.samples_ms, fma.extra["unit"]) == ("peak:fma", [200.0], "GFLOP/s")
    assert (copy.cell.model, copy.samples_ms, copy.extra["unit"]) == ("peak:copy", [10.0], "GB/s")
    assert fma.extra["runs"] == [100.0, 200.0, 150.0]
    assert fma.extra["peaks"] == {"gflops": 200.0, "gbytes_per_s": 10.0}
    # The roof needs 1 + 2 of the 6 ms.
    assert model.samples_ms == [pytest.approx(50.0)] and model.extra["kernels"][0]["of_roofline"] == 0.5
    assert json.loads((file.parent / "run.json").read_text())["state"] == "complete"
    cells = json.loads(target.read_text())
    assert [(c["metric"], c["status"], c["value"]) for c in cells] == [
        ("roofline", "measured", 200.0),
        ("roofline", "measured", 10.0),
        ("roofline", "measured", pytest.approx(50.0)),
    ]
    assert cells[2]["extra"]["kernels"][0]["kernel"] == "copy_0"


def test_a_phone_is_refused_not_replaced() -> None:
    with pytest.raises(UsageError, match="is a phone; nothing else is measured"):
        roofline._selector("oneplus11")


def test_an_unknown_precision_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roofline", "--precision", "fp31"]) == 2
    assert "fp31" in capsys.readouterr().err


def test_a_trace_lays_launches_end_to_end() -> None:
    first, second = roofline.chrome_trace(LAUNCHES)["traceEvents"]
    assert (first["ts"], first["dur"], second["ts"], second["dur"]) == (0.0, 2000.0, 2000.0, 4000.0)
