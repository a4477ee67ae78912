"""Activations in planes: [K/8][M][8] instead of [M][K], where only products by ``wgmma`` read them.

A plane holds 8 steps along k of every row, which is what the tensor cores read: 8 rows of a plane are one matrix of
128 bytes, and rows that follow each other one copy. The producer writes runs of 8 or 4 whatever the layout is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ecp.codegen.contraction import Contraction
from ecp.codegen.probe import AddressProbe
from ecp.codegen.ptx_gpu import plain
from ecp.codegen.reader import Env, Reader, lane, lane_stride
from ecp.index.expr import Expr, Var, var
from ecp.index.view import Axis, Digit, View
from ecp.passes.storage import Storage


def planes(env: Env, c: Contraction) -> str | None:
    """The buffer of A where it is in planes, else None."""
    return _reads(env, c, 8, 8 * c.m)


def rows(env: Env, c: Contraction) -> str | None:
    """The buffer of A where it is dense row by row, else None."""
    return _reads(env, c, c.k, 8)


def runs(env: Env, c: Contraction) -> tuple[str, Expr] | None:
    """(buffer, address of 8 values that lie together, by ``row`` and ``step`` of 8 along k) of A, else None."""

    def read(reader: Reader) -> str:
        return c.read_a(reader, [], var("row", c.m), var("step", c.k // 8) * 8 + lane(8))

    if not plain(env, 8, read):
        return None
    probe = AddressProbe(env, 8)
    found = probe.address(read)
    if found is None:
        return None
    stride, at = lane_stride(found[1], probe.lane)
    return (found[0], at) if stride == 1 else None


def _reads(env: Env, c: Contraction, row: int, step: int) -> str | None:
    """The buffer of A where 8 values lie together, rows ``row`` elements apart and the next 8 steps ``step``."""
    found = runs(env, c)
    want = Expr(((Var("row", 0, c.m - 1), 1),)) * row + Expr(((Var("step", 0, c.k // 8 - 1), 1),)) * step
    return found[0] if found is not None and found[1] == want else None


def in_planes(view: View, m: int, k: int) -> View | None:
    """``view`` of m x k dense elements with the same elements in planes; None where a digit crosses a plane."""
    axes: list[Axis] = []
    for axis in view.axes:
        digits: list[Digit] = []
        for d in axis:
            if d.stride % k == 0:
                digits.append(Digit(d.radix, d.stride // k * 8))
            elif d.stride % 8 == 0 and d.radix * d.stride <= k:
                digits.append(Digit(d.radix, d.stride * m))
            elif d.stride == 1 and d.radix % 8 == 0 and d.radix <= k:
                digits += [Digit(d.radix // 8, 8 * m), Digit(8, 1)]
            else:
                return None
        axes.append(tuple(d for d in digits if d.radix > 1))
    return View(tuple(axes)) if view.offset == 0 else None


def stored_in_planes(view: View) -> bool:
    """True where runs of 8 along the last axis lie in planes."""
    last = view.axes[-1] if view.axes else ()
    return len(last) == 2 and last[1] == Digit(8, 1)


def move(env: Env, users: Iterable[tuple[list[str], Contraction | None]]) -> Env:
    """``env`` with values in planes that only such products read as A, as they are stored.

    ``users``: every launch's inputs, and its product where it would read planes.
    """
    users = list(users)
    storage = dict(env.storage)
    for _, c in users:
        buffer = rows(env, c) if c is not None else None
        if c is None or buffer is None:
            continue
        stored = [v for v, s in env.storage.items() if s.buffer == buffer]
        b = env.buffers[buffer]
        own = len(stored) == 1 and (b.kind, b.dtype, b.elements) == ("arena", "float16", c.m * c.k)
        readers = [p for inputs, p in users if own and stored[0] in inputs]
        if not own or any(p is None or (p.m, p.k) != (c.m, c.k) or rows(env, p) != buffer for p in readers):
            continue
        view = in_planes(env.storage[stored[0]].view, c.m, c.k)
        if view is not None:
            storage[stored[0]] = Storage(buffer, view)
    return replace(env, storage=storage)
