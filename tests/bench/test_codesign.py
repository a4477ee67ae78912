"""Co-design: the curve, its hold-out error and the choice on known latencies; then a real small sweep."""

import json

import numpy as np
import pytest

from bench import codesign
from bench.cli import main
from bench.codesign_fit import fit, hold_out, largest_within, pareto
from bench.codesign_plot import plot
from bench.codesign_report import read_accuracy, text
from bench.codesign_sweep import Measured, variants
from ecp.errors import UsageError

RATIOS = [i / 10 for i in range(1, 11)]


def truth(ratio):
    return 100 + 12 * ratio - 5 * ratio**2


def rounds(noise=0.2, count=20):
    random = np.random.default_rng(0)
    drift = random.normal(0, 3 * noise, (count, 1))  # the whole round is slow or fast
    return np.array([truth(r) for r in RATIOS]) + drift + random.normal(0, noise, (count, len(RATIOS)))


def fake(chosen):
    random = np.random.default_rng(1)
    found = []
    for v in chosen:
        ms = truth(v.ratio) * v.shape.tokens / 197 * v.shape.depth / 12
        found.append(Measured(v, list(ms + random.normal(0, 0.1, 12)), 1.0, 0.2 * ms, ms))
    return found


def test_curve_finds_the_truth_and_covers_it():
    curve = fit(RATIOS, rounds())
    for ratio in (0.15, 0.5, 0.95):
        low, high = curve.interval(ratio)
        assert abs(curve.at(ratio) - truth(ratio)) < 0.5 and low < truth(ratio) < high


def test_hold_out_sees_a_curve_that_does_not_fit():
    assert hold_out(RATIOS, rounds()).worst < 0.5
    bent = rounds()
    bent[:, 5] *= 1.2
    found = hold_out(RATIOS, bent)
    assert found.held == [0.2, 0.4, 0.6, 0.8] and found.worst > 10
    assert hold_out(RATIOS[:4], rounds()[:, :4]) is None


def test_largest_ratio_is_within_budget_with_its_whole_interval():
    curve = fit(RATIOS, rounds())
    ratio = largest_within(curve, 104.0, 196)
    assert curve.interval(ratio)[1] <= 104.0 < curve.interval(ratio + 1 / 196)[1]
    assert largest_within(curve, 90.0, 196) is None and largest_within(curve, 200.0, 196) == 1.0


def test_two_ratios_make_no_curve():
    with pytest.raises(UsageError, match="at least 3"):
        fit([0.1, 1.0], rounds()[:, :2])


def test_pareto():
    points = {"slow": (9, 80), "good": (5, 80), "fast": (1, 50), "bad": (6, 40)}
    assert pareto(points) == ["fast", "good"]


def test_sweep_names_and_shapes():
    found = variants(["vit_tiny"], [0.5, 1.0], [224, 384], [6], [])
    assert [v.name for v in found] == [
        "ecp_vit_tiny depth 6@0.5",
        "vit_tiny depth 6",
        "ecp_vit_tiny@384 depth 6@0.5",
        "vit_tiny@384 depth 6",
    ]
    assert variants(["vit_base"], [0.3], [], [], [])[0].name == "ecp_vit_base@0.3"
    assert variants(["vit_base"], [1.0], [], [], [3])[0].shape.dim == 192


def test_report_joins_accuracy_and_says_what_it_does_not_know(tmp_path):
    found = codesign.explore(variants(["vit_base"], RATIOS, [], [], []), 104.0, fake)
    file = tmp_path / "cells.json"
    cell = {"model": "vit_base", "metric": "accuracy", "status": "measured", "value": 83.9}
    other = {**cell, "model": "ecp_vit_base@0.5", "value": 84.4}
    failed = {**cell, "model": "ecp_vit_base@0.1", "status": "failed", "value": None}
    file.write_text(json.dumps([cell, other, failed]))
    report = text(found, 104.0, read_accuracy([file]))
    assert "largest core ratio within 104 ms: 0." in report and "83.90" in report
    assert "front of latency and measured top-1" in report and " 0.50*" in report and " 1.00*" not in report
    assert "0.16 %" in report, "what a ratio of .8 saves of ViT-B's MACs at 224 pixels"
    assert "no accuracy known" in text(found, 104.0, {})
    tight = codesign.explore(variants(["vit_base"], RATIOS, [], [], []), 50.0, fake)
    assert "no core ratio meets 50 ms" in text(tight, 50.0, {})
    file.write_text("{}")
    with pytest.raises(UsageError, match="not a file of cells"):
        read_accuracy([file])


