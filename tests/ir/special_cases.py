"""Every operator of the op table as an ONNX model that is fed special values: NaN, infinities, zeros, extremes.

The cases follow from the table: an element-wise operator has one without further ado, any other operator needs an
entry here, and :func:`groups` fails for one that has none.
"""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ecp.ir.opinfo import ONE_TO_ONE
from ecp.ir.ops import OPS, is_key

OPSET = 21
NAN, INF = float("nan"), float("inf")
_FINITE = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, -3.0, 7.0, 88.8, -88.8, -104.0, 710.0, -710.0, 255.5, -129.0,
]  # fmt: skip
#: By dtype: what arithmetic treats apart. Up to the width of a vector, so that vector code meets all of them.
FLOATS: dict[str, list[float]] = {
    "float32": [NAN, -NAN, INF, -INF, *_FINITE, 1e-40, -1e-40, 1.18e-38, 3.4e38, -3.4e38, 1e30, 2.0**31, -(2.0**31), 2.0**63],
    "float64": [NAN, -NAN, INF, -INF, *_FINITE, 5e-320, 2.3e-308, 1.7e308, -1.7e308, 1e300, 2.0**31, -(2.0**31), 2.0**63, 1e-30],
    "float16": [NAN, -NAN, INF, -INF, *_FINITE, 6e-8, -6e-8, 6.1e-5, 65504.0, -65504.0, 3e4, 2.0**11, -(2.0**11), 1e-3],
}  # fmt: skip
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
#: Attributes, as ONNX has them, of the operators that must be given some; several: one node each.
ATTRS: dict[str, list[dict[str, Any]]] = {
    "Gelu": [{"approximate": "none"}, {"approximate": "tanh"}],
    "LeakyRelu": [{"alpha": 0.1}], "Elu": [{"alpha": 0.7}], "Celu": [{"alpha": 0.7}], "Shrink": [{"lambd": 0.5, "bias": 0.1}],
    "Mod": [{"fmod": 1}, {"fmod": 0}], "BitShift": [{"direction": "LEFT"}, {"direction": "RIGHT"}],
    "IsInf": [{}, {"detect_negative": 0}, {"detect_positive": 0}],
}  # fmt: skip
_ELEMENTWISE = [n for n, row in OPS.items() if is_key(n) and row.fusion == ONE_TO_ONE]
_BOOLEAN = ("And", "Or", "Xor", "Not")


@dataclass
class Rows:
    """Nodes of a model, their inputs and constants; every node's first output is an output of the model."""

    feeds: dict[str, np.ndarray] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def add(self, op: str, inputs: Sequence[str], outputs: int = 1, **attrs: Any) -> None:
        """A node named after its operator."""
        name = f"{op}_{len(self.nodes)}"
        outs = [f"{name}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), outs, name=name, **attrs))

    def constant(self, name: str, array: Any) -> str:
        """The name of a constant."""
        self.constants[name] = np.asarray(array)
        return name

    def only(self, nodes: Sequence[onnx.NodeProto]) -> onnx.ModelProto:
        """The model of some of the nodes."""
        read = {i for n in nodes for i in n.input}
        typed = [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in self.feeds.items()
            if k in read
        ]
        outs = [helper.make_empty_tensor_value_info(o) for n in nodes for o in n.output]
        inits = [numpy_helper.from_array(v, k) for k, v in self.constants.items() if k in read]
        graph = helper.make_graph(list(nodes), "special", typed, outs, inits)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)

    def fed(self, nodes: Sequence[onnx.NodeProto]) -> dict[str, np.ndarray]:
        """What the model of some of the nodes is fed."""
        read = {i for n in nodes for i in n.input}
        return {k: v for k, v in self.feeds.items() if k in read}


