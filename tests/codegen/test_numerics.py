"""Kernel families against float64 on every OpenCL implementation present."""

# ruff: noqa: E501
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ecp.codegen.schedule import Schedule, schedule_for
from ecp.compiler import compile_graph
from ecp.ir.graph import Graph
from ecp.plan import Image
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session
from tests.codegen.conftest import cases, largest_error
from tests.codegen.test_conv import NO_PAD, chain, group_norm, tokens
from tests.graphs import build, rotary, vit_block, weights

CONV = {"strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1), "group": 1}


def matmul(m: int, k: int, n: int) -> Graph:
    c = {"w": weights(k, n), "b": weights(n)}
    rows = [
        ("MatMul", ["x", "w"], "m", {}),
        ("Add", ["m", "b"], "a", {}),
        ("Gelu", ["a"], "y", {"approximate": "none"}),
    ]
    return build(rows, {"x": (1, m, k)}, c, ["y"])


def batched(batch: int, m: int, k: int, n: int) -> Graph:
    return build([("MatMul", ["a", "b"], "y", {})], {"a": (batch, m, k), "b": (batch, k, n)}, {}, ["y"])


def conv(cin: int, cout: int, size: int, kernel: int, **changes: Any) -> Graph:
    attrs = {**CONV, "pads": (kernel // 2,) * 4, **changes}
    c = {"w": weights(cout, cin // attrs["group"], kernel, kernel), "b": weights(cout)}
    rows = [("Conv", ["x", "w", "b"], "c", attrs), ("Relu", ["c"], "y", {})]
    return build(rows, {"x": (2, cin, size, size)}, c, ["y"])


def permuted(n: int) -> Graph:
    """A convolution whose channels are put in another order: a table of as many entries as there are channels."""
    order = np.random.default_rng(n + 1).permutation(n).astype(np.int64)
    attrs = {"strides": (1, 1), "pads": (0,) * 4, "dilations": (1, 1), "group": 1}
    rows = [("Conv", ["x", "w"], "c", attrs), ("Gather", ["c"], "g", {"axis": 1, "indices": order})]
    rows.append(("Relu", ["g"], "y", {}))
    return build(rows, {"x": (1, 3, 6, 6)}, {"w": weights(n, 3, 1, 1)}, ["y"])


def two_convs() -> Graph:
    c = {"w": weights(32, 3, 3, 3), "v": weights(16, 32, 3, 3)}
    rows = [
        ("Conv", ["x", "w"], "a", {**CONV, "strides": (2, 2)}), ("Relu", ["a"], "r", {}),
        ("MaxPool", ["r"], "p", {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "dilations": (1, 1), "shape": (4, 4)}),
        ("Conv", ["p", "v"], "y", CONV),
    ]  # fmt: skip
    return build(rows, {"x": (1, 3, 16, 16)}, c, ["y"])


def row(op: str, attrs: dict, shape: tuple[int, ...]) -> Graph:
    return build([(op, ["x"], "y", attrs)], {"x": shape}, {}, ["y"])


def biased_attention() -> Graph:
    """Swin's: position bias, mask through reshapes, odd window of 49."""
    c = {
        "bias": weights(1, 2, 49, 49),
        "mask": np.where(weights(1, 2, 1, 49, 49) > 0, 0, -100).astype(np.float32),
    }
    rows = [
        ("MatMul", ["q", "k"], "s", {}), ("Add", ["s", "bias"], "sb", {}),
        ("Reshape", ["sb"], "s5", {"shape": (1, 2, 2, 49, 49)}), ("Add", ["s5", "mask"], "sm", {}),
        ("Reshape", ["sm"], "s4", {"shape": (2, 2, 49, 49)}), ("Softmax", ["s4"], "p", {"axis": 3}),
        ("MatMul", ["p", "v"], "y", {}),
    ]  # fmt: skip
    return build(rows, {"q": (2, 2, 49, 16), "k": (2, 2, 16, 49), "v": (2, 2, 49, 16)}, c, ["y"])


def shifted_windows() -> Graph:
    """Roll, window partition, normalisation folded into the product that follows."""
    c = {"g": 1 + weights(16), "b": weights(16, seed=1), "w": weights(16, 48)}
    order = np.roll(np.arange(8), -3)
    rows = [
        ("LayerNormalization", ["x", "g", "b"], "n", {"axis": 3, "epsilon": 1e-5}),
        ("Gather", ["n"], "r1", {"axis": 1, "indices": order}), ("Gather", ["r1"], "r2", {"axis": 2, "indices": order}),
        ("Reshape", ["r2"], "p", {"shape": (1, 2, 4, 2, 4, 16)}), ("Transpose", ["p"], "t", {"perm": (0, 1, 3, 2, 4, 5)}),
        ("Reshape", ["t"], "wdw", {"shape": (4, 16, 16)}), ("MatMul", ["wdw", "w"], "y", {}),
    ]  # fmt: skip
    return build(rows, {"x": (1, 8, 8, 16)}, c, ["y"])


GRAPHS: dict[str, Graph] = {
    "matmul 1x7x5": matmul(1, 7, 5), "matmul 13x64x100": matmul(13, 64, 100), "matmul 197x192x64": matmul(197, 192, 64),
    "matmul long k": matmul(9, 2048, 40), "batched": batched(3, 10, 20, 33), "batched narrow": batched(2, 5, 8, 3),
    **{f"{n} permuted channels": permuted(n) for n in (3, 6, 80)},
    "conv 3x3": conv(16, 24, 9, 3), "conv stride": conv(3, 20, 12, 5, strides=(2, 2)), "conv 1x1": conv(32, 64, 7, 1),
    "conv groups": conv(16, 32, 8, 3, group=4), "depthwise": conv(16, 16, 8, 3, group=16), "two convs": two_convs(), "token map": tokens(12, 32, 2, strides=(2, 2), pads=NO_PAD),
    "softmax": row("Softmax", {"axis": 2}, (2, 3, 33)), "softmax outer": row("Softmax", {"axis": 1}, (2, 7, 16)),
    "reduce mean": row("ReduceMean", {"axes": (1,), "keepdims": 0}, (2, 5, 32)),
    "reduce max": row("ReduceMax", {"axes": (2,), "keepdims": 1}, (3, 4, 19)),
    "average pool": row("AveragePool", {"kernel": (3, 3), "strides": (1, 1), "pads": (1,) * 4, "dilations": (1, 1), "shape": (6, 6), "count_include_pad": 0}, (1, 4, 6, 6)),
    "cumsum": row("CumSum", {"axis": 1, "exclusive": 0, "reverse": 0}, (2, 9)),
    "rotary": rotary(), "rotary wide": rotary(5, 64), "biased attention": biased_attention(), "shifted windows": shifted_windows(),
    "block": vit_block(tokens=21, dim=64, heads=2), "cp block": vit_block(tokens=21, dim=64, heads=2, core=9),
}  # fmt: skip


QUICK = {"matmul 13x64x100", "conv 3x3", "softmax", "cp block"}


@pytest.mark.parametrize(("name", "opencl"), cases(list(GRAPHS), QUICK), indirect=["opencl"])
def test_fp32(name: str, opencl: OpenCLDevice) -> None:
    assert largest_error(GRAPHS[name], opencl) < 1e-5


HALF = ["matmul 13x64x100", "conv 3x3", "softmax", "biased attention", "block", "cp block"]


@pytest.mark.parametrize(("name", "opencl"), cases(HALF, {"cp block"}), indirect=["opencl"])
def test_fp16_storage(name: str, opencl: OpenCLDevice) -> None:
    assert largest_error(GRAPHS[name], opencl, "fp16") < 5e-3


@pytest.mark.parametrize(("precision", "opencl"), cases(["fp32", "fp16"], set()), indirect=["opencl"])
@pytest.mark.parametrize(("mean", "scale"), [(5.0, 1.0), (0.0, 40.0)])
def test_large_activations_do_not_overflow(
    precision: str, mean: float, scale: float, opencl: OpenCLDevice
) -> None:
    """A mean of 5 and outliers of 40 sigma overflow half-precision sums of squares; ours are float."""
    error = largest_error(GRAPHS["block"], opencl, precision, scale, mean)
    assert error < (1e-5 if precision == "fp32" else 1e-2)


@pytest.mark.parametrize(
    ("switch", "opencl"),
    cases(["eliminate", "fuse", "layout_choice", "memory_plan"], set()),
    indirect=["opencl"],
)
def test_every_switch_of_the_ablation_is_right(switch: str, opencl: OpenCLDevice) -> None:
    assert largest_error(GRAPHS["cp block"], opencl, **{switch: False}) < 1e-5


ON_GPU = [
    *sorted(QUICK),  # sorted: every test worker must collect the same order
    "matmul 1x7x5",
    "batched",
    "batched narrow",
    "conv stride",
    "conv groups",
    "shifted windows",
    "biased attention",
    "token map",
]


@pytest.mark.parametrize("device_class", ["nvidia", "adreno", "generic"])
@pytest.mark.parametrize(("name", "opencl"), cases(ON_GPU, {"conv 3x3"}), indirect=["opencl"])
def test_gpu_schedules_are_right_on_cpu_devices(name: str, device_class: str, opencl: OpenCLDevice) -> None:
    """GPU rows run (slowly) on a CPU device: their results are checked without the GPU, PTX left out."""
    size = min(schedule_for(device_class).local_bytes, opencl.handle.local_mem_size - 2048)
    row = replace(schedule_for(device_class), ptx=False, local_bytes=size)
    assert largest_error(GRAPHS[name], replace(opencl, device_class=device_class), schedule=row) < 1e-5


@pytest.mark.parametrize("device_class", ["adreno", "generic"])
@pytest.mark.parametrize(
    ("name", "opencl"), cases(["matmul 13x64x100", "cp block"], set()), indirect=["opencl"]
)
def test_gpu_schedules_with_half_storage(name: str, device_class: str, opencl: OpenCLDevice) -> None:
    assert largest_error(GRAPHS[name], replace(opencl, device_class=device_class), "fp16") < 5e-3


@pytest.mark.parametrize(("changes", "opencl"), cases(["buffers", "wide"], set()), indirect=["opencl"])
def test_other_gpu_tiles(changes: str, opencl: OpenCLDevice) -> None:
    """Weights in buffers where an image is too large, and 8x8 register tiles."""
    row = schedule_for("adreno") if changes == "buffers" else schedule_for("generic")
    row = replace(row, image=0) if changes == "buffers" else replace(row, mr=8, nr=2, bk=8, groups=1)
    for name in ("matmul 13x64x100", "conv groups", "shifted windows"):
        assert largest_error(GRAPHS[name], replace(opencl, device_class="generic"), schedule=row) < 1e-5


def test_adreno_reads_weights_from_images_within_the_limit() -> None:
    def images(row: Schedule) -> list[Image]:
        plan = compile_graph(GRAPHS["matmul 13x64x100"], "adreno", schedule=row).plan
        return [m.image for m in plan.mems if m.image]

    row = schedule_for("adreno")
    (image,) = images(row)
    assert image == Image(width=32, height=64, format="RGBA_F32")
    assert images(replace(row, image=63)) == []


# One small case of every kernel family, for checkers that interpret each instruction.
SMALL: dict[str, Graph] = {
    "matmul": matmul(5, 12, 10), "batched": batched(2, 5, 8, 3), "conv": conv(4, 8, 5, 3), "conv stride": conv(3, 8, 8, 3, strides=(2, 2)),
    "conv in place": chain(4, 9, 5, 3, batch=1, residual=True), "winograd": chain(16, 16, 12, 3, batch=1), "depthwise last": chain(4, 4, 5, 3, batch=1, group=4), "group norm": group_norm(1, 4, 32, False), "depthwise": conv(4, 4, 5, 3, group=4), "softmax": GRAPHS["softmax"], "reduce": row("ReduceMax", {"axes": (2,), "keepdims": 1}, (3, 4, 19)),
    "pool": GRAPHS["average pool"], "cumsum": GRAPHS["cumsum"], "cp block": vit_block(tokens=7, dim=16, heads=2, core=3),
}  # fmt: skip


@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
def test_softmax_of_nan_is_nan(opencl: OpenCLDevice) -> None:
    """The clamp of our exponential must not turn a broken activation into a number."""
    x = np.zeros((2, 3, 33), np.float32)
    x[0, 1, 5] = np.nan
    with Session(compile_graph(GRAPHS["softmax"], opencl.device_class), opencl) as session:
        y = session.run({"x": x})["y"]
    assert np.isnan(y[0, 1]).all() and np.isfinite(y[1]).all()


@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
def test_what_a_mask_hides_weighs_nothing(opencl: OpenCLDevice) -> None:
    """Swin masks by -100, whose exponential is denormal: products with it took 150 clocks each."""
    x = np.zeros((2, 3, 33), np.float32)
    x[..., 7:20] = -100
    with Session(compile_graph(GRAPHS["softmax"], opencl.device_class), opencl) as session:
        y = session.run({"x": x})["y"]
    assert (y[..., 7:20] == 0).all() and np.allclose(np.delete(y, np.s_[7:20], 2), 1 / 20)
