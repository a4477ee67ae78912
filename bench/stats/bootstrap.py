"""Hierarchical bootstrap of the headline number: the median over blocks of the block medians.

A block is one process; iterations inside it share its memory layout, its clock and its luck, so resampling
them alone would claim a precision that another process does not reproduce. Both levels are resampled: first
blocks, then iterations within each drawn block (Kalibera and Jones 2013; see MATH.md, section 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 4000


def _checked(blocks: Sequence[Sequence[float]]) -> list[np.ndarray]:
    arrays = [np.sort(np.asarray(b, dtype=np.float64)) for b in blocks]
    if not arrays or any(a.size == 0 for a in arrays):
        raise ValueError("every block needs at least one sample, and there must be at least one block")
    if any(not np.isfinite(a).all() for a in arrays):
        raise ValueError("samples must be finite")
    return arrays


def _resampled_medians(ordered: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Medians of ``draws`` resamples (with replacement) of one sorted block, each in constant time.

    Drawing m times from m values is drawing m uniforms U and taking ``ordered[floor(m*U)]``; the k-th order
    statistic of those uniforms is Beta(k, m+1-k), so the resample's median needs only one or two draws.
    """
    m = ordered.size
    k = (m + 1) // 2
    low = rng.beta(k, m + 1 - k, size=draws)
    lower = ordered[np.minimum((low * m).astype(np.int64), m - 1)]
    if m % 2:
        return lower
    high = low + (1.0 - low) * rng.beta(1, m - k, size=draws)
    upper = ordered[np.minimum((high * m).astype(np.int64), m - 1)]
    return (lower + upper) / 2.0


def hierarchical_median_ci(
    blocks: Sequence[Sequence[float]], level: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """Median of block medians with a percentile bootstrap interval: ``(median, lo, hi)``.

    ``blocks``: one sequence of samples (any unit) per process; lengths may differ. ``level``: coverage in
    (0, 1). The same ``seed`` gives the same interval. With a single block the interval holds only the spread
    inside that process: too narrow by an unknown amount, so callers should say how many blocks there were.
    Raises ``ValueError`` on no blocks, an empty block, a non-finite sample or a bad level.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    arrays = _checked(blocks)
    rng = np.random.default_rng(seed)
    n = len(arrays)
    chosen = rng.integers(0, n, size=(RESAMPLES, n))
    medians = np.empty((RESAMPLES, n))
    for index, ordered in enumerate(arrays):
        drawn = chosen == index
        medians[drawn] = _resampled_medians(ordered, int(drawn.sum()), rng)
    statistic = np.median(medians, axis=1)
    tail = (1.0 - level) / 2.0
    lo, hi = np.quantile(statistic, [tail, 1.0 - tail])
    centre = float(np.median([np.median(a) for a in arrays]))
    return centre, min(float(lo), centre), max(float(hi), centre)
