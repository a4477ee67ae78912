"""From records to cells: what makes a cell measured, and what a cell that is not measured says."""

from __future__ import annotations

import dataclasses
import json

import pytest
from rich.console import Console

from bench.cells import make_cell, make_cells
from bench.plan import Case
from bench.records import BlockRecord, CellKey
from bench.table import print_cells, speed_up

CASE = Case("local", "ecp", "vit_tiny", "latency")
KEY = CellKey("local", "ecp", "1", "vit_tiny", "ab", "fp32", "latency")


def block(number: int, level: float = 10.0, **changes: object) -> BlockRecord:
    base = BlockRecord(
        "run",
        number,
        number,
        KEY,
        "measured",
        samples_ms=[level + 0.01 * i for i in range(60)],
        warmup_ms=[level] * 10,
        first_ms=2 * level,
        compile_s=0.5,
        error={"max_abs": 1e-6, "ok": True, "limit": 1e-3, "ref": "float64"},
        extra={"block_wall_s": 4.0, "threads": 2, "details": {"launches": 62, "layout_launches": 0}},
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def test_the_value_is_the_median_of_block_medians() -> None:
    cell = make_cell(CASE, [block(i, level) for i, level in enumerate([10.0, 11.0, 30.0])], 3)
    assert cell.status == "measured" and cell.reason == ""
    assert cell.value == pytest.approx(11.0 + 0.295)
    assert cell.ci is None, "three blocks bound no median"
    assert cell.extra["max_abs_error"] == 1e-6 and cell.extra["first_ms"] == 22.0
    json.dumps(cell.to_dict(), allow_nan=False)


def test_the_papers_protocol_is_the_average_of_the_first_fifty_runs() -> None:
    cell = make_cell(CASE, [block(0)], 1)
    assert cell.extra["paper_protocol_ms"] == pytest.approx(10.0 + 0.01 * 24.5)
    short = block(0, samples_ms=[1.0] * 49)
    assert make_cell(CASE, [short], 1).extra["paper_protocol_ms"] is None


def test_tail_percentiles_need_samples() -> None:
    extra = make_cell(CASE, [block(0, samples_ms=[1.0, 2.0, 3.0, 4.0, 5.0])], 1).extra
    assert extra["p99_ms"] is None and "299" in extra["p99_reason"]


def test_harness_overhead_is_what_is_left_of_the_wall_time() -> None:
    cell = make_cell(CASE, [block(0, level=10.0)], 1)
    timed = (10.0 * 10 + sum(10.0 + 0.01 * i for i in range(60)) + 20.0) / 1e3
    assert cell.extra["harness_s"] == pytest.approx(4.0 - timed - 0.5)


def test_one_failed_block_fails_the_cell_and_keeps_the_samples() -> None:
    cell = make_cell(CASE, [block(0), block(1, status="failed", reason="wrong output", samples_ms=[9.0])], 2)
    assert (cell.status, cell.value, cell.ci) == ("failed", None, None)
    assert cell.reason == "1 of 2 blocks: wrong output" and len(cell.blocks) == 2


def test_an_unstable_block_without_a_sample_has_no_indication() -> None:
    """A phone that never cooled down gives a reason and no sample."""
    hot = block(0, status="unstable", reason="thermal status severe", samples_ms=[])
    cell = make_cell(CASE, [hot], 1)
    assert (cell.status, cell.value, cell.blocks) == ("unstable", None, []) and "indicative" not in cell.extra
    print_cells([cell], Console(quiet=True))
    other = block(1, status="unstable", reason="thermal status severe", samples_ms=[3.0])
    assert make_cell(CASE, [hot, other], 2).extra["indicative"] == 3.0


def test_measured_without_a_sample_is_a_failure_not_a_crash() -> None:
    cell = make_cell(CASE, [block(0, samples_ms=[])], 1)
    assert (cell.status, cell.value) == ("failed", None) and "none holds a sample" in cell.reason


def test_unstable_blocks_are_tolerated_up_to_half() -> None:
    noisy = [block(i, status="unstable", reason="hot") for i in range(2)]
    assert make_cell(CASE, [*noisy, block(2), block(3)], 4).status == "measured"
    cell = make_cell(CASE, [*noisy, block(2)], 3)
    assert (cell.status, cell.value) == ("unstable", None)
    assert cell.extra["indicative"] == pytest.approx(10.295) and "2 of 3 blocks: hot" in cell.reason


def test_a_repeat_replaces_the_spoiled_block() -> None:
    spoiled = block(0, level=99.0, status="unstable", reason="hot")
    repeat = dataclasses.replace(block(0), seq=7)
    cell = make_cell(CASE, [spoiled, block(1), repeat], 2)
    assert cell.status == "measured" and cell.value == pytest.approx(10.295)
    assert cell.extra["blocks_repeated"] == 1 and len(cell.blocks) == 2


@pytest.mark.parametrize("change", [{"backend_version": "2"}, {"model_sha256": "cd"}])
def test_blocks_of_different_things_are_not_averaged(change: dict) -> None:
    other = block(1, cell=dataclasses.replace(KEY, **change))
    cell = make_cell(CASE, [block(0), other], 2)
    assert (cell.status, cell.value) == ("failed", None) and "changed during the run" in cell.reason


def test_a_case_without_blocks_is_not_run() -> None:
    (cell,) = make_cells([CASE], [], 10)
    assert cell.status == "not-run" and "--resume" in cell.reason and cell.value is None


def shown(cells: list, width: int = 80) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    print_cells(cells, console)
    return console.export_text()


def test_the_table_compares_with_ecp_and_fits_80_columns() -> None:
    other_case = dataclasses.replace(CASE, backend="onnxruntime", model="ecp_vit_tiny")
    ours = make_cell(dataclasses.replace(CASE, model="ecp_vit_tiny"), [block(0)], 1)
    theirs = make_cell(other_case, [block(0, level=20.0, extra={"block_wall_s": 4.0})], 1)
    assert speed_up(theirs, [ours, theirs]) == pytest.approx(20.295 / 10.295)
    assert speed_up(ours, [ours, theirs]) is None
    text = shown([ours, theirs])
    assert "a block took 4.0 s, of it" in text
    assert "1.97x" in text and "62 (0)" in text and "1.0e-06" in text
    assert "…" not in text and max(map(len, text.splitlines())) <= 80


def test_a_disturbed_cell_shows_what_was_seen_and_what_to_do() -> None:
    text = shown([make_cell(CASE, [block(0, status="unstable", reason="load-by-others: 1.7")], 1)])
    assert "~10.29" in text and "load-by-others" in text and "limits" in text


def test_the_table_gives_the_reason_of_every_gap() -> None:
    cell = make_cell(CASE, [block(0, status="unsupported", reason="no such operator", samples_ms=[])], 1)
    text = shown([cell])
    assert "unsupported" in text and "vit_tiny on ecp: unsupported: no such operator" in text


def test_throughput_stands_beside_the_latency_of_batches() -> None:
    batched = dataclasses.replace(CASE, model="vit_tiny@b8")
    cells = [make_cell(CASE, [block(0)], 1), make_cell(batched, [block(0, level=40.0)], 1)]
    assert [c.extra["batch"] for c in cells] == [1, 8]
    assert cells[1].extra["images_per_s"] == pytest.approx(8e3 / 40.295)
    text = shown(cells)
    assert "images/s" in text and "198.5" in text and "batches as in the names" in text
    assert max(map(len, text.splitlines())) <= 80
    alone = shown([cells[0]])
    assert "images/s" not in alone and "batch 1," in alone and "ecp is" not in alone
    file = make_cell(dataclasses.replace(CASE, model="onnx:some.onnx"), [block(0)], 1)
    assert file.extra["batch"] is None and file.extra["images_per_s"] is None


def test_a_cell_without_a_value_has_no_percentiles_either() -> None:
    cell = make_cell(CASE, [block(0, status="unstable", reason="load-by-others: 1.7")], 1)
    assert cell.value is None and not {"p50_ms", "paper_protocol_ms", "images_per_s"} & set(cell.extra)


def test_energy_is_the_median_of_measured_blocks_or_a_reason() -> None:
    def spent(number: int, energy: dict, **changes: object) -> BlockRecord:
        return block(number, extra={"energy": energy}, **changes)

    read = [spent(0, {"value": 30.0}), spent(1, {"value": 50.0}), spent(2, {"value": 40.0})]
    cell = make_cell(CASE, read, 3)
    assert cell.extra["energy_mj"] == 40.0 and "energy_reason" not in cell.extra
    assert "40.00" in shown([cell], width=160) and "mJ" not in shown(
        [make_cell(CASE, [block(0)], 1)], width=160
    )
    none = make_cell(CASE, [spent(0, {"value": None, "reason": "a virtual machine shows none"})], 1)
    assert none.extra["energy_mj"] is None and "virtual machine" in none.extra["energy_reason"]
