"""Studies: paired differences, intervals that say what they do not know, a real small study, its continuation."""

import base64
import json

import numpy as np
import pytest

from bench.cli import main
from bench.train_report import cells, rows, table
from ecp.model.corechoice import centre
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


def test_a_grad_cam_set_from_a_file_is_the_usual_choice_and_random_weights_are_told():
    """Only one of two Grad-CAM sets is: cells of one name, model and ratio must not stand for two things."""
    told = STUDY | {"epochs": 3.75, "config": {"model": {"weights": "random", "image": 56}}}
    named = lambda core, method: [arm(core, 0.5, s, np.ones(100)) | {"method": method} for s in range(3)]  # noqa: E731
    arms = [*study(5), *named("mine", "grad-cam"), *named("other", "centre")]
    chosen = {c["extra"]["core_choice"]: c for c in cells(rows(arms), told, "vit_tiny_patch16_224")}
    assert chosen["grad-cam"]["variant"] == "" and chosen["mine"]["variant"] == "core by mine"
    assert chosen["dense"]["model"] == "vit_tiny" and chosen["mine"]["model"] == "ecp_vit_tiny@0.5"
    without = [a for a in arms if a["core"] != "grad-cam"]
    chosen = {c["extra"]["core_choice"]: c for c in cells(rows(without), told, "vit_tiny_patch16_224")}
    assert chosen["mine"]["variant"] == "" and chosen["other"]["variant"] == "core by other"
    extra = chosen["mine"]["extra"]
    assert (extra["epochs"], extra["weights"], extra["image"]) == (3.75, "random", 56)


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


def test_core_set_from_a_file_is_named_by_the_file(tmp_path, capsys):
    """Its arm trains on the file's own ranking: as the named choice with the same ranking, and unlike another one."""
    file = tmp_path / "middle.json"
    centre((4, 4)).save(file)
    sets = [part for item in TINY for part in ("--set", item)]
    command = ["train-study", *sets, "--ratios", "0.3", "--cores", f"{file},centre,random", "--seeds", "1"]
    assert main([*command, "--epochs", "3", "--out", str(tmp_path / "out")]) == 0
    arms = {a["core"]: a for a in map(json.loads, (tmp_path / "out/arms.jsonl").read_text().splitlines())}
    assert list(arms) == ["dense", "middle", "centre", "random"]
    assert [a["method"] for a in arms.values()] == ["dense", "centre", "centre", "random"]
    assert arms["middle"]["loss"] == arms["centre"]["loss"] != arms["random"]["loss"]
    assert main([*command, "--epochs", "3", "--out", str(tmp_path / "out")]) == 0
    assert len((tmp_path / "out/arms.jsonl").read_text().splitlines()) == len(arms)
    centre((3, 3)).save(file)
    assert main([*command, "--out", str(tmp_path / "other")]) == 2
    assert "is for a grid of (3, 3), the model has (4, 4)" in capsys.readouterr().err
    assert main(["train-study", *sets, "--cores", str(tmp_path / "none.json"), "--out", str(tmp_path)]) == 2
    assert "or the path of a core-order JSON" in capsys.readouterr().err


def test_an_arm_stopped_in_the_middle_goes_on_bit_for_bit(tmp_path, capsys, monkeypatch):
    """Seven steps a call: the arms of a study that was stopped again and again are those of one that was not."""
    sets = [part for item in TINY for part in ("--set", item)]
    command = ["train-study", *sets, "--ratios", "0.5", "--cores", "centre", "--seeds", "2", "--epochs", "3"]
    command += ["--head-std", "0.02"]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    whole = [json.loads(line) for line in (tmp_path / "whole/arms.jsonl").read_text().splitlines()]
    assert whole[0]["loss"] != whole[2]["loss"] and whole[0]["steps"] > 7
    calls = 0

    def due(self):
        nonlocal calls
        calls += 1
        return calls % 8 == 0

    monkeypatch.setattr("ecp.model.training.study.Pause.due", due)
    out = tmp_path / "pieces"
    stops = 0
    while not (out / "arms.jsonl").exists() or len((out / "arms.jsonl").read_text().splitlines()) < 4:
        assert main([*command, "--minutes", "9", "--out", str(out)]) == 0
        stops += "goes on from there" in capsys.readouterr().err
        assert stops < 30
    pieces = [json.loads(line) for line in (out / "arms.jsonl").read_text().splitlines()]
    assert stops >= 4 and not (out / "arm.safetensors").exists()
    for key in ("core", "seed", "hits", "loss", "steps"):
        assert [a[key] for a in pieces] == [a[key] for a in whole]


def test_bad_usage(tmp_path, capsys):
    assert main(["train-study", "--report-only", "--out", str(tmp_path)]) == 2
    assert main(["train-study", "--cores", "gradcam", "--out", str(tmp_path)]) == 2
    assert main(["train-study", "--cores", "per-image", "--out", str(tmp_path)]) == 2
    assert "has no fixed core set: train it with" in capsys.readouterr().err
    assert main(["train-study", "--ratios", "a", "--out", str(tmp_path)]) == 2
    assert "numbers separated by commas" in capsys.readouterr().err
