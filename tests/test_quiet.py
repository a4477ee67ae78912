"""Frameworks leave nothing in the user's folders and report nothing where the switches are on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ecp import quiet
from tests.bench.conftest import tiny_model

PROGRAM = """
import sys, time
{first}
import numpy as np
x = np.ones((1, 8), np.float32)
if sys.argv[1] == "onnxruntime":
    import onnxruntime
    onnxruntime.InferenceSession(sys.argv[2]).run(None, {{"input": x}})
else:
    import openvino
    from openvino.tools import ovc
    print(ovc.telemetry.__class__.__module__)
    openvino.Core().compile_model(openvino.convert_model(sys.argv[2]), "CPU")(x)
time.sleep(1)
"""


def run(framework: str, folder: Path, first: str) -> tuple[str, list[str]]:
    """What it printed and the files that it left, in a home and a temporary folder of its own."""
    pytest.importorskip(framework)
    for name in ("home", "tmp"):
        (folder / name).mkdir()
    model = tiny_model(folder / "tiny.onnx")
    kept = {
        k: v for k, v in os.environ.items() if k not in (*quiet.SWITCHES, "CI") and not k.startswith("XDG_")
    }
    environment = kept | {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
    command = [sys.executable, "-c", PROGRAM.format(first=first), framework, str(model)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=True)
    return done.stdout, [str(p) for n in ("home", "tmp") for p in (folder / n).rglob("*") if p.is_file()]


@pytest.mark.parametrize("framework", ["onnxruntime", "openvino"])
def test_frameworks_leave_no_file_and_report_nothing(tmp_path, framework):
    said, files = run(framework, tmp_path, "import ecp")
    assert files == []
    assert "openvino_telemetry" not in said
