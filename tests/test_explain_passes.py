"""``explain --passes``: numbers that add up, files that can be read, errors in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from ecp.__main__ import app
from ecp.errors import UsageError
from ecp.pipeline import PASSES

RUNNER = CliRunner()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["t", "w"], ["m"]),
        helper.make_node("Relu", ["m"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (8, 4))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (4, 4))
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(np.ones((8, 4), "f4"), "w")])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return path


def test_numbers_and_files(model: Path, tmp_path: Path) -> None:
    dump = tmp_path / "new" / "dump"
    done = RUNNER.invoke(app, ["explain", str(model), "--passes", "--json", "--dump", str(dump)])
    assert done.exit_code == 0, done.output
    steps = {step["name"]: step for step in json.loads(done.stdout)}
    assert list(steps) == [p.name for p in PASSES if p.name != "persistent-vit"]
    fuse, last = steps["fuse"], steps["assemble"]
    assert (fuse["nodes_before"], fuse["nodes_after"], fuse["fused"]) == (3, 2, 2)
    # Transpose and Relu no longer read and write: x or t, w and y are left.
    assert (fuse["bytes_before"], fuse["bytes_after"]) == (4 * (64 + 80 + 32), 4 * 80)
    assert steps["select-kernels"]["eliminated"] == 1 and last["nodes_after"] == 1
    assert sum(step["eliminated"] for step in steps.values()) == 1
    files = sorted(path.name for path in dump.glob("*.txt"))
    assert files == ["00-imported.txt", *(f"{i:02}-{name}.txt" for i, name in enumerate(steps, 1))]
    assert "  %m: f32[4,4] = MatMul(%t, %w)" in next(dump.glob("*-fuse.txt")).read_text()
    assert "__kernel" in (dump / "kernels" / "p0.cl").read_text()


def test_table(model: Path) -> None:
    done = RUNNER.invoke(app, ["explain", str(model), "--passes", "--device-class", "adreno"])
    assert done.exit_code == 0 and "slice" in done.stdout


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--passes", "--device-class", "nvida"], "did you mean nvidia"),
        (["--passes", "--precision", "fp99"], "unknown precision"),
        (["--dump", "d"], "--dump goes with --passes"),
    ],
)
def test_wrong_use_is_told(model: Path, more: list[str], message: str) -> None:
    done = RUNNER.invoke(app, ["explain", str(model), *more])
    assert isinstance(done.exception, UsageError) and message in str(done.exception)


def test_a_folder_that_cannot_be_written_is_told(model: Path) -> None:
    done = RUNNER.invoke(app, ["explain", str(model), "--passes", "--dump", str(model)])
    assert isinstance(done.exception, UsageError)
    assert f"--dump cannot write {model / '00-imported.txt'}" in str(done.exception)
