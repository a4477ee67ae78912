"""Transformative ONNX operators, brought to the normal forms of the op table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ecp.frontend.registry import NodeContext, converter


@converter("Reshape")
def reshape(c: NodeContext) -> str:
    """Reshape with 0 (copy) and -1 (infer) resolved."""
    wanted = c.ints(1, "shape") if c.opset >= 5 else c.attr("shape")
    old = c.shape(0)
    if not c.attr("allowzero", 0):
        wanted = [old[i] if d == 0 else d for i, d in enumerate(wanted)]
    if -1 in wanted:
        rest = math.prod(d for d in wanted if d != -1)
        wanted[wanted.index(-1)] = math.prod(old) // rest if rest else 0
    return c.reshape(c.input(0), wanted)


@converter("Flatten")
def flatten(c: NodeContext) -> str:
    """Flatten to rank 2."""
    axis, shape = c.attr("axis", 1), c.shape(0)
    axis = axis + len(shape) if axis < 0 else axis
    return c.reshape(c.input(0), (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _axes(c: NodeContext, since: int) -> list[int] | None:
    """Axes by input from opset ``since`` on, by attribute before."""
    if c.opset >= since:
        return c.ints(1, "axes") if c.has(1) else None
    return c.attr("axes")


@converter("Squeeze")
def squeeze(c: NodeContext) -> str:
    """Drop axes of size 1."""
    shape, axes = c.shape(0), _axes(c, 13)
    drop = {c.axis(a) for a in axes} if axes is not None else {i for i, d in enumerate(shape) if d == 1}
    if any(shape[a] != 1 for a in drop):
        raise ValueError(f"cannot squeeze axes {sorted(drop)} of {shape}")
    return c.reshape(c.input(0), [d for i, d in enumerate(shape) if i not in drop])


@converter("Unsqueeze")
def unsqueeze(c: NodeContext) -> str:
    """Insert axes of size 1."""
    axes, shape = _axes(c, 13) or [], list(c.shape(0))
    rank = len(shape) + len(axes)
    for axis in sorted(c.axis(a, rank) for a in axes):
        shape.insert(axis, 1)
    return c.reshape(c.input(0), shape)


@converter("Transpose")
def transpose(c: NodeContext) -> str:
    """Transpose; without perm all axes reversed."""
    return c.transpose(c.input(0), c.attr("perm") or list(range(len(c.shape(0))))[::-1])


def emit_slice(c: NodeContext, value: str, cuts: dict[int, tuple[int, int, int]]) -> str:
    """Slice of a value; cuts: axis -> (start, count, step)."""
    shape = c.shape(value)
    full = [cuts.get(i, (0, d, 1)) for i, d in enumerate(shape)]
    if all(cut == (0, d, 1) for cut, d in zip(full, shape)):
        return value
    starts, counts, steps = zip(*full)
    return c.emit("Slice", value, starts=starts, steps=steps, shape=counts)


@converter("Slice")
def slice_(c: NodeContext) -> str:
    """Slice with bounds clamped as Python clamps them."""
    if c.opset < 10:
        starts, ends, axes, steps = c.attr("starts"), c.attr("ends"), c.attr("axes"), None
    else:
        starts, ends = c.ints(1, "starts"), c.ints(2, "ends")
        axes = c.ints(3, "axes") if c.has(3) else None
        steps = c.ints(4, "steps") if c.has(4) else None
    cuts = {}
    for i, (start, end) in enumerate(zip(starts, ends)):
        axis = c.axis(axes[i] if axes is not None else i)
        picked = range(*slice(start, end, steps[i] if steps else 1).indices(c.shape(0)[axis]))
        cuts[axis] = (picked.start if picked else 0, len(picked), picked.step if picked else 1)
    return emit_slice(c, c.input(0), cuts)


@converter("Split")
def split(c: NodeContext) -> list[str]:
    """Split into given or equal sizes."""
    axis, count = c.axis(c.attr("axis", 0)), len(c.node.output)
    size = c.shape(0)[axis]
    sizes = (c.ints(1, "split") if c.has(1) else None) if c.opset >= 13 else c.attr("split")
    if sizes is None:
        chunk = -(-size // c.attr("num_outputs", count))
        sizes = [min(chunk, size - i * chunk) for i in range(count)]
    if len(sizes) == 1:
        return [c.input(0)]
    return list(c.emit_many("Split", [c.input(0)], len(sizes), axis=axis, sizes=tuple(sizes)))


@converter("Concat")
def concat(c: NodeContext) -> str:
    """Concat; empty parts are dropped."""
    axis = c.axis(c.attr("axis"))
    parts = [v for v in c.inputs if c.shape(v)[axis] != 0] or c.inputs[:1]
    return parts[0] if len(parts) == 1 else c.emit("Concat", *parts, axis=axis)


@converter("Expand")
def expand(c: NodeContext) -> str:
    """Broadcast to a shape."""
    shape = np.broadcast_shapes(c.shape(0), tuple(c.ints(1, "shape")))
    return c.input(0) if shape == c.shape(0) else c.emit("Expand", c.input(0), shape=tuple(shape))


@converter("Tile")
def tile(c: NodeContext) -> str:
    """Tile: a new axis of stride 0 before each repeated one."""
    shape, repeats = c.shape(0), c.ints(1, "repeats")
    split_shape = [d for s in shape for d in (1, s)]
    spread = [d for r, s in zip(repeats, shape) for d in (r, s)]
    if all(r == 1 for r in repeats):
        return c.input(0)
    wide = c.emit("Expand", c.reshape(c.input(0), split_shape), shape=tuple(spread))
    return c.reshape(wide, [r * s for r, s in zip(repeats, shape)])


def emit_gather(c: NodeContext, value: str, axis: int, indices: np.ndarray) -> str:
    """Gather by constants; a scalar or an arithmetic progression becomes a Slice."""
    size, flat = c.shape(value)[axis], indices.reshape(-1).astype(np.int64)
    if flat.size and not (flat.min() >= -size and flat.max() < size):
        raise ValueError(f"index outside axis {axis} of {c.shape(value)}")
    flat = np.where(flat < 0, flat + size, flat)
    steps = np.unique(np.diff(flat))
    shape = c.shape(value)
    if flat.size == 1 or (steps.size == 1 and steps[0] != 0):
        step = int(steps[0]) if flat.size > 1 else 1
        cut = emit_slice(c, value, {axis: (int(flat[0]), flat.size, step)})
        return c.reshape(cut, (*shape[:axis], *indices.shape, *shape[axis + 1 :]))
    return c.emit("Gather", value, axis=axis, indices=flat.reshape(indices.shape))


@converter("Gather")
def gather(c: NodeContext) -> str:
    """Gather by constants, else GatherDyn."""
    axis, indices = c.axis(c.attr("axis", 0)), c.constant_of(c.input(1))
    if indices is None:
        return c.emit("GatherDyn", c.input(0), c.input(1), axis=axis)
    return emit_gather(c, c.input(0), axis, indices)


def flat_gather(c: NodeContext, value: str, flat: np.ndarray) -> str:
    """Pick elements of the flattened value by constant flat indices; the result has the indices' shape."""
    return emit_gather(c, c.reshape(value, (math.prod(c.shape(value)),)), 0, flat)


