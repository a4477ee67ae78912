"""The roofline command's records: the measured peaks and each model's share, readable like any other run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench import peaks, roofline
from bench.cli import main
from bench.records import read_records
from bench.trace import trace_of_cells
from ecp.errors import EcpError, UsageError
from ecp.runtime.session import LaunchTime

REPORT = {"version": "5.3.1", "benchmarks": []}
PEAKS = peaks.Peaks((100.0, 200.0, 150.0), (9.0, 10.0), (8.0, 7.0), REPORT)


def launch(name: str, ms: float, flops: int, moved: int) -> LaunchTime:
    return LaunchTime(name, "matmul", ms, flops, moved, ("/a/MatMul", "/a/Add"))


# 2e8 flops at 200 GFLOP/s is 1 ms; 2e7 bytes at 10 GB/s is 2 ms.
LAUNCHES = [launch("0:mm_0", 2.0, 200_000_000, 1000), launch("1:copy_0", 4.0, 0, 20_000_000)]


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ECP_CACHE", str(tmp_path))  # a lock of its own: nothing is measured here
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
    fma, read, copy, model = read_records(file).records
    assert (fma.cell.model, fma.samples_ms, fma.extra["unit"]) == ("peak:fma", [200.0], "GFLOP/s")
    assert (read.cell.model, read.samples_ms, read.extra["unit"]) == ("peak:read", [10.0], "GB/s")
    assert (copy.cell.model, copy.samples_ms, copy.extra["unit"]) == ("peak:copy", [8.0], "GB/s")
    assert fma.extra["runs"] == [100.0, 200.0, 150.0]
    assert fma.extra["peaks"] == {"gflops": 200.0, "gbytes_per_s": 10.0}
    # The roof needs 1 + 2 of the 6 ms.
    assert model.samples_ms == [pytest.approx(50.0)] and model.extra["kernels"][0]["of_roofline"] == 0.5
    facts = json.loads((file.parent / "run.json").read_text())
    assert (facts["state"], facts["pytest_benchmark"]) == ("complete", "5.3.1")
    assert json.loads((file.parent / "pytest-benchmark.json").read_text()) == REPORT
    cells = json.loads(target.read_text())
    assert [(c["metric"], c["status"], c["value"]) for c in cells] == [
        ("roofline", "measured", 200.0),
        ("roofline", "measured", 10.0),
        ("roofline", "measured", 8.0),
        ("roofline", "measured", pytest.approx(50.0)),
    ]
    assert cells[3]["extra"]["kernels"][0]["kernel"] == "copy_0"


def test_what_is_measured_stays_on_its_processors() -> None:
    before = os.sched_getaffinity(0)
    with roofline._pinned(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_a_phone_is_refused_not_replaced() -> None:
    with pytest.raises(UsageError, match="is a phone; nothing else is measured"):
        roofline._selector("oneplus11")


def test_an_unknown_precision_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roofline", "--precision", "fp31"]) == 2
    assert "fp31" in capsys.readouterr().err


def test_peaks_are_pytest_benchmarks_rounds_in_device_time() -> None:
    """The whole chain on a real device, with little memory: a rate says only that there was one."""
    found = peaks.measure_peaks("local-cpu", 1, rounds=2, mib=4)
    by_kind = {b["extra_info"]["kind"]: b for b in found.report["benchmarks"]}
    assert set(by_kind) == {"fma", "read", "copy"}
    for kind, rates in (("fma", found.fma), ("read", found.read), ("copy", found.copy)):
        benchmark = by_kind[kind]
        assert benchmark["stats"]["rounds"] == 2 and benchmark["options"]["timer"].endswith("device_clock")
        work = benchmark["extra_info"]["work"]
        assert rates == tuple(work / seconds for seconds in benchmark["stats"]["data"])
        assert all(0 < rate < 1e6 for rate in rates)
    assert by_kind["copy"]["extra_info"]["work"] == 2 * 4 * 2**20 / 1e9
    assert found.gbs == max(found.read + found.copy) and found.gflops == max(found.fma)


def test_a_failed_microbenchmark_says_why() -> None:
    with pytest.raises(EcpError, match=r"microbenchmarks of local-cpu failed: .*threads asked"):
        peaks.measure_peaks("local-cpu", 10_000, rounds=1, mib=4)


def test_without_pytest_benchmark_the_way_to_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install pytest-benchmark"):
        peaks.measure_peaks("local-cpu")


def test_a_trace_lays_launches_end_to_end_model_by_model(invented: None, tmp_path: Path) -> None:
    target = tmp_path / "trace.json"
    words = ["roofline", "--device", "local-cpu", "--models", "vit_tiny,vit_small", "--out", str(tmp_path)]
    assert main([*words, "--trace", str(target)]) == 0
    events = json.loads(target.read_text())["traceEvents"]
    titles = [e["args"]["name"] for e in events if e["ph"] == "M"]
    spans = [(e["pid"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]
    assert titles == ["vit_tiny", "vit_small"]
    assert spans == [(0, 0.0, 2000.0), (0, 2000.0, 4000.0), (1, 0.0, 2000.0), (1, 2000.0, 4000.0)]
    assert events[1]["args"]["GFLOP/s"] == pytest.approx(100.0) and events[1]["args"]["nodes"]


def test_a_profile_has_a_trace_of_who_gives_launches() -> None:
    launch = {"name": "0:mm_0", "family": "matmul", "ms": 2.0, "flops": 1, "bytes": 1, "nodes": ["/a"]}
    base = {"model": "vit_tiny", "precision": "fp32"}
    ours = {**base, "backend": "ecp", "extra": {"profile": {"launches": [launch]}}}
    theirs = {**base, "backend": "mnn", "extra": {"profile": {}}}
    title, span = trace_of_cells([theirs, ours])["traceEvents"]
    assert title["args"]["name"] == "vit_tiny ecp fp32" and span["dur"] == 2000.0
    with pytest.raises(EcpError, match="only ecp and ecp-native give them"):
        trace_of_cells([theirs])
