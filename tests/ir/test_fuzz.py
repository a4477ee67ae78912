"""Random ONNX graphs: the importer and the interpreter against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings

from ecp.frontend.onnx import import_onnx
from ecp.ir.interp import run
from ecp.ir.verify import verify
from tests.ir.onnx_graphs import feeds_of, models, onnxruntime_outputs

pytest.importorskip("onnxruntime")
RELAXED = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}


def check(model: onnx.ModelProto) -> None:
    feeds = feeds_of(model)
    want = onnxruntime_outputs(model, feeds)
    graph = import_onnx(model)
    verify(graph)
    got = run(graph, feeds)
    exact = run(graph, feeds, dtype=np.float64)
    assert list(got) == list(want)
    for name, value in want.items():
        assert got[name].shape == value.shape and got[name].dtype == value.dtype
        scale = max(float(np.abs(value).max(initial=0)), 1.0)
        assert np.abs(got[name] - value).max(initial=0) <= 1e-4 * scale
        assert np.abs(exact[name] - value).max(initial=0) <= 1e-4 * scale


@settings(max_examples=150, **RELAXED)
@given(models())
def test_random_graphs(model: onnx.ModelProto) -> None:
    check(model)


@pytest.mark.slow
@settings(max_examples=3000, **RELAXED)
@given(models(max_nodes=20))
def test_many_random_graphs(model: onnx.ModelProto) -> None:
    check(model)