@converter("GatherElements")
def gather_elements(c: NodeContext) -> str:
    """GatherElements: flat indices, computed here where constant, by integer arithmetic where not."""
    axis, shape, indices = c.axis(c.attr("axis", 0)), c.shape(0), c.constant_of(c.input(1))
    target = c.shape(1)
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    grids = np.indices(target, dtype=np.int64)
    base = np.zeros(target, np.int64)
    for i in range(len(shape)):
        base += grids[i] * strides[i] if i != axis else 0
    if indices is not None:
        wrapped = np.where(indices < 0, indices + shape[axis], indices).astype(np.int64)
        return flat_gather(c, c.input(0), base + wrapped * strides[axis])
    picked = wrapped_index(c, c.input(1), shape[axis])
    picked = c.emit("Add", c.emit("Mul", picked, c.add_const(strides[axis], like=picked)), c.add_const(base))
    return c.emit("GatherDyn", c.reshape(c.input(0), (math.prod(shape),)), picked, axis=0)


def wrapped_index(c: NodeContext, index: str, size: int) -> str:
    """A run-time index with negatives counted from the end, as int64."""
    index = index if c.type(index).dtype == "int64" else c.emit("Cast", index, to="int64")
    from_end = c.emit("Add", index, c.add_const(np.array(size, np.int64)))
    return c.emit("Where", c.emit("Less", index, c.add_const(np.array(0, np.int64))), from_end, index)


