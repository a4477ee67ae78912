"""Which tile a work-group of a GPU takes of a product: a small model of one multiprocessor, searched exhaustively.

Costs are clocks of one multiprocessor. They only rank tiles of one product against each other: what matters is
how the tiles divide the result among the multiprocessors, how much each reads, and how many registers' worth
of work a read of local memory feeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil

from ecp.codegen.schedule import Schedule

SIDES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 13, 16, 20, 24, 32)


@dataclass(frozen=True)
class LocalTile:
    """``wx`` x ``wy`` work-items of ``mr`` rows and ``nr`` vectors of 4 columns, ``wk`` times: each of the ``wk``
    sets takes ``kb`` of every ``wk*kb`` steps along k, and their sums meet in local memory.
    """

    mr: int
    nr: int
    wx: int
    wy: int
    wk: int
    kb: int

    @property
    def items(self) -> int:
        """Work-items of a work-group."""
        return self.wx * self.wy * self.wk

    @property
    def rows(self) -> int:
        """Rows of a work-group's tile."""
        return self.mr * self.wy

    @property
    def vectors(self) -> int:
        """Column vectors of a work-group's tile."""
        return self.nr * self.wx

    @property
    def columns(self) -> int:
        """Columns of a work-group's tile."""
        return 4 * self.vectors

    @property
    def chunk(self) -> int:
        """Steps along k that are in local memory at once."""
        return self.wk * self.kb

    @property
    def stage_floats(self) -> int:
        """Local floats of one chunk of both operands; rows of A are padded by a vector, against bank conflicts."""
        return self.rows * (self.chunk + 4) + self.chunk * self.columns

    def groups(self, m: int, n: int, batch: int) -> int:
        """Work-groups of the launch."""
        return ceil(m / self.rows) * ceil(n / self.columns) * batch

    def sums(self, local_bytes: int) -> int:
        """How many of the ``wk`` partial tiles are in local memory at once when they meet."""
        live = self.wk
        while live > 1 and live * self.rows * self.columns * 4 > local_bytes:
            live //= 2
        return live

    def local_floats(self, local_bytes: int) -> int:
        """Local memory of the launch: two chunks, then the sums in the same place."""
        return max(2 * self.stage_floats, self.sums(local_bytes) * self.rows * self.columns)

    def stages(self, local_bytes: int) -> int:
        """Chunks in local memory at once where copies are asynchronous."""
        return max(2, min(4, local_bytes // (4 * self.stage_floats)))


@dataclass(frozen=True)
class TensorTile:
    """``wm`` x ``wn`` warps of ``mf`` x ``nf`` tiles of 16 x 8 results, ``wk`` times: each of the ``wk`` sets takes
    ``kb`` of every ``wk*kb`` steps along k. Operands are halves.
    """

    mf: int
    nf: int
    wm: int
    wn: int
    wk: int
    kb: int

    @property
    def items(self) -> int:
        """Work-items of a work-group."""
        return 32 * self.wm * self.wn * self.wk

    @property
    def rows(self) -> int:
        """Rows of a work-group's tile."""
        return 16 * self.mf * self.wm

    @property
    def columns(self) -> int:
        """Columns of a work-group's tile."""
        return 8 * self.nf * self.wn

    @property
    def vectors(self) -> int:
        """Column vectors of 4 of a work-group's tile."""
        return self.columns // 4

    @property
    def chunk(self) -> int:
        """Steps along k that are in local memory at once."""
        return self.wk * self.kb

    @property
    def stage_bytes(self) -> int:
        """Local bytes of one chunk of both operands; rows are padded by 16 bytes, against bank conflicts."""
        return self.rows * (2 * self.chunk + 16) + self.chunk * (2 * self.columns + 16)

    def groups(self, m: int, n: int, batch: int) -> int:
        """Work-groups of the launch."""
        return ceil(m / self.rows) * ceil(n / self.columns) * batch

    def sums(self, local_bytes: int) -> int:
        """Partial tiles in local memory at once when they meet: all of them."""
        return self.wk

    def stages(self, local_bytes: int) -> int:
        """Chunks in local memory at once."""
        return max(2, min(4, local_bytes // self.stage_bytes))


@lru_cache(maxsize=4096)
def tensor_tile(m: int, n: int, k: int, batch: int, norm: bool, s: Schedule) -> TensorTile:
    """The cheapest tile for tensor cores."""
    found = []
    for wm, wn, wk in _warps(s.wg[0] * s.wg[1] // 32):
        for mf, nf, kb in product((1, 2, 4), (2, 4, 6, 8), (16, 32, 64)):
            t = TensorTile(mf, nf, wm, wn, wk, kb)
            bytes_ = max(2 * t.stage_bytes, t.wk * t.rows * t.columns * 4)
            whole = t.rows < 2 * max(16, m) and t.columns < 2 * max(16, n) and t.chunk < 2 * max(32, k)
            if 32 <= t.chunk <= 256 and mf * nf <= 16 and whole and bytes_ <= s.local_bytes:
                found.append(t)
    # Something for every shape and schedule.
    found = found or [TensorTile(1, 2, 1, 1, max(2, s.wg[0] * s.wg[1] // 32), 16)]
    return min(found, key=lambda t: _tensor_cost(t, m, n, k, batch, norm, s))


def _warps(most: int) -> Iterator[tuple[int, int, int]]:
    for wm in (1, 2, 4):
        for wn in (1, 2, 4):
            for wk in (1, 2, 4, 8):
                if most // 2 <= wm * wn * wk <= most:
                    yield wm, wn, wk


def _tensor_cost(t: TensorTile, m: int, n: int, k: int, batch: int, norm: bool, s: Schedule) -> float:
    share = ceil(t.groups(m, n, batch) / s.groups)
    resident = min(share, 2 if t.stages(s.local_bytes) * t.stage_bytes <= 112 << 10 else 1)
    warps, slices = t.items // 32, t.kb // 16
    multiply = warps * slices * t.mf * t.nf * 2048 / 1300
    local = warps * slices * (t.mf + t.nf / 2) * 4 + (t.rows + t.columns) * t.chunk * 2 / 128
    memory = (t.rows + t.columns) * t.chunk * 2 / 48
    once = max(multiply, local, memory) + 0.3 * (multiply + local)
    tail = _tail(t.rows, t.columns, t.items, t.wk) + (t.rows * k * 2 / 48 + 1200 if norm else 0)
    return _rounds(share, resident, ceil(k / t.chunk), once, 900 / (t.stages(s.local_bytes) - 1), tail)


def _rounds(share: int, resident: int, chunks: int, once: float, latency: float, tail: float) -> float:
    """Clocks of the busiest multiprocessor: ``resident`` work-groups hide each other's waiting."""
    return ceil(share / resident) * (
        1500 + chunks * max(resident * once, latency) + tail * (1 + 0.5 * (resident - 1))
    )


def _tail(rows: int, columns: int, items: int, sets: int) -> float:
    """Sums meet, epilogue, store."""
    return 800 + sets * rows * columns / 16 + rows * columns / 4 / items * 60


@lru_cache(maxsize=4096)
def async_tile(m: int, n: int, k: int, batch: int, norm: bool, s: Schedule) -> LocalTile:
    """The cheapest tile where both operands arrive by asynchronous copies."""
    most, found = s.wg[0] * s.wg[1], []
    for mr in [r for r in (1, 2, 4, 5, 6, 7, 8) if r <= s.mr]:
        for wy in [y for y in SIDES if mr * y < 2 * m or mr * y == 1]:
            for nr in range(1, s.nr + 1):
                for wx in [x for x in SIDES if 4 * nr * x < 2 * max(4, n)]:
                    for wk in (1, 2, 4, 8, 16):
                        items = wx * wy * wk
                        if items % 32 or items > most or items * 2 < most:
                            continue
                        for kb in (4, 8, 16, 32, 64):
                            t = LocalTile(mr, nr, wx, wy, wk, kb)
                            if 16 <= t.chunk <= s.bk and t.chunk < 2 * max(16, k):
                                sums = t.wk * t.rows * t.columns * 4
                                if 8 * t.stage_floats <= s.local_bytes and sums <= s.local_bytes:
                                    found.append(t)
    if not found:
        found = [LocalTile(1, 1, 1, 1, 32, 4)]
    return min(found, key=lambda t: _async_cost(t, m, n, k, batch, norm, s))


def _async_cost(t: LocalTile, m: int, n: int, k: int, batch: int, norm: bool, s: Schedule) -> float:
    share = ceil(t.groups(m, n, batch) / s.groups)
    stages = t.stages(s.local_bytes)
    resident = min(share, 2 if stages * t.stage_floats * 4 <= 112 << 10 else 1)
    warps = t.items // 32
    fma = warps * (t.kb / 4) * (4 * t.mr * t.nr * 1.2 + (t.mr if norm else 0))
    across = min(t.wx, 32)
    reads = t.mr * max(1.5, ceil(32 / across) / 8) + 4 * t.nr * max(1.5, across / 8)
    local = warps * (t.kb / 4) * reads + (t.rows + t.columns) * t.chunk * 4 / 128
    memory = (t.rows + t.columns) * t.chunk * 4 / 48
    waiting = 1 + max(0.0, 0.6 - 0.05 * warps * resident)
    once = max(fma * waiting, local, memory) + 0.2 * (fma + local) + 60
    tail = _tail(t.rows, t.columns, t.items, t.wk) + (t.rows * k * 4 / 48 + 1200 if norm else 0)
    return _rounds(share, resident, ceil(k / t.chunk), once, 900 / (stages - 1), tail)


@lru_cache(maxsize=4096)
def local_tile(m: int, n: int, k: int, batch: int, norm: bool, s: Schedule) -> LocalTile:
    """The cheapest tile for ``batch`` products of m x k by k x n (``norm``: rows of A are normalised first)."""
    return min(_candidates(m, n, k, s), key=lambda t: _cost(t, m, n, k, batch, norm, s))


def _candidates(m: int, n: int, k: int, s: Schedule) -> Iterator[LocalTile]:
    most = s.wg[0] * s.wg[1]
    for mr in [r for r in (1, 2, 4, 5, 6, 7, 8) if r <= s.mr]:
        for wy in SIDES:
            if mr * wy >= 2 * m and mr * wy > 1:
                break
            for nr in range(1, s.nr + 1):
                for wx in SIDES:
                    if 4 * nr * wx >= 2 * max(4, n):
                        break
                    for wk in (1, 2, 4, 8, 16):
                        items = wx * wy * wk
                        if items > most or (items * 2 <= most and items < 64 and wk < 16):
                            continue
                        t = LocalTile(mr, nr, wx, wy, wk, max(4, min(16, s.bk // wk)))
                        small = items % (t.chunk // 4) == 0 and t.chunk < 2 * max(16, k)
                        if small and t.local_floats(s.local_bytes) * 4 <= s.local_bytes:
                            yield t
    # Something for every shape and schedule.
    yield LocalTile(1, 1, 4, 4, 1, 16)


def _cost(t: LocalTile, m: int, n: int, k: int, batch: int, norm: bool, s: Schedule) -> float:
    warps = ceil(t.items / 32)
    share = ceil(t.groups(m, n, batch) / s.groups)
    resident = min(share, 2)
    # Work of one chunk: multiply-adds, reads of local memory (a warp reads 32 // wx rows of A), staging.
    fma = warps * (t.kb / 4) * 4 * t.mr * t.nr
    across = min(t.wx, 32)
    reads = t.mr * max(1.0, ceil(32 / across) / 8) + 4 * t.nr * max(1.0, across / 8)
    local = warps * (t.kb / 4) * reads + (t.rows + t.columns) * t.chunk / 4 / 8
    memory = (t.rows + t.columns) * t.chunk * 4 / 48
    waiting = 1 + max(0.0, 0.9 - 0.1 * warps * resident)
    once = max(fma * waiting, local, memory) + 0.2 * (fma + local + memory) + 80 / resident
    tail = 1200 / resident + t.wk * t.rows * t.columns / 16 + t.rows * t.columns / 4 / t.items * 60
    if norm:
        tail += t.rows * k * 4 / 48 + 1000 / resident
    return share * (ceil(k / t.chunk) * once + tail)
