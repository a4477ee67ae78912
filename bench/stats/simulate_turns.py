"""Simulated pairs on a shared machine: what turns and the median of their minima are worth under bursts.

The machine's speed is a two-state process (quiet, or slower by a random factor while a neighbour runs) times a
random walk of its clock. Both estimators see the same kind of machine: one block after the other (the ratio of block
medians), and turns (:mod:`bench.stats.adjacent`). Times in units of one iteration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Burst:
    """``gap`` and ``length``: mean iterations between and within bursts; factors uniform in ``low .. high``.

    ``walk``: step of the clock's random walk per iteration; ``jitter``: one-sided noise of an iteration; ``spike``:
    share of iterations that a preemption makes longer by 10 to 100 %; ``process``: sd of d that no interleaving
    removes, because each process has its own memory layout. All as logarithms (0.01 = 1 %).
    """

    gap: float = 300.0
    length: float = 150.0
    low: float = 1.3
    high: float = 1.6
    walk: float = 0.01
    jitter: float = 0.02
    spike: float = 0.05
    process: float = 0.012


def machine(rng: np.random.Generator, pairs: int, steps: int, burst: Burst) -> np.ndarray:
    """Log slowness [pairs, steps] of the machine, iteration by iteration, from independent starts."""
    busy = np.empty((pairs, steps), dtype=bool)
    level = np.empty((pairs, steps))
    now = rng.random(pairs) < burst.length / (burst.gap + burst.length)
    factor = rng.uniform(burst.low, burst.high, pairs)
    for t in range(steps):
        change = rng.random(pairs) < np.where(now, 1 / burst.length, 1 / burst.gap)
        now = now ^ change
        factor = np.where(change & now, rng.uniform(burst.low, burst.high, pairs), factor)
        busy[:, t], level[:, t] = now, np.log(factor)
    walk = np.cumsum(rng.normal(0.0, burst.walk, (pairs, steps)), axis=1)
    own = np.abs(rng.normal(0.0, burst.jitter, (pairs, steps)))
    spikes = (rng.random((pairs, steps)) < burst.spike) * rng.uniform(0.1, 0.7, (pairs, steps))
    found: np.ndarray = busy * level + walk + own + spikes
    return found


def block_differences(rng: np.random.Generator, pairs: int, burst: Burst, iterations: int = 50) -> np.ndarray:
    """``d`` of pairs of blocks, one after the other, with no true difference; who leads is a coin. [pairs]"""
    apart = 60  # The second process starts and warms up meanwhile.
    log = machine(rng, pairs, 2 * iterations + apart, burst)
    d = np.median(log[:, iterations + apart :], axis=1) - np.median(log[:, :iterations], axis=1)
    return _signed(rng, d, burst)


def turn_differences(
    rng: np.random.Generator, pairs: int, burst: Burst, rounds: int = 12, count: int = 2, lead_in: int = 1
) -> np.ndarray:
    """``d`` of pairs that take turns, with no true difference; who leads is a coin. [pairs]"""
    turn = count + lead_in
    log = machine(rng, pairs, 4 * rounds * turn, burst).reshape(pairs, 4 * rounds, turn)
    minima = log[:, :, lead_in:].min(axis=2).reshape(pairs, rounds, 4)
    even = np.arange(rounds) % 2 == 0
    # A B B A, then B A A B: neighbours are turns 0, 1 and 2, 3 of a round.
    first = np.where(even, 1.0, -1.0) * (minima[:, :, 1] - minima[:, :, 0])
    second = np.where(even, -1.0, 1.0) * (minima[:, :, 3] - minima[:, :, 2])
    d = np.median(np.concatenate([first, second], axis=1), axis=1)
    return _signed(rng, d, burst)


def _signed(rng: np.random.Generator, d: np.ndarray, burst: Burst) -> np.ndarray:
    """With the processes' own offsets and the coin that says which of the two is called A."""
    found: np.ndarray = (d + rng.normal(0.0, burst.process, d.size)) * rng.choice([-1.0, 1.0], d.size)
    return found
