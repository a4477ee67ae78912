"""Contenders that took turns: read, shown everywhere, and kept out of every table of times."""

import csv
import io
import json
from dataclasses import replace

import pytest
from matplotlib.collections import PathCollection

from bench.store.engine import open_store
from bench.store.index import index_results
from bench.store.key import comparability, difference
from bench.store.query import Filter, series
from reports import measured, readme, summary, versus
from reports.figures import Missing, export, turns
from reports.series import all_series
from reports.site.pages import grids
from reports.speeds import speed_summary
from reports.tables import build, groups
from tests.reports import synthetic


def by_other(bout):
    return {bout.name(c): c for c in bout.others}


def test_ratios_hold_though_the_machine_changed_its_speed(store):
    first, models = versus.bouts(store.find(metric="versus"))
    assert (first.first, first.shared, first.run) == ("ecp", "vit_tiny", "2026-01-06-versus")
    ort, vino, tnn = (by_other(first)[b] for b in ("onnxruntime", "openvino", "tnn"))
    assert ort.value == pytest.approx(0.8, rel=0.01) and ort.ci[0] < 0.8 < ort.ci[1]
    assert vino.value == pytest.approx(1.25, rel=0.01)
    assert (ort.unit, len(ort.blocks), ort.extra["unsteady_blocks"]) == ("ratio", 8, 1)
    assert [versus.verdict(c) for c in (ort, vino, tnn)] == ["faster", "slower", "unsupported"]
    assert first.leader == "openvino" and first.first_ms == pytest.approx(14, rel=0.4)
    assert (models.first, models.shared, models.told_by) == ("ecp_vit_tiny", "ecp", "model")
    assert by_other(models)["vit_tiny"].value == pytest.approx(1 / 1.1, rel=0.01)


def write(folder, name, records, **more):
    synthetic.write_run(folder / name, records, "versus", name[:10].replace("-", ""), **more)
    return folder


def test_level_contenders_share_the_lead_and_few_blocks_have_no_interval(tmp_path):
    ratios = {("ecp", "vit_tiny"): 1.0, ("openvino", "vit_tiny"): 1.0, ("mnn", "vit_tiny"): 2.0}
    write(tmp_path, "2026-02-01-v", synthetic.versus_records("v", ratios))
    write(tmp_path, "2026-02-02-v", synthetic.versus_records("v", dict(list(ratios.items())[:2]), blocks=5))
    old, new = sorted(versus.bouts(measured.load(tmp_path).cells), key=lambda b: b.run)
    assert old.leader in ("ecp (level: openvino)", "openvino (level: ecp)")
    assert versus.verdict(by_other(old)["openvino"]) == "level"
    (vino,) = new.others
    assert vino.ci is None and versus.verdict(vino) == "too few blocks" and "[" not in versus.ratio_text(vino)
    # Of the newest cells: openvino was measured again, mnn was not.
    kept = {b.run: set(by_other(b)) for b in versus.bouts(measured.load(tmp_path).find(metric="versus"))}
    assert kept == {"2026-02-01-v": {"mnn"}, "2026-02-02-v": {"openvino"}}


def test_every_device_has_a_table_with_its_own_opponents(tmp_path):
    for number, (device, other) in enumerate(
        [("local-cpu", "openvino"), ("nvidia-h100", "torch-cuda-graph")]
    ):
        found = synthetic.versus_records("v", {("ecp", "vit_tiny"): 1.0, (other, "vit_tiny"): 2.0})
        records = [replace(r, cell=replace(r.cell, device=device)) for r in found]
        write(tmp_path, f"2026-02-0{number + 1}-v", records)
    text = readme.block(measured.load(tmp_path))
    assert "| Device | Model | ecp / openvino | Fastest of all |" in text
    assert "| Device | Model | ecp / torch-cuda-graph | Fastest of all |" in text
    assert "| nvidia-h100, fp32 | vit_tiny | **0.5" in text


def test_one_opponents_setting_is_the_whole_groups(tmp_path):
    ratios = {("ecp", "vit_tiny"): 1.0, ("openvino", "vit_tiny"): 1.0}
    records = synthetic.versus_records("v", ratios)
    for record in records[::2]:
        record.extra["options"] = {"ecp.fuse": "false"}
    store = measured.load(write(tmp_path, "2026-02-01-v", records))
    assert {c.variant for c in store.cells} == {"ecp fuse=off"}
    assert store.find(metric="versus") == [] and versus.bouts(store.cells) == []


def test_ratios_stand_in_no_table_of_times(records, store, tmp_path):
    """The same store without its ratios gives the same times, tables, grids and history."""
    times = measured.Store([r for r in store.runs if not r.id.endswith("-versus")])
    assert len(store.runs) == len(times.runs) + 2
    assert speed_summary(store) == speed_summary(times)
    assert groups(store) == groups(times) and grids(store, "local") == grids(times, "local")
    for table in ("t1", "t6", "t7"):
        both = [build(table, s, "local", "fp32") for s in (store, times)]
        assert both[0] == both[1] or {k: c.found for k, c in both[0].cells.items()} == {
            k: c.found for k, c in both[1].cells.items()
        }
    assert [s.values for s in all_series(store)] == [s.values for s in all_series(times)]
    again = write(tmp_path, "2026-02-01-v", synthetic.versus_records("v", {("ecp", "vit_tiny"): 1.0}))
    write(again, "2026-02-02-v", synthetic.versus_records("v", {("ecp", "vit_tiny"): 1.0}))
    assert all_series(measured.load(again)) == []


