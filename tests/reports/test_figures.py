"""Figures: complete data beside each, same bytes each time, colours that follow the theme, gaps that say why."""

import csv
import io
import re
from xml.etree import ElementTree as ET

import pytest
from matplotlib.collections import PathCollection

from reports.figures import Missing, access, build_all, export, length, paper, roofline, speed, style
from reports.measured import Measured, Run, Store, load
from tests.reports import synthetic


@pytest.fixture(scope="module")
def figures(store):
    return build_all(store, [("local", "fp32")])


@pytest.fixture(scope="module")
def drawn(figures):
    return {f.id: (f, export.drawings(f)[0]) for f in figures if not isinstance(f, Missing)}


def test_the_figures_that_the_records_allow(figures, drawn):
    expected = {"figure4", "table3-curve", "macs", "data-access"}
    expected |= {
        f"{n}-local-fp32"
        for n in ("latency", "versus", "figure1", "figure7", "breakdown", "plan", "roofline", "ablation")
    }
    assert set(drawn) == expected
    gaps = [f for f in figures if isinstance(f, Missing)]
    assert [g.id for g in gaps] == ["length-local-fp32", "length-turns-local-fp32"]
    assert all(g.command.startswith("nox -s ") and g.why for g in gaps)


def test_csv_has_a_row_per_mark(drawn):
    figure, _ = drawn["latency-local-fp32"]
    rows = list(csv.DictReader(io.StringIO(export.csv_text(figure))))
    assert len(rows) == 20 and {r["backend"] for r in rows} == {"ecp", "mnn", "tvm", "onnxruntime"}
    assert all(float(r["low"]) < float(r["high"]) for r in rows), "six blocks have an interval"


def test_svg_is_reproducible_and_themed(drawn):
    for figure, svg in drawn.values():
        themed = export.themed(figure, svg)
        root = ET.fromstring(themed)
        assert root.get("role") == "img" and root.get("aria-label") == figure.alt
        assert "var(--ink)" in themed and style.INK not in themed
        ids = re.findall(r'\bid="([^"]+)"', themed)
        assert len(ids) == len(set(ids))
        for target in re.findall(r'(?:href="#|url\(#)([^")]+)', themed):
            assert target in ids, (figure.id, target)
        assert "<image" not in themed
    figure, svg = drawn["figure4"]
    assert export.drawings(figure)[0] == svg


def test_files_are_written(drawn, tmp_path):
    export.write(drawn["macs"][0], tmp_path)
    paths = [tmp_path / f"macs.{kind}" for kind in ("svg", "png", "csv")]
    assert paths[1].read_bytes().startswith(b"\x89PNG") and all(p.stat().st_size > 500 for p in paths)


def test_addresses_follow_the_view():
    """Against numpy: the layout chain run for real."""
    import numpy as np

    flat = np.arange(access.TOKENS * 3 * access.HEADS * access.WIDTH)
    k = flat.reshape(access.TOKENS, 3, access.HEADS, access.WIDTH).transpose(1, 2, 0, 3)[1]
    views = access.attention_views()
    assert access.addresses(views["K"], 300) == k.reshape(-1)[:300].tolist()
    assert access.addresses(views["K transposed"], 300) == k.transpose(0, 2, 1).reshape(-1)[:300].tolist()


def test_ablation_compares_with_the_whole_compiler(store, drawn):
    figure, _ = drawn["ablation-local-fp32"]
    assert [(r["off"], round(r["slower_by"], 1)) for r in figure.rows] == [("eliminate", 1.5)]
    assert store.find(model="vit_tiny", backend="ecp", metric="latency")[0].value == pytest.approx(
        8, rel=0.05
    )


