"""Every operator on every dtype: the compiled result is the interpreter's, or the compiler refuses by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ecp.compiler import compile_graph
from ecp.errors import DeviceError, UnsupportedOperatorError
from ecp.ir.graph import Graph
from ecp.ir.interp import run
from ecp.ir.opinfo import ONE_TO_ONE
from ecp.ir.ops import OPS, is_key
from ecp.runtime.devices import resolve
from tests.graphs import build

try:
    DEVICE = resolve("local-cpu")
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)

from ecp import onnx_backend

INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
FLOATS = ["float16", "float32", "float64"]
TOLERANCE = {"float16": 2e-3, "float32": 3e-6, "float64": 1e-12}
ATTRS: dict[str, dict[str, Any]] = {
    "Gelu": {"approximate": "tanh"}, "LeakyRelu": {"alpha": 0.1}, "Elu": {"alpha": 0.7}, "Celu": {"alpha": 0.7},
    "Selu": {"alpha": 1.6, "gamma": 1.05}, "ThresholdedRelu": {"alpha": 0.7}, "Shrink": {"lambd": 0.5, "bias": 0.1},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5}, "Mod": {"fmod": 0}, "BitShift": {"direction": "LEFT"},
    "IsInf": {"positive": 1, "negative": 1}, "Clip": {"min": 2, "max": 5},
}  # fmt: skip
BOOLEAN = ("And", "Or", "Xor", "Not", "Equal")
ON_INTEGERS = [
    "Abs", "Add", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Clip", "Div", "Equal",
    "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "PRelu", "Pow", "Relu",
    "Sign", "Sub", "Where",
]  # fmt: skip
ELEMENTWISE = [n for n, row in OPS.items() if is_key(n) and row.fusion == ONE_TO_ONE and n != "Cast"]
ON_FLOATS = [n for n in ELEMENTWISE if not n.startswith("Bit") and n not in ("And", "Or", "Xor", "Not")]


def rows_of(op: str) -> list[Any]:
    """Nodes that apply the operator to ``a`` (and ``b``)."""
    attrs = ATTRS.get(op, {})
    if op == "Where":
        return [("Greater", ["a", "b"], "c", {}), (op, ["c", "a", "b"], f"y_{op}", attrs)]
    rows = [(op, ["a", "b"][: OPS[op].arity[0]], f"y_{op}", attrs)]
    if op in ("Mod", "BitShift"):
        other = {"fmod": 1} if op == "Mod" else {"direction": "RIGHT"}
        rows.append((op, ["a", "b"], f"z_{op}", other))
    if op == "Gelu":
        rows.append((op, ["a"], "z_Gelu", {"approximate": "none"}))
    return rows


def graph_of(ops: list[str], dtype: str) -> Graph:
    rows = [row for op in ops for row in rows_of(op)]
    outputs = [row[2] for row in rows if row[2] != "c"]
    return build(rows, {"a": (4, 8), "b": (4, 8)}, {}, outputs, dtype)


def values(dtype: str, seed: int, *, positive: bool = False) -> np.ndarray:
    """Small integers (with the extremes, zero and values around the width) or floats, in [4, 8]."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, (4, 8)).astype(bool)
    if dtype.startswith("float"):
        x = rng.standard_normal((4, 8))
        return (np.abs(x) + 1.01 if positive else x).astype(dtype)
    x = rng.integers(0 if dtype.startswith("u") else -9, 10, (4, 8)).astype(dtype)
    if not positive:
        x.flat[:3] = [np.iinfo(dtype).min, np.iinfo(dtype).max, 1]
    return x


