"""Every operator of the op table on NaN, infinities, zeros, denormals and extremes: as ONNX Runtime, or for a reason.

The table is generated (:mod:`tests.ir.special_cases`); every difference must be in :data:`ALLOWED`, which
docs/special-values.md prints. ``python -m tests.codegen.test_special_values > docs/special-values.md``.
"""

# ruff: noqa: E501
from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from ecp.codegen.schedule import schedule_for
from ecp.compiler import compile_graph
from ecp.errors import UnsupportedOperatorError
from ecp.frontend.onnx import import_onnx
from ecp.ir.graph import Graph
from ecp.ir.interp import run
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session
from tests.codegen.conftest import find
from tests.codegen.test_numerics import GRAPHS
from tests.ir import special_cases
from tests.ir.special_cases import FLOATS, INTEGERS, Rows

ort = pytest.importorskip("onnxruntime")
Arrays = dict[str, np.ndarray]
TOLERANCE = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-5}
HEAD = """# Special values

NaN, infinities, zeros, denormals and values that do not fit go through compiled code as through ONNX Runtime. A test
(`tests/codegen/test_special_values.py`, which printed this page) feeds them to every operator in every type, alone or
in pairs, in vector and in scalar code, and to the numpy interpreter; what may differ is below, and nothing else does.
A NaN in a constant of a model is refused at import. Signs of zeros are not kept apart (`-cl-no-signed-zeros`).

Indices that are known at run time only (Gather, GatherElements, GatherND) are refused outside `[-n, n - 1]`, with the
node, the tensor, the index and the range; no access leaves its buffer whatever they are. OneHot gives the off value
there, as ONNX says. Indices of Scatter, ScatterElements and ScatterND, bounds of Slice and Pad, and `k`, axes, sizes
and repeats of other operators must be constants: computed at run time they are refused at import. A convolution by
Winograd's algorithm may spread a NaN or an infinity over its tile.

| operators | types | what differs |
| --- | --- | --- |
"""
DOC = Path(__file__).parents[2] / "docs" / "special-values.md"


@dataclass(frozen=True)
class Seen:
    """One output: what it was made of, ours, ONNX Runtime's, and ONNX Runtime's for inputs without denormals.

    ``numpy``: the interpreter's.
    """

    node: onnx.NodeProto
    inputs: list[np.ndarray | None]
    got: np.ndarray
    want: np.ndarray
    flushed: np.ndarray
    numpy: np.ndarray

    @property
    def dtype(self) -> str:
        """Of the first input."""
        return next(i for i in self.inputs if i is not None).dtype.name


@dataclass(frozen=True)
class Allowed:
    """Elements of the operators' outputs that may differ, and why. ``where``: True where they may."""

    operators: str  # a regular expression
    dtypes: tuple[str, ...]  # of the first input
    reason: str
    where: Callable[[Seen], Any]
    engines: str = ".*"


def _beyond(numbers: np.ndarray, bits: int) -> np.ndarray:
    return np.asarray(np.abs(numbers.astype(np.float64)) > 2.0**bits)


ALLOWED = [
    Allowed(".*", ("float32", "float64"), "denormals: code for a CPU takes and gives 0 for them, as a processor needs 150 clocks for one; elements are compared with what ONNX Runtime gives for 0", lambda s: same(s.got, s.flushed)),
    Allowed("Clip", tuple(FLOATS), "an absent bound is none: an infinity stays, where ONNX Runtime cuts it to the largest finite value", lambda s: np.isinf(s.got) & (np.abs(s.want) == np.finfo(s.want.dtype).max)),
    Allowed("MaxPool|ReduceMax|ReduceMin", tuple(FLOATS), "NaN wherever one is reduced; ONNX Runtime drops it or not by its place in the row or window", lambda s: np.isnan(s.got) & np.isnan(s.numpy)),
    Allowed("Sign", ("float16",), "NaN stays; ONNX Runtime gives 0 in float16 and NaN in float32 and float64", lambda s: np.isnan(s.got) & (s.want == 0)),
    Allowed("Shrink", ("float64",), "computed in float64; ONNX Runtime computes in float32, where these overflow", lambda s: np.isinf(s.want)),
    Allowed("Shrink", tuple(INTEGERS), "computed in integers; ONNX Runtime computes in float32", lambda s: True),
    Allowed("Cast", tuple(FLOATS), "NaN and what is outside int64, to uint32: 0; ONNX Runtime gives 0 or 2147483648 by the place in the tensor", lambda s: (s.got.dtype == np.uint32) & (s.got == 0)),
    Allowed("QuantizeLinear", ("float32",), "NaN is 0, as a cast of it is; ONNX Runtime gives the least value", lambda s: np.isnan(s.inputs[0])),
    Allowed("Pow", ("int32", "int64"), "whole powers are exact; ONNX Runtime rounds base, exponent and power to float64", lambda s: _beyond(s.inputs[0], 53) | _beyond(s.inputs[1], 53)),
    Allowed("Pow", tuple(FLOATS), "the exponent is rounded to the type of the base: it may become 0, infinite or even", lambda s: s.inputs[1].astype(s.got.dtype) != s.inputs[1]),
    Allowed("Pow", (*FLOATS, *INTEGERS), "an exponent that is a denormal is 0, by which a library may find the power of an infinity NaN", lambda s: _flushed(s.inputs[1]) != s.inputs[1]),
    Allowed("ReduceMean", ("int64",), "exact, and wraps where the sum does; ONNX Runtime computes in float64", lambda s: _beyond(s.want, 53)),
    Allowed("Gelu", ("float16", "float32"), "the tanh form below -1e30, on devices that keep denormals: there the sigmoid is one instead of 0", lambda s: s.inputs[0].astype(np.float64) < -1e30, ".* on .*"),
    Allowed("Sin|Cos|Tan|Pow", ("float32", "float64"), "PoCL's functions are wrong for denormals and for the numbers next to them where denormals are taken for 0", lambda s: np.abs(s.inputs[0]) < 2 * np.finfo(s.inputs[0].dtype).tiny, ".*pocl"),
    Allowed("ReduceSum|ReduceProd", tuple(INTEGERS), "what overflows wraps; ONNX Runtime computes in floating point, and gives the least or the greatest value", lambda s: (s.got == s.numpy) & np.isin(s.want, [np.iinfo(s.want.dtype).min, np.iinfo(s.want.dtype).max])),
]  # fmt: skip


