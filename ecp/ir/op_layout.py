"""Transformative operators: they move values and compute none. All attributes are static and full rank."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ecp.ir.graph import Type
from ecp.ir.opinfo import (
    ONE_TO_MANY,
    ONE_TO_ONE,
    REORGANIZE,
    SHUFFLE,
    TRANSFORMATIVE,
    Attrs,
    OpInfo,
    broadcast,
)


def _reshape(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    (x,) = types
    if math.prod(attrs["shape"]) != x.size or any(d < 0 for d in attrs["shape"]):
        raise ValueError(f"cannot reshape {x.shape} to {attrs['shape']}")
    return (Type(tuple(attrs["shape"]), x.dtype),)


def _transpose(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    (x,) = types
    if sorted(attrs["perm"]) != list(range(len(x.shape))):
        raise ValueError(f"perm {attrs['perm']} does not permute {len(x.shape)} axes")
    return (Type(tuple(x.shape[p] for p in attrs["perm"]), x.dtype),)


def _slice(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    (x,) = types
    starts, steps, shape = attrs["starts"], attrs["steps"], attrs["shape"]
    if not len(starts) == len(steps) == len(shape) == len(x.shape):
        raise ValueError(f"Slice attributes must have rank {len(x.shape)}")
    for size, start, step, count in zip(x.shape, starts, steps, shape):
        last = start + (count - 1) * step
        if step == 0 or count < 0 or (count and not (0 <= start < size and 0 <= last < size)):
            raise ValueError(f"slice {start}:+{count}*{step} leaves an axis of {size}")
    return (Type(tuple(shape), x.dtype),)


def _slice_eval(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    index = []
    for start, step, count in zip(attrs["starts"], attrs["steps"], attrs["shape"]):
        stop = start + count * step
        index.append(slice(start, None if stop < 0 else stop, step) if count else slice(0, 0))
    return (args[0][tuple(index)],)


def _split(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    (x,) = types
    axis, sizes = attrs["axis"], attrs["sizes"]
    if sum(sizes) != x.shape[axis] or min(sizes) < 0:
        raise ValueError(f"Split sizes {sizes} do not fill axis {axis} of {x.shape}")
    return tuple(Type((*x.shape[:axis], s, *x.shape[axis + 1 :]), x.dtype) for s in sizes)


def _split_eval(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    return tuple(np.split(args[0], np.cumsum(attrs["sizes"])[:-1].tolist(), axis=attrs["axis"]))


def _concat(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    axis, first = attrs["axis"], types[0]
    for t in types:
        if t.dtype != first.dtype or len(t.shape) != len(first.shape):
            raise ValueError(f"Concat of {first} and {t}")
        if t.shape[:axis] + t.shape[axis + 1 :] != first.shape[:axis] + first.shape[axis + 1 :]:
            raise ValueError(f"Concat along {axis} of {first.shape} and {t.shape}")
    total = sum(t.shape[axis] for t in types)
    return (Type((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype),)


def _expand(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    (x,) = types
    if broadcast(x.shape, attrs["shape"]) != tuple(attrs["shape"]):
        raise ValueError(f"cannot expand {x.shape} to {attrs['shape']}")
    return (Type(tuple(attrs["shape"]), x.dtype),)


def _gathered(axis: int, shape: tuple[int, ...], indices: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:axis], *indices, *shape[axis + 1 :])


def _gather(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    (x,) = types
    axis, indices = attrs["axis"], attrs["indices"]
    if indices.size and not (indices.min() >= 0 and indices.max() < x.shape[axis]):
        raise ValueError(f"Gather index outside axis {axis} of {x.shape}")
    return (Type(_gathered(axis, x.shape, indices.shape), x.dtype),)


#: Operators that read their first input at places that their second input holds at run time.
RUNTIME_INDEXED = ("GatherDyn", "GatherElementsDyn", "GatherNDDyn")


class OutsideError(ValueError):
    """``value`` is no index into ``size`` elements."""

    def __init__(self, value: int, size: int):
        super().__init__(f"index {value} of {size}")
        self.value, self.size = value, size


def _wrapped(indices: np.ndarray, size: int) -> np.ndarray:
    """Indices with negative ones counted from the end. Raises :class:`OutsideError` for the first one outside."""
    outside = (indices < -size) | (indices >= size)
    if outside.any():
        raise OutsideError(int(indices[outside][0]), size)
    return np.where(indices < 0, indices + size, indices).astype(np.int64)


def _check_indices(indices: Type, *extents: int) -> None:
    if indices.dtype not in ("int32", "int64"):
        raise ValueError(f"indices are {indices.dtype}, must be int32 or int64")
    if 0 in extents and indices.size:
        raise ValueError("no index is inside an axis of 0 elements")


def _gather_dyn(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    x, indices = types
    _check_indices(indices, x.shape[attrs["axis"]])
    return (Type(_gathered(attrs["axis"], x.shape, indices.shape), x.dtype),)


def _gather_dyn_eval(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    x, indices = args
    return (np.take(x, _wrapped(indices, x.shape[attrs["axis"]]), axis=attrs["axis"]),)


def _gather_elements(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    (x, indices), axis = types, attrs["axis"]
    _check_indices(indices, x.shape[axis])
    inside = [i == axis or n <= m for i, (n, m) in enumerate(zip(indices.shape, x.shape))]
    if len(indices.shape) != len(x.shape) or not all(inside):
        raise ValueError(f"GatherElements of {x.shape} by indices of {indices.shape}")
    return (Type(indices.shape, x.dtype),)


def _gather_elements_eval(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    (x, indices), axis = args, attrs["axis"]
    places = list(np.indices(indices.shape, sparse=True))
    places[axis] = _wrapped(indices, x.shape[axis])
    return (x[tuple(places)],)


def _gather_nd(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    (x, indices), batch = types, attrs["batch"]
    if not batch < min(len(x.shape), len(indices.shape)) or x.shape[:batch] != indices.shape[:batch]:
        raise ValueError(f"{batch} batch axes of {x.shape} and indices of {indices.shape}")
    depth = indices.shape[-1]
    if not 1 <= depth <= len(x.shape) - batch:
        raise ValueError(f"indices of {depth} coordinates into {x.shape} after {batch} batch axes")
    _check_indices(indices, *x.shape[batch : batch + depth])
    return (Type((*indices.shape[:-1], *x.shape[batch + depth :]), x.dtype),)


def _gather_nd_eval(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    (x, indices), batch = args, attrs["batch"]
    lead = np.indices(indices.shape[:-1], sparse=True)[:batch]
    depth = range(indices.shape[-1])
    return (x[(*lead, *(_wrapped(indices[..., j], x.shape[batch + j]) for j in depth))],)


def _pad(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    (x,) = types
    before, after = attrs["before"], attrs["after"]
    if not len(before) == len(after) == len(x.shape) or min((*before, *after), default=0) < 0:
        raise ValueError(f"pad {before} {after} does not fit {x.shape}")
    return (Type(tuple(b + d + a for b, d, a in zip(before, x.shape, after)), x.dtype),)


def _pad_eval(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    width = list(zip(attrs["before"], attrs["after"]))
    if not width:
        return (args[0],)
    return (np.pad(args[0], width, constant_values=np.asarray(attrs["value"]).astype(args[0].dtype)),)


def _row(
    name: str,
    fusion: str,
    dependent: bool,
    arity: tuple[int, int],
    attrs: tuple[str, ...],
    infer: Any,
    ev: Any,
    doc: str,
) -> OpInfo:
    return OpInfo(name, TRANSFORMATIVE, fusion, dependent, False, arity, attrs, infer, ev, doc)


TABLE: list[OpInfo] = [
    _row("Identity", ONE_TO_ONE, False, (1, 1), (), lambda _, t: (t[0],), lambda _, v: (v[0],),
         "only where a graph output is an input, a constant or another output"),
    _row("Reshape", REORGANIZE, True, (1, 1), ("shape",), _reshape, lambda a, v: (v[0].reshape(a["shape"]),),
         "shape: whole output shape (also Flatten, Squeeze, Unsqueeze)"),
    _row("Transpose", SHUFFLE, True, (1, 1), ("perm",), _transpose, lambda a, v: (v[0].transpose(a["perm"]),),
         "output axis i is input axis perm[i]"),
    _row("Slice", ONE_TO_ONE, False, (1, 1), ("starts", "steps", "shape"), _slice, _slice_eval,
         "per axis: input coordinate = start + step * output coordinate; shape: output; steps may be < 0"),
    _row("Split", ONE_TO_ONE, False, (1, 1), ("axis", "sizes"), _split, _split_eval, "one output per size"),
    _row("Concat", ONE_TO_ONE, False, (1, 1 << 16), ("axis",), _concat,
         lambda a, v: (np.concatenate(v, axis=a["axis"]),), "axis >= 0"),
    _row("Expand", ONE_TO_MANY, False, (1, 1), ("shape",), _expand,
         lambda a, v: (np.broadcast_to(v[0], a["shape"]),), "broadcast to the whole output shape"),
    _row("Gather", ONE_TO_MANY, False, (1, 1), ("axis", "indices"), _gather,
         lambda a, v: (np.take(v[0], a["indices"], axis=a["axis"]),),
         "indices: constant int64 array, 0 <= index < size; a scalar or arithmetic progression is a Slice"),
    _row("GatherDyn", ONE_TO_MANY, True, (2, 2), ("axis",), _gather_dyn,
         _gather_dyn_eval, "inputs data, indices (run-time int32 or int64; negative counts from the end)"),
    _row("GatherElementsDyn", ONE_TO_MANY, True, (2, 2), ("axis",), _gather_elements, _gather_elements_eval,
         "inputs data, indices of the same rank: the element at the output's own coordinates but for axis"),
    _row("GatherNDDyn", ONE_TO_MANY, True, (2, 2), ("batch",), _gather_nd, _gather_nd_eval,
         "inputs data, indices [..., depth]: coordinates of data's depth axes after batch axes that both share"),
    _row("Pad", ONE_TO_ONE, False, (1, 1), ("before", "after", "value"), _pad, _pad_eval,
         "constant padding, amounts >= 0 per axis (reflect, edge, wrap: Gather; negative: Slice)"),
]  # fmt: skip