def check(graph: Graph, feeds: dict[str, np.ndarray], least: float = 0.0) -> None:
    want = run(graph, feeds)
    got = onnx_backend.run_graph(graph, feeds, DEVICE)
    for name, value in want.items():
        assert got[name].dtype == value.dtype and got[name].shape == value.shape, name
        if value.dtype.kind != "f":
            np.testing.assert_array_equal(got[name], value, err_msg=name)
            continue
        tolerance = max(least, TOLERANCE[value.dtype.name])
        np.testing.assert_allclose(got[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_operators(dtype: str) -> None:
    feeds = {"a": values(dtype, 0), "b": values(dtype, 1)}
    check(graph_of([op for op in ON_INTEGERS if op != "Pow"], dtype), feeds)
    # Powers that fit: numpy's answer for others is undefined.
    feeds = {"a": values(dtype, 0, positive=True) % 4, "b": values(dtype, 1, positive=True) % 4}
    check(graph_of(["Pow"], dtype), feeds)


@pytest.mark.parametrize("dtype", FLOATS)
def test_float_operators(dtype: str) -> None:
    domain = ("Sqrt", "Log", "Pow", "Acosh", "Reciprocal", "Div", "Mod")
    feeds = {"a": values(dtype, 0), "b": values(dtype, 1)}
    check(graph_of([op for op in ON_FLOATS if op not in domain], dtype), feeds)
    feeds = {"a": values(dtype, 0, positive=True), "b": values(dtype, 1, positive=True)}
    check(graph_of(list(domain), dtype), feeds)


def test_boolean_operators() -> None:
    check(graph_of(list(BOOLEAN), "bool"), {"a": values("bool", 0), "b": values("bool", 1)})


@pytest.mark.parametrize("dtype", INTEGERS)
def test_no_integer_form_is_refused_by_name(dtype: str) -> None:
    for op in ELEMENTWISE:
        if op in ON_INTEGERS or op in BOOLEAN:
            continue
        with pytest.raises(UnsupportedOperatorError, match=f"operator {op} on {dtype} has no kernel"):
            compile_graph(graph_of([op], dtype), "cpu")


@pytest.mark.parametrize("source", [*INTEGERS, *FLOATS, "bool"])
def test_casts(source: str) -> None:
    targets = [*INTEGERS, *FLOATS, "bool"]
    rows = [("Cast", ["a"], f"y_{t}", {"to": t}) for t in targets]
    feeds = {"a": values(source, 0, positive=source[0] in "fu")}
    check(build(rows, {"a": (4, 8)}, {}, [r[2] for r in rows], source), feeds)


def test_small_integers_wrap_inside_a_launch() -> None:
    rows = [
        ("Add", ["a", "a"], "s", {}), ("Div", ["s", "b"], "d", {}), ("Cast", ["d"], "y", {"to": "float32"}),
    ]  # fmt: skip
    feeds = {"a": np.full((4, 8), 100, np.int8), "b": np.full((4, 8), 3, np.int8)}
    check(build(rows, {"a": (4, 8), "b": (4, 8)}, {}, ["y"], "int8"), feeds)


def test_cast_to_half_rounds_inside_a_launch() -> None:
    rows = [("Cast", ["a"], "h", {"to": "float16"}), ("Cast", ["h"], "y", {"to": "float32"})]
    graph = build(rows, {"a": (4, 8)}, {}, ["y"])
    feeds = {"a": values("float32", 0)}
    got = onnx_backend.run_graph(graph, feeds, DEVICE)["y"]
    np.testing.assert_array_equal(got, feeds["a"].astype(np.float16).astype(np.float32))


WINDOW = {"kernel": (3, 3), "strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1), "shape": (4, 4)}
CONV = {"strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1), "group": 1}


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64", *FLOATS])
def test_products_and_reductions(dtype: str) -> None:
    rng = np.random.default_rng(0)
    weights = values(dtype, 3, positive=True).reshape(8, 4) if dtype[0] != "f" else None
    weights = rng.standard_normal((8, 4)).astype(dtype) if weights is None else weights
    rows: list[Any] = [
        ("MatMul", ["a", "w"], "m1", {}), ("Transpose", ["b"], "bt", {"perm": (1, 0)}),
        ("MatMul", ["a", "bt"], "m2", {}),
        *((op, ["a"], f"r_{op}", {"axes": (1,), "keepdims": 0}) for op in ("ReduceSum", "ReduceMax", "ReduceMin")),
        ("ReduceMean", ["a"], "r_mean", {"axes": (0,), "keepdims": 1}),
        ("CumSum", ["a"], "cs", {"axis": 1, "exclusive": 0, "reverse": 0}),
        ("ArgMax", ["a"], "am", {"axis": 0, "keepdims": 0, "select_last_index": 0}),
    ]  # fmt: skip
    if dtype.startswith("float"):
        rows += [
            ("Softmax", ["a"], "sm", {"axis": 1}), ("Softmax", ["a"], "sm0", {"axis": 0}),
            ("LayerNormalization", ["a"], "ln", {"axis": 1, "epsilon": 1e-3}),
        ]  # fmt: skip
    outputs = [r[2] for r in rows if r[2] != "bt"]
    graph = build(rows, {"a": (4, 8), "b": (4, 8)}, {"w": weights}, outputs, dtype)
    check(graph, {"a": values(dtype, 0, positive=True), "b": values(dtype, 1, positive=True)})


@pytest.mark.parametrize("dtype", ["uint8", "int8", *FLOATS])
def test_pools(dtype: str) -> None:
    rows: list[Any] = [("MaxPool", ["x"], "top", WINDOW)]
    if dtype.startswith("float"):
        rows.append(("AveragePool", ["x"], "mean", {**WINDOW, "count_include_pad": 0}))
    graph = build(rows, {"x": (1, 8, 4, 4)}, {}, [r[2] for r in rows], dtype)
    x = np.concatenate([values(dtype, s).reshape(1, 2, 4, 4) for s in range(4)], axis=1)
    check(graph, {"x": x})


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_convolutions(dtype: str) -> None:
    w = np.random.default_rng(0).standard_normal((4, 2, 3, 3)).astype(dtype)
    graph = build(
        [("Conv", ["x", "w", "c"], "h", {**CONV, "group": 2}), ("Relu", ["h"], "y", {})],
        {"x": (1, 4, 4, 4)},
        {"w": w, "c": np.arange(4, dtype=dtype)},
        ["y"],
        dtype,
    )
    x = np.concatenate([values(dtype, s).reshape(1, 2, 4, 4) for s in range(2)], axis=1)
    check(graph, {"x": x})


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_attention(dtype: str) -> None:
    rows: list[Any] = [
        ("Reshape", ["a"], "q", {"shape": (1, 4, 8)}), ("Reshape", ["b"], "v", {"shape": (1, 4, 8)}),
        ("Transpose", ["v"], "k", {"perm": (0, 2, 1)}), ("MatMul", ["q", "k"], "s", {}),
        ("Softmax", ["s"], "p", {"axis": 2}), ("MatMul", ["p", "v"], "y", {}),
    ]  # fmt: skip
    graph = build(rows, {"a": (4, 8), "b": (4, 8)}, {}, ["y"], dtype)
    check(graph, {"a": values(dtype, 0), "b": values(dtype, 1)})


def test_a_float_product_behind_which_integers_follow() -> None:
    rows: list[Any] = [
        ("MatMul", ["a", "w"], "m", {}), ("Cast", ["m"], "i", {"to": "int64"}), ("Add", ["i", "i"], "y", {}),
        ("Softmax", ["a"], "s", {"axis": 1}), ("Cast", ["s"], "z", {"to": "float64"}),
        ("Cast", ["c"], "f", {"to": "float32"}), ("Softmax", ["f"], "t", {"axis": 1}),
    ]  # fmt: skip
    w = np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32)
    graph = build(rows, {"a": (4, 8)}, {"w": w, "c": np.arange(32).reshape(4, 8)}, ["y", "z", "t"])
    check(graph, {"a": 10 * values("float32", 0)}, least=TOLERANCE["float32"])