def same(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Where two arrays agree: NaN with NaN, infinities of one sign, numbers up to rounding, other types exactly."""
    if want.dtype.kind != "f":
        return np.asarray(got == want)
    tolerance = TOLERANCE[want.dtype.name]
    with np.errstate(all="ignore"):
        g, w = got.astype(np.float64), want.astype(np.float64)
        close = np.abs(g - w) <= tolerance * np.abs(w) + tolerance
    return (np.isnan(g) & np.isnan(w)) | (g == w) | (np.isfinite(g) & np.isfinite(w) & close)


def onnxruntime(rows: Rows, node: onnx.NodeProto, feeds: Arrays) -> Arrays | None:
    """Outputs of one node; None where ONNX Runtime has no such kernel."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = ort.InferenceSession(
            rows.only([node]).SerializeToString(), options, ["CPUExecutionProvider"]
        )
        return dict(zip(node.output, session.run(None, feeds)))
    except Exception:
        return None


def _flushed(array: np.ndarray) -> np.ndarray:
    if array.dtype not in (np.float32, np.float64):
        return array
    denormal = np.abs(array) < np.finfo(array.dtype).tiny
    return np.where(denormal, np.copysign(0, array), array).astype(array.dtype)


@dataclass(frozen=True)
class Table:
    """Nodes that both can run, with ONNX Runtime's outputs; ``left``: (operator, who refuses it)."""

    rows: Rows
    nodes: list[onnx.NodeProto]
    want: Arrays
    flushed: Arrays
    left: set[tuple[str, str]]
    numpy: Arrays


@cache
def table(kind: str, dtype: str) -> Table:
    """What is compared for one dtype."""
    rows: Rows = getattr(special_cases, kind)(dtype)
    found = Table(rows, [], {}, {}, set(), {})
    for node in rows.nodes:
        feeds = rows.fed([node])
        want = onnxruntime(rows, node, feeds)
        if want is None:
            found.left.add((node.op_type, "ONNX Runtime"))
            continue
        try:
            compile_graph(import_onnx(rows.only([node])), "cpu")
        except UnsupportedOperatorError:
            found.left.add((node.op_type, "ecp"))
            continue
        found.nodes.append(node)
        found.want.update(want)
        denormal = any(np.any(_flushed(v) != v) for v in feeds.values() if v.dtype.kind == "f")
        again = onnxruntime(rows, node, {k: _flushed(v) for k, v in feeds.items()}) if denormal else want
        found.flushed.update(again or want)
    found.numpy.update(run(import_onnx(rows.only(found.nodes)), rows.fed(found.nodes)))
    return found


def differences(found: Table, got: Arrays, engine: str) -> Iterator[str]:
    """Elements that are not ONNX Runtime's, and that no reason allows."""
    for node in found.nodes:
        inputs = [found.rows.feeds.get(i, found.rows.constants.get(i)) for i in node.input if i]
        for name in node.output:
            seen = Seen(node, inputs, got[name], found.want[name], found.flushed[name], found.numpy[name])
            assert seen.got.dtype == seen.want.dtype and seen.got.shape == seen.want.shape, name
            bad = ~same(seen.got, seen.want)
            for allowed in ALLOWED if bad.any() else ():
                if (
                    re.fullmatch(allowed.operators, node.op_type)
                    and seen.dtype in allowed.dtypes
                    and re.fullmatch(allowed.engines, engine)
                ):
                    bad &= ~np.asarray(allowed.where(seen))
            for at in map(tuple, np.argwhere(bad)[:3]):
                of = [i[at] for i in inputs if i is not None and i.shape == seen.want.shape]
                yield f"{engine}: {name} of {of}: {seen.got[at]}, ONNX Runtime {seen.want[at]}"