def test_the_index_takes_them_as_a_metric_of_their_own(records, tmp_path):
    engine = open_store(str(tmp_path / "index.sqlite"))
    done = index_results(engine, [records])
    assert not any("versus" in finding and "cannot" in finding for finding in done.findings)
    both = series(engine, Filter(models=("vit_tiny",), backends=("ecp",)))
    keys = {metric: {s.key for s in both if s.metric == metric} for metric in ("latency", "versus")}
    assert keys["versus"] and keys["latency"].isdisjoint(keys["versus"])
    (ratio,) = synthetic.versus_records("v", {("ecp", "vit_tiny"): 1.0}, blocks=1)
    time = replace(ratio, cell=synthetic.key("vit_tiny", "ecp", "latency"))
    assert difference(comparability(ratio, {})[1], comparability(time, {})[1]) == [
        "metric: 'versus' against 'latency'"
    ]
    times = series(engine, Filter(metrics=("latency",), models=("vit_tiny",), backends=("ecp",)))
    assert {p.run_id for points in times.values() for p in points} == {
        "2026-01-01-latency",
        "2026-01-02-latency",
    }


def test_damage_is_a_finding_and_the_other_group_is_read(tmp_path):
    ratios = {(b, m): 1.0 for m in ("vit_tiny", "vit_small") for b in ("ecp", "mnn")}
    records = synthetic.versus_records("v", ratios)
    turn = records[0].extra["turn_lengths"].pop()
    del records[0].samples_ms[-turn:]
    (run,) = measured.load(write(tmp_path, "2026-02-01-v", records, plan=[{"seq": "x"}])).runs
    (bout,) = versus.bouts(run.cells)
    assert bout.shared == "vit_small" and len(run.findings) == 1 and "no ratios" in run.findings[0]


def test_cells_of_a_json_file_know_whom_their_ratio_is_to(tmp_path, store):
    cells = [c for c in store.run("2026-01-06-versus").cells]
    rows = [{**vars(c), "against": None, "blocks": [], "records": [], "extra": {}} for c in cells]
    for row in rows:
        del row["against"]
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "cells.json").write_text(json.dumps(rows))
    (bout,) = versus.bouts(measured.load(tmp_path).cells)
    assert bout.first == "ecp" and set(by_other(bout)) == {"onnxruntime", "openvino", "tnn"}
    assert bout.leader == ""


def test_pages_show_ratio_interval_and_leader(site):
    for name in ("index.html", "devices/local.html", "runs/2026-01-06-versus.html"):
        page = (site.folder / name).read_text()
        row = next(line for line in page.splitlines() if "<td>ecp / onnxruntime</td>" in line)
        assert 'data-v="0.80' in row and "badge ok" in row and "<td>openvino</td>" in row, row
        assert "cannot take turns" in page
    rows = list(csv.DictReader(io.StringIO((site.folder / "data" / "versus.csv").read_text())))
    assert len(rows) == 4 and {r["run"] for r in rows} == {"2026-01-06-versus", "2026-01-07-versus"}
    data = json.loads((site.folder / "data" / "2026-01-06-versus.json").read_text())
    assert [len(c["samples_ms"]) for c in data] == [8, 8, 8, 0] and len(data[0]["samples_ms"][0]) == 60


def test_figure_has_a_dot_per_ratio_and_a_line_at_one(store):
    figure = turns.versus(store, "local", "fp32")
    assert [(r["line"], r["pair"]) for r in figure.rows] == [
        ("vit_tiny", "ecp / onnxruntime"),
        ("vit_tiny", "ecp / openvino"),
        ("ecp_vit_tiny / vit_tiny, ecp", "models on ecp"),
    ]
    canvas = figure.canvas()
    (axis,) = canvas.axes
    assert [line.get_xdata()[0] for line in axis.lines if line.get_xdata()[0] == line.get_xdata()[1]] == [1.0]
    drawn = [d for d in axis.collections if isinstance(d, PathCollection)]
    dots = sorted(float(x) for d in drawn for x in d.get_offsets()[:, 0])
    assert [r["ratio"] for r in figure.rows] == pytest.approx([dots[0], dots[2], dots[1]])
    assert export.drawings(figure)[0]
    missing = turns.versus(store, "local-gpu", "fp32")
    assert isinstance(missing, Missing) and missing.command.startswith("nox -s versus")


def test_readme_and_summary_have_a_row_per_run(store):
    text = readme.block(store)
    (row,) = (line for line in text.splitlines() if line.startswith("| local, fp32 | vit_tiny | **"))
    assert row.count("|") == 7 and "**0.80" in row and "| 1.2" in row and "| unsupported |" in row
    assert "| local, fp32 | ecp | ecp_vit_tiny / vit_tiny | **0.9" in text
    said = summary.markdown(store)
    (line,) = (line for line in said.splitlines() if line.startswith("- vit_tiny, local, fp32: "))
    assert (
        "ecp / openvino 1.2" in line
        and "ecp / tnn unsupported" in line
        and "fastest of all: openvino" in line
    )
    assert "ecp / " not in readme.block(measured.Store([]))
