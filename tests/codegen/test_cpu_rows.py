"""CPU products whose workers keep rows of their own, and the vector functions that kernels are made of."""

from __future__ import annotations

import re
from dataclasses import replace
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from ecp.codegen.core.kernel import Kernel
from ecp.codegen.queue import LINE
from ecp.codegen.schedule import schedule_for
from ecp.codegen.shuffles import transpose
from ecp.codegen.tiling_cpu import Tiling, row_range
from ecp.compiler import compile_graph
from ecp.ir.graph import Graph
from ecp.ir.interp import run
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session
from tests.codegen.conftest import cases
from tests.graphs import build, weights


def normalised_product(rows: int, k: int, n: int) -> Graph:
    """LayerNorm, product, GELU: rows are packed; then a product with the rows read in place."""
    c = {"g": 1 + 0.1 * weights(k), "b": weights(k, seed=1), "w": weights(k, n), "v": weights(n, k)}
    nodes = [
        ("LayerNormalization", ["x", "g", "b"], "l", {"axis": 1, "epsilon": 1e-6}), ("MatMul", ["l", "w"], "h", {}),
        ("Gelu", ["h"], "a", {"approximate": "none"}), ("MatMul", ["a", "v"], "y", {}),
    ]  # fmt: skip
    return build(nodes, {"x": (rows, k)}, {k: np.asarray(v, np.float32) for k, v in c.items()}, ["y"])


@given(st.integers(1, 400), st.integers(1, 24), st.integers(1, 60), st.booleans())
def test_row_ranges_share_the_tiles_among_the_blocks(
    total: int, blocks: int, panels: int, packed: bool
) -> None:
    height = ceil(total / blocks) + (1 if packed and total % blocks else 0)
    t = Tiling(6, 4, 16, height, blocks, 1, panels, 1, own_rows=total)
    sizes = np.zeros((blocks, panels), int)
    for panel in range(panels):
        ends = [0]
        for block in range(blocks):
            names = {"block": block, "group": panel}
            base, begin, end = (
                eval(text.replace("/", "//"), names) for text in row_range(t, "block", "group")
            )
            assert begin == ends[-1] and base <= begin
            assert end - begin <= height and (not packed or end <= base + height)
            ends.append(end)
            sizes[block, panel] = end - begin
        assert ends[-1] == total
    # No block has more than a tile in half of the panels more than its fair share.
    assert abs(sizes.sum(1) - total * panels / blocks).max() <= panels / 2 + 1


@pytest.mark.parametrize(("workers", "opencl"), cases(["1", "2", "3", "7"], {"2"}), indirect=["opencl"])
@pytest.mark.parametrize("rows", [197, 340])
def test_rows_of_their_own_serve_any_number_of_workers_again_and_again(
    workers: str, rows: int, opencl: OpenCLDevice
) -> None:
    if opencl.device_class != "cpu":
        pytest.skip("CPU kernels")
    graph = normalised_product(rows, 48, 136)
    row = replace(schedule_for("cpu"), workers=int(workers), chain=False)
    bundle = compile_graph(graph, "cpu", schedule=row)
    own = "const int owner" in "".join(bundle.sources.values())
    assert own == (int(workers) * 8 <= ceil(rows / 6))
    x = np.random.default_rng(0).standard_normal((rows, 48)).astype(np.float32)
    want = run(graph, {"x": x}, np.float64)["y"]
    with Session(bundle, opencl) as session:
        for _ in range(5):
            assert np.abs(session.run({"x": x})["y"] - want).max() < 1e-5


