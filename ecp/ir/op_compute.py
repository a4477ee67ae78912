"""Operators that combine many elements: products, convolution, pooling, normalisation, reductions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ecp.ir.graph import Type
from ecp.ir.opinfo import KEY, MANY_TO_MANY, Attrs, OpInfo, broadcast, wide


def _matmul(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    a, b = types
    if a.dtype != b.dtype:
        raise ValueError(f"MatMul of {a.dtype} and {b.dtype}")
    left = a.shape if len(a.shape) > 1 else (1, *a.shape)
    right = b.shape if len(b.shape) > 1 else (*b.shape, 1)
    if left[-1] != right[-2]:
        raise ValueError(f"MatMul of {a.shape} and {b.shape}")
    shape = broadcast(left[:-2], right[:-2])
    if len(a.shape) > 1:
        shape = (*shape, left[-2])
    if len(b.shape) > 1:
        shape = (*shape, right[-1])
    return (Type(shape, a.dtype),)


def _matmul_eval(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    a, b = args
    return (np.asarray(np.matmul(wide(a), wide(b))).astype(a.dtype, copy=False),)


def window_counts(size: Sequence[int], attrs: Attrs, kernel: Sequence[int]) -> tuple[int, ...]:
    """Output positions per spatial axis, ``floor((size + pads - extent) / stride) + 1``."""
    rank = len(size)
    pads, strides, dilations = attrs["pads"], attrs["strides"], attrs["dilations"]
    return tuple(
        (size[i] + pads[i] + pads[rank + i] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
        for i in range(rank)
    )


def _conv(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    x, w = types[:2]
    if x.dtype != w.dtype or len(x.shape) != len(w.shape):
        raise ValueError(f"Conv of {x} by {w}")
    group = attrs["group"]
    if x.shape[1] != w.shape[1] * group or w.shape[0] % group:
        raise ValueError(f"Conv of {x.shape} by {w.shape} in {group} groups")
    spatial = window_counts(x.shape[2:], attrs, w.shape[2:])
    if min(spatial, default=1) < 1:
        raise ValueError(f"Conv kernel {w.shape[2:]} larger than the padded input {x.shape}")
    return (Type((x.shape[0], w.shape[0], *spatial), x.dtype),)


def _windows(x: np.ndarray, kernel: Sequence[int], attrs: Attrs, counts: Sequence[int]) -> np.ndarray:
    """View [N, C, *counts, *kernel] of a padded [N, C, *spatial] array."""
    rank = len(kernel)
    extent = tuple(d * (k - 1) + 1 for d, k in zip(attrs["dilations"], kernel))
    view = sliding_window_view(x, extent, axis=tuple(range(2, 2 + rank)))
    outer = tuple(
        slice(0, (c - 1) * s + 1, s) if c else slice(0, 0) for c, s in zip(counts, attrs["strides"])
    )
    inner = tuple(slice(None, None, d) for d in attrs["dilations"])
    return view[(slice(None), slice(None), *outer, *inner)]


def _padded(x: np.ndarray, pads: Sequence[int], value: float) -> np.ndarray:
    rank = len(pads) // 2
    return np.pad(
        x, [(0, 0), (0, 0), *((pads[i], pads[rank + i]) for i in range(rank))], constant_values=value
    )


def _conv_eval(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    x, w = args[:2]
    bias = args[2] if len(args) > 2 else None
    group, kernel = attrs["group"], w.shape[2:]
    rank, n, m = len(kernel), x.shape[0], w.shape[0]
    padded = _padded(wide(x), attrs["pads"], 0)
    counts = window_counts(x.shape[2:], attrs, kernel)
    view = _windows(padded, kernel, attrs, counts)
    # [N, C, *out, *k] -> [N, group, *out, C/group, *k] -> one matrix per group
    view = view.reshape(n, group, x.shape[1] // group, *view.shape[2:])
    order = (0, 1, *range(3, 3 + rank), 2, *range(3 + rank, 3 + 2 * rank))
    columns = view.transpose(order).reshape(n, group, int(np.prod(counts)), -1)
    weights = wide(w).reshape(group, m // group, -1).swapaxes(1, 2)
    out = np.matmul(columns, weights).swapaxes(2, 3).reshape(n, m, *counts)
    if bias is not None:
        out = out + wide(bias).reshape(-1, *(1,) * rank)
    return (np.ascontiguousarray(out).astype(x.dtype, copy=False),)


def _pool(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    (x,) = types
    if len(attrs["kernel"]) != len(x.shape) - 2:
        raise ValueError(f"kernel {attrs['kernel']} does not fit {x.shape}")
    return (Type((*x.shape[:2], *attrs["shape"]), x.dtype),)


def _pool_view(attrs: Attrs, x: np.ndarray, value: float) -> np.ndarray:
    """Windows of the padded input; a ceil-mode window may reach past the padding, filled the same."""
    kernel, rank = attrs["kernel"], len(attrs["kernel"])
    pads = list(attrs["pads"])
    for i in range(rank):
        need = (attrs["shape"][i] - 1) * attrs["strides"][i] + attrs["dilations"][i] * (kernel[i] - 1) + 1
        pads[rank + i] = max(pads[rank + i], need - pads[i] - x.shape[2 + i])
    return _windows(_padded(x, pads, value), kernel, attrs, attrs["shape"])


def _max_pool(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    (x,) = args
    low = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    rank = len(attrs["kernel"])
    return (_pool_view(attrs, x, low).max(axis=tuple(range(-rank, 0))),)


def _average_pool(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    (x,) = args
    rank = len(attrs["kernel"])
    axes = tuple(range(-rank, 0))
    total = _pool_view(attrs, wide(x), 0).sum(axis=axes)
    ones = np.ones((1, 1, *x.shape[2:]), total.dtype)
    if attrs["count_include_pad"]:
        inside = _padded(ones, attrs["pads"], 1)
        count = _pool_view({**attrs, "pads": (0,) * 2 * rank}, inside, 0).sum(axis=axes)
    else:
        count = _pool_view(attrs, ones, 0).sum(axis=axes)
    return ((total / count).astype(x.dtype, copy=False),)


def _softmax(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    x = wide(args[0])
    with np.errstate(invalid="ignore"):  # a row of only -inf is NaN, as everywhere
        e = np.exp(x - x.max(axis=attrs["axis"], keepdims=True))
        total = e.sum(axis=attrs["axis"], keepdims=True)
    return ((e / total).astype(args[0].dtype, copy=False),)


def _layer_norm(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    x = wide(args[0])
    axes = tuple(range(attrs["axis"], x.ndim))
    centred = x - x.mean(axis=axes, keepdims=True)
    out = centred / np.sqrt((centred * centred).mean(axis=axes, keepdims=True) + attrs["epsilon"])
    scale, bias = (*args[1:], None, None)[:2]
    out = out if scale is None else out * wide(scale)
    out = out if bias is None else out + wide(bias)
    return (out.astype(args[0].dtype, copy=False),)


def _layer_norm_infer(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    x = types[0]
    for t in types[1:]:
        if t is not None and (t.dtype != x.dtype or broadcast(t.shape, x.shape) != x.shape):
            raise ValueError(f"LayerNormalization of {x} with {t}")
    if not 0 <= attrs["axis"] < max(len(x.shape), 1):
        raise ValueError(f"axis {attrs['axis']} outside {x.shape}")
    return (x,)


def _reduced(shape: tuple[int, ...], axes: Sequence[int], keepdims: bool) -> tuple[int, ...]:
    if any(not 0 <= a < len(shape) for a in axes):
        raise ValueError(f"axes {axes} outside {shape}")
    if keepdims:
        return tuple(1 if i in axes else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in axes)


def _reduce_infer(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    return (Type(_reduced(types[0].shape, attrs["axes"], attrs["keepdims"]), types[0].dtype),)


def _identity(dtype: np.dtype) -> dict[Any, Any]:
    """Max and Min of nothing: the least and the greatest value."""
    if dtype.kind == "f":
        return {np.max: -np.inf, np.min: np.inf}
    limits = np.iinfo(dtype)
    return {np.max: limits.min, np.min: limits.max}


def _reduce(fn: Callable[..., Any]) -> Callable[[Attrs, Any], tuple[np.ndarray, ...]]:
    def evaluate(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
        x = wide(args[0])
        extra = {"initial": _identity(x.dtype)[fn]} if x.size == 0 and fn in _identity(x.dtype) else {}
        with np.errstate(all="ignore"):
            out = fn(x, axis=tuple(attrs["axes"]), keepdims=bool(attrs["keepdims"]), **extra)
        return (np.asarray(out).astype(args[0].dtype, copy=False),)

    return evaluate


def _arg_infer(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    return (Type(_reduced(types[0].shape, (attrs["axis"],), attrs["keepdims"]), "int64"),)


def _arg(fn: Callable[..., Any]) -> Callable[[Attrs, Any], tuple[np.ndarray, ...]]:
    """As a walk along the axis finds it, from the first element on: a NaN is no better than any other, nor worse."""

    def evaluate(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
        (x,), axis = args, attrs["axis"]
        best = fn(x, axis=axis, keepdims=True)
        hit = x == best  # nowhere where the first element is NaN
        out = hit.argmax(axis=axis, keepdims=True)
        if attrs["select_last_index"]:
            last = x.shape[axis] - 1 - np.flip(hit, axis).argmax(axis=axis, keepdims=True)
            out = np.where(hit.any(axis=axis, keepdims=True), last, out)
        if x.dtype.kind == "f":
            out = np.where(np.isnan(np.take(x, [0], axis=axis)), 0, out)
        return (np.asarray(out if attrs["keepdims"] else out.squeeze(axis), dtype=np.int64),)

    return evaluate


def _cumsum(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    axis = attrs["axis"]
    x = np.flip(args[0], axis) if attrs["reverse"] else args[0]
    total = np.cumsum(wide(x), axis=axis).astype(x.dtype, copy=False)
    total = total - x if attrs["exclusive"] else total
    return (np.flip(total, axis) if attrs["reverse"] else total,)


def _topk_infer(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    (x,), axis, k = types, attrs["axis"], attrs["k"]
    if not 0 <= k <= x.shape[axis]:
        raise ValueError(f"k={k} of an axis of {x.shape[axis]}")
    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    return Type(shape, x.dtype), Type(shape, "int64")


def _topk(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    (x,), axis = args, attrs["axis"]
    # A stable sort of the ranks keeps the lowest index first among equals, as ONNX asks.
    flipped = np.flip(x, axis)
    order = np.argsort(x, axis=axis, kind="stable")
    if attrs["largest"]:
        order = np.flip(x.shape[axis] - 1 - np.argsort(flipped, axis=axis, kind="stable"), axis)
    index = np.take(order, np.arange(attrs["k"]), axis=axis).astype(np.int64)
    return np.take_along_axis(x, index, axis=axis), index


def _row(name: str, arity: tuple[int, int], attrs: tuple[str, ...], infer: Any, ev: Any, doc: str) -> OpInfo:
    return OpInfo(name, KEY, MANY_TO_MANY, True, True, arity, attrs, infer, ev, doc)


def _same(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    return (types[0],)


_WINDOW = ("kernel", "strides", "pads", "dilations", "shape")
_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceSum": np.sum,
    "ReduceMean": np.mean,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
}

TABLE: list[OpInfo] = [
    _row("MatMul", (2, 2), (), _matmul, _matmul_eval, "numpy matmul: leading axes broadcast, rank 1 allowed"),
    _row("Conv", (2, 3), ("strides", "pads", "dilations", "group"), _conv, _conv_eval,
         "inputs x [N, C, *S], w [M, C/group, *K], bias [M] or absent; pads = (*begin, *end)"),
    _row("MaxPool", (1, 1), _WINDOW, _pool, _max_pool,
         "windows start at stride * i - pads[begin]; shape = spatial output sizes (ceil mode resolved)"),
    _row("AveragePool", (1, 1), (*_WINDOW, "count_include_pad"), _pool, _average_pool,
         "divides by the elements inside the input (count_include_pad: inside the padded input)"),
    _row("Softmax", (1, 1), ("axis",), _same, _softmax, "axis >= 0"),
    _row("LayerNormalization", (1, 3), ("axis", "epsilon"), _layer_norm_infer, _layer_norm,
         "over axes axis..last; scale and bias may be absent (Instance- and GroupNorm: + Mul + Add)"),
    *(_row(n, (1, 1), ("axes", "keepdims"), _reduce_infer, _reduce(f), "axes: tuple >= 0")
      for n, f in _REDUCTIONS.items()),
    *(_row(n, (1, 1), ("axis", "keepdims", "select_last_index"), _arg_infer, _arg(f), "int64 index")
      for n, f in {"ArgMax": np.fmax.reduce, "ArgMin": np.fmin.reduce}.items()),
    _row("CumSum", (1, 1), ("axis", "exclusive", "reverse"), _same, _cumsum, "running sum along axis"),
    _row("TopK", (1, 1), ("axis", "k", "largest"), _topk_infer, _topk, "outputs: sorted values, indices"),
]  # fmt: skip