@converter("GatherND")
def gather_nd(c: NodeContext) -> str:
    """GatherND by flat row indices."""
    batch, shape, target = c.attr("batch_dims", 0), c.shape(0), c.shape(1)
    depth = target[-1]
    tail = shape[batch + depth :]
    sizes = shape[:batch] + shape[batch : batch + depth]
    strides = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    lead = np.indices(target[:-1], dtype=np.int64)
    base = np.zeros(target[:-1], np.int64)
    for i in range(batch):
        base += lead[i] * strides[i]
    rows = c.reshape(c.input(0), (math.prod(sizes), *tail))
    indices = c.constant_of(c.input(1))
    if indices is not None:
        for j in range(depth):
            column = indices[..., j].astype(np.int64)
            base = base + np.where(column < 0, column + shape[batch + j], column) * strides[batch + j]
        return emit_gather(c, rows, 0, base)
    flat = c.add_const(base)
    for j in range(depth):
        part = emit_slice(c, c.input(1), {len(target) - 1: (j, 1, 1)})
        index = wrapped_index(c, c.reshape(part, target[:-1]), shape[batch + j])
        flat = c.emit("Add", flat, c.emit("Mul", index, c.add_const(strides[batch + j], like=index)))
    return c.emit("GatherDyn", rows, flat, axis=0)


def _scatter(c: NodeContext, flat: np.ndarray, update: str) -> str:
    """Overwrite flat positions: pick each element from [data, updates] laid end to end."""
    count, picks = math.prod(c.shape(0)), flat.reshape(-1)
    source = np.arange(count, dtype=np.int64)
    source[picks] = count + np.arange(picks.size, dtype=np.int64)
    joined = c.emit("Concat", c.reshape(c.input(0), (count,)), c.reshape(update, (picks.size,)), axis=0)
    return c.reshape(emit_gather(c, joined, 0, source), c.shape(0))


@converter("ScatterND")
def scatter_nd(c: NodeContext) -> str:
    """ScatterND at constant positions, without reduction."""
    if c.attr("reduction", "none") != "none":
        raise c.unsupported("reductions are")
    shape, indices = c.shape(0), c.const(1, "indices").astype(np.int64)
    depth = indices.shape[-1]
    inner = np.arange(math.prod(shape[depth:]), dtype=np.int64)
    base = np.zeros(indices.shape[:-1], np.int64)
    for j in range(depth):
        column = np.where(indices[..., j] < 0, indices[..., j] + shape[j], indices[..., j])
        base += column * math.prod(shape[j + 1 :])
    return _scatter(c, base[..., None] + inner, c.input(2))