def specials(dtype: str) -> np.ndarray:
    """32 special values of a dtype."""
    if dtype == "bool":
        return np.array([True, False] * 16)
    if dtype in FLOATS:
        with np.errstate(all="ignore"):
            return np.array(FLOATS[dtype], dtype)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    near = [low, low + 1, high, high - 1, high // 2, low // 2]
    small = range(0, 26) if low == 0 else range(-13, 13)
    return np.array([*near, *small], dtype)


def elementwise(dtype: str) -> Rows:
    """Every element-wise operator on every special value, or on every pair of them."""
    x = specials(dtype)
    a, b = (v.reshape(-1) for v in np.meshgrid(x, x, indexing="ij"))
    # A row of 33 is no multiple of a vector: the same operators in scalar code.
    rows = Rows({"x": x, "s": np.append(x, x[:1]), "a": a, "b": b})
    if dtype in INTEGERS:  # ONNX Runtime does not survive 1 / 0 and the least value / -1
        rows.feeds["d"] = np.where((b == 0) | (b + 1 == 0), 5, b).astype(dtype)
    for op in _ELEMENTWISE:
        if op == "Cast":
            continue
        for attrs in ATTRS.get(op, [{}]):
            if op == "Where":
                rows.feeds["c"] = np.arange(len(a)) % 3 == 0
                rows.add(op, ["c", "a", "b"])
            elif op == "Clip":
                bounds = [
                    rows.constant("low", np.asarray(2, dtype)),
                    rows.constant("high", np.asarray(5, dtype)),
                ]
                for given in (bounds, bounds[:1], ["", bounds[1]]):
                    rows.add(op, ["x", *given])
                    rows.add(op, ["s", *given])
            elif OPS[op].arity[0] == 2:
                divisor = "d" if op in ("Div", "Mod") and dtype in INTEGERS else "b"
                rows.add(op, ["a", divisor], **attrs)
            else:
                rows.add(op, ["x"], **attrs)
                rows.add(op, ["s"], **attrs)
    return rows


def casts(dtype: str) -> Rows:
    """Cast to every dtype; quantization; powers of one dtype by another."""
    rows = Rows({"x": specials(dtype)})
    for to in (*FLOATS, *INTEGERS, "bool"):
        if to != dtype:
            rows.add("Cast", ["x"], to=helper.np_dtype_to_tensor_dtype(np.dtype(to)))
    if dtype == "float32":
        scale = rows.constant("scale", np.float32(0.1))
        for to in ("int8", "uint8", "int16", "uint16"):
            rows.feeds[to] = specials(to)
            zero = rows.constant(f"zero {to}", np.array(3, to))
            rows.add("QuantizeLinear", ["x", scale, zero])
            rows.add("DequantizeLinear", [to, scale, zero])
    if dtype in ("float32", "float64", "int32", "int64"):
        for other in {"float32", "float64", "int32", "int64"} - {dtype}:
            a, b = np.meshgrid(specials(dtype), specials(other), indexing="ij")
            rows.feeds |= {f"base {other}": a.reshape(-1), f"exponent {other}": b.reshape(-1)}
            rows.add("Pow", [f"base {other}", f"exponent {other}"])
    return rows


def _one_in_a_row(dtype: str, *shape: int, mild: bool = False) -> np.ndarray:
    """Ordinary numbers; row i (along the last axis) holds special value i, at another place in each.

    ``mild``: no finite values that a sum of them all would be lost beside, or overflow by.
    """
    rng = np.random.default_rng(0)
    x = (4 * rng.standard_normal(shape)).astype(dtype)
    flat, values = x.reshape(-1, shape[-1]), specials(dtype)
    if mild:
        values = values[~(np.isfinite(values) & (np.abs(values) > 10))]
    for i, row in enumerate(flat):
        row[(5 * i) % shape[-1]] = values[i % len(values)]
    return x


def _rows(rows: Rows, op: str) -> None:
    """Reductions, normalisations and scans: along the last axis (vector lanes and scalars), and along an outer one."""
    mild = "mild " if op in ("ReduceSum", "ReduceMean", "ReduceProd", "CumSum", "LayerNormalization") else ""
    for x in (f"{mild}wide", f"{mild}odd"):
        for at in (2, 1):
            if op == "LayerNormalization":
                shape = rows.feeds[x].shape[at:]
                dtype = rows.feeds[x].dtype
                rows.add(op, [x, rows.constant(f"g{x}{at}", np.ones(shape, dtype))], axis=at)
            elif op == "CumSum":
                rows.add(op, [x, rows.constant(f"at{at}", np.array(at, np.int64))])
            elif op == "TopK":
                rows.add(op, [x, rows.constant("k", np.array([3], np.int64))], 2, axis=at)
                rows.add(op, [x, "k"], 2, axis=at, largest=0)
            elif op in ("Softmax", "ArgMax", "ArgMin"):
                rows.add(op, [x], axis=at)
                if op.startswith("Arg"):
                    rows.add(op, [x], axis=at, select_last_index=1)
            else:
                rows.add(op, [x, rows.constant(f"axes{at}", np.array([at], np.int64))])


def _pool(rows: Rows, op: str) -> None:
    for x in ("image", "strip") if op == "MaxPool" else ("mild image", "mild strip"):
        rows.add(op, [x], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
        rows.add(op, [x], kernel_shape=[2, 2], strides=[2, 2])


def _product(rows: Rows, op: str) -> None:
    dtype = rows.feeds["image"].dtype
    rng = np.random.default_rng(1)
    if op == "MatMul":
        rows.add(op, ["mild wide", rows.constant("w", rng.standard_normal((32, 16)).astype(dtype))])
        rows.add(op, ["mild odd", rows.constant("v", rng.standard_normal((33, 7)).astype(dtype))])
        return
    rows.add(
        op, ["image", rows.constant("f", rng.standard_normal((16, 4, 3, 3)).astype(dtype))], pads=[1, 1, 1, 1]
    )
    rows.add(op, ["mild image", rows.constant("p", rng.standard_normal((8, 4, 1, 1)).astype(dtype))])


def _moved(rows: Rows, op: str) -> None:
    """Operators that move values."""

    def i64(name: str, *v: int) -> str:
        return rows.constant(name, np.array(v, np.int64))

    dtype = rows.feeds["wide"].dtype
    fill = rows.constant(
        "fill", np.asarray(INF if dtype.kind == "f" else 1, dtype)
    )  # NaN in a constant is refused
    inputs: dict[str, list[Any]] = {
        "Identity": [["wide"], {}], "Reshape": [["wide", i64("shape", 32, 32)], {}], "Transpose": [["wide"], {"perm": [0, 2, 1]}],
        "Slice": [["wide", i64("from", 1), i64("to", 3), i64("ax", 1)], {}], "Split": [["wide"], {"axis": 0, "num_outputs": 8}],
        "Concat": [["wide", "odd"], {"axis": 2}], "Expand": [["wide", i64("big", 2, 8, 4, 32)], {}],
        "Gather": [["wide", i64("pick", 3, 0, 0, 2)], {"axis": 1}], "GatherDyn": [["wide", "index"], {"axis": 1}],
        "GatherElementsDyn": [["wide", "places"], {"axis": 1}], "GatherNDDyn": [["wide", "spots"], {}],
        "Pad": [["wide", i64("pads", 0, 0, 1, 0, 0, 2), fill], {}],
    }  # fmt: skip
    names, attrs = inputs[op]
    rows.add(op.removesuffix("Dyn"), names, 8 if op == "Split" else 1, **attrs)


_SHAPED: dict[str, Callable[[Rows, str], None]] = {
    **dict.fromkeys(("MatMul", "Conv"), _product), **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys(("Softmax", "LayerNormalization", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd",
                     "ArgMax", "ArgMin", "CumSum", "TopK"), _rows),
    **dict.fromkeys((n for n, row in OPS.items() if not is_key(n)), _moved),
}  # fmt: skip
#: Made by passes out of operators that have cases.
_MADE = ("Fused",)


def shaped(dtype: str) -> Rows:
    """Every operator that is not element-wise."""
    shapes = {"wide": (8, 4, 32), "odd": (8, 4, 33), "image": (4, 4, 6, 16), "strip": (3, 3, 7, 5)}
    rows = Rows({name: _one_in_a_row(dtype, *shape) for name, shape in shapes.items()})
    rows.feeds |= {f"mild {name}": _one_in_a_row(dtype, *shape, mild=True) for name, shape in shapes.items()}
    rng = np.random.default_rng(2)
    rows.feeds |= {"index": np.array([3, -4, 1, -1]), "places": rng.integers(-4, 4, (8, 5, 32))}
    rows.feeds["spots"] = rng.integers(-4, 4, (3, 2))
    for op in OPS:
        if op not in _ELEMENTWISE and op not in _MADE:
            _SHAPED[op](rows, op)
    return rows
