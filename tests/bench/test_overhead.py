"""Harness time per block from records: the parts add up, pairs and unmeasured blocks are left out."""

import json

import pytest

from bench import overhead
from bench.records import BlockRecord, CellKey, RunFolder


def record(block, status="measured", metric="latency", **extra):
    cell = CellKey("local", "ecp", "1", "m", "0", "fp32", metric)
    times = {"block_wall_s": 3.0 + block, "worker_start_s": 0.3, "worker_total_s": 2.8 + block}
    samples = [100.0] * 10 if status == "measured" else []
    return BlockRecord(
        "r", block, block, cell, status, warmup_ms=[250.0] * 2, samples_ms=samples, first_ms=100.0,
        compile_s=0.4, extra={**times, **extra},
    )  # fmt: skip


def test_parts_add_up():
    found = overhead.parts(record(0))
    assert found["measuring"] == pytest.approx(1.6)
    assert found["harness"] == pytest.approx(3.0 - 1.6 - 0.4)
    assert found["start"] + found["checks"] + found["process"] == pytest.approx(found["harness"])


def test_medians_are_over_blocks_measured_alone(tmp_path, capsys):
    assert overhead.main(["--out", str(tmp_path)]) == 2
    folder = RunFolder(tmp_path / "20260101T000000Z-latency-aaaaaa")
    folder.create()
    folder.write_run({"run_id": folder.run_id})
    for more in (record(0), record(1), record(8), record(3, "failed"), record(4, pair_wall_s=1.0)):
        folder.append(more)
    folder.append(record(5, metric="memory"))
    folder.close()
    assert overhead.main(["--out", str(tmp_path), "--json", str(tmp_path / "o.json")]) == 0
    found = json.loads((tmp_path / "o.json").read_text())["ecp"]
    assert found["blocks"] == 3
    assert found["block"] == pytest.approx(4.0)
    assert "harness" in capsys.readouterr().out
    assert overhead.main(["no-such-run", "--out", str(tmp_path)]) == 2