def test_accuracy_is_of_one_data_set_and_of_the_usual_core_choice(tmp_path):
    file = tmp_path / "cells.json"

    def cell(value, dataset, variant=""):
        cell = {"model": "ecp_vit_base@0.5", "metric": "accuracy", "status": "measured", "value": value}
        return {**cell, "variant": variant, "extra": {"dataset": dataset}}

    file.write_text(json.dumps([cell(70.0, "a"), cell(50.0, "a", "core by random")]))
    assert read_accuracy([file]) == {"ecp_vit_base@0.5": 70.0}
    file.write_text(json.dumps([cell(70.0, "a"), cell(90.0, "b")]))
    assert read_accuracy([file], "b") == {"ecp_vit_base@0.5": 90.0}
    with pytest.raises(UsageError, match="several data sets: choose one with --dataset"):
        read_accuracy([file])
    with pytest.raises(UsageError, match="unknown data set in --accuracy 'bb'; did you mean b"):
        read_accuracy([file], "bb")


def test_attention_inside_a_larger_launch_is_not_said_to_cost_nothing():
    found = codesign.explore(variants(["vit_base"], RATIOS, [], [], []), None, fake)
    assert "attention launches at ratio 1: 20.0 % of device time" in text(found, None, {})
    for point in found[0].points:
        point.attention_ms = None
    report = text(found, None, {})
    assert "share of device time is not known" in report and "attention launches" not in report


def test_picture_has_the_curve_and_the_front(tmp_path, monkeypatch):
    from matplotlib import pyplot

    drawn = []
    monkeypatch.setattr(pyplot, "close", drawn.append)
    found = codesign.explore(variants(["vit_base"], RATIOS, [], [], []), 104.0, fake)
    plot(
        found,
        104.0,
        {"vit_base": 83.9, "ecp_vit_base@0.5": 84.4, "ecp_vit_base@0.1": 70.0},
        tmp_path / "c.png",
    )
    _, front = drawn[0].axes
    assert front.get_ylabel() == "measured top-1 (%)"
    assert sorted(t.get_text() for t in front.texts) == ["0.1", "0.5"], "ratio 1 is slower and worse than 0.5"


@pytest.mark.parametrize(
    "arguments,code,message",
    [
        (["--ratios", "0.5,big"], 2, "numbers separated by commas"),
        (["--ratios", "0.5,1.5"], 2, "core ratio 1.5"),
        (["--models", "vit_bas"], 2, "did you mean vit_base"),
        (["--device", "oneplus12"], 2, "oneplus11"),
        (["--device", "oneplus11"], 3, ""),
        (["--sizes", "225"], 2, "multiple of patch"),
        (["--depths", "0"], 2, "positive"),
    ],
)
def test_bad_usage(arguments, code, message, capsys):
    assert main(["codesign", *arguments]) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error


def test_real_sweep_on_the_local_device(tmp_path, capsys):
    """Compiles and times one block of a small ViT at three ratios."""
    arguments = [
        "--models",
        "vit_tiny",
        "--ratios",
        "0.1,0.5,1.0",
        "--sizes",
        "64",
        "--depths",
        "1",
        "--quick",
    ]
    budget = ["--budget-ms", "1000"]
    assert (
        main(
            ["codesign", "--device", "local-cpu", *arguments, *budget, "--json", "-", "--out", str(tmp_path)]
        )
        == 0
    )
    cells = json.loads(capsys.readouterr().out)
    assert [c["model"] for c in cells] == [
        "ecp_vit_tiny@64 depth 1@0.1",
        "ecp_vit_tiny@64 depth 1@0.5",
        "vit_tiny@64 depth 1",
    ]
    assert all(c["status"] == "measured" and c["value"] > 0 for c in cells)
    assert {f.name for f in tmp_path.iterdir()} == {"codesign.txt", "codesign.json", "codesign.png"}
    assert all(0 < c["extra"]["attention_device_ms"] < c["extra"]["device_ms"] for c in cells)
    assert all(c["extra"]["largest_ratio_within_budget"] == 1.0 for c in cells)
