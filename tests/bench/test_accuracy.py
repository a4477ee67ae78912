"""Accuracy mode end to end with a small real ONNX model, and the scoring of predictions."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.accuracy_facts import normalisation
from bench.accuracy_score import agreement, score
from bench.accuracy_worker import read_predictions
from bench.cli import main
from bench.datasets.base import Dataset, Item
from bench.datasets.registry import open_dataset
from ecp.errors import ModelError

from .test_datasets import picture


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def colour_model(tmp_path):
    """Answers the strongest colour channel: classes 0 red, 1 green, 2 blue."""
    weights = numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    shapes = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])]
    graph = helper.make_graph(nodes, "colours", shapes, out, [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "colours.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def colours(tmp_path):
    """Twelve pictures in three classes; two red ones lie in the folder of blue."""
    root = tmp_path / "colours"
    for n in range(4):
        for c, name in enumerate(("0red", "1green", "2blue")):
            strong = [10 + n, 10 + n, 10 + n]
            strange = name == "2blue" and n < 2
            strong[0 if strange else c] = 250 if strange else 240
            picture(root / f"val/{name}/{n}.png", tuple(strong))
    return root


def run(colour_model, colours, tmp_path, *more):
    out = tmp_path / "cells.json"
    arguments = ["accuracy", "--models", f"onnx:{colour_model}", "--backends", "onnxruntime"]
    arguments += ["--dataset", "imagefolder", "--data", str(colours), "--out", str(tmp_path / "results")]
    code = main([*arguments, "--json", str(out), *more])
    return code, json.loads(out.read_text()) if out.exists() else None


def test_accuracy_is_counted_against_the_labels(colour_model, colours, tmp_path):
    code, (cell,) = run(colour_model, colours, tmp_path)
    assert code == 0
    assert (cell["status"], cell["value"], cell["unit"]) == ("measured", pytest.approx(100 * 10 / 12), "%")
    assert cell["ci"][0] < cell["value"] < cell["ci"][1]
    assert cell["extra"]["correct"] == 10
    assert len(cell["extra"]["content_sha256"]) == 64


def label(path, facts):
    """Write ``facts`` into an ONNX file as ``bench train`` does."""
    model = onnx.load(path)
    helper.set_model_props(model, {"ecp": facts if isinstance(facts, str) else json.dumps(facts)})
    onnx.save(model, path)


def test_the_normalisation_is_the_one_in_the_file(colour_model, colours, tmp_path):
    """A channel that the network's own statistics make small is never the strongest."""
    _, (plain,) = run(colour_model, colours, tmp_path)
    assert plain["extra"]["normalisation"]["source"].startswith("ImageNet's")
    label(colour_model, {"mean": [5.0, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "classes": 3})
    code, (cell,) = run(colour_model, colours, tmp_path)
    assert (code, cell["status"]) == (0, "measured")
    assert cell["extra"]["normalisation"] == {
        "mean": [5.0, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "source": "metadata of the ONNX file",
    }
    # Red is never answered: of 12 pictures the six red ones are wrong, two of which lie in the folder of blue.
    assert cell["extra"]["correct"] == 6 and plain["extra"]["correct"] == 10


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ({"mean": [0.5, 0.5, 0.5]}, "has std None"),
        ({"mean": [0.5, 0.5], "std": [1, 1, 1]}, "three numbers"),
        ({"mean": [0.5, 0.5, 0.5], "std": [1, 0, 1]}, "above 0"),
    ],
)
def test_damaged_metadata_is_refused_not_guessed(colour_model, facts, words):
    label(colour_model, facts)
    with pytest.raises(ModelError, match=words):
        normalisation(colour_model, None)


def test_damaged_pictures_are_named_and_refused_unless_allowed(colour_model, colours, tmp_path):
    (colours / "val/1green/2.png").write_bytes(b"no picture")
    code, (cell,) = run(colour_model, colours, tmp_path)
    assert (code, cell["status"], cell["value"]) == (1, "failed", None)
    assert "1 pictures cannot be decoded: 1green/2.png" in cell["reason"]
    code, (cell,) = run(colour_model, colours, tmp_path, "--allow-incomplete")
    assert (code, cell["extra"]["correct"], cell["extra"]["of"]) == (0, 9, 11)
    assert cell["extra"]["corrupt_count"] == 1


