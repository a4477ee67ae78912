"""The study of layouts: every candidate computes the same numbers, and every candidate is timed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecp.errors import DeviceError, UsageError
from ecp.ir.interp import run
from ecp.passes.fuse import fuse
from ecp.passes.storage import place
from ecp.pipeline import canonicalize
from ecp.runtime.devices import resolve
from tests.graphs import build, vit_block, weights

try:
    DEVICE = resolve("local-cpu")
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)

from ecp.runtime.session import Session
from ecp.tune.layouts import Study, bundle_of, correlation


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_candidate_computes_the_same(precision: str) -> None:
    graph = vit_block(tokens=17, dim=64, heads=2, core=7)
    study = Study(graph, DEVICE, precision)
    rng = np.random.default_rng(0)
    feeds = {i: rng.standard_normal(graph.types[i].shape).astype(np.float32) for i in graph.inputs}
    want = run(graph, feeds, dtype=np.float64)
    tried = 0
    for edge in study.edges:
        for view in edge.choice.views:
            placed = place(study.fused, half=precision == "fp16", layouts=dict.fromkeys(edge.values, view))
            assert placed.storage[edge.values[0]].view == view
            placed = replace(placed, views=study.canonical)
            with Session(bundle_of(placed, DEVICE, precision), device=DEVICE) as session:
                got = session.run(feeds)
            for name, value in want.items():
                error = np.abs(got[name] - value).max() / np.abs(value).max()
                assert error <= (1e-5 if precision == "fp32" else 1e-2), (edge.values[0], view)
            tried += 1
    assert tried >= 10


def test_candidates_are_timed_and_correlated() -> None:
    rows = [
        ("MatMul", ["x", "w"], "m", {}), ("Softmax", ["m"], "s", {"axis": 1}), ("MatMul", ["s", "w"], "y", {}),
    ]  # fmt: skip
    study = Study(build(rows, {"x": (128, 64)}, {"w": weights(64, 64)}, ["y"]), DEVICE)
    for edge in study.edges:
        study.measure(edge, turns=2, repeats=2)
        assert [len(m) for m in edge.measured] == [2] * len(edge.choice.views)
        assert all(m > 0 for m in edge.medians)
    found = correlation(study.edges)
    assert -1 <= found["rank_correlation"] <= 1 and found["regret"] >= 1


def test_edges_are_those_of_the_placement() -> None:
    graph = vit_block(tokens=17, dim=64, heads=2)
    study = Study(graph, DEVICE)
    stored = place(fuse(canonicalize(graph))).storage
    assert study.edges and all(stored[v].buffer == v for e in study.edges for v in e.values)


def test_a_device_without_a_cost_row_is_refused() -> None:
    with pytest.raises(UsageError, match="no cost row"):
        Study(vit_block(), replace(DEVICE, device_class="adreno"))
