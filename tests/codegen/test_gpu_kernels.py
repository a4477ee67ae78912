"""GPU kernels: what of them can be checked without a GPU. With one, test_numerics runs every graph on it."""

# ruff: noqa: E501
from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from ecp.codegen.schedule import schedule_for
from ecp.codegen.tiling_gpu import async_tile, local_tile, tensor_tile
from ecp.compiler import compile_graph
from ecp.ir.graph import Graph
from ecp.ir.interp import run
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session
from tests.codegen.conftest import cases, largest_error
from tests.codegen.test_numerics import CONV, GRAPHS, conv, matmul, row
from tests.graphs import build, weights

NVIDIA = replace(schedule_for("nvidia"), ptx=False)  # what a CPU device can run
SHAPES = [
    (1, 1, 1), (1, 5, 7), (3, 17, 33), (1, 1000, 768), (49, 512, 4608), (196, 768, 768), (197, 3072, 768),
    (3136, 96, 384), (12544, 64, 147), (1576, 3072, 768), (2, 100000, 64),
]  # fmt: skip


def norm(shape: tuple[int, ...], axis: int) -> Graph:
    own = shape[axis:]
    c = {"g": 1 + weights(*own), "b": weights(*own, seed=1)}
    return build(
        [("LayerNormalization", ["x", "g", "b"], "y", {"axis": axis, "epsilon": 1e-5})],
        {"x": shape},
        c,
        ["y"],
    )


def group_norm(channels: int, side: int) -> Graph:
    """A normalisation over a whole channels-last image between two products."""
    size = channels * side * side
    attrs = {**CONV, "pads": (0, 0, 0, 0)}
    c = {
        "g": np.ones(size, np.float32), "b": np.zeros(size, np.float32),
        "s": weights(channels, 1, 1), "w": weights(channels, channels, 1, 1),
    }  # fmt: skip
    rows = [
        ("Conv", ["x", "w"], "q", attrs), ("Reshape", ["q"], "r", {"shape": (1, 1, size)}),
        ("LayerNormalization", ["r", "g", "b"], "n", {"axis": 2, "epsilon": 1e-5}),
        ("Reshape", ["n"], "z", {"shape": (1, channels, side, side)}), ("Mul", ["z", "s"], "m", {}),
        ("Conv", ["m", "w"], "y", attrs),
    ]  # fmt: skip
    return build(rows, {"x": (1, channels, side, side)}, c, ["y"])


ROWS: dict[str, Graph] = {
    "softmax 1000": row("Softmax", {"axis": 1}, (1, 1000)), "softmax 20000": row("Softmax", {"axis": 1}, (2, 20000)),
    "softmax odd": row("Softmax", {"axis": 2}, (2, 3, 33)), "mean": row("ReduceMean", {"axes": (0, 2), "keepdims": 1}, (2, 5, 33)),
    "sum all": row("ReduceSum", {"axes": (0, 1, 2), "keepdims": 0}, (3, 4, 19)), "min": row("ReduceMin", {"axes": (2,), "keepdims": 0}, (3, 4, 16)),
    "norm": norm((3, 50, 96), 2), "norm of two axes": norm((3, 50, 96), 1), "norm long": norm((1, 40000), 1),
    "norm long odd": norm((2, 33333), 1), "group norm": group_norm(16, 28), "group norm long": group_norm(32, 32),
}  # fmt: skip


@pytest.mark.parametrize(("name", "opencl"), cases(list(ROWS), {"norm long"}), indirect=["opencl"])
def test_teams_reduce_rows(name: str, opencl: OpenCLDevice) -> None:
    for device_class in ("nvidia", "generic"):
        device = replace(opencl, device_class=device_class)
        size = min(schedule_for(device_class).local_bytes, opencl.handle.local_mem_size - 2048)
        schedule = replace(schedule_for(device_class), ptx=False, local_bytes=size)
        assert largest_error(ROWS[name], device, schedule=schedule) < 1e-5
        assert largest_error(ROWS[name], device, mean=5.0, schedule=schedule) < 1e-5


def test_only_a_long_row_takes_two_launches() -> None:
    def launches(name: str) -> int:
        return len(compile_graph(ROWS[name], "nvidia").plan.launches)

    assert (launches("norm"), launches("norm long"), launches("group norm long")) == (1, 2, 4)


