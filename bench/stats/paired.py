"""Paired comparison of two revisions: exact signed-rank test, Hodges-Lehmann estimate and bounds, verdict.

One pair is one block of A and one block of B, run back to back in random order; its number is
``d = log(median B / median A)``. Because the order inside each pair is drawn by a coin, d is symmetric about
zero when A and B are the same, whatever the machine drifts, and the signed-rank test is exact (MATH.md, 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.stats.power import detectable_shift, largest_low, null_cumulative

ALPHA = 0.01
MARGIN = 0.02
POWER = 0.9


def walsh_averages(differences: Sequence[float]) -> np.ndarray:
    """The n(n+1)/2 averages of pairs (i <= j), sorted."""
    d = np.asarray(differences, dtype=np.float64)
    if d.size == 0 or not np.isfinite(d).all():
        raise ValueError("differences must be finite and at least one")
    i, j = np.triu_indices(d.size)
    return np.sort((d[i] + d[j]) / 2.0)


def hodges_lehmann(differences: Sequence[float]) -> float:
    """Median of the Walsh averages: the estimate that belongs to the signed-rank test."""
    return float(np.median(walsh_averages(differences)))


def lower_bound(differences: Sequence[float], alpha: float = ALPHA) -> float:
    """Exact one-sided lower confidence bound of the shift at level ``1 - alpha``.

    Walsh average number w (from 0, ascending) for the largest w with P(W <= w) <= alpha; ``-inf`` where so
    few pairs cannot speak at that level (fewer than 7 at 1 %).
    """
    averages = walsh_averages(differences)
    low = largest_low(len(differences), alpha)
    return -math.inf if low is None else float(averages[low])


def upper_bound(differences: Sequence[float], alpha: float = ALPHA) -> float:
    """Exact one-sided upper bound; ``inf`` where there are too few pairs."""
    return -lower_bound([-d for d in differences], alpha)


def p_above(differences: Sequence[float], threshold: float) -> float:
    """Exact one-sided p-value of "the shift is above ``threshold``". Equality counts against the claim."""
    averages = walsh_averages(differences)
    above = int((averages > threshold).sum())
    total = averages.size
    # W >= above under the null has the same chance as W <= total - above.
    return float(null_cumulative(len(differences))[total - above])


def p_below(differences: Sequence[float], threshold: float) -> float:
    """Exact one-sided p-value of "the shift is below ``threshold``"."""
    return p_above([-d for d in differences], -threshold)


@dataclass(frozen=True)
class Comparison:
    """Outcome of comparing B with A. Ratios are B/A: 1.05 means that B takes 5 % longer.

    ``lo``/``hi``: one-sided bounds, each at ``1 - alpha``. ``p_regressed``/``p_improved``: p-values against
    the margin. ``mde``: smallest slow-down (ratio - 1) found with 90 % power with this many pairs and this
    noise; ``None`` where the pairs are too few for any.
    """

    pairs: int
    ratio: float
    lo: float
    hi: float
    p_regressed: float
    p_improved: float
    mde: float | None
    margin: float
    alpha: float
    verdict: str


def log_ratios(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """``log(b/a)`` pair by pair; block medians in any one unit, all above zero."""
    if len(a) != len(b):
        raise ValueError(f"{len(a)} blocks of A and {len(b)} of B do not make pairs")
    if any(not (math.isfinite(v) and v > 0) for v in (*a, *b)):
        raise ValueError("block medians must be finite and above zero")
    return [math.log(y / x) for x, y in zip(a, b, strict=True)]


def compare(
    a: Sequence[float], b: Sequence[float], margin: float = MARGIN, alpha: float = ALPHA
) -> Comparison:
    """Judge pairs of block medians (pair i is ``a[i]``, ``b[i]``).

    ``regressed`` where the lower bound lies above ``1 + margin``; ``improved`` where the upper bound lies
    below ``1/(1 + margin)``; ``unchanged`` where both bounds lie within the margin (two one-sided tests);
    ``inconclusive`` otherwise: more pairs or less noise needed.
    """
    return judge_differences(log_ratios(a, b), margin, alpha)


def judge_differences(d: Sequence[float], margin: float = MARGIN, alpha: float = ALPHA) -> Comparison:
    """As :func:`compare`, of log ratios made another way (turns: :mod:`bench.stats.adjacent`)."""
    limit = math.log1p(margin)
    lo, hi = lower_bound(d, alpha), upper_bound(d, alpha)
    if lo > limit:
        verdict = "regressed"
    elif hi < -limit:
        verdict = "improved"
    elif -limit < lo and hi < limit:
        verdict = "unchanged"
    else:
        verdict = "inconclusive"
    factor = detectable_shift(len(d), alpha, POWER)
    spread = float(np.std(d, ddof=1)) if len(d) > 1 else math.nan
    mde = None if factor is None or math.isnan(spread) else math.expm1(limit + factor * spread)
    return Comparison(
        pairs=len(d),
        ratio=math.exp(hodges_lehmann(d)),
        lo=math.exp(lo),
        hi=math.exp(hi),
        p_regressed=p_above(d, limit),
        p_improved=p_below(d, -limit),
        mde=mde,
        margin=margin,
        alpha=alpha,
        verdict=verdict,
    )


def pair_orders(pairs: int, seed: int) -> list[str]:
    """``"AB"`` or ``"BA"`` for each pair, by fair coin: what makes the test exact under drift."""
    rng = np.random.default_rng(seed)
    return ["AB" if heads else "BA" for heads in rng.integers(0, 2, pairs)]