def compiled(found: Table, device: OpenCLDevice, device_class: str) -> Arrays:
    """Outputs of the compiled nodes, all in one program."""
    graph = import_onnx(found.rows.only(found.nodes))
    return outputs(graph, found.rows.fed(found.nodes), device, device_class)


def outputs(graph: Graph, feeds: Arrays, device: OpenCLDevice, device_class: str) -> Arrays:
    """What a CPU device makes of code for ``device_class``."""
    row = schedule_for(device_class)
    if device_class != "cpu":
        row = replace(row, ptx=False, local_bytes=min(row.local_bytes, device.handle.local_mem_size - 2048))
    bundle = compile_graph(graph, device_class, schedule=row)
    with Session(bundle, replace(device, device_class=device_class)) as session:
        return session.run(feeds)


QUICK = [(k, d) for k in ("elementwise", "casts") for d in (*FLOATS, *INTEGERS, "bool")]
QUICK += [("shaped", d) for d in ("float32", "float64", "int32")]
SLOW = [("shaped", d) for d in ("float16", *INTEGERS, "bool") if d != "int32"]


def tables() -> list[Any]:
    """(kind, dtype), the rarer ones in the slow lane."""
    return [*QUICK, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in SLOW)]


@pytest.mark.parametrize(("kind", "dtype"), tables())
def test_same_as_onnxruntime(kind: str, dtype: str) -> None:
    found = table(kind, dtype)
    assert found.nodes
    assert not (words := list(differences(found, found.numpy, "interpreter"))), "\n".join(words)
    device = find("local-cpu")
    if isinstance(device, str):
        pytest.skip(device)
    got = compiled(found, device, "cpu")
    assert not (words := list(differences(found, got, "local-cpu"))), "\n".join(words)


def page() -> str:
    """The content of docs/special-values.md."""

    def types(a: Allowed) -> str:
        names = {tuple(FLOATS): "floats", tuple(INTEGERS): "integers", (*FLOATS, *INTEGERS): "all"}
        return names.get(a.dtypes, ", ".join(a.dtypes))

    rows = (
        f"| {a.operators.replace('.*', 'all').replace('|', ', ')} | {types(a)} | {a.reason} |\n"
        for a in ALLOWED
    )
    return HEAD + "".join(rows)


def test_documentation_lists_what_differs() -> None:
    assert DOC.read_text() == page(), "print it again: python -m tests.codegen.test_special_values"


OTHERS = [("local-cpu", c) for c in ("generic", "adreno", "nvidia")] + [("local-pocl", "cpu")]


def others() -> list[Any]:
    """(kind, dtype, device, class); one of them in the fast lane."""
    every = [(*pair, *other) for pair in (*QUICK, *SLOW) for other in OTHERS]
    fast = ("shaped", "float32", "local-cpu", "generic")
    return [pytest.param(*case, marks=[] if case == fast else [pytest.mark.slow]) for case in every]


@pytest.mark.parametrize(("kind", "dtype", "name", "device_class"), others())
def test_other_devices(kind: str, dtype: str, name: str, device_class: str) -> None:
    """Code for GPUs, which a CPU device runs as well, and another compiler."""
    device = find(name)
    if isinstance(device, str):
        pytest.skip(device)
    found = table(kind, dtype)
    got = compiled(found, device, device_class)
    assert not (words := list(differences(found, got, f"{device_class} on {name}"))), "\n".join(words)


JOINED = [
    "conv 3x3",
    "conv stride",
    "conv groups",
    "depthwise",
    "two convs",
    "matmul 13x64x100",
    "batched",
    "block",
]
JOINED += ["biased attention"]


def joined() -> list[Any]:
    """(graph, device class); code for GPUs in the slow lane."""
    pairs = [(name, c) for name in JOINED for c in ("cpu", "generic", "adreno", "nvidia")]
    return [pytest.param(*pair, marks=[] if pair[1] == "cpu" else [pytest.mark.slow]) for pair in pairs]


@pytest.mark.parametrize(("name", "device_class"), joined())
def test_operators_in_one_launch(name: str, device_class: str) -> None:
    """NaN and infinities through products with what follows them, attention and whole blocks: as the interpreter."""
    device = find("local-cpu")
    if isinstance(device, str):
        pytest.skip(device)
    graph, rng = GRAPHS[name], np.random.default_rng(0)
    feeds = {i: rng.standard_normal(graph.types[i].shape).astype(np.float32) for i in graph.inputs}
    first = feeds[graph.inputs[0]].reshape(-1)
    first[[7, len(first) // 2, -3]] = np.nan, np.inf, -np.inf
    with np.errstate(all="ignore"):
        want = run(graph, feeds)
    got = outputs(graph, feeds, device, device_class)
    for key, value in want.items():
        assert np.isnan(value).any(), "the case shows nothing"
        np.testing.assert_allclose(got[key], value, 1e-4, 1e-4)


if __name__ == "__main__":
    print(page(), end="")
