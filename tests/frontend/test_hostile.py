"""Hostile ONNX files in a process of bounded memory: what ONNX Runtime refuses is refused here in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.frontend import hostile


def judged(who: str, folder: Path) -> dict[str, dict[str, Any]]:
    """File -> answer. A file at which the process dies is a crash, and the rest are asked in another process."""
    answers: dict[str, dict[str, Any]] = {}
    while True:
        left = [p for p in folder.glob("*.onnx") if p.name not in answers]
        if not left:
            return answers
        rest = folder / f"rest-{who}-{len(left)}"
        rest.mkdir()
        for path in left:
            (rest / path.name).symlink_to(path)
        command = [sys.executable, "-m", "tests.frontend.hostile", who, str(rest)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"file"')]
        answers |= {a.pop("file"): a for a in lines}
        for answer in answers.values():
            if answer["said"] == "begun":
                answer.update(said="crash", words=f"exit status {done.returncode}")
        assert lines, done.stderr[-500:]


def differences(folder: Path, models: Iterable[tuple[str, onnx.ModelProto]]) -> tuple[dict[str, str], int]:
    """Name -> what is wrong about the answer to it; the number of files."""
    names = {}
    for index, (name, made) in enumerate(models):
        names[f"{index:05}.onnx"] = name
        (folder / f"{index:05}.onnx").write_bytes(made.SerializeToString())
    mine, theirs = judged("ours", folder), judged("theirs", folder)
    wrong = {}
    for file, name in names.items():
        verdict = _wrong(mine[file], theirs[file])
        if verdict:
            wrong[name] = verdict
    return wrong, len(names)


def _wrong(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    if mine["said"] in ("crash", "hang", "traceback"):
        return f"{mine['said']}: {mine.get('words', '')}"
    if mine["said"] != "yes":
        words = mine["words"]
        if "\n" in words or not words or "Error:" in words or len(words) > 700:
            return f"not one line: {words[:200]}"
        return (
            f"refused, and ONNX Runtime takes it: {words}"
            if (mine["said"], theirs["said"]) == ("no", "yes")
            else ""
        )
    if theirs["said"] == "no":
        return f"taken, and ONNX Runtime says: {theirs['words']}"
    if theirs["said"] != "yes" or not mine["outputs"] or not theirs["outputs"]:
        return ""
    for name, (shape, values) in theirs["outputs"].items():
        if name not in mine["outputs"] or mine["outputs"][name][0] != shape:
            return f"shape {mine['outputs'].get(name, [None])[0]}, ONNX Runtime {shape}"
        if not np.allclose(mine["outputs"][name][1], values, rtol=1e-3, atol=1e-3, equal_nan=True):
            return "other values than ONNX Runtime"
    return ""


#: Names of files whose answer differs from ONNX Runtime's, and why that is meant.
MEANT = {
    "clip-l-2": "NaN in a constant is refused everywhere",
    "opset 6": "older than what exporters of this decade write",
    "two initializers of one name": "ONNX Runtime takes one of them without a word",
}


def test_what_onnx_runtime_refuses_is_refused_in_one_line(tmp_path: Path) -> None:
    wrong, count = differences(tmp_path, hostile.by_hand())
    assert count > 300
    assert {name: said for name, said in wrong.items() if name not in MEANT} == {}


def test_functions_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECP_IMPORT_NODES", "5000")
    for index, (_, made) in enumerate(hostile.bombs()):
        (tmp_path / f"{index}.onnx").write_bytes(made.SerializeToString())
    answers = judged("ours", tmp_path)
    assert [a["said"] for a in answers.values()] == ["no"] * 3
    said = " ".join(a["words"] for a in answers.values())
    assert "set ECP_IMPORT_NODES" in said and "without an end" in said


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_mutations(tmp_path: Path, seed: int) -> None:
    wrong, _ = differences(tmp_path, hostile.mutations(1000, seed))
    bad = {n: s for n, s in wrong.items() if s.startswith(("crash", "hang", "traceback", "not one line"))}
    assert bad == {}
    assert len(wrong) <= 20, wrong
