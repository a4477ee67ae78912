"""Predicted nanoseconds of walking over a value in a given layout.

``vectors`` that lie in one piece cost one instruction, others one per lane; every cache line that was not touched
within the reach of the first-level (second-level) cache costs a fetch from the level behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecp.passes.layoutwalk import Access


@dataclass(frozen=True)
class Row:
    """Costs in nanoseconds on one core: a vector of 16 floats, one float alone, a line from L2, a line from beyond.

    ``near`` and ``far``: elements accessed before a line has left the first and the second cache.
    """

    vector: float
    scalar: float
    line: float
    memory: float
    near: int
    far: int


#: Rows by device class. ``cpu``: measured by ``python -m ecp explain --calibrate`` (`ecp.tune.layoutprobe`) on an
#: Intel Xeon with AVX-512 under the Intel OpenCL runtime 2026.2. Classes without a measured row keep the rule.
ROWS: dict[str, Row] = {
    "cpu": Row(vector=0.17, scalar=0.26, line=0.39, memory=14.0, near=12288, far=1 << 19),
}

LINE = 16  # floats in a cache line
WINDOWS = 4  # pieces of a long walk that are counted


def cost(row: Row, access: Access, offsets: np.ndarray) -> float:
    """Nanoseconds of one access to a value stored at ``offsets`` (element offset of each logical element)."""
    flat = offsets.reshape(-1)
    if access.own:
        # An element-wise launch walks in storage order: whole vectors, every line once.
        return access.repeats * flat.size * (row.vector / LINE + row.memory / LINE)
    at = flat[access.walk]
    steps, lanes = at.shape
    whole = int(np.all(np.diff(at, axis=1) == 1, axis=1).sum()) if lanes > 1 else 0
    instructions = row.vector * whole + row.scalar * lanes * (steps - whole)
    lines = at.reshape(-1) // LINE
    near, far = fetched(lines, row.near), fetched(lines, row.far)
    # Lines that stay in a cache from one repeat to the next are fetched once. Scattered elements fill more of it.
    footprint = (access.span or flat.size) * max(1.0, near * LINE / at.size)
    near *= access.repeats if footprint > row.near else 1.0
    far *= access.repeats if footprint > row.far else 1.0
    return access.repeats * instructions + row.line * max(0.0, near - far) + row.memory * far


def fetched(lines: np.ndarray, reach: int) -> float:
    """Lines fetched by a walk: distinct ones in every piece of ``reach`` accesses, from a few pieces of it."""
    pieces = max(1, -(-lines.size // reach))
    chosen = np.unique(np.linspace(0, pieces - 1, min(pieces, WINDOWS)).astype(int))
    parts = [lines[p * reach : (p + 1) * reach] for p in chosen]
    counts, seen = 0, np.zeros(int(lines.max(initial=0)) + 1, bool)
    for part in parts:
        seen[part] = True
        counts += int(np.count_nonzero(seen))
        seen[part] = False
    return counts / max(1, sum(p.size for p in parts)) * lines.size