@converter("ScatterElements", "Scatter")
def scatter_elements(c: NodeContext) -> str:
    """ScatterElements at constant positions, without reduction."""
    if c.attr("reduction", "none") != "none":
        raise c.unsupported("reductions are")
    shape, axis, indices = c.shape(0), c.axis(c.attr("axis", 0)), c.const(1, "indices").astype(np.int64)
    grids = np.indices(indices.shape, dtype=np.int64)
    grids[axis] = np.where(indices < 0, indices + shape[axis], indices)
    flat = np.zeros(indices.shape, np.int64)
    for i in range(len(shape)):
        flat += grids[i] * math.prod(shape[i + 1 :])
    return _scatter(c, flat, c.input(2))


def emit_pad(c: NodeContext, value: str, before: Sequence[int], after: Sequence[int], fill: Any = 0) -> str:
    """Constant padding; negative amounts cut."""
    sides = enumerate(zip(before, c.shape(value), after))
    cuts = {i: (max(-b, 0), d + min(b, 0) + min(a, 0), 1) for i, (b, d, a) in sides}
    value = emit_slice(c, value, cuts)
    low, high = tuple(max(int(b), 0) for b in before), tuple(max(int(a), 0) for a in after)
    if not any(low) and not any(high):
        return value
    return c.emit("Pad", value, before=low, after=high, value=fill)


@converter("Pad")
def pad(c: NodeContext) -> str:
    """Pad: constant stays, the other modes gather along each axis."""
    rank, mode = len(c.shape(0)), c.attr("mode", "constant")
    fill: Any = c.attr("value", 0.0)
    if c.opset >= 11:
        amounts = c.ints(1, "pads")
        fill = c.const(2, "constant_value").reshape(-1)[0].item() if c.has(2) else 0
        axes = [c.axis(a) for a in c.ints(3, "axes")] if c.has(3) else list(range(rank))
    else:
        amounts, axes = c.attr("pads"), list(range(rank))
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = amounts[i], amounts[len(axes) + i]
    if mode == "constant":
        return emit_pad(c, c.input(0), before, after, fill)
    value = c.input(0)
    for axis, (low, high) in enumerate(zip(before, after)):
        if low or high:
            ramp = np.arange(c.shape(value)[axis])
            ramp = ramp[max(-low, 0) : len(ramp) + min(high, 0)]
            picks = np.pad(
                ramp, (max(low, 0), max(high, 0)), mode=mode
            )  # reflect, edge and wrap are numpy's words
            value = emit_gather(c, value, axis, picks)
    return value


@converter("DepthToSpace", "SpaceToDepth")
def depth_space(c: NodeContext) -> str:
    """Pixel shuffle and back: reshape, transpose, reshape."""
    b, (n, ch, h, w) = c.attr("blocksize"), c.shape(0)
    if c.op == "SpaceToDepth":
        tiles = c.reshape(c.input(0), (n, ch, h // b, b, w // b, b))
        perm = (0, 3, 5, 1, 2, 4) if c.attr("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
        return c.reshape(c.transpose(tiles, perm), (n, ch * b * b, h // b, w // b))
    if c.attr("mode", "DCR") == "DCR":
        tiles, perm = c.reshape(c.input(0), (n, b, b, ch // (b * b), h, w)), (0, 3, 4, 1, 5, 2)
    else:
        tiles, perm = c.reshape(c.input(0), (n, ch // (b * b), b, b, h, w)), (0, 1, 4, 2, 5, 3)
    return c.reshape(c.transpose(tiles, perm), (n, ch // (b * b), h * b, w * b))


@converter("ReverseSequence")
def reverse_sequence(c: NodeContext) -> str:
    """ReverseSequence with constant lengths: a flat gather."""
    time, batch, lengths = c.attr("time_axis", 0), c.attr("batch_axis", 1), c.ints(1, "sequence_lens")
    positions = np.arange(math.prod(c.shape(0)), dtype=np.int64).reshape(c.shape(0))
    picks = np.moveaxis(positions, (batch, time), (0, 1)).copy()
    for row, length in zip(picks, lengths):
        row[:length] = row[:length][::-1].copy()
    return flat_gather(c, c.input(0), np.moveaxis(picks, (0, 1), (batch, time)))
