"""Reading records: newest wins, runs are never mixed, damage is a finding and not an error."""

import pytest

from reports import measured
from tests.reports import synthetic


def test_newest_run_wins_and_runs_stay_apart(store):
    (cell,) = store.find(device="local", model="vit_tiny", backend="ecp", metric="latency")
    assert cell.run == "2026-01-02-latency"
    assert cell.value == pytest.approx(8.0, rel=0.05)
    assert cell.ci[0] <= cell.value <= cell.ci[1]
    assert len(cell.blocks) == 4


def test_unmeasured_cells_keep_their_reason(store):
    (cell,) = store.find(backend="tnn", metric="latency")
    assert (cell.status, cell.value) == ("unavailable", None)
    assert "build it first" in cell.reason


def test_json_cells_are_read(store):
    (cell,) = store.find(model="vit_small", metric="accuracy")
    assert (cell.value, cell.ci, cell.extra["dataset"]) == (90.0, (89.0, 91.0), "stl10")


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("ecp_vit_tiny@0.8", "ecp_vit_tiny"),
        ("ecp_vit_tiny@0.30", "ecp_vit_tiny@0.3"),
        ("vit_tiny", "vit_tiny"),
        ("ecp_vit_tiny@1", "ecp_vit_tiny@1.0"),
        ("onnx:a@b", "onnx:a@b"),
    ],
)
def test_one_spelling_per_model(name, same):
    assert measured.canonical(name) == same


def test_damage_is_reported_and_the_rest_is_read(tmp_path):
    synthetic.write_run(tmp_path / "2026-02-01-x", synthetic.other_records("x"), "memory", "20260201")
    with (tmp_path / "2026-02-01-x" / "records.jsonl").open("a") as stream:
        stream.write('{"schema_version": 1, "ki')
    (tmp_path / "2026-02-01-x" / "cells.json").write_text("[1,")
    (tmp_path / "2026-02-01-x" / "empty.json").write_text("{}")
    (run,) = measured.load(tmp_path).runs
    assert len(run.records) == 4
    assert len(run.findings) == 3
    assert run.date == "2026-02-01"


def test_a_failed_block_fails_its_cell(tmp_path):
    records = synthetic.other_records("x")
    bad = synthetic.BlockRecord("x", 9, 1, records[2].cell, "failed", "answered wrongly")
    synthetic.write_run(tmp_path / "2026-02-01-x", [*records, bad], "memory", "20260201")
    (cell,) = measured.load(tmp_path).find(model="vit_base", metric="memory")
    assert (cell.status, cell.value) == ("failed", None)


def test_no_folder_means_no_runs(tmp_path):
    assert measured.load(tmp_path / "nothing").cells == []


def test_seeds_of_one_training_become_one_cell(store):
    (cell,) = store.find(model="ecp_vit_base@0.9", metric="train")
    assert (cell.value, cell.ci, cell.extra["seeds"]) == (83.5, (83.0, 84.0), [0, 1])
    assert cell.extra["dataset"] == "tiny-imagenet"
    assert store.run("2026-01-04-train").findings == []
