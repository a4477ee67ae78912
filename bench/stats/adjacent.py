"""The log ratio of one interleaved pair, from turns of a few iterations each (MATH.md, section 3).

Turn k of A and turn k of B are neighbours in time, some 40 ms apart. The least of a turn's two or three iterations
is free of single preemptions; the ratio of neighbours is free of the clock's level; the median over all neighbours
is free of bursts that begin or end between two of them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def split(samples: Sequence[float], lengths: Sequence[int]) -> list[list[float]]:
    """Samples of a block cut into its turns; ``ValueError`` where the lengths do not add up to them."""
    if sum(lengths) != len(samples) or any(n < 1 for n in lengths):
        raise ValueError(f"turns of {sum(lengths)} samples in all do not cut {len(samples)} samples")
    turns, start = [], 0
    for n in lengths:
        turns.append(list(samples[start : start + n]))
        start += n
    return turns


def turn_difference(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> float:
    """``log(B/A)`` of one pair: median over k of the log ratio of the minima of ``b[k]`` and ``a[k]``.

    ``a``, ``b``: times above zero, one list per turn, equally many turns (``ValueError`` otherwise).
    """
    if len(a) != len(b) or not a:
        raise ValueError(f"{len(a)} turns of A and {len(b)} of B do not make neighbours")
    return statistics.median(math.log(min(y) / min(x)) for x, y in zip(a, b, strict=True))


def round_difference(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> float:
    """``log(B/A)`` of two members of a group: median over rounds of the log ratio of the rounds' medians.

    Frameworks of different speeds run different numbers of iterations in a turn, so minima would favour the faster:
    all iterations of a round (turns 2k and 2k + 1, one on the way there and one on the way back) count instead.
    ``ValueError`` where the turns are not equally many or not even.
    """
    if len(a) != len(b) or not a or len(a) % 2:
        raise ValueError(f"{len(a)} and {len(b)} turns do not make rounds of two turns each")
    rounds = [([*a[k], *a[k + 1]], [*b[k], *b[k + 1]]) for k in range(0, len(a), 2)]
    return statistics.median(math.log(statistics.median(y) / statistics.median(x)) for x, y in rounds)
