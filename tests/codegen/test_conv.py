"""Convolutions on CPU devices: every attribute against float64, every way a launch is cut, and what falls back."""

# ruff: noqa: E501
from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ecp.codegen.schedule import Schedule, schedule_for
from ecp.compiler import compile_graph, default_schedule
from ecp.ir.graph import Graph
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session
from tests.codegen.conftest import cases, largest_error
from tests.graphs import build, weights

PLAIN: dict[str, Any] = {"strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1), "group": 1}
CPU = [pytest.param("local-cpu"), pytest.param("local-pocl", marks=pytest.mark.slow)]


def image(cout: int, size: int, kernel: int, batch: int = 2, **changes: Any) -> Graph:
    """A convolution of a channels-first image: copied with its border, or read in place without one."""
    attrs = {**PLAIN, "pads": (kernel // 2,) * 4, **changes}
    c = {"w": weights(cout, 3, kernel, kernel), "b": weights(cout)}
    rows = [("Conv", ["x", "w", "b"], "c", attrs), ("Relu", ["c"], "y", {})]
    return build(rows, {"x": (batch, 3, size, size)}, c, ["y"])


def chain(
    cin: int, cout: int, size: int, kernel: int, batch: int = 2, residual: bool = False, **changes: Any
) -> Graph:
    """Two convolutions: the second reads channels-last memory. ``residual`` adds a third one's output."""
    attrs = {**PLAIN, "pads": (kernel // 2,) * 4, **changes}
    c = {
        "u": weights(cin, 3, 3, 3),
        "w": weights(cout, cin // attrs["group"], kernel, kernel),
        "b": weights(cout),
    }
    rows = [("Conv", ["x", "u"], "h", PLAIN), ("Relu", ["h"], "r", {}), ("Conv", ["r", "w", "b"], "c", attrs)]
    if residual:
        c["s"] = weights(cout, cin, 1, 1)
        rows += [
            ("Conv", ["r", "s"], "d", {**PLAIN, "pads": (0, 0, 0, 0)}),
            ("Add", ["c", "d"], "e", {}),
            ("Relu", ["e"], "y", {}),
        ]
    else:
        rows.append(("Relu", ["c"], "y", {}))
    return build(rows, {"x": (batch, 3, size, size)}, c, ["y"])


def tokens(size: int, channels: int, kernel: int, **changes: Any) -> Graph:
    """A convolution of a map of tokens, which lies in memory channels last, though the graph says channels first."""
    c = {
        "u": weights(channels, channels),
        "w": weights(48, channels // changes.get("group", 1), kernel, kernel),
    }
    shape = (2, channels, size, size)
    rows = [
        ("MatMul", ["x", "u"], "t", {}), ("Transpose", ["t"], "p", {"perm": (0, 2, 1)}),
        ("Reshape", ["p"], "r", {"shape": shape}), ("Conv", ["r", "w"], "y", {**PLAIN, **changes}),
    ]  # fmt: skip
    return build(rows, {"x": (2, size * size, channels)}, c, ["y"])


def heads(count: int, first: int, width: int, size: int) -> Graph:
    """Depthwise over the values of the heads from ``first`` on, as CoaT's position encoding reads them."""
    tokens, channels, group = size * size, count * width, (count - first) * width
    c = {"u": weights(channels, channels), "w": weights(group, 1, 3, 3)}
    rows = [
        ("MatMul", ["x", "u"], "t", {}), ("Reshape", ["t"], "r", {"shape": (1, tokens, count, width)}),
        ("Transpose", ["r"], "h", {"perm": (0, 2, 1, 3)}),
        ("Slice", ["h"], "s", {"starts": (0, first, 0, 0), "steps": (1,) * 4, "shape": (1, count - first, tokens, width)}),
        ("Transpose", ["s"], "p", {"perm": (0, 1, 3, 2)}), ("Reshape", ["p"], "i", {"shape": (1, group, size, size)}),
        ("Conv", ["i", "w"], "y", {**PLAIN, "group": group}), ("Exp", ["h"], "other", {}),
    ]  # fmt: skip
    return build(rows, {"x": (1, tokens, channels)}, c, ["y", "other"])


def other_rank(rank: int) -> Graph:
    """A one- or three-dimensional convolution."""
    attrs = {"strides": (2,) * rank, "pads": (1,) * 2 * rank, "dilations": (1,) * rank, "group": 1}
    c = {"w": weights(16, 3, *(3,) * rank)}
    return build([("Conv", ["x", "w"], "y", attrs)], {"x": (2, 3, *(7,) * rank)}, c, ["y"])


NO_PAD = (0, 0, 0, 0)
IN_PLACE: dict[str, Graph] = {
    "image": image(24, 9, 3), "image stride": image(64, 37, 7, strides=(2, 2)), "image asymmetric": image(40, 11, 3, pads=(0, 1, 2, 1)),
    "image dilated": image(20, 20, 3, dilations=(2, 2), pads=(2, 2, 2, 2)), "image no pad": image(33, 20, 3, dilations=(1, 2), pads=NO_PAD),
    "patches": image(192, 32, 8, strides=(8, 8), pads=NO_PAD), "several strips": image(64, 224, 3, batch=1, strides=(2, 2)),
    "3x3": chain(20, 70, 14, 3), "1x1": chain(64, 130, 9, 1), "1x1 stride": chain(32, 64, 9, 1, strides=(2, 2)), "stride": chain(48, 128, 15, 3, strides=(2, 2)),
    "dilated": chain(32, 48, 13, 3, dilations=(2, 3), pads=(2, 3, 2, 3)), "asymmetric": chain(24, 33, 10, 3, pads=(2, 0, 1, 1)),
    "groups": chain(32, 64, 9, 3, group=2), "one pixel": chain(32, 80, 5, 5, batch=1, pads=NO_PAD), "residual": chain(16, 96, 8, 3, residual=True),
    "wide window": chain(16, 32, 6, 5, batch=1, pads=(4, 4, 4, 4)),
    "many pixels": chain(64, 256, 30, 3), "many pixels 1x1": chain(32, 128, 24, 1, residual=True), "long panel": chain(384, 128, 7, 3, batch=1),
}  # fmt: skip
DEPTHWISE: dict[str, Graph] = {
    "depthwise": chain(16, 16, 8, 3, group=16), "depthwise 7x7": chain(96, 96, 10, 7, group=96, batch=1),
    "depthwise stride": chain(40, 40, 11, 5, group=40, strides=(2, 2)), "depthwise no pad": chain(36, 36, 6, 3, group=36, pads=NO_PAD),
    "depthwise dilated": chain(32, 32, 9, 3, group=32, dilations=(1, 2), pads=(0, 2, 2, 1)),
    "depthwise dilated rows": chain(16, 16, 9, 3, group=16, dilations=(3, 1), pads=(3, 1, 3, 1)), "depthwise far pad": chain(16, 16, 4, 3, group=16, pads=(5, 5, 5, 5)),
    "depthwise, channels left over": chain(24, 24, 28, 3, group=24), "depthwise, two outputs a channel": chain(16, 32, 8, 3, group=16), "depthwise, four outputs a channel": chain(12, 48, 9, 3, group=12, strides=(2, 2)),
    "depthwise of heads": heads(4, 3, 8, 7), "depthwise of wide heads": heads(6, 2, 16, 6), "depthwise wide": chain(48, 48, 27, 5, group=48, batch=1, pads=(2, 2, 2, 2)),
}  # fmt: skip
FALL_BACK: dict[str, Graph] = {
    "depthwise of three channels": chain(3, 3, 8, 3, group=3),
    "depthwise, three outputs a channel": chain(16, 48, 8, 3, group=16),
    "1d": other_rank(1),
    "3d": other_rank(3),
}
TOKENS: dict[str, Graph] = {
    "tokens": tokens(12, 32, 2, strides=(2, 2), pads=NO_PAD), "tokens padded": tokens(7, 32, 3, strides=(2, 2)),
    "tokens depthwise": tokens(6, 48, 3, group=48), "tokens winograd": tokens(12, 32, 3),
}  # fmt: skip
# The convolution before it has too few channels to be read in place.
FEW = {"depthwise of few channels": chain(6, 6, 8, 3, group=6)}
GRAPHS = {**FEW, **IN_PLACE, **DEPTHWISE, **TOKENS, **FALL_BACK}


def sources(graph: Graph, precision: str = "fp32", schedule: Schedule | None = None) -> str:
    (text,) = compile_graph(graph, "cpu", precision, schedule).sources.values()
    return text


@pytest.mark.parametrize(("name", "opencl"), cases(list(GRAPHS), {"image stride"}), indirect=["opencl"])
def test_fp32(name: str, opencl: OpenCLDevice) -> None:
    assert largest_error(GRAPHS[name], opencl, schedule=default_schedule(opencl)) < 2e-6


@pytest.mark.parametrize("opencl", CPU, indirect=True)
@pytest.mark.parametrize(
    "name", ["image stride", "patches", "3x3", "residual", "1d", "depthwise", "depthwise 7x7"]
)
def test_fp16_storage(name: str, opencl: OpenCLDevice) -> None:
    assert largest_error(GRAPHS[name], opencl, "fp16") < 2e-3


@pytest.mark.parametrize("opencl", CPU, indirect=True)
@pytest.mark.parametrize("name", ["image stride", "1x1", "asymmetric", "long panel", "depthwise stride"])
def test_narrow_vectors(name: str, opencl: OpenCLDevice) -> None:
    row = replace(default_schedule(opencl), vec=4)
    assert largest_error(GRAPHS[name], opencl, schedule=row) < 2e-6


@pytest.mark.parametrize("name", list(IN_PLACE))
def test_windows_are_not_gathered(name: str) -> None:
    text = sources(IN_PLACE[name])
    assert "packed[" not in text and "a0" in text
    assert ("strip[" in text) == (name not in ("patches", "image no pad")), "only a padded image is copied"


@pytest.mark.parametrize("name", list(TOKENS))
def test_maps_of_tokens_are_read_in_place(name: str) -> None:
    assert "packed[" not in sources(TOKENS[name]).split("void conv")[1]


@pytest.mark.parametrize("name", list(DEPTHWISE))
def test_depthwise_windows_are_vectors_of_channels(name: str) -> None:
    text = sources(DEPTHWISE[name])
    # Plain truth values: pytest would compare the whole text letter by letter to explain.
    gathered, rows_inside = "packed[" in text, "ky = low; ky < high" in text
    assert rows_inside and not gathered


def test_a_depthwise_input_is_loaded_once_for_the_columns_that_meet_it() -> None:
    """Ten outputs a row of a 7x7 window: two blocks of five, of which one has no column left of the image."""
    text = sources(DEPTHWISE["depthwise 7x7"]).split("const int low")[1]
    first, second = text.split("const int x0 = ")[1:]
    assert first.startswith("0;") and second.startswith("5;")
    assert [len(re.findall(r"float\d+ in\d+ = ", half)) for half in (first, second)] == [8, 8]
    assert [len(re.findall(r"fma\(", half)) for half in (first, second)] == [29, 29]


def test_pixels_that_follow_each_other_need_no_rows_and_columns() -> None:
    """Of a 1x1 convolution: its input is a matrix. A stride or a window asks where a pixel lies."""
    divides = {
        name: "pix0 / " in sources(GRAPHS[name]).split("void conv")[-1]
        for name in ("1x1", "1x1 stride", "3x3")
    }
    assert divides == {"1x1": False, "1x1 stride": True, "3x3": True}


def test_columns_left_over_are_stored_by_narrower_vectors() -> None:
    """28 channels: a vector of 16, one of 8, one of 4; no column is stored alone."""
    text = sources(chain(28, 16, 6, 1)).split("void conv")[1]
    stores = re.findall(r"vstore(\d+)\(\w+, 0, m\d", text)
    assert sorted(stores, key=int) == ["4", "8", "16"]


def test_a_mean_over_a_map_runs_along_channels() -> None:
    """As the map lies, not as its shape ends: 16 channels are one load."""
    c = {"u": weights(32, 3, 3, 3), "w": weights(16, 32, 1, 1)}
    rows = [
        ("Conv", ["x", "u"], "h", PLAIN), ("Relu", ["h"], "r", {}),
        ("ReduceMean", ["r"], "y", {"axes": (2, 3), "keepdims": 1}),
        ("Conv", ["r", "w"], "z", {**PLAIN, "pads": NO_PAD}),
    ]  # fmt: skip
    text = sources(build(rows, {"x": (2, 3, 12, 12)}, c, ["y", "z"])).split("void reduce")[1]
    loads = re.findall(r"= (vload\d+\(|\(float\d+\)\(m)", text.split("__kernel")[0])
    assert loads == ["vload16("]


@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
def test_denormals_are_flushed(opencl: OpenCLDevice) -> None:
    """A processor takes 150 clocks to compute with one; what makes them is a gate that is almost shut."""
    graph = build([("Mul", ["x", "s"], "y", {})], {"x": (64,)}, {"s": np.float32([1e-30])}, ["y"])
    compiled = compile_graph(graph, opencl.device_class)
    assert all("-cl-denorms-are-zero" in program.options for program in compiled.plan.programs)
    with Session(compiled, opencl) as session:
        got = session.run({"x": np.full(64, 1e-10, np.float32)})["y"]
    assert not got.any()


@pytest.mark.parametrize("name", list(FALL_BACK))
def test_what_cannot_be_read_in_place_is_gathered(name: str) -> None:
    assert "packed[" in sources(FALL_BACK[name])


def test_no_launch_only_moves_data() -> None:
    for graph in IN_PLACE.values():
        assert compile_graph(graph, "cpu").report.layout_launches == 0


def test_hints_are_for_compilers_that_take_them() -> None:
    """A macro that is empty where the compiler has no prefetch instruction, and no use of it unless asked."""
    quiet, asking = schedule_for("cpu"), replace(schedule_for("cpu"), prefetch=True)
    graph = GRAPHS["many pixels 1x1"]
    assert "PREFETCH" not in sources(graph, schedule=replace(quiet, prefetch=False))
    assert "#define PREFETCH(p)\n" in sources(graph, schedule=asking)
    # the epilogue's operand, the weights just ahead, and the next panel's share
    text = sources(GRAPHS["long panel"], schedule=asking)
    assert "ahead = b + (tile == 0" in text and "PREFETCH(q" in sources(graph, schedule=asking)
    assert "PREFETCH(a0" in sources(graph, schedule=asking)


def group_norm(batch: int, channels: int, size: int, first: bool) -> Graph:
    """Normalisation over a whole map; ``first`` stores the map channels last by a convolution before it."""
    c = {"u": weights(channels, 3, 3, 3), "g": 1 + weights(channels, 1, 1), "b": weights(channels, 1, 1)}
    head = ("Conv", ["x", "u"], "h", PLAIN) if first else ("Relu", ["x"], "h", {})
    rows = [
        head, ("Reshape", ["h"], "r", {"shape": (batch, 1, channels * size * size)}),
        ("LayerNormalization", ["r"], "l", {"axis": 2, "epsilon": 1e-5}), ("Reshape", ["l"], "n", {"shape": (batch, channels, size, size)}),
        ("Mul", ["n", "g"], "m", {}), ("Add", ["m", "b"], "a", {}), ("Relu", ["a"], "y", {}),
    ]  # fmt: skip
    return build(rows, {"x": (batch, 3 if first else channels, size, size)}, c, ["y"])


MAPS = {
    "channels last": group_norm(1, 64, 14, True), "odd": group_norm(1, 20, 17, True), "batch": group_norm(2, 32, 16, True),
    "channels first": group_norm(1, 3, 50, False), "batch of images": group_norm(2, 6, 32, False),
}  # fmt: skip


@pytest.mark.parametrize("opencl", CPU, indirect=True)
@pytest.mark.parametrize("mean", [0.0, 50.0])
@pytest.mark.parametrize("name", list(MAPS))
def test_group_normalisation(name: str, mean: float, opencl: OpenCLDevice) -> None:
    assert "ecp_statistics" in sources(MAPS[name])
    assert largest_error(MAPS[name], opencl, mean=mean) < (1e-6 if mean == 0 else 5e-6)


@pytest.mark.parametrize("opencl", CPU, indirect=True)
def test_group_normalisation_in_half_storage(opencl: OpenCLDevice) -> None:
    assert largest_error(MAPS["channels last"], opencl, "fp16") < 2e-3


def norm(rows: int, count: int) -> Graph:
    c = {"g": 1 + weights(count), "b": weights(count, seed=1)}
    attrs = {"axis": 1, "epsilon": 1e-5}
    return build([("LayerNormalization", ["x", "g", "b"], "y", attrs)], {"x": (rows, count)}, c, ["y"])


@pytest.mark.parametrize("opencl", CPU, indirect=True)
def test_own_scale_and_shift_of_a_long_row(opencl: OpenCLDevice) -> None:
    assert "ecp_statistics" in sources(norm(2, 8192))
    assert largest_error(norm(2, 8192), opencl) < 1e-6


def test_short_and_many_rows_keep_the_row_kernel() -> None:
    assert "ecp_statistics" not in sources(norm(3, 64)) + sources(norm(64, 4096))
