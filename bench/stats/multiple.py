"""Many comparisons at once: Holm where a gate must not cry wolf, Benjamini-Hochberg for a report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def _checked(p_values: Sequence[float]) -> np.ndarray:
    p = np.asarray(p_values, dtype=np.float64)
    if p.size and not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values must lie in [0, 1]")
    return p


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values: rejecting those <= alpha keeps the chance of ANY false alarm <= alpha."""
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * (p.size - np.arange(p.size)))
    out = np.empty(p.size)
    out[order] = np.minimum(adjusted, 1.0)
    return [float(v) for v in out]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: keeping those <= q holds the expected share of false finds at or below q."""
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * p.size / np.arange(1, p.size + 1)
    adjusted = np.minimum.accumulate(scaled[::-1])[::-1] if p.size else scaled
    out = np.empty(p.size)
    out[order] = np.minimum(adjusted, 1.0)
    return [float(v) for v in out]
