"""Tables: values in their places, verdicts by the stated rules, three formats that agree."""

import csv
import io
import json
import re
from itertools import pairwise

import pytest

from bench.models.spec import parse
from bench.train import shortcuts
from reports import numbers
from reports.measured import Store, load
from reports.reproduce import commands
from reports.tables import build, find, groups, render
from reports.tables import build as build_table
from reports.tables.build import every
from reports.verdicts import SETTINGS, Match, Reference, judge
from tests.reports import synthetic


def test_table7_cells(store):
    table = build_table("t7", store, "local", "fp32")
    mnn = table.cells["vit_tiny", "mnn"]
    assert mnn.found.value == pytest.approx(15, rel=0.05)
    assert mnn.judged.match == Match.DIRECTION
    assert table.cells["vit_tiny", "tnn"].found.reason.startswith("TNN is not installed")
    assert table.cells["vit_tiny", "tnn"].judged.match == Match.NOT_MEASURED
    assert (
        "--device local --models vit_tiny,ecp_vit_tiny --backends ecp,tnn"
        in table.cells["vit_tiny", "tnn"].command
    )
    assert set(table.further) == {"onnxruntime"}


def test_table7_direction_that_differs(store):
    """The invented ECP-ViT-small is slower than ViT-small in `ecp`: the paper says faster."""
    table = build_table("t7", store, "local", "fp32")
    assert table.cells["ecp_vit_small", "ours"].judged.match == Match.DIFFERS
    assert table.cells["ecp_vit_tiny", "ours"].judged.match == Match.DIRECTION


def test_table7_speedup_is_the_mean_of_the_ratios(store):
    table = build_table("t7", store, "local", "fp32")
    ours, tvm, mnn = (table.cells["vit_tiny", c].found.value for c in ("ours", "tvm", "mnn"))
    assert table.cells["vit_tiny", "speedup"].found.value == pytest.approx((tvm / ours + mnn / ours) / 2)


def test_table1_takes_the_profile_apart(store):
    table = build_table("t1", store, "local", "fp32")
    assert table.cells["vit_base", "layout"].found.value == 5.0
    assert table.cells["vit_base", "compute"].found.value == 10.0
    assert table.cells["deit_base", "layout"].judged.match == Match.NOT_MEASURED


def test_table2_counts_networks_and_reads_accuracy(store):
    table = build_table("t2", store, "local", "fp32")
    assert table.cells["vit_base", "params"].judged.match == Match.REPRODUCED
    assert table.cells["ecp_vit_base", "macs"].judged.match == Match.DIFFERS
    assert table.cells["vit_small", "top1"].judged.match == Match.NOT_MEASURED


def test_table3_same_conditions_reproduce(store):
    cells = build_table("t3", store, "local", "fp32").cells
    assert cells["ecp_vit_tiny", "0.5"].judged.match == Match.REPRODUCED
    assert cells["ecp_vit_small", "0.3"].judged.match == Match.PROXY  # of STL-10
    assert cells["ecp_vit_base", "0.3"].judged.match == Match.NOT_MEASURED


def test_table5_gain(store):
    cells = build_table("t5", store, "local", "fp32").cells
    assert cells["ecp_vit_small", "stl10_gain"].found.value == pytest.approx(1.0)


def test_judging_rules():
    ref = Reference("ours", 10.0, (9.0, 11.0))
    assert judge(20, None, "latency", [], ref, "nox").match == Match.NOT_MEASURED
    assert judge(20, (19, 21), "latency", [], ref).match == Match.REPRODUCED
    assert judge(20, (19, 21), "latency", ["device x"], ref).match == Match.DIRECTION
    assert judge(20, (5, 6), "latency", ["device x"], ref).match == Match.DIFFERS
    assert judge(20, (10, 12), "latency", ["device x"], ref).match == Match.UNRESOLVED
    # Only one end within the tolerance of 10 %: the interval does not exclude the other answer.
    assert judge(20, (19, 23), "latency", [], None).match == Match.DIFFERS
    assert judge(20, (10, 12), "latency", ["device x"], None).match == Match.NOT_COMPARABLE
    assert judge(90.0, (90.4, 90.4), "accuracy", [], None).match == Match.REPRODUCED


def test_counts_forgive_rounding_and_little_else():
    assert judge(86.6, (86.568, 86.568), "params", [], None, rounding=0.05).match == Match.REPRODUCED
    assert judge(22, (21.465, 21.465), "params", [], None, rounding=0.5).match == Match.REPRODUCED
    assert judge(21.7, (22.051, 22.051), "params", [], None, rounding=0.05).match == Match.DIFFERS
    # Rounding is no excuse for what was timed.
    assert judge(10, (11.3, 11.3), "latency", [], None, rounding=0.5).match == Match.DIFFERS


def test_table4_counts_the_head_of_its_data_set_and_judges_no_setting(store):
    cells = build_table("t4", store, "local", "fp32").cells
    assert cells["vit_base", "params"].found.value == pytest.approx(85.95, abs=0.01)
    assert cells["vit_base", "params"].judged.match == Match.DIFFERS
    assert cells["vit_base", "res"].judged is None and cells["vit_base", "res"].published.printed == "224"


def test_every_published_table_number_gets_a_verdict(store):
    for table in every(store):
        judged = [c for c in table.cells.values() if c.judged]
        settings = [v for v in table.paper.values.values() if v.conditions["metric"] in SETTINGS]
        assert len(judged) == len(table.paper.values) - len(settings)
        assert sum(table.counts.values()) == len(judged)


