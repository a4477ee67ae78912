"""The predictive curve of co-design: latency over core ratio, its interval, its hold-out error, the choice.

The number of query-key pairs is ``2 c N - c^2`` for ``c`` core tokens out of ``N``, so the curve is fitted as a
quadratic in the ratio. Intervals come from drawing whole rounds again: within a round all variants were
measured next to each other, so a drift of the machine moves them together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ecp.errors import UsageError

DEGREE = 2
_DRAWS = 1000


@dataclass(frozen=True)
class Curve:
    """Coefficients (highest power first) and those of every bootstrap draw ``[draws, DEGREE + 1]``."""

    coefficients: np.ndarray
    draws: np.ndarray

    def at(self, ratio: float) -> float:
        """Predicted milliseconds."""
        return float(np.polyval(self.coefficients, ratio))

    def interval(self, ratio: float) -> tuple[float, float]:
        """95 % interval of the prediction."""
        values = [np.polyval(c, ratio) for c in self.draws]
        low, high = np.quantile(values, [0.025, 0.975])
        return float(low), float(high)


@dataclass(frozen=True)
class HoldOut:
    """Prediction against measurement at ratios the curve was not fitted on; errors in percent."""

    fitted: list[float]
    held: list[float]
    errors: list[float]

    @property
    def mean(self) -> float:
        """Mean absolute error in percent."""
        return float(np.mean(np.abs(self.errors)))

    @property
    def worst(self) -> float:
        """Largest absolute error in percent."""
        return float(np.max(np.abs(self.errors)))


def fit(ratios: Sequence[float], rounds: np.ndarray, seed: int = 0) -> Curve:
    """The curve through the medians over ``rounds`` ``[rounds, ratios]`` of milliseconds."""
    if len(ratios) <= DEGREE:
        raise UsageError(f"{len(ratios)} core ratios: the curve needs at least {DEGREE + 1}")
    random = np.random.default_rng(seed)
    picks = random.integers(0, len(rounds), (_DRAWS, len(rounds)))
    draws = np.stack([np.polyfit(ratios, np.median(rounds[pick], axis=0), DEGREE) for pick in picks])
    return Curve(np.polyfit(ratios, np.median(rounds, axis=0), DEGREE), draws)


def hold_out(ratios: Sequence[float], rounds: np.ndarray) -> HoldOut | None:
    """Fit on every other ratio (with both ends) and predict the rest; None below seven ratios."""
    order = np.argsort(ratios)
    kept = sorted({*order[::2].tolist(), int(order[-1])})
    held = [int(i) for i in order if int(i) not in kept]
    if len(kept) <= DEGREE + 1 or not held:
        return None
    medians = np.median(rounds, axis=0)
    curve = np.polyfit([ratios[i] for i in kept], medians[kept], DEGREE)
    errors = [100 * (float(np.polyval(curve, ratios[i])) / medians[i] - 1) for i in held]
    return HoldOut([ratios[i] for i in kept], [ratios[i] for i in held], errors)


def largest_within(curve: Curve, budget_ms: float, patches: int) -> float | None:
    """The largest core ratio whose upper bound fits the budget, in steps of one patch; None if none does."""
    for core in range(patches, 0, -1):
        if curve.interval(core / patches)[1] <= budget_ms:
            return core / patches
    return None


def pareto(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names of (milliseconds, quality) points that no other point beats in both, fastest first."""
    front: list[str] = []
    best = -np.inf
    for name, (_, quality) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if quality > best:
            front.append(name)
            best = quality
    return front
