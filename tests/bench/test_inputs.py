"""What models are fed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import accuracy_gate, inputs
from bench.prepare import prepare_here
from ecp.errors import ModelError
from tests.bench.conftest import tiny_model

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def test_the_photograph_is_normalized_and_keeps_its_proportions() -> None:
    x = inputs.photograph(224, 224, MEAN, STD)
    assert x.shape == (3, 224, 224) and x.dtype == np.float32
    pixels = x * np.asarray(STD, np.float32)[:, None, None] + np.asarray(MEAN, np.float32)[:, None, None]
    assert pixels.min() >= -1e-6 and pixels.max() <= 1 + 1e-6
    assert pixels.std() > 0.1  # a picture, not a constant
    wide = inputs.photograph(224, 320, MEAN, STD)
    assert wide.shape == (3, 224, 320)


def test_row_0_is_the_photograph_and_the_others_are_random() -> None:
    rows = inputs.make_inputs((1, 3, 64, 64), MEAN, STD)
    assert rows.shape == (1 + inputs.RANDOM_ROWS, 1, 3, 64, 64)
    assert np.array_equal(rows[0, 0], inputs.photograph(64, 64, MEAN, STD))
    assert abs(float(rows[1:].mean())) < 0.05 and abs(float(rows[1:].std()) - 1) < 0.05
    assert np.array_equal(rows, inputs.make_inputs((1, 3, 64, 64), MEAN, STD))


def test_stacks_survive_the_disk(tmp_path: Path) -> None:
    stack = {"a": np.arange(12.0).reshape(3, 4), "b": np.arange(3)}
    inputs.save(tmp_path / "x.npz", stack)
    back = inputs.load(tmp_path / "x.npz")
    assert set(back) == {"a", "b"} and np.array_equal(inputs.row(back, 1)["a"], [4, 5, 6, 7])


def test_the_reference_of_a_file_is_computed_in_float64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx import load, numpy_helper

    monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))
    path = tiny_model(tmp_path / "tiny.onnx")
    prepared = prepare_here(f"onnx:{path}")
    weight = numpy_helper.to_array(load(str(path)).graph.initializer[0]).astype(np.float64)
    x, y = inputs.load(Path(prepared.inputs))["input"], inputs.load(Path(prepared.reference))["logits"]
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, x.astype(np.float64) @ weight, rtol=1e-13)
    assert len(prepared.sha256) == 64


def test_nan_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx
    from onnx import numpy_helper

    monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))
    model = onnx.load(str(tiny_model(tmp_path / "tiny.onnx")))
    broken = numpy_helper.to_array(model.graph.initializer[0]).copy()
    broken[0, 0] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(broken, "w"))
    onnx.save(model, str(tmp_path / "nan.onnx"))
    with pytest.raises(ModelError, match="NaN"):
        prepare_here(f"onnx:{tmp_path / 'nan.onnx'}")


def test_a_free_dimension_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))
    model = onnx.load(str(tiny_model(tmp_path / "tiny.onnx")))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, str(tmp_path / "free.onnx"))
    with pytest.raises(ModelError, match="dynamic dimension without a value: 'batch'"):
        prepare_here(f"onnx:{tmp_path / 'free.onnx'}")


class Fixed:
    """A backend that answers ``value`` for every input."""

    def __init__(self, value: np.ndarray, name: str = "logits") -> None:
        self.value, self.name = value, name

    def run(self, feeds: dict) -> dict:
        return {self.name: self.value}


@pytest.mark.parametrize(
    ("value", "name", "said"),
    [
        (np.full((1, 4), 1.0), "logits", ""),
        (np.full((1, 4), 1.001), "logits", ""),
        (np.full((1, 4), 1.003), "logits", "wrong output: max abs error 0.003"),
        (np.full((1, 4), np.nan), "logits", "NaN"),
        (np.full((4,), 1.0), "logits", "shape (4,)"),
        (np.full((1, 4), 1.0), "scores", "'logits' is missing; the backend gave scores"),
    ],
)
def test_the_gate(tmp_path: Path, value: np.ndarray, name: str, said: str) -> None:
    inputs.save(tmp_path / "ref.npz", {"logits": np.ones((3, 1, 4))})
    feeds = {"input": np.zeros((3, 1, 8), np.float32)}
    got = accuracy_gate.check(Fixed(value, name), feeds, tmp_path / "ref.npz", "fp32")  # type: ignore[arg-type]
    assert got["ok"] == (said == "") and said in got["reason"]
