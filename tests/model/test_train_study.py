"""Studies: paired differences, intervals that say what they do not know, a real small study, its continuation."""

import base64
import json

import numpy as np
import pytest

from bench.cli import main
from bench.train_report import cells, rows, table
from tests.model.test_training import TINY

STUDY = {"gpu": "cpu", "torch": "2"}


def arm(core, ratio, seed, hits):
    hits = np.asarray(hits, dtype=bool)
    return {
        "dataset": "d", "core": core, "ratio": ratio, "seed": seed, "top1": 100 * hits.mean(), "images": len(hits),
        "hits": base64.b64encode(np.packbits(hits).tobytes()).decode(), "steps": 10, "loss": [2.0, 1.0],
    }  # fmt: skip


def study(drop, seeds=3):
    """Dense accuracies differ much between seeds; every arm loses exactly ``drop`` images of 100 to its dense."""
    arms = []
    for seed in range(seeds):
        right = np.arange(100) < 50 + 10 * seed
        arms += [arm("dense", 1.0, seed, right), arm("grad-cam", 0.5, seed, right & (np.arange(100) >= drop))]
    return arms


def test_differences_are_taken_in_pairs():
    dense, ours = rows(study(5))
    assert dense.core == "dense" and dense.difference is None and dense.deviation == pytest.approx(10)
    assert ours.difference == pytest.approx(-5) and ours.interval == pytest.approx((-5, -5))
    assert ours.image_error == pytest.approx(1.96 * np.std([1] * 5 + [0] * 95, ddof=1) * 10)


def test_one_seed_has_no_interval():
    _, ours = rows(study(5, seeds=1))
    assert "(one seed)" in table([ours]) and cells([ours], STUDY, "m")[0]["ci"] is None


def test_cells_name_model_ratio_and_choice():
    found = cells(rows([*study(5), *[arm("random", 0.5, s, np.ones(100)) for s in range(3)]]), STUDY, "vit")
    assert [c["model"] for c in found] == ["vit", "ecp_vit@0.5", "ecp_vit@0.5"]
    assert [c["variant"] for c in found] == ["", "", "core by random"]
    assert all(c["metric"] == "accuracy" and c["unit"] == "%" for c in found)


def test_real_study_is_continued_and_reported(tmp_path, capsys):
    sets = [part for item in TINY for part in ("--set", item)]
    command = ["train-study", *sets, "--ratios", "0.5", "--cores", "centre", "--seeds", "1", "--epochs", "1"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    lines = (tmp_path / "arms.jsonl").read_text().splitlines()
    assert [json.loads(line)["core"] for line in lines] == ["dense", "centre"]
    (tmp_path / "arms.jsonl").write_text(lines[0] + "\n")
    assert main([*command, "--out", str(tmp_path)]) == 0
    again = [json.loads(line) for line in (tmp_path / "arms.jsonl").read_text().splitlines()]
    assert again[1]["hits"] == json.loads(lines[1])["hits"]
    assert {f.name for f in tmp_path.iterdir()} >= {"table.md", "cells.json", "accuracy.png", "curves.png"}
    assert main([*command, "--set", "seed=5", "--out", str(tmp_path)]) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert main(["train-study", "--report-only", "--out", str(tmp_path)]) == 0
    assert "| centre | 0.5 | 1 |" in capsys.readouterr().out


def test_bad_usage(tmp_path, capsys):
    assert main(["train-study", "--report-only", "--out", str(tmp_path)]) == 2
    assert main(["train-study", "--cores", "gradcam", "--out", str(tmp_path)]) == 2
    assert main(["train-study", "--cores", "per-image", "--out", str(tmp_path)]) == 2
    assert "has no fixed core set: train it with" in capsys.readouterr().err
    assert main(["train-study", "--ratios", "a", "--out", str(tmp_path)]) == 2
    assert "numbers separated by commas" in capsys.readouterr().err
