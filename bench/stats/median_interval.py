"""Median of few independent numbers with an exact interval that assumes no distribution (MATH.md, section 1)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy.stats import quantile_test

FEW = "six blocks"
"""Under so many numbers no interval of the median reaches 95 %."""


def blocks_interval(blocks: Sequence[Sequence[float]], level: float = 0.95) -> tuple[float, float] | None:
    """Interval of the median of block medians, from the block medians alone; None under :data:`FEW`.

    Samples inside a block share its process and add no independent ones. Raises ``ValueError`` on no blocks, an empty
    block or a sample that is not finite.
    """
    if not blocks or any(not all(map(math.isfinite, b)) for b in blocks):
        raise ValueError("there must be a block, and samples must be finite")
    found = median_interval([statistics.median(block) for block in blocks], level)
    return None if found is None else found[1:]


def median_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float] | None:
    """``(median, lo, hi)``: the order statistics between which the median lies with at least ``level``.

    From the binomial distribution of how many values fall below the median. None where the values are too few for
    any such interval (fewer than 6 at 95 %). Raises ``ValueError`` on no values.
    """
    if not values:
        raise ValueError("no values")
    interval = quantile_test(list(values), q=0.0, p=0.5).confidence_interval(level)
    low, high = float(interval.low), float(interval.high)
    if low != low or high != high:  # NaN: no order statistic reaches the level
        return None
    return statistics.median(values), low, high