def test_latency_against_length_sets_dense_beside_core_periphery(tmp_path):
    records = []
    for side, dense in ((224, 10.0), (384, 30.0), (512, 60.0)):
        for model, ms in ((f"vit_tiny@{side}", dense), (f"ecp_vit_tiny@0.5@{side}", dense * 0.9)):
            cell = synthetic.key(model, "ecp", "latency")
            records.append(
                synthetic.BlockRecord(
                    "n", len(records), 0, cell, "measured", samples_ms=[ms], extra={"unit": "ms"}
                )
            )
    synthetic.write_run(tmp_path / "2026-02-01-n", records, "latency", "20260201")
    figure = length.against_length(load(tmp_path), "local", "fp32")
    assert not isinstance(figure, Missing)
    got = [(r["tokens"], r["core_ratio"], round(r["relative"], 2)) for r in figure.rows]
    assert got == [
        (197, 1.0, 1),
        (577, 1.0, 1),
        (1025, 1.0, 1),
        (197, 0.5, 0.9),
        (577, 0.5, 0.9),
        (1025, 0.5, 0.9),
    ]
    by_macs = [r["macs_relative"] for r in figure.rows[3:]]
    assert by_macs == sorted(by_macs, reverse=True) and 0.85 < by_macs[0] < 1
    assert export.drawings(figure)[0]
    # Without a dense network at three lengths there is nothing to compare with.
    synthetic.write_run(tmp_path / "less" / "2026-02-01-n", records[1:], "latency", "20260201")
    assert isinstance(length.against_length(load(tmp_path / "less"), "local", "fp32"), Missing)


def test_ratios_of_several_runs_join_into_one_line_over_length(tmp_path):
    def ratio(model, against, value, **more):
        ci = (value - 0.1, value + 0.1)
        facts = {"value": value, "ci": ci, "against": against, "run": f"r{model}"} | more
        return Measured("local", "ecp", model, "fp32", "versus", "measured", **facts)

    cells = [ratio(f"ecp_vit_small@0.1{s}", f"vit_small{s}", v) for s, v in (("", 1.1), ("@384", 1.25))]
    cells += [ratio("vit_small", "ecp_vit_small@0.3", 1.0), ratio("ecp_vit_tiny@0.1", "vit_small", 9.0)]
    few = Store([Run("r", tmp_path, {}, [], cells, [])])
    assert isinstance(length.taking_turns(few, "local", "fp32"), Missing), "two sizes make no line"
    cells.append(ratio("ecp_vit_small@0.1@512", "vit_small@512", 2.0))
    figure = length.taking_turns(Store([Run("r", tmp_path, {}, [], cells, [])]), "local", "fp32")
    assert [(r["tokens"], round(r["relative"], 3)) for r in figure.rows] == [
        (197, 0.909),
        (577, 0.8),
        (1025, 0.5),
    ]
    assert figure.rows[2]["low"] == pytest.approx(1 / 2.1) and figure.rows[2]["high"] == pytest.approx(
        1 / 1.9
    )
    assert export.drawings(figure)[0]


def test_latency_has_a_line_per_measured_framework_and_none_for_the_others(store):
    figure = speed.latency(store, "local", "fp32")
    (axis,) = figure.canvas().axes
    dots = [d for d in axis.collections if isinstance(d, PathCollection)]
    heights = [float(y) for d in dots for y in d.get_offsets()[:, 1]]
    assert len(set(heights)) == len(figure.rows), "no mark hides another"
    assert max(heights) - min(heights) == len(heights) + len(axis.get_yticks()) - 2, (
        "one empty line between models"
    )


def test_names_in_figure1_do_not_touch(drawn):
    figure, _ = drawn["figure1-local-fp32"]
    canvas = figure.canvas()
    canvas.draw_without_rendering()
    boxes = [t.get_window_extent() for t in canvas.axes[0].texts]
    assert len(boxes) > 2
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_the_roof_is_the_one_that_was_measured(store, drawn):
    figure, svg = drawn["roofline-local-fp32"]
    assert roofline.peaks(store, "local") == (400.0, 20.0) and roofline.peaks(store, "oneplus11") is None
    assert "measured roof" in figure.caption and "400 GFLOP/s" in svg and "20 GB/s" in svg
    assert {r["launch"] for r in figure.rows} == {"k0", "k1", "k2"}


def test_figure1_marks_whose_accuracy_it_is(drawn):
    rows = drawn["figure1-local-fp32"][0].rows
    assert {r["accuracy_source"] for r in rows if r["model"] == "vit_base"} == {"Table 3, ratio 1.0"}
    assert any(r["where"] == "oneplus11 (published)" and r["latency_ms"] == 610.3 for r in rows)


def test_no_records_no_invented_figure():
    gap = paper.figure1(Store([]), "local", "fp32")
    assert isinstance(gap, Missing)


def test_palette_is_told_apart_without_colour():
    assert len(set(style.MARKERS)) == len(set(style.HATCHES)) == len(style.CYCLE) == len(style.BACKENDS)
