"""How the work of a product on a CPU device is cut: register tile, row blocks, column panels, pieces of k.

A unit is (block of rows, group of column panels, range of row tiles); workers take units from a queue
(:mod:`ecp.codegen.queue`). What a unit reads twice should still be in the L2 of the core that read it first.
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


def _chunks(c: Contraction, s: Schedule) -> int:
    """Number of pieces of k; cut along the outermost extent; a normalisation needs its whole row."""
    if c.norm is not None or c.k <= s.chunk_k * 3 // 2:
        return 1
    for n in range(ceil(c.k / s.chunk_k), 65):
        piece = c.k // n
        if c.k_shape[0] % n == 0 and piece % 16 == 0:
            return n
    return 1
