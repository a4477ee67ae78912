"""Tail percentiles, given only where enough independent samples stand behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def samples_needed(p: float, confidence: float = 0.95) -> int:
    """Independent samples before the largest one lies above the p-quantile with ``confidence``.

    ``1 - p**n >= confidence``: 5 for p50, 29 for p90, 299 for p99. ``p`` in (0, 1).
    """
    if not 0.0 < p < 1.0:
        raise ValueError(f"p must lie between 0 and 1, got {p}")
    return math.ceil(math.log(1.0 - confidence) / math.log(p) - 1e-9)


def effective_samples(blocks: Sequence[Sequence[float]]) -> float:
    """How many independent samples the data are worth, by batch means.

    The variance of all samples over the variance of the mean, the latter estimated from the block means (or,
    for fewer than five blocks, from about sqrt(n) consecutive batches inside the blocks). Autocorrelation
    inside a process and offsets between processes both lower it. Never more than the number of samples.
    """
    arrays = [np.asarray(b, dtype=np.float64) for b in blocks if len(b)]
    pooled = np.concatenate(arrays) if arrays else np.empty(0)
    n = pooled.size
    if n < 4:
        return float(n)
    batches = arrays
    if len(arrays) < 5:
        pieces = max(5, int(math.sqrt(n))) if n >= 10 else 2
        batches = [piece for piece in np.array_split(pooled, pieces) if piece.size]
    of_mean = float(np.var([b.mean() for b in batches], ddof=1)) / len(batches)
    if of_mean <= 0.0:
        return float(n)
    return min(float(n), float(np.var(pooled, ddof=1)) / of_mean)


@dataclass(frozen=True)
class Percentile:
    """``value`` is ``None`` where ``effective`` is below ``needed``; ``reason`` then says so."""

    p: float
    value: float | None
    effective: float
    needed: int
    reason: str = ""


def percentile(blocks: Sequence[Sequence[float]], p: float) -> Percentile:
    """The p-quantile (0 < p < 1) of all samples, or the reason why there are too few for it."""
    needed = samples_needed(p)
    effective = effective_samples(blocks)
    if effective < needed:
        reason = f"p{p * 100:g} needs {needed} independent samples, these are worth {effective:.0f}"
        return Percentile(p, None, effective, needed, reason)
    pooled = np.concatenate([np.asarray(b, dtype=np.float64) for b in blocks])
    # method="higher" never reports a value below the true order statistic.
    return Percentile(p, float(np.quantile(pooled, p, method="higher")), effective, needed)
