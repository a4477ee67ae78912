"""Change points in a history: piecewise-constant L1 (Potts) fit. Triage only: a paired run confirms."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

MIN_SEGMENT = 3
MAX_SEGMENTS = 12
PENALTY = 4.0


@dataclass(frozen=True)
class Segment:
    """Points ``start`` (inclusive) to ``stop`` (exclusive) around one ``level`` (their median)."""

    start: int
    stop: int
    level: float


def _interval_costs(values: np.ndarray) -> np.ndarray:
    """cost[i, j] = sum of |v - median| over values[i:j]; infinite for pieces below the minimum length."""
    n = values.size
    cost = np.full((n + 1, n + 1), np.inf)
    for i in range(n):
        ordered: list[float] = []
        total = 0.0
        for j in range(i, n):
            value = float(values[j])
            insort(ordered, value)
            total += value
            if len(ordered) >= MIN_SEGMENT:
                # Sum of the upper half minus sum of the lower half; the middle of an odd count drops out.
                half = len(ordered) // 2
                middle = ordered[half] if len(ordered) % 2 else 0.0
                cost[i, j + 1] = total - middle - 2.0 * sum(ordered[:half])
    return np.maximum(cost, 0.0)


def potts(values: Sequence[float]) -> list[Segment]:
    """Best piecewise-constant L1 fit, its number of pieces chosen by an information criterion.

    For each number of pieces k the exact optimum is found by dynamic programming (O(k n^2)); k minimises
    ``n log(cost_k / n) + PENALTY * k * log n`` with the cost floored at a thousandth of the median level, so
    that a noiseless series does not shatter. Pieces have at least 3 points. Fewer than 6 points: one piece.
    Raises ``ValueError`` on values that are not finite.
    """
    v = np.asarray(values, dtype=np.float64)
    if not np.isfinite(v).all():
        raise ValueError("a history must be finite")
    n = v.size
    if n == 0:
        return []
    if n < 2 * MIN_SEGMENT:
        return [Segment(0, n, float(np.median(v)))]
    cost = _interval_costs(v)
    best = [cost[0].copy()]
    back: list[np.ndarray] = [np.zeros(n + 1, dtype=int)]
    for _ in range(1, min(MAX_SEGMENTS, n // MIN_SEGMENT)):
        candidate = best[-1][:, None] + cost
        back.append(np.argmin(candidate, axis=0))
        best.append(np.min(candidate, axis=0))
    floor = max(1e-3 * float(np.median(np.abs(v))), 1e-300)
    scores = [
        n * math.log(max(float(b[n]) / n, floor)) + PENALTY * (k + 1) * math.log(n)
        for k, b in enumerate(best)
        if math.isfinite(b[n])
    ]
    pieces: list[Segment] = []
    stop = n
    for k in range(int(np.argmin(scores)), -1, -1):
        start = int(back[k][stop]) if k else 0
        pieces.append(Segment(start, stop, float(np.median(v[start:stop]))))
        stop = start
    return pieces[::-1]


def steps(values: Sequence[float], minimum: float = 0.0) -> list[tuple[int, float]]:
    """Change points as ``(index of the first point of the new level, new level / old level)``.

    ``minimum``: smallest relative change worth naming (0.02 = 2 %). Levels must be above zero.
    """
    pieces = potts(values)
    found = []
    for left, right in pairwise(pieces):
        ratio = right.level / left.level
        if abs(math.log(ratio)) >= math.log1p(minimum):
            found.append((right.start, ratio))
    return found
