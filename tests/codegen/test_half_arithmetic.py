"""Products in half arithmetic: text, numbers, refusals.

Where the CPU has half instructions (AVX512-FP16) its OpenCL runtime has cl_khr_fp16, and the kernels of GPUs run on
it as they are. Elsewhere the same source is built with ``-D ECP_HALF_EMULATED``: every half operation becomes a float
operation whose result is rounded to half, which for one operation on two halves is what the hardware gives (a float
holds more than twice the bits of a half, so rounding twice rounds once). What the emulation cannot show, the text
that a device gets, is also compiled by Clang for a target that has the extension.

The bound. A partial sum of n products in half is off by at most ``(n + 1) * u * sum |a*b|`` with ``u = 2^-11``
(each of its n products and sums rounds once; one term more for a mad that rounds the product too), and n is at most
32, whatever the length of the product. Adding the partial sums in float is negligible beside that. Operands are
halves already in these tests; in a model they are rounded when they are stored or normalised, as in fp16 storage.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import ecp
from baselines.base import RunConfig, Unsupported
from baselines.ecp_backend import ready, switches
from baselines.ecp_native import compiler_settings
from ecp.__main__ import main
from ecp.codegen.matmul_half_gpu import PARTIAL
from ecp.codegen.schedule import schedule_for
from ecp.codegen.tiling_gpu import local_tile
from ecp.compiler import compile_graph, import_model
from ecp.errors import BuildError, DeviceError, UsageError
from ecp.ir.graph import Graph
from ecp.ir.interp import run
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session
from tests.codegen.conftest import cases
from tests.codegen.test_numerics import GRAPHS, batched, conv, matmul
from tests.graphs import build

U = 2.0**-11
FUSED, SEPARATE, NATIVE = 1, 2, 0
CLASSES = ("adreno", "generic")
QUIET = "-Wno-constant-logical-operand"  # attention in float tests what its shape decides
CLANG = next((p for n in ("clang", "clang-15", "clang-14") if (p := shutil.which(n))), None)


def product(m: int, k: int, n: int, w: np.ndarray) -> Graph:
    assert w.shape == (k, n)
    return build([("MatMul", ["x", "w"], "y", {})], {"x": (m, k)}, {"w": w.astype(np.float32)}, ["y"])


def halves(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Floats that half can hold."""
    return (scale * rng.standard_normal(shape)).astype(np.float16).astype(np.float32)


def half_session(graph: Graph, device_class: str, opencl: OpenCLDevice, rounding: int) -> Session:
    if rounding == NATIVE and not opencl.fp16:
        pytest.skip(f"{opencl.device} has no cl_khr_fp16")
    bundle = compile_graph(graph, device_class, "fp16", arithmetic="half")
    for program in bundle.plan.programs if rounding else ():
        program.options += f" -D ECP_HALF_EMULATED={rounding}"
    return Session(bundle, replace(opencl, device_class=device_class, fp16=True))


def simulated(x: np.ndarray, w: np.ndarray, piece: int, sets: int, rounding: int) -> np.ndarray:
    """The same sums in numpy: ``piece`` products in float16, their sums in float32 a set, the sets in the end."""
    a, b = x.astype(np.float16), w.astype(np.float16)
    total = np.zeros((sets, len(a), b.shape[1]), np.float32)
    for number, start in enumerate(range(0, a.shape[1], piece)):
        h = np.zeros(total.shape[1:], np.float16)
        for k in range(start, min(start + piece, a.shape[1])):
            if rounding == SEPARATE:
                h = np.outer(a[:, k], b[k]) + h
            else:  # float64 holds a product of halves and its sum with a third exactly enough to round once
                exact = np.outer(a[:, k].astype(np.float64), b[k].astype(np.float64)) + h
                h = exact.astype(np.float32).astype(np.float16)
        total[number % sets] += h.astype(np.float32)
    return sum(total[1:], total[0])


@pytest.mark.parametrize("rounding", [FUSED, SEPARATE, NATIVE])
@pytest.mark.parametrize("device_class", CLASSES)
@pytest.mark.parametrize(
    ("shape", "opencl"), cases(["13x200x12", "5x39x7", "3x1030x64"], {"13x200x12"}), indirect=["opencl"]
)
def test_products_are_numpys_bit_for_bit(
    shape: str, opencl: OpenCLDevice, device_class: str, rounding: int
) -> None:
    m, k, n = map(int, shape.split("x"))
    rng = np.random.default_rng(k)
    x, w = halves(rng, m, k), halves(rng, k, n)
    with half_session(product(m, k, n, w), device_class, opencl, rounding) as session:
        got = session.run({"x": x})["y"]
    piece, sets = PARTIAL, 1
    if device_class == "generic":
        tile = local_tile(m, n, k, 1, False, schedule_for("generic"))
        piece, sets = tile.kb, tile.wk
    # A device may round a mad once or twice.
    roundings = [rounding] if rounding else [FUSED, SEPARATE]
    assert any(np.array_equal(got, simulated(x, w, piece, sets, r)) for r in roundings)
    exact = x.astype(np.float64) @ w.astype(np.float64)
    assert piece <= 32
    error, bound = np.abs(got - exact), (piece + 1) * U * (np.abs(x) @ np.abs(w))
    assert np.all(error <= bound)
    assert error.max() > 1e-4, "float would have been nearer: this was not half arithmetic"


