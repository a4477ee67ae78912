"""The published numbers: complete against the tables' shapes, unique, and in the paper's text if at hand."""

import os
import re
from pathlib import Path

import pytest

from reports import numbers

needs_text = pytest.mark.skipif("ECP_PAPER_TEXT" not in os.environ, reason="ECP_PAPER_TEXT names no text")

# rows, columns, cells that the paper prints as "-" or leaves empty
SHAPES = {
    "t1": (2, 3, 0),
    "t2": (12, 3, 0),
    "t3": (3, 10, 0),
    "t4": (5, 3, 0),
    "t5": (2, 4, 2),
    "t6": (2, 5, 0),
    "t7": (6, 5, 5),
}


@pytest.mark.parametrize("table_id", sorted(SHAPES))
def test_every_cell_of_a_table_is_there(table_id):
    rows, columns, blank = SHAPES[table_id]
    table = numbers.table(table_id)
    assert (len(table.rows), len(table.columns)) == (rows, columns)
    assert len(table.values) == rows * columns - blank


def test_totals_and_unique_ids():
    ids = [p.id for p in numbers.everything()]
    assert len(ids) == len(set(ids))
    in_tables = sum(r * c - b for r, c, b in SHAPES.values())
    assert in_tables == 128
    assert len(ids) == in_tables + len(numbers.loose("figures")) + len(numbers.loose("text"))
    assert (len(numbers.loose("figures")), len(numbers.loose("text"))) == (16, 56)


def test_each_number_has_a_place_and_a_unit():
    for p in numbers.everything():
        assert re.search(r"\(page \d+\)$", p.place), p.id
        assert p.unit or p.id.startswith("setting.lr"), p.id
        assert p.what, p.id


def test_table_numbers_carry_model_and_metric():
    for table_id in numbers.TABLES:
        for p in numbers.table(table_id).values.values():
            assert {"model", "metric"} <= set(p.conditions), p.id


def test_agrees_goes_by_the_printed_digits():
    speedup = numbers.get("t7.vit_tiny.speedup")
    assert speedup.decimals == 1
    assert speedup.agrees(4.849) and not speedup.agrees(4.86)
    assert numbers.get("t7.ecp_vit_base.tvm").decimals == 0
    assert numbers.get("setting.lr").value == pytest.approx(5e-4)


def test_swapped_cells_would_be_seen():
    """Spot values, one per table, so that a shifted row cannot pass the shape test."""
    want = {
        "t1.deit_base.layout": 1303,
        "t2.tnt_base.macs": 14.16,
        "t3.ecp_vit_base.0.8": 84.51,
        "t4.deit_base.params": 87.34,
        "t5.ecp_vit_small.stl10_gain": 1.82,
        "t6.ecp_vit_base.l3": 15.05,
        "t7.ecp_vit_small.tvm": 837.6,
    }
    assert {k: numbers.get(k).value for k in want} == want


@needs_text
def test_every_printed_number_stands_in_the_paper():
    text = Path(os.environ["ECP_PAPER_TEXT"]).read_text(encoding="utf-8")
    body = text[: text.index("References\n[1]")]
    for p in numbers.everything():
        printed = {"5e-4": "5e‚àí4", "1e-7": "1e‚àí7", "224x224": "224√ó224", "16x16": "16√ó16"}.get(
            p.printed, p.printed
        )
        assert printed in body, (p.id, p.printed)


@needs_text
def test_every_number_of_the_papers_table_rows_is_captured():
    text = Path(os.environ["ECP_PAPER_TEXT"]).read_text(encoding="utf-8")
    captured = {p.printed for p in numbers.everything()}
    for line in text.splitlines():
        if re.match(r"(VIT-|ECP-VIT-|[TSB]/16 |ViT-Base\[48\]|ECP-ViT \d)", line):
            found = re.findall(r"(?<![\w./\[-])\d+(?:\.\d+)?(?![\w\]])", line)
            assert set(found) <= captured, line
