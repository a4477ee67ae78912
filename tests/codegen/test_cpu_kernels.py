"""What is particular to CPU kernels: the work queue, prefetching, attention with lanes along keys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecp.codegen.schedule import schedule_for
from ecp.compiler import compile_graph
from ecp.ir.graph import Graph
from ecp.ir.interp import run
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session
from tests.codegen.conftest import cases, largest_error
from tests.codegen.test_numerics import matmul
from tests.graphs import build, core_periphery, vit_block

ATTENTION = {  # (batch, queries, keys, features of a key, features of a value)
    "one query": (3, 1, 40, 16, 16),
    "tail of queries": (2, 29, 33, 32, 32),
    "narrow keys": (2, 13, 20, 10, 64),
    "two groups of values": (1, 7, 64, 48, 128),
    "three vectors of values": (1, 50, 49, 48, 48),
    "few keys": (2, 9, 5, 16, 16),
}


def attention(batch: int, queries: int, keys: int, dim: int, dim_v: int) -> Graph:
    rows = [
        ("MatMul", ["q", "k"], "s", {}), ("Mul", ["s", "scale"], "t", {}), ("Softmax", ["t"], "p", {"axis": 2}),
        ("MatMul", ["p", "v"], "y", {}),
    ]  # fmt: skip
    shapes = {"q": (batch, queries, dim), "k": (batch, dim, keys), "v": (batch, keys, dim_v)}
    return build(rows, shapes, {"scale": np.float32(dim**-0.5).reshape(())}, ["y"])


@pytest.mark.parametrize(("name", "opencl"), cases(list(ATTENTION), {"tail of queries"}), indirect=["opencl"])
def test_attention(name: str, opencl: OpenCLDevice) -> None:
    assert largest_error(attention(*ATTENTION[name]), opencl) < 1e-5


@pytest.mark.parametrize(("core", "opencl"), cases(["1", "5", "12", "20"], {"5"}), indirect=["opencl"])
def test_core_and_periphery_queries_share_tiles(core: str, opencl: OpenCLDevice) -> None:
    """A tile that holds both must hide from periphery queries what only core queries see."""
    assert largest_error(vit_block(tokens=21, dim=64, heads=2, core=int(core)), opencl) < 1e-5


def test_core_and_periphery_tiles_are_the_same_code() -> None:
    """Two texts: whole tiles of either kind, and the lower tile over the seam; a dense attention has as many."""
    texts = [
        next(iter(compile_graph(core_periphery(197, 3, 64, core), "cpu").sources.values()))
        for core in (158, 177)
    ]
    dense = build(
        [("MatMul", ["q", "k"], "s", {}), ("Softmax", ["s"], "p", {"axis": 3}), ("MatMul", ["p", "v"], "y", {})],
        {"q": (1, 3, 197, 64), "k": (1, 3, 64, 197), "v": (1, 3, 197, 64)}, {}, ["y"],
    )  # fmt: skip
    texts.append(next(iter(compile_graph(dense, "cpu").sources.values())))
    assert [text.count("float scale[") for text in texts] == [2, 2, 2]


@pytest.mark.parametrize(("core", "opencl"), cases(["12", "16", "20"], {"12"}), indirect=["opencl"])
def test_periphery_queries_do_not_feel_keys_they_do_not_see(core: str, opencl: OpenCLDevice) -> None:
    """Scores of hidden keys that are larger by hundreds take part neither in the peak nor in the sum."""
    seen, (heads, tokens, d) = int(core), (2, 40, 16)
    graph = core_periphery(tokens, heads, d, seen)
    rng = np.random.default_rng(0)
    feeds = {i: rng.standard_normal(graph.types[i].shape).astype(np.float32) for i in graph.inputs}
    feeds["qs"] = np.abs(feeds["qs"]) + 1
    feeds["kts"][..., seen:] = 40.0
    want = run(graph, feeds, dtype=np.float64)["o"]
    with Session(compile_graph(graph, opencl.device_class), opencl) as session:
        got = session.run(feeds)["o"]
    assert np.max(np.abs(got - want)) < 1e-5


@pytest.mark.parametrize(("workers", "opencl"), cases(["1", "2", "5", "64"], {"5"}), indirect=["opencl"])
def test_the_queue_serves_any_number_of_workers_again_and_again(workers: str, opencl: OpenCLDevice) -> None:
    if opencl.device_class != "cpu":
        pytest.skip("GPUs have no queue")
    graph = vit_block(tokens=70, dim=64, heads=2)
    bundle = compile_graph(graph, "cpu", schedule=replace(schedule_for("cpu"), workers=int(workers)))
    feeds = {
        i: np.random.default_rng(0).standard_normal(graph.types[i].shape).astype(np.float32)
        for i in graph.inputs
    }
    with Session(bundle, opencl) as session:
        runs = [next(iter(session.run(feeds).values())) for _ in range(4)]
    assert np.isfinite(runs[0]).all()
    for other in runs[1:]:
        assert np.array_equal(runs[0], other)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("device", ["local-cpu", "local-pocl"])
def test_prefetching_changes_no_result(device: str, precision: str) -> None:
    """Weights beyond the last panel are asked for too: they must not be read."""
    from tests.codegen.conftest import find

    found = find(device)
    if isinstance(found, str):
        pytest.skip(found)
    row = replace(schedule_for("cpu"), prefetch=True)
    limit = 1e-5 if precision == "fp32" else 5e-3
    for graph in (matmul(70, 64, 200), matmul(9, 2048, 40)):
        assert largest_error(graph, found, precision, schedule=row) < limit