@pytest.mark.parametrize("device_class", CLASSES)
@pytest.mark.parametrize("opencl", ["local-cpu", "local-pocl"], indirect=True)
def test_long_sums_neither_stall_nor_overflow(device_class: str, opencl: OpenCLDevice) -> None:
    """Half counts to 2048 and ends at 65504; 4096 ones and a sum of 409600 come out exactly."""
    for k, value in ((4096, 1.0), (256, 40.0)):
        w = np.full((k, 8), value, np.float32)
        with half_session(product(2, k, 8, w), device_class, opencl, FUSED) as session:
            got = session.run({"x": np.full((2, k), value, np.float32)})["y"]
        np.testing.assert_array_equal(got, np.full((2, 8), value * value * k, np.float32))


@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
def test_a_partial_sum_that_half_cannot_hold_is_infinite_not_wrong(opencl: OpenCLDevice) -> None:
    """The limit of this arithmetic: 32 products of 100 and 100 are 320000."""
    w = np.full((64, 8), 100.0, np.float32)
    with half_session(product(2, 64, 8, w), "adreno", opencl, FUSED) as session:
        assert np.isinf(session.run({"x": np.full((2, 64), 100.0, np.float32)})["y"]).all()


@pytest.mark.parametrize("device_class", CLASSES)
@pytest.mark.parametrize(
    ("name", "opencl"),
    cases(["conv 3x3", "conv groups", "batched narrow", "shifted windows"], {"conv 3x3"}),
    indirect=["opencl"],
)
def test_every_form_of_product(name: str, opencl: OpenCLDevice, device_class: str) -> None:
    with half_session(GRAPHS[name], device_class, opencl, SEPARATE) as session:
        assert largest_error(session, GRAPHS[name]) < 5e-3


@pytest.mark.parametrize("rounding", [SEPARATE, NATIVE])
@pytest.mark.parametrize("device_class", CLASSES)
@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
def test_blocks_with_large_activations(opencl: OpenCLDevice, device_class: str, rounding: int) -> None:
    """A mean of 5, outliers of 40: statistics, softmax and GELU are in float, so nothing overflows."""
    graph = GRAPHS["cp block"]
    with half_session(graph, device_class, opencl, rounding) as session:
        for mean, scale in ((0.0, 1.0), (5.0, 1.0), (0.0, 40.0)):
            assert largest_error(session, graph, mean, scale) < 5e-3


@pytest.mark.slow
@pytest.mark.parametrize("device_class", CLASSES)
@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
def test_a_whole_model(opencl: OpenCLDevice, device_class: str) -> None:
    """ViT-T: 50 of its 62 launches multiply in half. Float arithmetic on the same storage: 1.2e-3."""
    graph = import_model(pytest.importorskip("bench.models").onnx_path("vit_tiny"))
    with half_session(graph, device_class, opencl, NATIVE if opencl.fp16 else SEPARATE) as session:
        assert session.bundle.report.half_launches == 50
        assert largest_error(session, graph) < 5e-3


def largest_error(session: Session, graph: Graph, mean: float = 0.0, scale: float = 1.0) -> float:
    """Largest error against float64 by the largest output; everything finite."""
    rng = np.random.default_rng(0)
    feeds = {
        i: (mean + scale * rng.standard_normal(graph.types[i].shape)).astype(np.float32) for i in graph.inputs
    }
    assert session.bundle.report.half_launches >= 1
    got, want = session.run(feeds), run(graph, feeds, np.float64)
    assert all(np.isfinite(v).all() for v in got.values())
    error = max(float(np.abs(got[k] - v).max() / max(1.0, np.abs(v).max())) for k, v in want.items())
    print(f"error {error:.2e} of the largest output")
    return error


@pytest.mark.skipif(CLANG is None, reason="no clang to compile OpenCL C with")
@pytest.mark.parametrize("device_class", CLASSES)
def test_the_text_for_devices_compiles(device_class: str, tmp_path: Path) -> None:
    """Clang's SPIR target has cl_khr_fp16; the program is compiled without the emulation."""
    graphs = [GRAPHS["cp block"], conv(3, 20, 12, 5), batched(2, 5, 8, 3), matmul(1, 7, 5)]
    for number, graph in enumerate(graphs):
        for row in (schedule_for(device_class), replace(schedule_for(device_class), image=0)):
            bundle = compile_graph(graph, device_class, "fp16", row, arithmetic="half")
            file = tmp_path / f"{number}.cl"
            file.write_text(next(iter(bundle.sources.values())))
            language = ["-x", "cl", "-cl-std=CL1.2", "-Xclang", "-finclude-default-header", "-Werror"]
            command = [str(CLANG), *language, "-target", "spir64", "-fsyntax-only", QUIET, str(file)]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[:2000]