def test_other_number_of_classes_is_unavailable_and_not_a_number(colour_model, tmp_path):
    out = tmp_path / "cells.json"
    arguments = ["accuracy", "--models", f"onnx:{colour_model}", "--backends", "onnxruntime", "--limit", "5"]
    code = main([*arguments, "--out", str(tmp_path / "r"), "--json", str(out)])
    (cell,) = json.loads(out.read_text())
    assert (cell["status"], cell["value"]) == ("unavailable", None)
    assert "3 outputs and digits has 10 classes" in cell["reason"]
    assert code == 1


def test_resume_finishes_what_was_left(colour_model, colours, tmp_path):
    assert run(colour_model, colours, tmp_path)[0] == 0
    (folder,) = (tmp_path / "results").glob("*accuracy*")
    (path,) = folder.glob("predictions-*.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:5]) + lines[5][:7])
    state = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**state, "state": "interrupted"}))
    code, (cell,) = run(colour_model, colours, tmp_path, "--resume")
    assert (code, cell["extra"]["correct"]) == (0, 10)
    assert len(list((tmp_path / "results").glob("*accuracy*"))) == 1
    assert path.read_text().splitlines(keepends=True)[:5] == lines[:5]
    assert run(colour_model, colours, tmp_path, "--resume")[0] == 2


def test_a_killed_run_keeps_its_predictions(colour_model, colours, tmp_path):
    for n in range(500):  # enough to be killed in between on a fast machine
        for name, colour in (("0red", (240, n % 99, n // 99)), ("1green", (n % 99, 240, n // 99))):
            picture(colours / f"val/{name}/more{n}.png", colour)
    command = [sys.executable, "-m", "bench", "accuracy", "--models", f"onnx:{colour_model}", "--backends"]
    command += [
        "onnxruntime",
        "--dataset",
        "imagefolder",
        "--data",
        str(colours),
        "--out",
        str(tmp_path / "r"),
    ]
    process = subprocess.Popen(
        command, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 90
    while not list((tmp_path / "r").glob("*/predictions-*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    out = tmp_path / "cells.json"
    done = main([*command[3:], "--json", str(out), "--resume"])
    assert done == 0
    assert json.loads(out.read_text())[0]["extra"]["of"] == 1012


def test_unsupported_is_passed_on_with_the_frameworks_words(tmp_path, colours):
    path = tmp_path / "odd.onnx"
    path.write_bytes(b"not an onnx file")
    code = main(
        ["accuracy", "--models", f"onnx:{path}", "--backends", "onnxruntime", "--out", str(tmp_path / "r")]
    )
    assert code == 2


def _data(labels, classes=3, **more):
    items = tuple(Item(f"i{n}", label, Path("unread")) for n, label in enumerate(labels))
    return Dataset("d", "val", tuple(map(str, range(classes))), items, "0" * 64, **more)


def _answers(values, n=3):
    return {i: {"i": i, "p": v, "n": n} for i, v in enumerate(values)}


def test_score_by_hand():
    data = _data([0, 1, 2, 0])
    reply = score(data, data.items, _answers([0, 1, 1, 1]), allow_incomplete=False, version="1")
    assert (reply.status, reply.samples_ms) == ("measured", [50.0])
    left = score(data, data.items, _answers([0]), allow_incomplete=False, version="1")
    assert left.status == "not-run"
    assert "3 of 4 pictures are left" in left.reason


def test_an_incomplete_copy_is_refused():
    data = _data([0], problems=("9 pictures, a complete copy has 10",))
    reply = score(data, data.items, _answers([0]), allow_incomplete=False, version="1")
    assert reply.status == "failed"
    assert "incomplete" in reply.reason
    assert score(data, data.items, _answers([0]), allow_incomplete=True, version="1").status == "measured"


def test_agreement_counts_equal_answers_only_where_both_answered():
    data = _data([0, 1, 2])
    mine = {**_answers([0, 1]), 2: {"i": 2, "corrupt": "x"}}
    reply = agreement(data, mine, _answers([0, 2, 2]), "torch", "1")
    assert (reply.samples_ms, reply.extra["of"], reply.extra["reference"]) == ([50.0], 2, "torch")
    assert agreement(data, {}, _answers([0]), "torch", "1").status == "not-run"


def test_predictions_survive_a_half_written_line(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"i": 0, "p": 1, "n": 3}\n{"i": 1, "p"')
    assert list(read_predictions(path)) == [0]
    assert read_predictions(tmp_path / "none") == {}


def test_the_default_data_set_is_complete():
    assert open_dataset("digits", None, None).problems == ()
