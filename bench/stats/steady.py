"""Where warm-up ends: the first place where two adjacent windows agree.

Warm-up is found, stored and reported, never thrown away; a run in which no two windows agree has no steady
state and is called unstable rather than averaged (Barrett et al. 2017; see MATH.md, section 2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def steady_start(samples: Sequence[float], window: int, tolerance: float) -> int | None:
    """Index of the first steady sample, or ``None`` where no steady state was reached.

    Windows ``[i, i+window)`` and ``[i+window, i+2*window)`` agree when their medians differ by at most
    ``tolerance`` (relative, 0.02 = 2 %) of the smaller. The first window only serves as the witness: up to
    half of it may still be warm-up without moving its median, so the answer is ``i + window`` for the
    smallest such ``i``. The answer never changes when later samples are appended, so a caller may ask
    after every sample and stop warming up at the first answer.
    Raises ``ValueError`` for a window below 1, a negative tolerance or samples that are not finite and > 0.
    """
    if window < 1 or tolerance < 0.0:
        raise ValueError(f"window must be >= 1 and tolerance >= 0, got {window} and {tolerance}")
    values = np.asarray(samples, dtype=np.float64)
    if values.size and not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError("samples must be finite and above zero")
    if values.size < 2 * window:
        return None
    medians = np.median(np.lib.stride_tricks.sliding_window_view(values, window), axis=1)
    first, second = medians[:-window], medians[window:]
    agree = np.abs(second - first) <= tolerance * np.minimum(first, second)
    found = np.flatnonzero(agree)
    return int(found[0]) + window if found.size else None


def still_steady(samples: Sequence[float], parts: int, tolerance: float) -> bool:
    """Whether a measured stretch kept its level: medians of ``parts`` equal pieces lie within ``tolerance``.

    The check after the fact: two windows can agree by chance inside a slow ramp, the pieces of a whole ramp
    cannot. Raises ``ValueError`` when there are fewer samples than pieces.
    """
    values = np.asarray(samples, dtype=np.float64)
    if parts < 2 or values.size < parts:
        raise ValueError(f"{values.size} samples cannot be cut into {parts} pieces (at least 2)")
    medians = [float(np.median(piece)) for piece in np.array_split(values, parts)]
    return max(medians) - min(medians) <= tolerance * min(medians)
