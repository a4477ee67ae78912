"""Kernels on tensor cores and the chain of launches of NVIDIA GPUs: their text without a GPU, their results on one."""

# ruff: noqa: E501
from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ecp.codegen.attention_mma_gpu import Shape
from ecp.codegen.chain import FILE
from ecp.codegen.chain_gpu import LOCAL_BYTES, MOST_WORK
from ecp.codegen.matmul_large_gpu import LOCAL_BYTES as TILE_BYTES
from ecp.codegen.matmul_large_gpu import LargeTile, _tiles, large_clocks, large_tile, stages, sum_bytes
from ecp.codegen.schedule import schedule_for
from ecp.compiler import compile_graph, default_schedule, resident_groups
from ecp.ir.graph import Graph
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session
from tests.codegen.conftest import largest_error
from tests.codegen.test_golden import GOLDEN
from tests.codegen.test_numerics import GRAPHS
from tests.graphs import build, vit_block, weights


def attention(
    batch: int, queries: int, keys: int, dim: int, masked: bool = False, opposed: bool = False
) -> Graph:
    """Queries, keys and values out of products, stored as halves; a bias with hidden keys where ``masked``.

    ``opposed``: keys point away from queries, so that with inputs of a large mean every score is far below zero.
    """
    c = {"wq": weights(dim, dim), "wkv": weights(dim, 2 * dim), "scale": np.asarray(np.float32(dim**-0.5))}
    if opposed:
        c["wkv"][:, :dim] = -c["wq"]
    rows: list[Any] = [
        ("MatMul", ["x", "wq"], "q", {}), ("MatMul", ["z", "wkv"], "m0", {}),
        ("Reshape", ["m0"], "m1", {"shape": (batch, keys, 2, dim)}), ("Transpose", ["m1"], "m2", {"perm": (2, 0, 1, 3)}),
        ("Split", ["m2"], ["k1", "v1"], {"axis": 0, "sizes": (1, 1)}), ("Reshape", ["k1"], "k2", {"shape": (batch, keys, dim)}),
        ("Reshape", ["v1"], "v", {"shape": (batch, keys, dim)}), ("Transpose", ["k2"], "k", {"perm": (0, 2, 1)}),
        ("MatMul", ["q", "k"], "s0", {}), ("Mul", ["s0", "scale"], "s1", {}),
    ]  # fmt: skip
    if masked:
        bias = weights(batch, queries, keys)
        c["mask"] = np.where(bias > 0.3, -100, bias).astype(np.float32)
        rows.append(("Add", ["s1", "mask"], "s2", {}))
    rows += [("Softmax", [rows[-1][2]], "p", {"axis": 2}), ("MatMul", ["p", "v"], "y", {})]
    return build(rows, {"x": (batch, queries, dim), "z": (batch, keys, dim)}, c, ["y"])


def normed(m: int, k: int, n: int) -> Graph:
    """LayerNormalization, product, bias, GELU."""
    c = {"w": weights(k, n), "b": weights(n), "g": 1 + weights(k), "h": weights(k, seed=1)}
    rows: list[Any] = [
        ("LayerNormalization", ["x", "g", "h"], "n", {"axis": 2, "epsilon": 1e-5}), ("MatMul", ["n", "w"], "m", {}),
        ("Add", ["m", "b"], "a", {}), ("Gelu", ["a"], "y", {"approximate": "none"}),
    ]  # fmt: skip
    return build(rows, {"x": (1, m, k)}, c, ["y"])


def two_products(m: int, k: int, n: int) -> Graph:
    """Two products in a row, the second over a long k."""
    c = {"w": weights(k, n), "v": weights(n, k), "b": weights(n)}
    rows: list[Any] = [
        ("MatMul", ["x", "w"], "m", {}),
        ("Add", ["m", "b"], "a", {}),
        ("MatMul", ["a", "v"], "y", {}),
    ]
    return build(rows, {"x": (1, m, k)}, c, ["y"])


ATTENTION = {
    "197x64": attention(3, 197, 197, 64), "49x32 masked": attention(2, 49, 49, 32, True), "33x16": attention(5, 17, 33, 16),
    "513x64 masked": attention(2, 300, 513, 64, True), "200x128": attention(2, 70, 200, 128), "1025x64": attention(1, 1025, 1025, 64),
    "7x48 masked": attention(7, 13, 7, 48, True), "400x80": attention(2, 33, 400, 80), "96 heads": attention(96, 197, 197, 64),
    "197x64 opposed": attention(3, 197, 197, 64, opposed=True), "49x32 opposed": attention(2, 49, 49, 32, opposed=True),
}  # fmt: skip
SHAPES = [
    (1576, 2304, 768),
    (1576, 768, 768),
    (1576, 3072, 768),
    (1576, 768, 3072),
    (50000, 512, 64),
    (900, 1000, 1024),
]


