"""Resize and Upsample: nearest gathers constants, linear and cubic multiply by a constant matrix per axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecp.frontend.convert_layout import emit_gather
from ecp.frontend.registry import NodeContext, converter

# With fewer channels than a vector holds, rows are the better columns.
CHANNELS = 16


@converter("Upsample")
def upsample(c: NodeContext) -> str:
    """Upsample: Resize with asymmetric coordinates."""
    scales = c.attr("scales") or [float(s) for s in c.const(1, "scales").reshape(-1)]
    sizes = [math.floor(d * s) for d, s in zip(c.shape(0), scales)]
    spec = _Spec(c.attr("mode", "nearest"), "asymmetric", "floor", -0.75, False, False, 0.0)
    return _resize(c, spec, list(range(len(sizes))), sizes, scales, None)


@converter("Resize")
def resize(c: NodeContext) -> str:
    """Resize by constant scales or sizes."""
    shape, rank = c.shape(0), len(c.shape(0))
    spec = _Spec(
        c.attr("mode", "nearest"),
        c.attr("coordinate_transformation_mode", "half_pixel" if c.opset >= 11 else "asymmetric"),
        c.attr("nearest_mode", "round_prefer_floor" if c.opset >= 11 else "floor"),
        c.attr("cubic_coeff_a", -0.75),
        bool(c.attr("exclude_outside", 0)),
        bool(c.attr("antialias", 0)),
        c.attr("extrapolation_value", 0.0),
    )
    at = 2 if c.opset >= 11 else 1
    axes = [c.axis(a) for a in c.attr("axes", list(range(rank)))]
    given = [float(s) for s in c.const(at, "scales").reshape(-1)] if c.has(at) else []
    roi = (
        c.const(1, "roi").reshape(-1)
        if c.opset >= 11 and c.has(1) and spec.coordinates == "tf_crop_and_resize"
        else None
    )
    if given:
        return _resize(c, spec, axes, [math.floor(shape[a] * s) for a, s in zip(axes, given)], given, roi)
    sizes = c.ints(3, "sizes")
    scales = [s / shape[a] for a, s in zip(axes, sizes)]
    policy = c.attr("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        one = min(scales) if policy == "not_larger" else max(scales)
        scales = [one] * len(axes)
        sizes = [math.floor(shape[a] * one + 0.5) for a in axes]
    return _resize(c, spec, axes, sizes, scales, roi)


@dataclass(frozen=True)
class _Spec:
    """What the attributes say about sampling."""

    mode: str
    coordinates: str
    nearest: str
    a: float
    exclude: bool
    antialias: bool
    fill: float


def _resize(
    c: NodeContext,
    spec: _Spec,
    axes: Sequence[int],
    sizes: Sequence[int],
    scales: Sequence[float],
    roi: np.ndarray | None,
) -> str:
    value = c.input(0)
    for i, (axis, size, scale) in enumerate(zip(axes, sizes, scales)):
        old = c.shape(value)[axis]
        span = None if roi is None else (float(roi[i]), float(roi[len(axes) + i]))
        if size == old and scale == 1 and span is None:
            continue
        where = _coordinates(spec, old, size, scale, span)
        outside = (where < 0) | (where > old - 1) if span is not None else np.zeros(size, bool)
        if spec.mode == "nearest":
            value = emit_gather(c, value, axis, np.clip(_nearest(spec, where), 0, old - 1).astype(np.int64))
        else:
            weights = _weights(spec, where, old, scale)
            weights[outside] = 0
            value = _along(c, value, axis, weights)
        if outside.any():
            mask = outside.reshape([-1 if k == axis else 1 for k in range(len(c.shape(value)))])
            value = c.emit("Where", c.add_const(mask), c.add_const(spec.fill, like=value), value)
    return value


def _coordinates(
    spec: _Spec, old: int, new: int, scale: float, roi: tuple[float, float] | None
) -> np.ndarray:
    """Position in the old axis of each element of the new one."""
    x, mode = np.arange(new, dtype=np.float64), spec.coordinates
    if mode == "asymmetric":
        return x / scale
    if mode == "align_corners":
        length = old * scale
        return x * (old - 1) / (length - 1) if length != 1 else np.zeros(new)
    if mode == "tf_half_pixel_for_nn":
        return (x + 0.5) / scale
    if mode == "tf_crop_and_resize":
        start, end = roi if roi is not None else (0.0, 1.0)
        if new > 1:
            return start * (old - 1) + x * (end - start) * (old - 1) / (new - 1)
        return np.full(1, 0.5 * (start + end) * (old - 1))
    if mode == "half_pixel_symmetric":
        adjustment = new / (scale * old)
        centre = old / 2
        return centre * (1 - adjustment) + (x + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel" and new == 1:
        return np.zeros(1)
    return (x + 0.5) / scale - 0.5


def _nearest(spec: _Spec, where: np.ndarray) -> np.ndarray:
    rules: dict[str, Callable[..., Any]] = {
        "round_prefer_floor": lambda w: np.ceil(w - 0.5),
        "round_prefer_ceil": lambda w: np.floor(w + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    return np.asarray(rules[spec.nearest](where))


def _kernel(spec: _Spec, x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    if spec.mode == "linear":
        return np.maximum(1 - x, 0)
    a = spec.a
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _weights(spec: _Spec, where: np.ndarray, old: int, scale: float) -> np.ndarray:
    """[new, old] matrix; taps outside clamp to the border, or drop out with exclude_outside."""
    shrink = min(scale, 1.0) if spec.antialias else 1.0
    reach = (1 if spec.mode == "linear" else 2) / shrink
    first = np.floor(where - reach).astype(np.int64)
    matrix = np.zeros((len(where), old))
    for tap in range(math.ceil(2 * reach) + 2):
        at = first + tap
        weight = _kernel(spec, (at - where) * shrink)
        if spec.exclude:
            weight = np.where((at < 0) | (at >= old), 0, weight)
        np.add.at(matrix, (np.arange(len(where)), np.clip(at, 0, old - 1)), weight)
    total = matrix.sum(axis=1, keepdims=True)
    return matrix / np.where(total == 0, 1, total)


def _along(c: NodeContext, value: str, axis: int, weights: np.ndarray) -> str:
    """Multiply one axis by a [new, old] matrix; the last two axes need no transpose.

    Of a map with many channels these are the columns of the product, as convolutions around it store them.
    """
    shape = c.shape(value)
    if c.type(value).dtype not in ("float32", "float64", "float16"):
        raise c.unsupported(f"interpolating {c.type(value).dtype}")
    if len(shape) == 4 and axis >= 2 and shape[1] >= CHANNELS:
        last = c.transpose(value, (0, 2, 3, 1))
        return c.transpose(_along_inner(c, last, axis - 1, weights), (0, 3, 1, 2))
    if axis == len(shape) - 1:
        return c.emit("MatMul", value, c.add_const(weights.T, like=value))
    return _along_inner(c, value, axis, weights)


def _along_inner(c: NodeContext, value: str, axis: int, weights: np.ndarray) -> str:
    """:func:`_along` an axis that is not the last: those after it are columns."""
    shape = c.shape(value)
    lead, tail = shape[:axis], math.prod(shape[axis + 1 :])
    flat = c.reshape(value, (*lead, shape[axis], tail))
    out = c.emit("MatMul", c.add_const(weights, like=value), flat)
    return c.reshape(out, (*lead, weights.shape[0], *shape[axis + 1 :]))
