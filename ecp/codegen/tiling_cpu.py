"""How the work of a product on a CPU device is cut: register tile, row blocks, column panels, pieces of k.

A unit is (block of rows, group of column panels, range of row tiles). Where there are rows enough, every worker has
rows of its own, the same ones launch after launch: what a launch writes is what the same core reads in the next.
Otherwise workers take units from one queue (:mod:`ecp.codegen.queue`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from ecp.codegen.contraction import Contraction
from ecp.codegen.queue import UNITS_PER_WORKER
from ecp.codegen.schedule import Schedule


@dataclass(frozen=True)
class Tiling:
    """Work of one launch cut into ``row_blocks`` x ``groups`` x ``splits`` units."""

    mr: int
    nr: int
    vec: int
    tiles: int  # row tiles per block: what is packed at once
    row_blocks: int
    panels: int  # column panels per unit
    groups: int  # units along n
    splits: int  # ranges of row tiles that one packed block is cut into
    chunks: int = 1  # pieces of k, so that a piece of A's rows stays in L1 and a piece of B's panel in L2
    own_rows: int = (
        0  # row tiles in all where workers keep rows of their own (blocks are multiples of them), else 0
    )

    @property
    def units(self) -> int:
        """Units of one batch element."""
        return self.row_blocks * self.groups * self.splits

    @property
    def range(self) -> int:
        """Row tiles per unit."""
        return ceil(self.tiles / self.splits)


def tiling(c: Contraction, s: Schedule, packed: bool) -> Tiling:
    """Cut along the longer side: every worker brings the whole of the other operand into its cache.

    ``packed``: rows of A go through a private buffer of at most ``pack_bytes``.
    """
    vec = s.vec
    while vec > 4 and (c.n <= vec // 2 or (c.weights is None and c.n % vec and c.n % 4 == 0)):
        vec //= 2
    nr = min(s.nr, ceil(c.n / vec))
    # Few columns leave accumulators free for rows.
    mr = min(c.m, max(s.mr, min(14, s.mr * s.nr // nr)))
    panels, tiles = ceil(c.n / (nr * vec)), ceil(c.m / mr)
    chunks = _chunks(c, s)
    wanted = ceil(UNITS_PER_WORKER * s.workers / prod(c.batch))
    most = max(1, s.pack_bytes // (4 * mr * (c.k // chunks))) if packed else tiles
    blocks = _own_blocks(c, s, tiles, panels, most)
    if blocks:
        # A block begins and ends a tile later in some panels (see row_range): packed is what any of them needs.
        spare = 1 if packed and tiles % blocks else 0
        return Tiling(mr, nr, vec, ceil(tiles / blocks) + spare, blocks, 1, panels, 1, chunks, tiles)
    if c.m <= c.n or (packed and 4 * c.k * c.n > s.stream_bytes):
        row_blocks = ceil(tiles / most)
        tiles = ceil(tiles / row_blocks)
        # Pieces of k are packed again for every unit, so their blocks are not split.
        splits = 1 if packed and chunks > 1 else max(1, min(tiles, ceil(wanted / (row_blocks * panels))))
        splits = ceil(tiles / ceil(tiles / splits))
        return Tiling(mr, nr, vec, tiles, row_blocks, 1, panels, splits, chunks)
    row_blocks = max(ceil(tiles / most), min(wanted, tiles))
    tiles = ceil(tiles / row_blocks)
    return Tiling(mr, nr, vec, tiles, ceil(ceil(c.m / mr) / tiles), panels, 1, 1, chunks)


def row_range(t: Tiling, block: str, group: str) -> tuple[str, str, str]:
    """C text of a block's first packed tile and of the tiles ``begin`` to ``end`` that it computes in a panel.

    33 tiles for two workers: 16 each, and the odd one goes to the first in one half of the panels, to the second in
    the other.
    """
    n, total = t.row_blocks, t.own_rows
    phase = f"(2*{group} + 1)*{n}/{2 * t.groups}"
    return (
        f"{block}*{total}/{n}",
        f"({block}*{total} + {phase})/{n}",
        f"(({block} + 1)*{total} + {phase})/{n}",
    )


def _own_blocks(c: Contraction, s: Schedule, tiles: int, panels: int, most: int) -> int:
    """Blocks of rows, a multiple of the workers; 0 where a worker has too few rows to make use of a panel.

    ``most``: tiles that may be packed at once. Weights that stay in L2 may be read again for finer blocks.
    """
    if not s.cpu or prod(c.batch) > 1 or c.weights is None or c.sweep or tiles < 8 * s.workers:
        return 0
    each = ceil(tiles / s.workers / max(1, most - 1))
    if 4 * c.k * c.n <= s.stream_bytes:
        each = max(each, round(UNITS_PER_WORKER / panels))
    return each * s.workers


def _chunks(c: Contraction, s: Schedule) -> int:
    """Number of pieces of k; cut along the outermost extent; a normalisation needs its whole row."""
    if c.norm is not None or c.k <= s.chunk_k * 3 // 2:
        return 1
    for n in range(ceil(c.k / s.chunk_k), 65):
        piece = c.k // n
        if c.k_shape[0] % n == 0 and piece % 16 == 0:
            return n
    return 1