def test_markdown_has_one_row_per_model_and_equal_columns(store):
    for table in every(store):
        lines = [ln for ln in render.markdown(table).splitlines() if ln.startswith("|")]
        assert len(lines) == 2 + len(table.paper.rows)
        assert len({len(re.findall(r"(?<!\\)\|", ln)) for ln in lines}) == 1


def test_csv_holds_what_the_markdown_shows(store):
    table = build_table("t7", store, "local", "fp32")
    rows = list(csv.DictReader(io.StringIO(render.to_csv(render.csv_rows(table)))))
    by = {(r["row"], r["column"]): r for r in rows}
    assert by["vit_tiny", "mnn"]["published_id"] == "t7.vit_tiny.mnn"
    assert float(by["vit_tiny", "mnn"]["measured"]) == table.cells["vit_tiny", "mnn"].found.value
    assert by["vit_tiny", "onnxruntime"]["run"] == "2026-01-02-latency"
    assert by["ecp_vit_base", "mnn"]["command"].startswith("nox -s latency")


def test_latex_is_balanced_and_escaped(store):
    for table in every(store):
        text = render.latex(table)
        assert text.count("\\begin{") == text.count("\\end{") == 2
        rows = [ln for ln in text.splitlines() if ln.endswith("\\\\")]
        assert len({len(re.findall(r"(?<!\\)&", ln)) for ln in rows}) == 1
        assert not re.search(r"(?<!\\)[%#_]", text.split("\\begin{tabular}")[1].split("\\end{tabular}")[0])


def test_without_records_everything_is_not_measured_with_a_command():
    empty = Store([])
    assert groups(empty) == [("local", "fp32")]
    assert groups(empty, "oneplus11") == [("oneplus11", "fp16")]
    table = build("t7", empty, "oneplus11", "fp16")
    assert table.counts == {"not measured": 25}
    assert all("--device oneplus11" in c.judged.why for c in table.cells.values() if c.judged)


def test_every_command_of_a_table_is_one_that_can_be_typed():
    """Its models are known, `train` accepts its row, and a network without any weights to be had asks for a file."""
    for table in every(Store([])):
        for cell in table.cells.values():
            session, _, rest = cell.command.removeprefix("nox -s ").partition(" -- ")
            words = rest.split()
            options = dict(pairwise(words))
            for model in options.get("--models", options.get("--model", "")).split(","):
                parse(model)
            if session == "train":
                shortcuts(options["--model"], options["--dataset"], None)
            assert session in commands(), cell.command
    rows = build("t2", Store([]), "local", "fp32").cells
    assert "--models onnx:FILE --dataset imagenet" in rows["pvt_tiny", "top1"].command
    assert "train -- --model tnt_b --dataset imagenet" in rows["tnt_base", "top1"].command
    assert "train -- --model ecp_vit_base@0.9 " in rows["ecp_vit_base", "top1"].command


def judged_cell(tmp_path, extra):
    """Table 3's judgement of a study's cell that has the paper's own number."""
    folder = tmp_path / str(len(list(tmp_path.iterdir()))) / "2026-02-01-t"
    folder.mkdir(parents=True)
    cell = synthetic.accuracy_cells()[0] | {"model": "ecp_vit_base@0.9", "value": 84.62, "ci": [84.6, 84.64]}
    (folder / "cells.json").write_text(json.dumps([cell | {"extra": {"dataset": "imagenet", **extra}}]))
    return build("t3", load(folder.parent), "local", "fp32").cells["ecp_vit_base", "0.9"].judged


def test_a_shorter_training_and_a_part_of_the_images_are_not_the_papers_conditions(tmp_path):
    def summary(**more):
        found = synthetic.training(0.9, 0, 84.6)
        found["config"]["data"] = {"kind": "imagefolder"}
        found["config"]["recipe"] = {"epochs": 50}
        found["classes"] = [f"n{i:08d}" for i in range(1000)]
        for key, value in more.items():
            found["config"][key] |= value
        return found

    def judged(found):
        folder = tmp_path / str(len(list(tmp_path.iterdir()))) / "2026-02-01-t"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps(found))
        (folder / "core.json").write_text('{"format": "ecp-core-order"}')
        store = load(folder.parent)
        assert store.runs[0].findings == []
        return build("t3", store, "local", "fp32").cells["ecp_vit_base", "0.9"].judged

    one_seed = judged(summary())
    assert one_seed.match == Match.FEW and "taken at face value: reproduced" in one_seed.why
    assert "1 epochs" in judged(summary(recipe={"epochs": 1})).why
    assert "2.5 epochs" in judged_cell(tmp_path, {"epochs": 2.5}).why
    scratch = judged_cell(tmp_path, {"epochs": 50, "weights": "random", "image": 56})
    assert "from random weights, 56 pixels" in scratch.why and "epochs" not in scratch.why
    assert judged_cell(tmp_path, {"epochs": 50, "weights": "timm", "image": 224}).match == Match.REPRODUCED
    assert "data imagenet (20 images per class)" in judged(summary(data={"per_class": 20})).why
    short = {**summary(), "classes": ["cat", "dog"]}
    assert "data imagefolder" in judged(short).why


def test_paper_conditions_allow_reproduced():
    context = find.Context(Store([]), "oneplus11", "fp16")
    assert find.unlike_device(context) == []
    assert numbers.get("t7.vit_tiny.mnn").conditions["device"] == "oneplus11"


def test_best_ratio_rows_take_the_best_of_the_ratios_of_one_data_set(store):
    cell = build_table("t4", store, "local", "fp32").cells["ecp_vit_base", "top1"]
    assert cell.found.value == 83.5 and cell.found.cell.model == "ecp_vit_base@0.9"
    assert cell.judged.match == Match.DIRECTION
