"""Operators that make constants or read shapes: with every dimension known they all fold."""

from __future__ import annotations

import math

import numpy as np

from ecp.frontend.limits import check_constant, check_shape
from ecp.frontend.loading import dtype_name
from ecp.frontend.registry import NodeContext, converter


@converter("Constant")
def constant(c: NodeContext) -> str:
    """Constant in any of its forms but sparse and string."""
    for name in ("value_int", "value_ints", "value_float", "value_floats"):
        dtype = np.int64 if "int" in name else np.float32
        value = c.attr(name)
        if value is not None:
            return c.add_const(np.asarray(value, dtype))
    value = c.attr("value")
    if value is None:
        raise c.unsupported("only tensor, int and float constants are")
    return c.add_const(value)


@converter("Shape")
def shape(c: NodeContext) -> str:
    """Shape, with opset 15's start and end."""
    dims = c.shape(0)
    return c.add_const(np.array(dims[slice(c.attr("start", 0), c.attr("end"))], np.int64))


@converter("Size")
def size(c: NodeContext) -> str:
    """Size."""
    return c.add_const(np.array(c.type(0).size, np.int64))


@converter("ConstantOfShape")
def constant_of_shape(c: NodeContext) -> str:
    """ConstantOfShape."""
    value = c.attr("value")
    value = np.zeros(1, np.float32) if value is None else value
    wanted = c.ints(0, "shape")
    check_shape(wanted)
    check_constant(wanted, value.dtype.name)
    if value.size != 1:
        raise ValueError(f"its value has {value.size} elements, not one")
    return c.add_const(np.full(wanted, value.reshape(-1)[0], value.dtype))


@converter("Range")
def range_(c: NodeContext) -> str:
    """Range."""
    start, limit, delta = (c.const(i).reshape(-1)[0] for i in range(3))
    if delta == 0 or not np.isfinite([start, limit, delta]).all():
        raise ValueError(f"a range from {start} to {limit} in steps of {delta}")
    count = max(0, math.ceil((float(limit) - float(start)) / float(delta)))
    check_shape((count,))
    check_constant((count,), c.type(0).dtype)
    return c.add_const(np.arange(start, limit, delta, dtype=c.type(0).dtype))


@converter("EyeLike")
def eye_like(c: NodeContext) -> str:
    """EyeLike."""
    (rows, columns), to = c.shape(0), c.attr("dtype")
    dtype = c.type(0).dtype if to is None else dtype_name(to, f"attribute 'dtype' of {c.label}")
    return c.add_const(np.eye(rows, columns, k=c.attr("k", 0), dtype=np.dtype(dtype)))


@converter("NonZero")
def non_zero(c: NodeContext) -> str:
    """NonZero of a constant (of run-time data its shape would be unknown)."""
    return c.add_const(np.stack(np.nonzero(c.const(0))).astype(np.int64))


@converter("Trilu")
def trilu(c: NodeContext) -> str:
    """Upper or lower triangle: a selection by a constant mask."""
    k = int(c.const(1, "k").reshape(-1)[0]) if c.has(1) else 0
    x = c.input(0)
    ones = np.ones(c.shape(0)[-2:], bool)
    mask = np.triu(ones, k) if c.attr("upper", 1) else np.tril(ones, k)
    return c.emit("Where", c.add_const(mask), x, c.add_const(0, like=x))


@converter("OneHot")
def one_hot(c: NodeContext) -> str:
    """OneHot: compare with a constant ramp. -depth..-1 count from the end, others out of range match nothing."""
    depth = int(c.const(1, "depth").reshape(-1)[0])
    rank = len(c.shape(0)) + 1
    axis = c.axis(c.attr("axis", -1), rank)
    index = c.input(0) if c.type(0).dtype == "int64" else c.emit("Cast", c.input(0), to="int64")
    from_end = c.emit("Add", index, c.add_const(np.array(depth, np.int64)))
    index = c.emit("Where", c.emit("Less", index, c.add_const(np.array(0, np.int64))), from_end, index)
    spread = c.reshape(index, [*c.shape(0)[:axis], 1, *c.shape(0)[axis:]])
    ramp = np.arange(depth, dtype=np.int64).reshape([-1 if i == axis else 1 for i in range(rank)])
    in_range = c.emit("Equal", spread, c.add_const(ramp))
    off, on = (c.reshape(v, ()) for v in c.emit_many("Split", [c.input(2)], 2, axis=0, sizes=(1, 1)))
    return c.emit("Where", in_range, on, off)
