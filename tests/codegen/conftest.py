"""Every OpenCL implementation of this machine that can run the kernels."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from ecp.codegen.schedule import Schedule
from ecp.compiler import compile_graph, resident_groups
from ecp.errors import DeviceError
from ecp.ir.graph import Graph
from ecp.ir.interp import run
from ecp.runtime.devices import OpenCLDevice, resolve
from ecp.runtime.session import Session

IMPLEMENTATIONS = ("local-cpu", "local-pocl", "local-rusticl", "local-gpu")


@cache
def find(name: str) -> OpenCLDevice | str:
    try:
        return resolve(name)
    except DeviceError as error:
        return str(error)


def cases(names: list[str], quick: set[str]) -> list:
    """(name, device) pairs: everything on the embedded runtime, the rest of the matrix in the slow lane.

    llvmpipe takes minutes to build a kernel with private arrays, so rusticl is always in the slow lane.
    """

    def fast(name: str, device: str) -> bool:
        return device in ("local-cpu", "local-gpu") or (name in quick and device == "local-pocl")

    return [
        pytest.param(name, device, marks=[] if fast(name, device) else [pytest.mark.slow])
        for name in names
        for device in IMPLEMENTATIONS
    ]


@pytest.fixture
def opencl(request: pytest.FixtureRequest) -> OpenCLDevice:
    """The device named by the (indirect) parameter; skips with the reason where it is not there."""
    found = find(request.param)
    if isinstance(found, str):
        pytest.skip(found)
    return found


def largest_error(
    graph: Graph,
    device: OpenCLDevice,
    precision: str = "fp32",
    scale: float = 1.0,
    mean: float = 0.0,
    schedule: Schedule | None = None,
    **switches: Any,
) -> float:
    """Largest error against float64, relative to the largest reference output (at least 1)."""
    rng = np.random.default_rng(0)
    feeds = {
        i: (mean + scale * rng.standard_normal(graph.types[i].shape)).astype(graph.types[i].dtype)
        for i in graph.inputs
    }
    # A kernel that meets itself on every multiprocessor waits forever on a device that has fewer.
    own = resident_groups(device) if "NVIDIA" in device.platform else 0
    switches.setdefault("persistent_groups", own)
    bundle = compile_graph(graph, device.device_class, precision, schedule, **switches)
    with Session(bundle, device) as session:
        got = session.run(feeds)
    want = run(graph, feeds, np.float64)
    assert all(np.all(np.isfinite(v)) for v in got.values()), "the kernel produced a value that is not finite"
    return max(
        float(np.max(np.abs(got[k] - want[k].astype(np.float64)))) / max(1.0, float(np.max(np.abs(want[k]))))
        for k in want
    )
