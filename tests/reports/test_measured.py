"""Reading records: newest wins, runs are never mixed, damage is a finding and not an error."""

import dataclasses

import pytest

from reports import aggregate, measured
from reports.model_names import canonical
from reports.verdicts import interval
from tests.reports import synthetic


def test_newest_run_wins_and_runs_stay_apart(store):
    (cell,) = store.find(device="local", model="vit_tiny", backend="ecp", metric="latency")
    assert cell.run == "2026-01-02-latency"
    assert cell.value == pytest.approx(8.0, rel=0.05)
    assert len(cell.blocks) == 6 and cell.ci is not None
    low, high = interval(cell)
    assert (low, high) == cell.ci and low < cell.value < high
    few = dataclasses.replace(cell, ci=None, blocks=cell.blocks[:4])
    assert interval(few)[0] < interval(few)[1], "without an interval, the range of the block medians"


def test_unmeasured_cells_keep_their_reason(store):
    (cell,) = store.find(backend="tnn", metric="latency")
    assert (cell.status, cell.value) == ("unavailable", None)
    assert "build it first" in cell.reason


def test_json_cells_are_read(store):
    (cell,) = store.find(model="vit_small", metric="accuracy")
    assert (cell.value, cell.ci, cell.extra["dataset"]) == (90.0, (89.7, 90.3), "stl10")


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
    assert canonical(name) == same


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


def block(number, metric, status="measured", reason="", samples=(), backend="ecp", **extra):
    cell = synthetic.key("vit_tiny", backend, metric)
    return synthetic.BlockRecord(
        "r", number, number, cell, status, reason, samples_ms=list(samples), extra=extra
    )


def test_settings_of_a_command_line_are_a_variant_of_their_own(tmp_path):
    """As ``--ablate`` and ``--set`` write them: texts under the framework's name."""
    records = [
        block(0, "latency", samples=[8.0], options={}),
        block(1, "latency", samples=[12.0], options={"ecp.fuse": "false", "ecp.eliminate": "true"}),
        block(2, "latency", samples=[5.0], backend="mnn", options={"mnn.precision": "low"}),
    ]
    synthetic.write_run(tmp_path / "2026-02-01-x", records, "latency", "20260201")
    store = measured.load(tmp_path)
    assert [(c.variant, c.value) for c in store.cells] == [
        ("", 8.0),
        ("fuse=off", 12.0),
        ("precision=low", 5.0),
    ]
    assert [c.value for c in store.find(backend="ecp")] == [8.0]
    assert aggregate.is_ablation("eliminate=off fuse=off")
    assert not aggregate.is_ablation("") and not aggregate.is_ablation("fuse=off precision=low")


def test_two_runs_in_one_folder_are_not_mixed(tmp_path):
    for stamp, ms in (("20260201", 8.0), ("20260202", 6.0)):
        folder = tmp_path / "2026-02-01-both" / f"{stamp}T100000Z-latency-a"
        synthetic.write_run(folder, [block(0, "latency", samples=[ms, ms])], "latency", stamp)
    (cell,) = measured.load(tmp_path).cells
    assert (cell.value, cell.blocks) == (6.0, ((6.0, 6.0),))


def test_limits_say_the_largest_batch_and_what_ended_it(tmp_path):
    tries = [
        block(0, "limits", samples=[9.0], batch=1),
        block(1, "limits", samples=[17.0], batch=2),
        block(2, "limits", "failed", "out of memory", batch=4),
    ]
    synthetic.write_run(tmp_path / "2026-02-01-x", tries, "limits", "20260201")
    (cell,) = measured.load(tmp_path).cells
    assert (cell.status, cell.value, cell.unit) == ("measured", 2.0, "batch")
    assert cell.extra["first_failure"] == {"batch": 4, "reason": "out of memory"}
    synthetic.write_run(tmp_path / "none" / "x", tries[2:], "limits", "20260201")
    (cell,) = measured.load(tmp_path / "none").cells
    assert (cell.status, cell.reason, cell.value) == ("failed", "out of memory", None)


def test_a_block_that_was_cut_short_is_unstable_without_a_value(tmp_path):
    records = [block(0, "latency", "unstable", "too hot"), block(1, "latency", "unstable", "too hot", [5.0])]
    synthetic.write_run(tmp_path / "2026-02-01-x", records, "latency", "20260201")
    synthetic.write_run(tmp_path / "2026-02-02-x", records[:1], "latency", "20260202")
    first, second = measured.load(tmp_path).cells
    assert (first.status, first.value, first.extra["indicative"]) == ("unstable", None, 5.0)
    assert (second.status, second.value) == ("unstable", None)


def test_the_newest_run_is_the_one_that_began_last(tmp_path):
    """Two runs of one day: the name of the folder says nothing of the hour."""
    for name, stamp, ms in (("b-first", "20260201T1000", 8.0), ("a-second", "20260201T1100", 6.0)):
        synthetic.write_run(
            tmp_path / f"2026-02-01-{name}",
            [block(0, "latency", samples=[ms])],
            "latency",
            "20260201",
            run_id=f"{stamp}00Z-latency-aaaaaa",
        )
    synthetic.write_run(
        tmp_path / "2026-02-01-z",
        [block(0, "latency", samples=[9.0])],
        "latency",
        "20260201",
        run_id="2026-02-01-z",
        began="2026-02-01T09:30Z",
    )
    store = measured.load(tmp_path)
    assert [r.id[11:] for r in store.runs] == ["z", "b-first", "a-second"]
    assert [c.value for c in store.find(metric="latency")] == [6.0]
