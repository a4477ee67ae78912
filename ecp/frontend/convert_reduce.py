"""Reductions, softmax family, arg-reductions and sorts."""

from __future__ import annotations

import math

import numpy as np

from ecp.frontend.registry import NodeContext, converter

_PLAIN = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")
#: Opset at which the axes became an input.
_AXES_INPUT = 18


def _axes(c: NodeContext) -> tuple[int, ...] | None:
    """Axes to reduce; None where nothing is to be done."""
    by_input = c.opset >= (13 if c.op == "ReduceSum" else _AXES_INPUT)
    axes = (c.ints(1, "axes") if c.has(1) else None) if by_input else c.attr("axes")
    rank = len(c.shape(0))
    if not axes:
        return None if by_input and c.attr("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(sorted({c.axis(a) for a in axes}))


def emit_reduce(c: NodeContext, op: str, value: str, axes: tuple[int, ...] | None, keepdims: int) -> str:
    """A plain reduction; of no axes it is the value itself."""
    return value if not axes else c.emit(op, value, axes=axes, keepdims=bool(keepdims))


@converter(*_PLAIN)
def plain(c: NodeContext) -> str:
    """Reductions that the IR has."""
    x, axes, keep = c.input(0), _axes(c), int(c.attr("keepdims", 1) == 1)
    if c.type(0).dtype == "bool":  # Max and Min of bool
        wide = c.emit("Cast", x, to="uint8")
        return c.emit("Cast", emit_reduce(c, c.op, wide, axes, keep), to="bool")
    return emit_reduce(c, c.op, x, axes, keep)


@converter("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
def composed(c: NodeContext) -> str:
    """Reductions made of a plain one and element-wise operators."""
    x, axes, keep = c.input(0), _axes(c), int(c.attr("keepdims", 1) == 1)
    if c.op == "ReduceL1":
        return emit_reduce(c, "ReduceSum", c.emit("Abs", x), axes, keep)
    if c.op == "ReduceLogSum":
        return c.emit("Log", emit_reduce(c, "ReduceSum", x, axes, keep))
    if c.op == "ReduceLogSumExp":
        return _log_sum_exp(c, x, axes or (), keep)
    total = emit_reduce(c, "ReduceSum", c.emit("Mul", x, x), axes, keep)
    return c.emit("Sqrt", total) if c.op == "ReduceL2" else total


def _log_sum_exp(c: NodeContext, x: str, axes: tuple[int, ...], keepdims: int) -> str:
    """The greatest value is taken out first; an infinite one is not, as inf - inf is NaN."""
    if 0 in (c.shape(x)[a] for a in axes):
        return c.emit("Log", emit_reduce(c, "ReduceSum", c.emit("Exp", x), axes, keepdims))
    low = float(np.finfo(c.type(x).dtype).min)
    peak = c.emit("Clip", emit_reduce(c, "ReduceMax", x, axes, 1), min=low, max=-low)
    total = emit_reduce(c, "ReduceSum", c.emit("Exp", c.emit("Sub", x, peak)), axes, 1)
    out = c.emit("Add", c.emit("Log", total), peak)
    if keepdims:
        return out
    return c.reshape(out, [d for i, d in enumerate(c.shape(x)) if i not in axes])


@converter("Softmax", "LogSoftmax", "Hardmax")
def softmax(c: NodeContext) -> str:
    """Softmax family; before opset 13 over all axes from ``axis`` on, flattened."""
    x, shape = c.input(0), c.shape(0)
    axis = c.axis(c.attr("axis", -1 if c.opset >= 13 else 1))
    if c.opset < 13 and axis != len(shape) - 1:
        x = c.reshape(x, (math.prod(shape[:axis]), math.prod(shape[axis:])))
        axis = 1
    return c.reshape(_softmax(c, x, axis), shape)


def _softmax(c: NodeContext, x: str, axis: int) -> str:
    if c.op == "Softmax":
        return c.emit("Softmax", x, axis=axis)
    if c.op == "LogSoftmax":
        shifted = c.emit("Sub", x, emit_reduce(c, "ReduceMax", x, (axis,), 1))
        total = emit_reduce(c, "ReduceSum", c.emit("Exp", shifted), (axis,), 1)
        return c.emit("Sub", shifted, c.emit("Log", total))
    best = c.emit("ArgMax", x, axis=axis, keepdims=True, select_last_index=False)
    shape = [1] * len(c.shape(x))
    shape[axis] = c.shape(x)[axis]
    ramp = c.add_const(np.arange(shape[axis], dtype=np.int64).reshape(shape))
    return c.emit("Cast", c.emit("Equal", best, ramp), to=c.type(x).dtype)


@converter("ArgMax", "ArgMin")
def arg(c: NodeContext) -> str:
    """ArgMax and ArgMin."""
    return c.emit(
        c.op,
        c.input(0),
        axis=c.axis(c.attr("axis", 0)),
        keepdims=bool(c.attr("keepdims", 1)),
        select_last_index=bool(c.attr("select_last_index", 0)),
    )


@converter("CumSum")
def cumsum(c: NodeContext) -> str:
    """CumSum along a constant axis."""
    axis = c.axis(int(c.const(1, "axis").reshape(-1)[0]))
    return c.emit(
        "CumSum",
        c.input(0),
        axis=axis,
        exclusive=bool(c.attr("exclusive", 0)),
        reverse=bool(c.attr("reverse", 0)),
    )


@converter("TopK")
def topk(c: NodeContext) -> list[str]:
    """TopK with a constant k; sorted whether asked or not."""
    k = int(c.const(1, "k").reshape(-1)[0]) if c.opset >= 10 else c.attr("k")
    axis = c.axis(c.attr("axis", -1))
    return list(c.emit_many("TopK", [c.input(0)], 2, axis=axis, k=k, largest=bool(c.attr("largest", 1))))
