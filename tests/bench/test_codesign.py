"""Co-design: the curve, its hold-out error and the choice on known latencies; then a real small sweep."""

import json

import numpy as np
import pytest

from bench import codesign
from bench.cli import main
from bench.codesign_fit import fit, hold_out, largest_within, pareto
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