def test_what_is_half_is_in_the_plan() -> None:
    bundle = compile_graph(GRAPHS["block"], "adreno", "fp16", arithmetic="half")
    marked = [launch.family for launch in bundle.plan.launches if launch.arithmetic == "half"]
    assert marked == ["matmul"] * 4 and bundle.plan.arithmetic == "half"
    assert (bundle.report.arithmetic, bundle.report.half_launches) == ("half", 4)
    plain = compile_graph(GRAPHS["block"], "adreno", "fp16")
    assert (plain.report.arithmetic, plain.report.half_launches) == ("float", 0)
    assert "ECP_H4" not in next(iter(plain.sources.values()))


def test_half_is_refused_where_it_is_not_written() -> None:
    for device_class in ("cpu", "nvidia"):
        with pytest.raises(UsageError, match=f"adreno and generic, not for {device_class}"):
            compile_graph(GRAPHS["block"], device_class, "fp16", arithmetic="half")
    with pytest.raises(UsageError, match="belongs to precision fp16; fp32 multiplies in float"):
        compile_graph(GRAPHS["block"], "adreno", "fp32", arithmetic="half")
    with pytest.raises(UsageError, match="unknown arithmetic 'bf16'; known: float, half"):
        compile_graph(GRAPHS["block"], "adreno", "fp16", arithmetic="bf16")


@pytest.mark.parametrize("opencl", ["local-pocl", "local-rusticl"], indirect=True)
def test_a_device_without_the_extension_refuses_the_bundle_and_its_compiler_the_text(
    opencl: OpenCLDevice,
) -> None:
    bundle = compile_graph(GRAPHS["matmul 13x64x100"], "generic", "fp16", arithmetic="half")
    with pytest.raises(DeviceError, match=r"multiplies in half, and .* has no cl_khr_fp16"):
        Session(bundle, replace(opencl, device_class="generic", fp16=False))
    if opencl.fp16:
        pytest.skip(f"{opencl.device} has cl_khr_fp16")
    with pytest.raises(BuildError, match="arithmetic half needs cl_khr_fp16"):
        Session(bundle, replace(opencl, device_class="generic", fp16=True))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ECP_NO_BUNDLE_CACHE", raising=False)
    w = numpy_helper.from_array(np.ones((8, 4), np.float32), "w")
    ports = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [3, 8]), ("y", [3, 4]))
    ]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ports[:1], ports[1:], [w])
    path = tmp_path / "m.onnx"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, path)
    return path


@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
def test_bundles_of_both_arithmetics_are_kept_apart(model: Path, opencl: OpenCLDevice) -> None:
    device = replace(opencl, device_class="generic", fp16=True)
    for arithmetic, launches in (("half", 1), ("float", 0), ("half", 1)):
        report = ecp.compile(model, device, "fp16", arithmetic=arithmetic).report
        assert (report.arithmetic, report.half_launches) == (arithmetic, launches)
    assert report.from_cache
    with pytest.raises(DeviceError, match="has no cl_khr_fp16, which arithmetic half needs"):
        ecp.compile(model, replace(device, fp16=False), "fp16", arithmetic="half")


@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
def test_exit_codes(
    model: Path, opencl: OpenCLDevice, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ecp.compiler.resolve", lambda name: replace(opencl, fp16=False))
    for precision, code, said in (("fp16", 3, opencl.device), ("fp32", 2, "belongs to precision fp16")):
        words = ["compile", str(model), "-o", str(model.parent / "b"), "--device", "local-cpu"]
        monkeypatch.setattr(sys, "argv", ["ecp", *words, "--precision", precision, "--arithmetic", "half"])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == code and said in capsys.readouterr().err
    assert not (model.parent / "b").exists()


def test_the_harness_passes_it_on(model: Path) -> None:
    config = RunConfig("local", "fp16", 1, {"ecp-native.arithmetic": "half", "ecp-native.fuse": "false"})
    assert switches(compiler_settings(config)) == {"arithmetic": "half", "fuse": False}
    device = OpenCLDevice("d", "p", "card", "1", "cpu", 2, True, True, (9, 9), None)
    with pytest.raises(Unsupported, match="not for cpu"):
        ready(model, device, RunConfig("d", "fp16", 1, {"ecp.arithmetic": "half"}))
    with pytest.raises(DeviceError, match=r"'d' \(card, p\) has no cl_khr_fp16"):
        ready(model, replace(device, fp16=False), RunConfig("d", "fp16", 1, {"ecp.arithmetic": "half"}))
    with pytest.raises(UsageError, match=r"ecp\.arithmetic=true: known values are float and half"):
        switches(RunConfig("local", "fp16", 1, {"ecp.arithmetic": "true"}))
