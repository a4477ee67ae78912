"""Random ONNX graphs through compiled code on the local OpenCL CPU device, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, seed, settings

from ecp.codegen.schedule import schedule_for
from ecp.compiler import compile_graph
from ecp.errors import DeviceError
from ecp.frontend.onnx import import_onnx
from ecp.runtime.devices import resolve
from tests.ir.onnx_graphs import feeds_of, layout_models, models, onnxruntime_outputs

try:
    DEVICE = resolve("local-cpu")
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)
pytest.importorskip("onnxruntime")

from ecp.runtime.session import Session

RELAXED: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}
# Of the largest output: rounding of short chains in float; in half, whose step is 1e-3, of chains of stored halves.
TOLERANCE = {"fp32": 2e-4, "fp16": 5e-2}


def check(model: onnx.ModelProto, precision: str = "fp32") -> None:
    feeds = feeds_of(model)
    want = onnxruntime_outputs(model, feeds)
    graph = import_onnx(model)
    bundle = compile_graph(graph, DEVICE.device_class, precision, schedule_for(DEVICE.device_class))
    with Session(bundle, device=DEVICE) as session:
        got = session.run({name: feeds[name] for name in graph.inputs})
    assert list(got) == list(want)
    for name, value in want.items():
        assert got[name].shape == value.shape and got[name].dtype == value.dtype
        scale = max(float(np.abs(value).max(initial=0)), 1.0)
        error = float(np.abs(got[name].astype(np.float64) - value).max(initial=0))
        assert error <= TOLERANCE[precision] * scale, name


@settings(max_examples=15, **RELAXED)
@given(models())
def test_random_graphs(model: onnx.ModelProto) -> None:
    check(model)


@settings(max_examples=15, **RELAXED)
@given(layout_models())
def test_random_layout_graphs(model: onnx.ModelProto) -> None:
    check(model)


# The slow lane: 2,000 graphs. Seeds make them the same ones everywhere; each takes a fraction of a second to build.


@pytest.mark.slow
@pytest.mark.timeout(7200)
@seed(1)
@settings(max_examples=800, **RELAXED)
@given(models(max_nodes=16))
def test_many_random_graphs(model: onnx.ModelProto) -> None:
    check(model)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@seed(2)
@settings(max_examples=800, **RELAXED)
@given(layout_models(max_nodes=16))
def test_many_layout_graphs(model: onnx.ModelProto) -> None:
    check(model)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@seed(3)
@settings(max_examples=400, **RELAXED)
@given(layout_models(max_nodes=12))
def test_many_layout_graphs_in_half_storage(model: onnx.ModelProto) -> None:
    check(model, "fp16")
