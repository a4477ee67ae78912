"""What each transformative operator does to coordinates.

``pull`` answers a consumer ("element ``coords`` of the output is which element of the input?"),
``push`` answers a producer ("where does my element ``coords`` go in the output?", bijections only),
``view_through`` carries a digit view through the operator. Attributes are those of the op table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ecp.index.expr import Expr, lookup, wrap
from ecp.index.view import View

Coords = list[Expr]


def delinearize(flat: Expr, shape: Sequence[int]) -> Coords:
    """Row-major coordinates of a flat index."""
    out: Coords = []
    for i, extent in enumerate(shape):
        step = flat // prod(shape[i + 1 :])
        out.append(step if i == 0 else step % extent)
    return out


def linearize(coords: Sequence[Expr], shape: Sequence[int]) -> Expr:
    """Row-major flat index of coordinates."""
    total = wrap(0)
    for coord, extent in zip(coords, shape):
        total = total * extent + coord
    return total


def reshape(coords: Sequence[Expr], source: Sequence[int], target: Sequence[int]) -> Coords:
    """Coordinates in ``target`` of the element at ``coords`` in ``source``.

    Works on the smallest groups of axes with equal products, which keeps expressions short.
    """
    out: Coords = []
    i = j = 0
    while i < len(source) or j < len(target):
        a, b, pa, pb = i, j, 1, 1
        while True:
            if pa == pb and (i > a or j > b):
                break
            if (pa <= pb and i < len(source)) or j >= len(target):
                pa *= source[i]
                i += 1
            else:
                pb *= target[j]
                j += 1
        out += delinearize(linearize(coords[a:i], source[a:i]), target[b:j])
    return out


def broadcast(coords: Sequence[Expr], shape: Sequence[int]) -> Coords:
    """Coordinates in an operand of ``shape`` that numpy broadcasting reads for output ``coords``."""
    tail = coords[len(coords) - len(shape) :] if shape else []
    return [wrap(0) if n == 1 else c for c, n in zip(tail, shape)]


def pull(
    op: str,
    attrs: Mapping[str, Any],
    coords: Coords,
    in_shape: tuple[int, ...],
    out_shape: tuple[int, ...],
    port: int = 0,
) -> Coords | None:
    """Input coordinates of the element at output ``coords``; None where the operator is piecewise."""
    if op == "Reshape":
        return reshape(coords, out_shape, in_shape)
    if op == "Transpose":
        out = [wrap(0)] * len(coords)
        for i, p in enumerate(attrs["perm"]):
            out[p] = coords[i]
        return out
    if op == "Expand":
        return broadcast(coords, in_shape)
    if op == "Slice":
        return [c * step + start for c, start, step in zip(coords, attrs["starts"], attrs["steps"])]
    if op == "Split":
        axis = attrs["axis"] % len(coords)
        start = sum(attrs["sizes"][:port])
        return [c + start if i == axis else c for i, c in enumerate(coords)]
    if op == "Gather":
        axis = attrs["axis"] % len(in_shape)
        indices = attrs["indices"]
        rank = indices.ndim
        flat = linearize(coords[axis : axis + rank], indices.shape)
        extent = in_shape[axis]
        table = tuple(int(v) % extent for v in indices.reshape(-1))
        return [*coords[:axis], lookup(table, flat), *coords[axis + rank :]]
    return None


def push(
    op: str, attrs: Mapping[str, Any], coords: Coords, in_shape: tuple[int, ...], out_shape: tuple[int, ...]
) -> Coords | None:
    """Output coordinates of the input element at ``coords``; None where the operator is no bijection."""
    if op == "Reshape":
        return reshape(coords, in_shape, out_shape)
    if op == "Transpose":
        return [coords[p] for p in attrs["perm"]]
    if op == "Gather":
        # A permutation: element i goes where the table reads i.
        inverse = tuple(int(v) for v in np.argsort(attrs["indices"]))
        return [lookup(inverse, c) if i == attrs["axis"] else c for i, c in enumerate(coords)]
    if op == "Expand" and prod(in_shape) == prod(out_shape):
        return reshape(coords, in_shape, out_shape)
    return None


def view_through(
    op: str, attrs: Mapping[str, Any], view: View, out_shape: tuple[int, ...], port: int = 0
) -> View | None:
    """The digit view of the operator's output, given the view of its input; None if digits cannot say it."""
    if op == "Reshape":
        return view.reshape(out_shape)
    if op == "Transpose":
        return view.permute(tuple(attrs["perm"]))
    if op == "Expand":
        return view.broadcast(out_shape)
    if op == "Slice":
        return view.slice(tuple(attrs["starts"]), tuple(attrs["steps"]), out_shape)
    if op == "Split":
        axis = attrs["axis"] % len(out_shape)
        starts = tuple(sum(attrs["sizes"][:port]) if i == axis else 0 for i in range(len(out_shape)))
        return view.slice(starts, (1,) * len(out_shape), out_shape)
    return None