def half(graph: Graph, ptx: int = 9) -> str:
    """The program of the launches, half storage."""
    schedule = replace(schedule_for("nvidia"), ptx=ptx)
    return compile_graph(graph, "nvidia", "fp16", schedule, persistent_groups=0).sources["kernels/p0.cl"]


@pytest.mark.parametrize(
    ("name", "graph", "ptx"),
    [
        ("attention", ATTENTION["49x32 masked"], 9),
        ("wgmma", normed(1024, 768, 768), 9),
        ("large", normed(1024, 768, 768), 10),
    ],
)
def test_emitted_text(name: str, graph: Graph, ptx: int) -> None:
    """As in test_golden; ``ECP_UPDATE_GOLDEN=1`` rewrites the files."""
    path, text = GOLDEN / f"tensor_{name}_nvidia.cl", half(graph, ptx)
    if os.environ.get("ECP_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} changed; if meant, rewrite it with ECP_UPDATE_GOLDEN=1"


@pytest.mark.parametrize("name", list(ATTENTION))
def test_half_attention_is_on_tensor_cores_and_fp32_is_not(name: str) -> None:
    assert "ECP_LDM4(qf" in half(ATTENTION[name])
    plain = compile_graph(ATTENTION[name], "nvidia", persistent_groups=0).sources["kernels/p0.cl"]
    assert "mma.sync" not in plain


def test_wide_heads_and_odd_dims_keep_the_other_kernel() -> None:
    for dim in (20, 144):
        assert "ECP_LDM4(qf" not in half(attention(2, 33, 33, dim))


def test_attention_tiles_fit() -> None:
    assert Shape(7, 112, 64, 2).local_bytes == 7 * 16 * 144 + 2 * 2 * 112 * 144


@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_large_tiles_fit_a_multiprocessor(m: int, n: int, k: int) -> None:
    for t in _tiles(m, n, k, 132):
        assert stages(t) * t.stage_bytes <= TILE_BYTES and sum_bytes(t) <= TILE_BYTES and stages(t) >= 3
        assert k % (t.chunk * t.split) == 0 and t.items % 128 == 0 and t.items <= 384
        # Two work-groups that wait for each other must both be resident.
        assert t.split == 1 or t.groups(m, n, 1) * t.split <= 132


def test_a_product_without_a_tile_keeps_the_other_kernel() -> None:
    assert "uint from[" not in half(normed(100_000, 1024, 8)) and "uint from[" in half(
        normed(100_000, 1024, 16)
    )


def test_a_long_k_is_split_where_both_halves_are_resident() -> None:
    assert large_tile(1576, 768, 3072, 132).split == 2
    assert all(large_tile(m, 768, 3072, 20).split == 1 for m in (1576, 6304))
    t = LargeTile(3, 4, 3, 4, 1, 64)
    assert large_clocks(replace(t, split=2), 1576, 768, 3072, 132) < large_clocks(t, 1576, 768, 3072, 132)


def test_a_normalisation_before_a_large_product_has_its_own_launch() -> None:
    def families(graph: Graph, precision: str) -> list[str]:
        plan = compile_graph(graph, "nvidia", precision, persistent_groups=0).plan
        return [launch.family for launch in plan.launches]

    large, small = normed(1024, 768, 768), normed(64, 768, 768)
    assert families(large, "fp16") == ["reduce", "matmul"]
    assert families(small, "fp16") == families(large, "fp32") == ["matmul"]
    older = replace(schedule_for("nvidia"), ptx=8)
    assert len(compile_graph(large, "nvidia", "fp16", older, persistent_groups=0).plan.launches) == 1


def test_flags_of_a_split_product_are_down_at_load() -> None:
    bundle = compile_graph(two_products(1576, 768, 3072), "nvidia", "fp16", persistent_groups=0)
    assert "ecp_swap(flag" in bundle.sources["kernels/p0.cl"]
    flags = [m for m in bundle.plan.mems if m.pool == "static"]
    assert flags and not bundle.pools["static"].any()


def test_chain_runs_every_launch_once_and_in_order() -> None:
    bundle = compile_graph(GRAPHS["cp block"], "nvidia", persistent_groups=132)
    text, launches = bundle.sources[FILE], bundle.plan.launches
    (group,) = bundle.plan.groups
    assert (group.launch.global_size, group.launch.local_size) == ([132 * 256], [256])
    assert len(re.findall(r"^      case \d+: kind = ", text, re.M)) == len(launches) == bundle.report.launches
    assert "(uint)(s + 1)*132u, id)" in text and bundle.report.dispatches == 1
    body = text[: text.index("__kernel")]
    assert not re.search(r"get_(local|group|global)_|__local float4? \w+\[", body[body.rindex("ecp_all") :])
    size = int(re.search(r"__local float4 shared\[(\d+)\]", text)[1])  # type: ignore[index]
    assert 16 * size <= LOCAL_BYTES
    # No barrier of the whole group inside a launch: some of its work-items may not be there.
    functions = re.split(r"^(?=void )", body, flags=re.M)
    assert not any("barrier(" in f for f in functions if not f.startswith("void ecp_all"))


def test_what_is_not_chained() -> None:
    def chained(graph: Graph, precision: str = "fp32", **more: Any) -> bool:
        return bool(compile_graph(graph, "nvidia", precision, **more).plan.groups)

    assert chained(GRAPHS["block"]) and not chained(GRAPHS["block"], persistent_groups=0)
    assert not chained(GRAPHS["softmax"])  # one launch
    assert not chained(GRAPHS["block"], schedule=replace(schedule_for("nvidia"), ptx=8))
    busy = vit_block(tokens=197, dim=768, heads=12)
    assert compile_graph(busy, "nvidia").plan.launches[0].flops > MOST_WORK and not chained(busy)


GPU = pytest.mark.parametrize("opencl", ["local-gpu"], indirect=True)


WIDE = attention(2, 3, 197, 64)  # so few queries that a work-group of 512 gives each a team of two warps


def test_a_team_wider_than_a_warp_meets_in_local_memory() -> None:
    def text(wg: tuple[int, int]) -> str:
        schedule = replace(schedule_for("nvidia"), wg=wg)
        source = compile_graph(WIDE, "nvidia", "fp32", schedule, persistent_groups=0).sources["kernels/p0.cl"]
        return source[source.index("void attention") :]

    assert "peak = fmax(peak, ecp_shfl_xor(peak, 16));" in text((16, 16))
    assert "ecp_shfl_xor" not in text((16, 32)) and "peaks[lid] = peak;" in text((16, 32))


@pytest.mark.gpu
@GPU
def test_a_team_wider_than_a_warp_on_the_gpu(opencl: OpenCLDevice) -> None:
    schedule = replace(default_schedule(opencl), wg=(16, 32))
    assert largest_error(WIDE, opencl, schedule=schedule) < 1e-5


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("mean", [0.0, 5.0])
@pytest.mark.parametrize("name", list(ATTENTION))
def test_attention_on_the_gpu(name: str, mean: float, opencl: OpenCLDevice) -> None:
    assert largest_error(ATTENTION[name], opencl, "fp16", mean=mean) < 5e-3


LARGE = {
    "norm": normed(1576, 768, 3072), "odd columns": normed(1000, 1024, 1000), "three chunks": normed(20000, 192, 192),
    "one chunk": normed(40000, 64, 256), "split": two_products(1576, 768, 3072), "cp block": vit_block(1577, 768, 12, 1000),
}  # fmt: skip


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("name", list(LARGE))
def test_large_products_on_the_gpu(name: str, opencl: OpenCLDevice) -> None:
    assert largest_error(LARGE[name], opencl, "fp16") < 5e-3


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["cp block", "block", "two convs"])
def test_a_chain_gives_the_same_bits_as_its_launches(name: str, precision: str, opencl: OpenCLDevice) -> None:
    groups = resident_groups(opencl)
    if not groups:
        pytest.skip("no GPU of compute capability 9.0")
    graph, rng = GRAPHS[name], np.random.default_rng(0)
    feeds = {i: rng.standard_normal(graph.types[i].shape).astype(np.float32) for i in graph.inputs}
    found = []
    for persistent in (groups, 0):
        with Session(
            compile_graph(graph, "nvidia", precision, persistent_groups=persistent), opencl
        ) as session:
            found.append([session.run(feeds)["y"] for _ in range(3)])
    for chained, single in zip(*found):
        np.testing.assert_array_equal(chained, single)