@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
def test_masked_attention(opencl: OpenCLDevice) -> None:
    """Minus infinity masks whole tiles of keys; a query without any key gives NaN, as softmax does."""
    mask = np.zeros((1, 5, 150), np.float32)
    mask[0, 0, :140] = -np.inf
    mask[0, 1, 20:] = -np.inf
    mask[0, 2, :] = np.finfo(np.float32).min
    mask[0, 3, :] = -np.inf
    rows = [
        ("MatMul", ["q", "k"], "s", {}), ("Add", ["s", "mask"], "t", {}), ("Softmax", ["t"], "p", {"axis": 2}),
        ("MatMul", ["p", "v"], "y", {}),
    ]  # fmt: skip
    graph = build(rows, {"q": (1, 5, 8), "k": (1, 8, 150), "v": (1, 150, 8)}, {"mask": mask}, ["y"])
    rng = np.random.default_rng(0)
    feeds = {i: rng.standard_normal(graph.types[i].shape).astype(np.float32) for i in graph.inputs}
    with np.errstate(invalid="ignore"):
        want = run(graph, feeds, np.float64)["y"]
    for schedule, name in ((NVIDIA, "nvidia"), (schedule_for("generic"), "generic")):
        bundle = compile_graph(graph, name, schedule=schedule)
        with Session(bundle, replace(opencl, device_class=name)) as session:
            got = session.run(feeds)["y"]
        assert np.isnan(got[0, 3]).all() and np.isnan(want[0, 3]).all()
        finite = [0, 1, 4]  # float64 keeps the scores of row 2 apart, float32 does not
        np.testing.assert_allclose(got[0, finite], want[0, finite], atol=1e-5)
        assert np.isfinite(got[0, 2]).all()


@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_tiles_fit_local_memory_and_warps(m: int, n: int, k: int) -> None:
    for name in ("nvidia", "generic"):
        s = schedule_for(name)
        for normed in (False, True):
            t = local_tile(m, n, k, 1, normed, s)
            assert t.local_floats(s.local_bytes) * 4 <= s.local_bytes and t.items <= s.wg[0] * s.wg[1]
    s = schedule_for("nvidia")
    a, u = async_tile(m, n, k, 1, True, s), tensor_tile(m, n, k, 1, True, s)
    assert a.stages(s.local_bytes) * a.stage_floats * 4 <= s.local_bytes and a.items % 32 == 0
    assert u.stages(s.local_bytes) * u.stage_bytes <= s.local_bytes and u.kb % 16 == 0 and u.columns % 16 == 0


def test_fp32_never_uses_tensor_cores() -> None:
    """Reduced precision is never chosen silently: tensor cores multiply halves, where storage is half."""
    for name in ("matmul 197x192x64", "conv 3x3", "block"):
        for precision, used in (("fp32", False), ("fp16", True)):
            (text,) = compile_graph(GRAPHS[name], "nvidia", precision, persistent_groups=0).sources.values()
            assert ("ECP_MMA(acc" in text) == used
            assert "tf32" not in text and "ecp_copy16(to" in text


def test_weights_are_scaled_by_the_normalisation_at_compile_time() -> None:
    """Scale and shift of a folded LayerNormalization cost nothing where it is applied."""
    bundle = compile_graph(GRAPHS["block"], "nvidia")
    text = next(iter(bundle.sources.values()))
    assert re.search(r"x\[i\] = fma\(ta\[.*scale\[i\]\), \(float4\)\(shift\[i\]\)\)", text)


@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
def test_gpu_memory_is_not_shared_by_overlapping_buffers(opencl: OpenCLDevice) -> None:
    """Mems of one place share a buffer; no buffer is a part of another (slow and unsafe with NVIDIA's driver)."""
    bundle = compile_graph(GRAPHS["block"], "generic")
    with Session(bundle, replace(opencl, device_class="generic")) as session:
        handles = {m.name: session._mems[m.name] for m in bundle.plan.mems}
        places = {(m.pool, m.offset) for m in bundle.plan.mems}
        assert len({id(h) for h in handles.values()}) == len(places)
        assert all(h.associated_memobject is None for h in handles.values())


def test_a_wide_convolution_and_a_narrow_product_have_tiles() -> None:
    for graph in (conv(3, 8, 5, 1), matmul(1, 3, 2)):
        for precision in ("fp32", "fp16"):
            assert compile_graph(graph, "nvidia", precision).report.launches >= 1