@pytest.mark.parametrize("vec", [4, 8, 16])
def test_transposing_by_shuffles(vec: int) -> None:
    kernel = Kernel("t")
    transpose(kernel, vec)
    found = {f"r{i}": [(i, j) for j in range(vec)] for i in range(vec)}
    text = kernel.helpers[f"ecp_transpose{vec}"].text
    picks = re.findall(r"const float\d+ (\w+) = SHUFFLE\d+\((\w+), (\w+), ([\d, ]+)\);", text)
    for name, a, b, lanes in picks:
        both = found[a] + found[b]
        found[name] = [both[int(lane)] for lane in lanes.split(", ")]
    stores = dict(re.findall(r"vstore\d+\((\w+), 0, to \+ (\d+)\*pitch\);", text))
    assert {int(at): found[name] for name, at in stores.items()} == {
        j: [(i, j) for i in range(vec)] for j in range(vec)
    }
    # One shuffle a vector and round.
    assert len(picks) == vec * (vec.bit_length() - 1)


@pytest.mark.parametrize(("op", "opencl"), cases(["Gelu", "Sigmoid"], {"Gelu"}), indirect=["opencl"])
def test_functions_far_out_and_at_nan(op: str, opencl: OpenCLDevice) -> None:
    x = np.concatenate(
        [
            np.linspace(-12, 12, 4083),
            [0, -0.0, 40, -40, -300, 1e30, -1e30, 1e-30, -87, 88, -1e3, np.nan, np.nan],
        ]
    )
    x = x.astype(np.float32)
    x[-1:].view(np.uint32)[0] = 0x7FC00001  # a NaN whose lowest bit is set is still one
    attrs = {"approximate": "none"} if op == "Gelu" else {}
    graph = build([(op, ["x"], "y", attrs)], {"x": x.shape}, {}, ["y"])
    with Session(compile_graph(graph, opencl.device_class), opencl) as session:
        got = session.run({"x": x})["y"].astype(np.float64)
    wide = x.astype(np.float64)
    want = wide * special.ndtr(wide) if op == "Gelu" else special.expit(wide)
    assert np.isnan(got[-2:]).all()
    error = np.abs(got - want)[:-2] / np.maximum(1, np.abs(wide[:-2]))
    assert error.max() < 2e-7, wide[error.argmax()]
    if op == "Gelu":
        assert (got[:-2][wide[:-2] < -6] <= 0).all()


def test_counters_fit_the_launch_with_the_most_workers() -> None:
    """A small attention, for two workers, comes before a product for seven."""
    nodes = [
        ("MatMul", ["q", "k"], "s", {}), ("Softmax", ["s"], "p", {"axis": 2}), ("MatMul", ["p", "v"], "o", {}),
        ("MatMul", ["x", "w"], "y", {}),
    ]  # fmt: skip
    shapes = {"q": (1, 8, 16), "k": (1, 16, 40), "v": (1, 40, 64), "x": (340, 48)}
    graph = build(nodes, shapes, {"w": weights(48, 136)}, ["o", "y"])
    plan = compile_graph(graph, "cpu", schedule=replace(schedule_for("cpu"), workers=7)).plan
    workers = [launch.global_size[0] for launch in plan.launches]
    assert workers[0] < workers[1] == 7
    sizes = {mem.name: mem.bytes for mem in plan.mems if mem.pool == "static"}
    for launch, count in zip(plan.launches, workers, strict=True):
        (counters,) = {a.mem for a in launch.args} & set(sizes)
        assert sizes[counters] >= 4 * LINE * count


def test_heads_that_end_inside_a_panel_are_stored_in_vectors() -> None:
    """288 columns are four and a half panels; taken apart into heads of 32, 16 lanes still follow each other."""
    nodes = [
        ("MatMul", ["x", "w"], "m", {}), ("Reshape", ["m"], "r", {"shape": (49, 3, 3, 32)}),
        ("Transpose", ["r"], "t", {"perm": (1, 2, 0, 3)}), ("Relu", ["t"], "y", {}),
    ]  # fmt: skip
    graph = build(nodes, {"x": (49, 96)}, {"w": weights(96, 288)}, ["y"])
    (text,) = compile_graph(graph, "cpu").sources.values()
    guarded = text[text.index("if (panel*64 + v*16 < 288)") :]
    assert "vstore16(" in guarded and ".s1" not in guarded
