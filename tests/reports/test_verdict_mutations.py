"""Records that lose what a verdict rests on lose the verdict: each mutation below makes a claim fall."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records import BlockRecord
from reports.measured import load
from reports.tables import RebuiltTable, build
from reports.tables.render import csv_rows, latex, markdown
from reports.verdicts import CLAIMS, Match
from tests.reports import synthetic

Mutation = Callable[[list[BlockRecord]], list[BlockRecord]]


def latency(backends: dict[str, float], model: str = "vit_tiny", blocks: int = 6) -> list[BlockRecord]:
    return [
        BlockRecord(
            "m", 0, block, synthetic.key(model, backend, "latency"), "measured",
            samples_ms=[ms * (1 + 0.001 * block)] * 3, error={"max_abs": 1e-5, "ok": True},
            extra={"unit": "ms", "source": "wall", "threads": 2},
        )
        for backend, ms in backends.items()
        for block in range(blocks)
    ]  # fmt: skip


def table7(folder: Path, records: list[BlockRecord]) -> RebuiltTable:
    numbered = [dataclasses.replace(r, seq=i) for i, r in enumerate(records)]
    synthetic.write_run(folder / "2026-05-01-m", numbered, "latency", "20260501")
    return build("t7", load(folder), "local", "fp32")


def only_blocks(count: int, backend: str) -> Mutation:
    return lambda records: [r for r in records if r.cell.backend != backend or r.block < count]


def of_source(source: str, backend: str) -> Mutation:
    def change(records: list[BlockRecord]) -> list[BlockRecord]:
        return [
            dataclasses.replace(r, extra=r.extra | {"source": source}) if r.cell.backend == backend else r
            for r in records
        ]

    return change


def test_untouched_records_carry_the_claim(tmp_path: Path) -> None:
    table = table7(tmp_path, latency({"ecp": 8.0, "mnn": 15.0}))
    assert table.cells["vit_tiny", "mnn"].judged.match == Match.DIRECTION


@pytest.mark.parametrize(
    ("mutation", "verdict"),
    [
        (only_blocks(1, "mnn"), Match.FEW),
        (only_blocks(5, "mnn"), Match.FEW),
        (only_blocks(5, "ecp"), Match.FEW),
        (of_source("callgrind-sim", "mnn"), Match.SIMULATED),
        (of_source("callgrind-sim", "ecp"), Match.SIMULATED),
    ],
)
def test_weaker_samples_fall(tmp_path: Path, mutation: Mutation, verdict: Match) -> None:
    table = table7(tmp_path, mutation(latency({"ecp": 8.0, "mnn": 15.0})))
    judged = table.cells["vit_tiny", "mnn"].judged
    assert judged.match == verdict and "taken at face value: direction reproduced" in judged.why


def test_untuned_tvm_is_called_so_and_takes_the_speedup_with_it(tmp_path: Path) -> None:
    table = table7(tmp_path, latency({"ecp": 8.0, "mnn": 15.0, "tvm-opencl": 200.0}))
    assert table.cells["vit_tiny", "tvm"].judged.match == Match.UNTUNED
    assert table.cells["vit_tiny", "speedup"].judged.match == Match.UNTUNED
    assert table.cells["vit_tiny", "mnn"].judged.match == Match.DIRECTION


def accuracy(folder: Path, **changes: object) -> Match:
    """Table 3's verdict on a cell that has the paper's own number, with ``changes`` of cell or ``extra``."""
    cell = synthetic.accuracy_cells()[0] | {"model": "ecp_vit_base@0.9", "value": 84.62, "ci": [84.5, 84.7]}
    cell |= {k: v for k, v in changes.items() if k in cell}
    cell["extra"] = {"dataset": "imagenet"} | {k: v for k, v in changes.items() if k not in cell}
    run = folder / "2026-02-01-t"
    run.mkdir(parents=True)
    (run / "cells.json").write_text(json.dumps([cell]))
    return build("t3", load(folder), "local", "fp32").cells["ecp_vit_base", "0.9"].judged.match


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Match.REPRODUCED),
        ({"ci": None}, Match.FEW),
        ({"ci": [80.0, 89.0]}, Match.DIFFERS),
        ({"weights": "random"}, Match.PROXY),
        ({"image": 56}, Match.PROXY),
        ({"dataset": "imagenet (20 images per class)"}, Match.PROXY),
        ({"expected_items": 50000, "evaluated": 10}, Match.PROXY),
    ],
)
def test_accuracy_of_something_else_is_no_reproduction(
    tmp_path: Path, changes: dict[str, object], verdict: Match
) -> None:
    found = accuracy(tmp_path, **changes)
    assert found == verdict or (verdict == Match.PROXY and found == Match.NOT_COMPARABLE)
    assert found not in CLAIMS or found == verdict


def test_equal_graphs_have_no_direction(tmp_path: Path) -> None:
    """DeiT-B without distillation is ViT-B's network: whatever lies between the two is noise."""

    def profiled(model: str, layout: float) -> list[BlockRecord]:
        profile = synthetic.profile(layout, 90.0)
        return [
            BlockRecord(
                "m", 0, block, synthetic.key(model, "mnn", "profile"), "measured", samples_ms=[layout],
                extra={"unit": "ms", "source": "wall", "profile": profile, "plain_ms": [90.0 + layout]},
            )
            for block in range(6)
        ]  # fmt: skip

    records = profiled("vit_base", 10.0) + profiled("deit_base", 60.0)
    numbered = [dataclasses.replace(r, seq=i) for i, r in enumerate(records)]
    synthetic.write_run(tmp_path / "2026-05-01-p", numbered, "profile", "20260501")
    cell = build("t1", load(tmp_path), "local", "fp32").cells["deit_base", "layout"]
    assert cell.judged.match == Match.SAME_NETWORK


def test_every_format_says_why(tmp_path: Path) -> None:
    table = table7(tmp_path, latency({"ecp": 8.0, "mnn": 15.0, "tvm-opencl": 200.0}))
    assert "untuned framework: the framework ran without" in markdown(table)
    assert "\\textsuperscript{u}" in latex(table) and "untuned framework: the framework ran" in latex(table)
    assert any(r["verdict"] == "untuned framework" and "face value" in r["why"] for r in csv_rows(table))
