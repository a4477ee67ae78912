"""What a paired comparison can find: the minimum detectable effect of the exact signed-rank test."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

DRAWS = 4000


def signed_rank_statistics(differences: np.ndarray) -> np.ndarray:
    """Sum of the ranks of positive differences, row by row. ``differences``: [comparisons, pairs]."""
    order = np.argsort(np.abs(differences), axis=1)
    positive = np.take_along_axis(differences, order, axis=1) > 0
    return positive @ np.arange(1, differences.shape[1] + 1)


@lru_cache(maxsize=256)
def null_cumulative(pairs: int) -> tuple[float, ...]:
    """P(W <= w), w = 0..n(n+1)/2: the signed-rank statistic of n pairs whose differences are symmetric."""
    chance = np.zeros(pairs * (pairs + 1) // 2 + 1)
    chance[0] = 1.0
    for rank in range(1, pairs + 1):
        chance[rank:] = chance[rank:] + chance[:-rank].copy()
        chance /= 2.0
    return tuple(float(c) for c in np.cumsum(chance))


def largest_low(pairs: int, alpha: float) -> int | None:
    """Largest w with P(W <= w) <= alpha under the null; ``None`` where even W = 0 is too likely."""
    w = int(np.searchsorted(null_cumulative(pairs), alpha * (1 + 1e-12), side="right")) - 1
    return None if w < 0 else w


@lru_cache(maxsize=512)
def detectable_shift(pairs: int, alpha: float, power: float) -> float | None:
    """Shift, in standard deviations of d, that the test finds with probability ``power``.

    By simulation of normal differences with a fixed seed (common random numbers make the power a monotone
    function of the shift, so bisection is safe). ``None`` where no outcome of so few pairs reaches ``alpha``.
    """
    low = largest_low(pairs, alpha) if pairs > 0 else None
    if low is None:
        return None
    critical = pairs * (pairs + 1) // 2 - low
    noise = np.random.default_rng(20240229).normal(size=(DRAWS, pairs))
    lo, hi = 0.0, 64.0
    for _ in range(24):
        middle = (lo + hi) / 2.0
        found = (signed_rank_statistics(noise + middle) >= critical).mean()
        lo, hi = (lo, middle) if found >= power else (middle, hi)
    return hi


def pairs_needed(alpha: float) -> int:
    """Fewest pairs that can ever be significant at ``alpha``: 7 at 1 %."""
    return next(n for n in range(1, 1024) if 0.5**n <= alpha)
