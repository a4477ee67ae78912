"""Winograd's F(2x2, 3x3) on CPU devices: right at every border, and only where it saves work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ecp.codegen.winograd_cpu import G, _packed
from ecp.compiler import compile_graph, default_schedule
from ecp.ir.graph import Graph
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session
from tests.codegen.conftest import cases, largest_error
from tests.codegen.test_conv import PLAIN, chain, image, sources
from tests.graphs import build, weights

MARK = "float input["
SAVES: dict[str, Graph] = {
    "even": chain(32, 64, 12, 3),
    "odd size, three panels": chain(48, 176, 11, 3),
    "asymmetric": chain(32, 48, 12, 3, pads=(2, 0, 1, 1)),
    "no pad": chain(16, 32, 14, 3, pads=(0, 0, 0, 0)),
    "residual": chain(64, 64, 9, 3, residual=True),
    "narrow panels": chain(512, 96, 14, 3, batch=1),
    "many tiles": chain(64, 128, 33, 3),
}
DIRECT: dict[str, Graph] = {
    "stride": chain(32, 64, 24, 3, strides=(2, 2)),
    "dilated": chain(32, 64, 24, 3, dilations=(2, 2), pads=(2, 2, 2, 2)),
    "groups": chain(64, 64, 16, 3, group=2),
    "1x1": chain(32, 64, 16, 1),
    "5x5": chain(32, 64, 16, 5),
    "few pixels": chain(64, 64, 7, 3, batch=1),
    "ragged channels": chain(20, 64, 16, 3),
    "channels first": image(64, 32, 3),
}


@pytest.mark.parametrize(("name", "opencl"), cases(list(SAVES), {"residual"}), indirect=["opencl"])
def test_fp32(name: str, opencl: OpenCLDevice) -> None:
    assert MARK in sources(SAVES[name])
    assert largest_error(SAVES[name], opencl, schedule=default_schedule(opencl)) < 2e-6


@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
@pytest.mark.parametrize(
    "changes", [{"vec": 4}, {"vec": 8}, {"nr": 3}, {"workers": 5}, {"chain": False}, {"prefetch": False}]
)
def test_other_schedules(changes: dict[str, Any], opencl: OpenCLDevice) -> None:
    row = replace(default_schedule(opencl), **changes)
    for name in ("odd size, three panels", "narrow panels"):
        assert MARK in sources(SAVES[name], schedule=replace(row, chain=False))
        assert largest_error(SAVES[name], opencl, schedule=row) < 2e-6


@pytest.mark.parametrize("name", list(DIRECT))
def test_other_convolutions_stay_direct(name: str) -> None:
    assert MARK not in sources(DIRECT[name])


def test_half_storage_stays_direct() -> None:
    """Transformed weights would be rounded to half once more than the weights are."""
    assert MARK not in sources(SAVES["even"], "fp16")


@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
def test_nan_reaches_the_windows_that_hold_it_and_no_other(opencl: OpenCLDevice) -> None:
    constants = {"u": weights(32, 3, 3, 3), "w": weights(64, 32, 3, 3)}
    rows = [("Conv", ["x", "u"], "h", PLAIN), ("Conv", ["h", "w"], "y", PLAIN)]
    bundle = compile_graph(build(rows, {"x": (2, 3, 12, 12)}, constants, ["y"]), "cpu")
    assert any(MARK in text for text in bundle.sources.values())
    x = np.random.default_rng(0).standard_normal((2, 3, 12, 12)).astype(np.float32)
    x[0, 1, 5, 6] = np.nan
    with Session(bundle, opencl) as session:
        (y,) = session.run({"x": x}).values()
    reached = np.isnan(y).any(axis=1)
    # Two convolutions of 3x3, one after the other.
    want = np.zeros((2, 12, 12), bool)
    want[0, 3:8, 4:9] = True
    assert np.array_equal(reached, want)


def test_weights_are_transformed_exactly() -> None:
    """A kernel with one weight of 1 becomes the outer product of two columns of G."""
    kernel = np.zeros((1, 9, 16), np.float32)
    kernel[0, 3 * 1 + 2, 5] = 1
    got = _packed(kernel, 16).reshape(16, 16)
    assert np.array_equal(got[:, 5].reshape(4, 4), np.outer(G[:, 1], G[:, 2])) and np.count_nonzero(got) == 6
