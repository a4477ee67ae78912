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
    """GatherElements: by flat indices where they are constant."""
    axis, shape, indices = c.axis(c.attr("axis", 0)), c.shape(0), c.constant_of(c.input(1))
    if indices is None:
        return c.emit("GatherElementsDyn", c.input(0), c.input(1), axis=axis)
    places = np.indices(indices.shape, dtype=np.int64)
    places[axis] = wrapped(indices, shape[axis])
    return flat_gather(c, c.input(0), _flat(places, shape))


def wrapped(indices: np.ndarray, size: int) -> np.ndarray:
    """Constant indices with negatives counted from the end; ValueError for one outside."""
    outside = (indices < -size) | (indices >= size)
    if outside.any():
        raise ValueError(f"index {indices[outside][0]} is outside [{-size}, {size - 1}]")
    return np.where(indices < 0, indices + size, indices).astype(np.int64)


def _flat(places: Sequence[np.ndarray] | np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Flat positions of coordinates inside the leading axes of ``shape``, which must all be inside."""
    for coordinate, size in zip(places, shape):
        wrapped(coordinate, size)
    flat = np.zeros(np.broadcast_shapes(*(p.shape for p in places)), np.int64)
    for coordinate, size in zip(places, shape):
        flat = flat * size + coordinate
    return flat


@converter("GatherND")
def gather_nd(c: NodeContext) -> str:
    """GatherND: by flat row indices where they are constant."""
    batch, shape, indices = c.attr("batch_dims", 0), c.shape(0), c.constant_of(c.input(1))
    if indices is None:
        return c.emit("GatherNDDyn", c.input(0), c.input(1), batch=batch)
    depth = indices.shape[-1]
    sizes = shape[: batch + depth]
    lead = np.indices(indices.shape[:-1], dtype=np.int64)[:batch]
    columns = [wrapped(indices[..., j], shape[batch + j]) for j in range(depth)]
    rows = c.reshape(c.input(0), (math.prod(sizes), *shape[batch + depth :]))
    return emit_gather(c, rows, 0, _flat([*lead, *columns], sizes))


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
    columns = [wrapped(indices[..., j], shape[j]) for j in range(depth)]
    inner = np.arange(math.prod(shape[depth:]), dtype=np.int64)
    return _scatter(c, _flat(columns, shape)[..., None] * inner.size + inner, c.input(2))


@converter("ScatterElements", "Scatter")
def scatter_elements(c: NodeContext) -> str:
    """ScatterElements at constant positions, without reduction."""
    if c.attr("reduction", "none") != "none":
        raise c.unsupported("reductions are")
    shape, axis, indices = c.shape(0), c.axis(c.attr("axis", 0)), c.const(1, "indices").astype(np.int64)
    places = np.indices(indices.shape, dtype=np.int64)
    places[axis] = wrapped(indices, shape[axis])
    return _scatter(c, _flat(places, shape), c.input(2))


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
    steps = c.shape(0)[time]
    if any(not 0 <= length <= steps for length in lengths):
        raise ValueError(f"a sequence of {next(n for n in lengths if not 0 <= n <= steps)} in {steps} steps")
    positions = np.arange(math.prod(c.shape(0)), dtype=np.int64).reshape(c.shape(0))
    picks = np.moveaxis(positions, (batch, time), (0, 1)).copy()
    for row, length in zip(picks, lengths):
        row[:length] = row[:length][::-1].copy()
    return flat_gather(c, c.input(0), np.moveaxis(picks, (0, 1), (batch, time)))
