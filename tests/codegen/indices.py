"""Operators that read by run-time indices, index tensors from the whole range of their type, and what must come of it."""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ecp.errors import IndexRangeError
from ecp.frontend.onnx import import_onnx
from ecp.ir.graph import Graph
from ecp.ir.interp import run

Engine = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
#: What ONNX Runtime says where it refuses an index.
REFUSALS = ("out of data bounds", "within bounds", "Out of range value", "invalid index")


@dataclass(frozen=True)
class Case:
    """``op`` reads ``shape`` by indices of ``indices``; ``constant``: the table is a weight, not an input.

    ``tail``: an element-wise operator follows, and the indices are computed (so that they lie in the arena). Tables
    are whole pages, so that guard pages can lie right before and behind them.
    """

    op: str
    shape: tuple[int, ...]
    indices: tuple[int, ...]
    axis: int = 0
    dtype: str = "int64"
    constant: bool = False
    tail: bool = False

    def __str__(self) -> str:
        marks = "".join(f" {n}" for n in ("constant", "tail") if getattr(self, n))
        return f"{self.op} {list(self.shape)} by {list(self.indices)} {self.dtype} axis {self.axis}{marks}"

    @cached_property
    def table(self) -> np.ndarray:
        """What is read."""
        return np.random.default_rng(0).standard_normal(self.shape).astype(np.float32)

    @cached_property
    def sizes(self) -> list[int]:
        """Sizes that the indices point into: one, or one a column of GatherND's."""
        if self.op == "GatherND":
            return list(self.shape[self.axis : self.axis + self.indices[-1]])
        return [self.shape[self.axis] if self.op != "OneHot" else 7]

    @cached_property
    def model(self) -> onnx.ModelProto:
        """The model, with inputs ``x`` (where the table is one) and ``i``; the node that reads is called ``pick``."""
        whole = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        i = helper.make_tensor_value_info("i", whole, self.indices)
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)
        inits = [numpy_helper.from_array(self.table, "x")] if self.constant else []
        nodes = [helper.make_node("Mul", ["i", "one"], ["j"], name="times")] if self.tail else []
        at = "j" if self.tail else "i"
        attrs = {"batch_dims": self.axis} if self.op == "GatherND" else {"axis": self.axis}
        inputs = ["x", at] if self.op != "OneHot" else [at, "depth", "values"]
        nodes.append(helper.make_node(self.op, inputs, ["p" if self.tail else "y"], name="pick", **attrs))
        if self.tail:
            nodes.append(helper.make_node("Relu", ["p"], ["y"], name="relu"))
            inits.append(numpy_helper.from_array(np.array(1, self.dtype), "one"))
        if self.op == "OneHot":
            inits += [numpy_helper.from_array(np.array(7), "depth")]
            inits += [numpy_helper.from_array(np.array([2, 5], np.float32), "values")]
        given = [i] if self.constant or self.op == "OneHot" else [x, i]
        graph = helper.make_graph(nodes, "indices", given, [helper.make_empty_tensor_value_info("y")], inits)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    @cached_property
    def graph(self) -> Graph:
        """The model as imported."""
        return import_onnx(self.model)

    def feeds(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Inputs by name."""
        return {k: v for k, v in {"x": self.table, "i": indices}.items() if k in self.graph.inputs}

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """An index tensor: half of them valid, the others with a few indices from the whole range, often its edges."""
        columns = []
        for size in self.sizes:
            part = rng.integers(-size, size, self.indices[: len(self.indices) - (self.op == "GatherND")])
            part = np.asarray(part, self.dtype)
            if rng.random() < 0.5 / len(self.sizes):
                hit = rng.random(part.shape) < rng.choice([0.1, 0.3, 1.0])
                part[hit] = [_wild(rng, size, self.dtype) for _ in range(int(np.sum(hit)))]
            columns.append(part)
        return np.stack(columns, -1) if self.op == "GatherND" else columns[0]


def _wild(rng: np.random.Generator, size: int, dtype: str) -> int:
    """An index that is mostly wrong: near the ends of the axis, of 32 or of 64 bits, or anywhere."""
    limits = np.iinfo(dtype)
    if rng.random() < 0.3:
        return int(rng.integers(limits.min, limits.max, dtype=dtype, endpoint=True))
    ends = (size, -size, 0, limits.min, limits.max, 2**31, -(2**31), 2**32, -(2**32), 2**33, 2**62)
    value = ends[rng.integers(len(ends))] + int(rng.integers(-size - 2, size + 3))
    return min(max(value, int(limits.min)), int(limits.max))


CASES = [
    Case("Gather", (1024,), (6,)),
    Case("Gather", (1024, 3), (3, 5), dtype="int32", constant=True),
    Case("Gather", (2, 512, 4), (7,), axis=1),
    Case("Gather", (16, 8, 8), (2, 2), axis=2, dtype="int32"),
    Case("Gather", (1, 1024), (9,), constant=True),
    Case("Gather", (64, 16), (), tail=True),
    Case("Gather", (128, 24), (2, 3), constant=True, tail=True),
    Case("Gather", (4, 256), (5,), axis=1, dtype="int32", tail=True),
    Case("GatherElements", (1024,), (40,)),
    Case("GatherElements", (32, 32), (8, 32), axis=0, dtype="int32"),
    Case("GatherElements", (32, 32), (30, 50), axis=1, constant=True),
    Case("GatherElements", (8, 16, 8), (8, 3, 8), axis=1, tail=True),
    Case("GatherElements", (2, 2, 256), (1, 2, 9), axis=2, dtype="int32", constant=True, tail=True),
    Case("GatherND", (1024,), (11, 1)),
    Case("GatherND", (32, 32), (3, 4, 2)),
    Case("GatherND", (16, 8, 8), (5, 2), constant=True),
    Case("GatherND", (4, 16, 16), (4, 6, 2), axis=1),
    Case("GatherND", (2, 8, 8, 8), (2, 5, 1), axis=1, tail=True),
    Case("GatherND", (4, 4, 8, 8), (7, 4)),
    Case("OneHot", (1024,), (17,)),
    Case("OneHot", (1024,), (3, 4), axis=1),
]  # fmt: skip


def outcome(engine: Engine, feeds: Mapping[str, np.ndarray]) -> np.ndarray | str:
    """The output, or the message of a refused index."""
    try:
        return engine(feeds)["y"]
    except IndexRangeError as error:
        return str(error)


def interpreted(case: Case) -> Engine:
    """The numpy interpreter."""
    return lambda feeds: run(case.graph, feeds)


def peer(case: Case) -> Engine:
    """ONNX Runtime; its refusal is an :class:`IndexRangeError` too."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(case.model.SerializeToString(), options, ["CPUExecutionProvider"])

    def engine(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            return {"y": session.run(None, dict(feeds))[0]}
        except Exception as error:
            if not any(words in str(error) for words in REFUSALS):
                raise
            raise IndexRangeError("pick", "i", 1, 0) from None

    return engine


def wrong(case: Case, indices: np.ndarray, got: np.ndarray | str, want: np.ndarray | str) -> str:
    """What is wrong with ``got``, where ONNX Runtime gives ``want``; empty where nothing is."""
    if isinstance(want, str):
        if not isinstance(got, str):
            return f"{case}: {indices.tolist()} is not refused"
        name = "j" if case.tail else "i"
        fitting = {
            f"node 'pick': index {v} in '{name}' is outside [{-n}, {n - 1}]"
            for n in case.sizes
            for v in indices.reshape(-1).tolist()
            if not -n <= v < n
        }
        return "" if got in fitting else f"{case}: {indices.tolist()} is refused as: {got}"
    if isinstance(got, str):
        return f"{case}: {indices.tolist()} is refused: {got}"
    return "" if np.array_equal(got, want) else f"{case}: {indices.tolist()} gives other elements"


def tensors(case: Case, count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """``count`` index tensors of a case."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield case.draw(rng)
