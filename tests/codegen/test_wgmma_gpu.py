"""Products by ``wgmma``: layout, text, plan and completion without a GPU; results on one."""

# ruff: noqa: E501
from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ecp.codegen.chain import FILE
from ecp.codegen.matmul_large_gpu import LOCAL_BYTES
from ecp.codegen.matmul_wgmma_gpu import _tiles, warpgroup_tile
from ecp.codegen.planes_gpu import in_planes, stored_in_planes
from ecp.codegen.schedule import Schedule, schedule_for
from ecp.compiler import compile_graph
from ecp.errors import BuildError, DeviceError
from ecp.index.view import View
from ecp.ir.graph import Graph
from ecp.plan_check import check_plan
from ecp.runtime import ptx
from ecp.runtime.bundle import Bundle
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.ptx import complete
from ecp.runtime.session import Session
from tests.codegen.conftest import largest_error
from tests.codegen.test_tensor_gpu import LARGE, normed, two_products
from tests.graphs import build, vit_block, weights

WITHOUT = replace(schedule_for("nvidia"), ptx=10)  # a later architecture: sm_90 code, but none of sm_90a
NORMED, PAIR, BLOCK = normed(1024, 768, 768), two_products(1576, 768, 3072), vit_block(1576, 768, 12)


def compiled(
    graph: Graph, precision: str = "fp16", schedule: Schedule | None = None, groups: int = 132
) -> Bundle:
    return compile_graph(graph, "nvidia", precision, schedule, persistent_groups=groups)


def erf_gelu(m: int, k: int, n: int) -> Graph:
    """GELU as exporters before opset 20 write it, and a product that reads it."""
    c = {
        "w": weights(k, n), "v": weights(n, k), "r": np.asarray(np.float32(2**0.5)), "one": np.asarray(np.float32(1)),
        "half": np.asarray(np.float32(0.5)),
    }  # fmt: skip
    rows: list[Any] = [
        ("MatMul", ["x", "w"], "a", {}), ("Div", ["a", "r"], "d", {}), ("Erf", ["d"], "e", {}), ("Add", ["e", "one"], "s", {}),
        ("Mul", ["a", "s"], "p", {}), ("Mul", ["p", "half"], "g", {}), ("MatMul", ["g", "v"], "y", {}),
    ]  # fmt: skip
    return build(rows, {"x": (1, m, k)}, c, ["y"])


def test_only_half_storage_on_compute_capability_9_has_them() -> None:
    for graph in (NORMED, PAIR):
        assert re.search(r"//@ [^\n]*wgmma.mma_async", compiled(graph).sources["kernels/p0.cl"])
        for other in (compiled(graph, "fp32"), compiled(graph, schedule=WITHOUT)):
            assert "wgmma" not in "".join(other.sources.values()) and other.report.wgmma_launches == 0
            assert not any(p.target for p in other.plan.programs)


def test_bundle_says_what_it_has() -> None:
    bundle = compiled(PAIR)
    assert [n.target for n in bundle.plan.launches] == ["", "sm_90a"]
    assert bundle.report.wgmma_launches == 1
    assert {p.target for p in bundle.plan.programs} == {ptx.TARGET}
    # A runner that does not complete the program must not run it: the instructions are comments.
    for text in bundle.sources.values():
        assert text.index("#ifndef ECP_SM_90A\n#error") < text.index("//@ wgmma")


def test_values_move_to_planes_where_products_alone_read_them() -> None:
    text = compiled(BLOCK).sources["kernels/p0.cl"]
    assert text.count("= ecp_matrix(base") == 2 * 4
    # Planes of 1576 rows: a store's address has steps of 8*1576 elements.
    assert len(re.findall(r"vstorea_half[48]\((?:t\d+|out|r0), [^\n]*\*12608", text)) == 4


def test_planes_hold_every_element_once() -> None:
    m, k = 24, 32
    for view in (
        View.dense((m, k)),
        View.dense((2, 12, k)),
        View.dense((2, 12, 2, 16)).permute((0, 2, 1, 3)),
    ):
        moved = in_planes(view, m, k)
        assert moved is not None
        for index in np.ndindex(*view.shape):
            dense, at = (int(v.index(list(index)).const) for v in (view, moved))
            row, step = divmod(dense, k)
            assert at == step // 8 * 8 * m + row * 8 + step % 8
    assert in_planes(View.dense((m, 4, 8)).permute((1, 0, 2)), m, k) is not None
    assert in_planes(View.dense((m, k, 1)).slice((0, 1, 0), (1, 1, 1), (m, 12, 1)), m, k) is None  # type: ignore[arg-type]
    assert stored_in_planes(in_planes(View.dense((m, k)), m, k))  # type: ignore[arg-type]
    assert not stored_in_planes(View.dense((m, k)))


@pytest.mark.parametrize(
    ("m", "n", "k"), [(1576, 2304, 768), (1576, 768, 768), (1576, 3072, 768), (1576, 768, 3072)]
)
def test_tiles_fit_a_multiprocessor(m: int, n: int, k: int) -> None:
    assert warpgroup_tile(m, n, k, 132) is not None
    for t in _tiles(m, n, k, 132):
        assert t.stages >= 3 and t.stages * t.stage_bytes <= LOCAL_BYTES and n % t.columns == 0
        # Registers of a work-item: half a row of sums, and as much again for all else.
        assert t.columns // 2 + 40 <= 65536 // t.items
        # Each chunk of A is copied by warps of its own, the weights by the last.
        assert t.kb // 8 % t.copies == 0 and t.kb // 8 // t.copies < 4 * t.wm
        assert t.split == 1 or t.groups(m, n) <= 132


