"""Interval of a proportion (top-1 accuracy, agreement)."""

from __future__ import annotations

import math

from scipy.stats import norm


def wilson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of ``successes / trials`` as fractions in [0, 1].

    Sensible at 0 and at 100 %, where the textbook interval has no width. ``trials`` = 0 gives (0, 1).
    Raises ``ValueError`` for impossible counts.
    """
    if trials < 0 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is not a proportion")
    if trials == 0:
        return 0.0, 1.0
    z = float(norm.ppf((1.0 + level) / 2.0))
    share = successes / trials
    scale = 1.0 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / scale
    lo = 0.0 if successes == 0 else centre - half
    hi = 1.0 if successes == trials else centre + half
    return lo, hi