def test_groups_stand_for_runs_of_launches_around_attention() -> None:
    bundle = compiled(BLOCK)
    families = [n.family for n in bundle.plan.launches]
    groups = bundle.plan.groups
    assert families == ["reduce", "matmul", "attention", "matmul", "reduce", "matmul", "matmul"]
    assert [(g.first, g.count) for g in groups] == [(0, 2), (3, 4)]
    assert bundle.report.dispatches == 3
    text = bundle.sources[FILE]
    kernel = text[text.index(f"void {groups[1].launch.kernel}(") :]
    assert len(re.findall(r"^      case \d+: kind = ", kernel, re.M)) == 4
    # A product asks for weights, then waits for the launch before it, then asks for what that launch wrote.
    function = text[text.index("void matmul_") : text.index("__kernel")]
    assert (
        function.index(", b + (c)")
        < function.index("ecp_wait(ecp_state")
        < function.index("a + (size_t)((c)")
    )
    assert not compiled(BLOCK, groups=0).plan.groups


def test_the_bias_is_where_the_sums_begin_and_once() -> None:
    def text(k: int, n: int, tail: str) -> str:
        c = {"w": weights(k, n), "b": weights(n)}
        rows: list[Any] = [("Relu", ["x"], "r", {}), ("MatMul", ["r", "w"], "p", {})]
        rows.append(("Add", ["p", "b"], "y", {}) if tail == "bias" else ("Relu", ["p"], "y", {}))
        source = compiled(build(rows, {"x": (1, 1576, k)}, c, ["y"])).sources["kernels/p0.cl"]
        return source[source.index("void matmul_") :]

    assert "start[4*j]" in text(768, 2304, "bias") and "acc[i] = 0.0f" not in text(768, 2304, "bias")
    # Work-groups that share k: the bias comes with the first of them.
    assert "part ? (float2)(0.0f) : start[4*j]" in text(3072, 768, "bias")
    assert "acc[i] = 0.0f" in text(768, 2304, "none") and "start" not in text(768, 2304, "none")


def test_equal_runs_share_a_kernel() -> None:
    rows: list[Any] = []
    c: dict[str, np.ndarray] = {}
    x = "x"
    for i in range(6):
        c[f"w{i}"] = weights(768, 768, seed=i)
        rows.append(("MatMul", [x, f"w{i}"], f"v{i}", {}))
        x = f"v{i}"
    bundle = compiled(build(rows, {"x": (1, 1576, 768)}, c, [x]))
    assert [(g.first, g.count) for g in bundle.plan.groups] == [(1, 5)]
    assert len({n.kernel for n in bundle.plan.launches[2:5]}) == 1


@pytest.mark.parametrize(
    "change", [{"first": 1, "count": 1}, {"first": 3, "count": 5}, {"first": 3, "count": 0}]
)
def test_groups_that_overlap_or_leave_the_plan_are_refused(change: dict[str, int]) -> None:
    plan = compiled(BLOCK).plan
    check_plan(plan)
    plan.groups[1] = replace(plan.groups[1], **change)
    with pytest.raises(ValueError, match="groups"):
        check_plan(plan)


def test_completion_uncovers_the_instructions() -> None:
    text = (
        b".version 9.0\n.target sm_90, texmode_independent\n\t//@ wgmma.fence.sync.aligned;\n// a comment\n\0"
    )
    assert (
        complete(text)
        == b".version 9.0\n.target sm_90a, texmode_independent\n\twgmma.fence.sync.aligned;\n// a comment\n"
    )
    for other in (b"\x7fELF", b".target sm_80\n//@ x", b".target sm_90\n", b".target sm_90a\n//@ x"):
        with pytest.raises(BuildError, match="not PTX for sm_90"):
            complete(other)


def test_another_architecture_is_refused_in_words() -> None:
    session = object.__new__(Session)
    device = SimpleNamespace(
        handle=SimpleNamespace(compute_capability_major_nv=10), device="B200", name="local-gpu"
    )
    session.device = device  # type: ignore[assignment]
    with pytest.raises(DeviceError, match=r"sm_90a.*10\.x.*compile again with --device local-gpu"):
        session._check_target("sm_90a")


GPU = pytest.mark.parametrize("opencl", ["local-gpu"], indirect=True)
ON_GPU = {**LARGE, "erf": erf_gelu(1576, 768, 3072), "block": BLOCK, "ragged": normed(1000, 1024, 1024)}


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("name", list(ON_GPU))
@pytest.mark.parametrize("groups", [None, 0])
def test_results_on_the_gpu(name: str, groups: int | None, opencl: OpenCLDevice) -> None:
    switches = {} if groups is None else {"persistent_groups": 0}
    assert largest_error(ON_GPU[name], opencl, "fp16", **switches) < 5e-3  # type: ignore[arg-type]


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("name", ["norm", "split", "cp block"])
def test_products_without_them_on_the_gpu(name: str, opencl: OpenCLDevice) -> None:
    assert largest_error(ON_GPU[name], opencl, "fp16", schedule=WITHOUT) < 5e-3


@pytest.mark.gpu
@GPU
def test_a_stretch_gives_the_same_bits_every_time_as_its_launches(opencl: OpenCLDevice) -> None:
    feeds = {"x": np.random.default_rng(0).standard_normal(BLOCK.types["x"].shape).astype(np.float32)}
    found = []
    for groups in (opencl.compute_units, 0):
        with Session(compiled(BLOCK, groups=groups), opencl) as session:
            found += [session.run(feeds)["y"] for _ in range(20)]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
