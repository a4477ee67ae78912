"""Simulation benchmark of the gate: false alarms under noise, drift and ramps, power for a true slow-down.

``python -m bench.stats.simulate`` prints the table that MATH.md quotes; ``--json FILE`` writes it too. The
truth is known here, so the rates are facts about the method and not about any machine.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench.stats.power import largest_low, signed_rank_statistics
from bench.stats.simulate_turns import Burst, block_differences, turn_differences

BURSTS = "bursts of 30 to 60 %, a third of the time"
Noise = Callable[[np.random.Generator, int, int], np.ndarray]


@dataclass(frozen=True)
class Row:
    """One line: share of comparisons in which the gate said "regressed"."""

    noise: str
    order: str
    effect: float
    margin: float
    pairs: int
    comparisons: int
    rate: float
    wanted: str
    holds: bool | None


def iid(sd: float) -> Noise:
    """Independent normal log times; ``sd`` is of the pair difference d, so each block has sd / sqrt 2."""

    def draw(rng: np.random.Generator, comparisons: int, blocks: int) -> np.ndarray:
        return rng.normal(0.0, sd / math.sqrt(2.0), (comparisons, blocks))

    return draw


def ar1(sd: float, phi: float, drift_sd: float) -> Noise:
    """:func:`iid` plus a stationary AR(1) drift from block to block (heat, neighbours)."""

    def draw(rng: np.random.Generator, comparisons: int, blocks: int) -> np.ndarray:
        drift = np.empty((comparisons, blocks))
        drift[:, 0] = rng.normal(0.0, drift_sd, comparisons)
        steps = rng.normal(0.0, drift_sd * math.sqrt(1 - phi * phi), (comparisons, blocks))
        for t in range(1, blocks):
            drift[:, t] = phi * drift[:, t - 1] + steps[:, t]
        return drift + iid(sd)(rng, comparisons, blocks)

    return draw


def ramp(sd: float, rise: float) -> Noise:
    """:func:`iid` plus a straight rise over the whole comparison (0.06 = 6 % from first to last block)."""

    def draw(rng: np.random.Generator, comparisons: int, blocks: int) -> np.ndarray:
        return iid(sd)(rng, comparisons, blocks) + np.linspace(0.0, math.log1p(rise), blocks)

    return draw


def differences(
    noise: Noise, order: str, effect: float, pairs: int, comparisons: int, rng: np.random.Generator
) -> np.ndarray:
    """``d`` for every comparison and pair, [comparisons, pairs], with B slower by ``effect``.

    ``order``: ``random`` (a coin inside each pair), ``alternating`` (ABAB...) or ``sequential`` (all of A,
    then all of B).
    """
    times = noise(rng, comparisons, 2 * pairs)
    if order == "sequential":
        d = times[:, pairs:] - times[:, :pairs]
    else:
        d = times[:, 1::2] - times[:, 0::2]
        if order == "random":
            d *= rng.choice([-1.0, 1.0], size=d.shape)
    return d + math.log1p(effect)


def alarm_rate(d: np.ndarray, margin: float, alpha: float) -> float:
    """Share of rows whose exact signed-rank test says "slower by more than the margin"."""
    pairs = d.shape[1]
    low = largest_low(pairs, alpha)
    if low is None:
        return 0.0
    return float((signed_rank_statistics(d - math.log1p(margin)) >= pairs * (pairs + 1) // 2 - low).mean())


def table(comparisons: int = 2000, pairs: int = 10, sd: float = 0.018, alpha: float = 0.01) -> list[Row]:
    """Every row of the benchmark, each from its own fixed seed."""
    noises: dict[str, Noise] = {
        "iid": iid(sd),
        "AR(1) 0.9, drift sd 3 %": ar1(sd, 0.9, 0.03),
        "ramp 6 %": ramp(sd, 0.06),
    }
    power_noises = {**noises, "iid, that sd in each block": iid(sd * math.sqrt(2.0))}
    rows: list[Row] = []

    def add(name: str, order: str, effect: float, margin: float, wanted: str) -> None:
        rng = np.random.default_rng([20240229, len(rows)])
        rate = alarm_rate(
            differences(power_noises[name], order, effect, pairs, comparisons, rng), margin, alpha
        )
        keep(name, order, effect, margin, wanted, rate)

    def keep(name: str, order: str, effect: float, margin: float, wanted: str, rate: float) -> None:
        holds = {"<= 1.5 %": rate <= 0.015, ">= 90 %": rate >= 0.90}.get(wanted)
        rows.append(Row(name, order, effect, margin, pairs, comparisons, rate, wanted, holds))

    for name in noises:
        add(name, "random", 0.0, 0.0, "<= 1.5 %")
        add(name, "random", 0.0, 0.02, "<= 1.5 %")
    for margin in (0.0, 0.02):
        add("iid", "random", 0.05, margin, ">= 90 %")
    add("iid, that sd in each block", "random", 0.05, 0.0, ">= 90 %")
    add("iid, that sd in each block", "random", 0.05, 0.02, "contrast")
    add("iid", "random", 0.01, 0.02, "<= 1.5 %")
    for name in noises:
        for order in ("alternating", "sequential"):
            add(name, order, 0.0, 0.0, "contrast")
    for order, make in (("turns", turn_differences), ("random", block_differences)):
        wanted = (("<= 1.5 %",) * 3 + (">= 90 %",)) if order == "turns" else ("<= 1.5 %", *("contrast",) * 3)
        for (effect, limit), want in zip(
            ((0.0, 0.0), (0.0, 0.02), (0.01, 0.02), (0.05, 0.02)), wanted, strict=True
        ):
            rng = np.random.default_rng([20240229, len(rows)])
            d = make(rng, comparisons * pairs, Burst()).reshape(comparisons, pairs) + math.log1p(effect)
            keep(BURSTS, order, effect, limit, want, alarm_rate(d, limit, alpha))
    return rows


def render(rows: list[Row]) -> str:
    """Markdown table."""
    lines = [
        "| noise | order in a pair | true effect | margin | pairs | said regressed | wanted | holds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        mark = "" if r.holds is None else ("yes" if r.holds else "NO")
        lines.append(
            f"| {r.noise} | {r.order} | {r.effect:+.0%} | {r.margin:.0%} | {r.pairs} "
            f"| {r.rate:.2%} of {r.comparisons} | {r.wanted} | {mark} |"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Print the table; exit code 1 where a wanted rate does not hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.stats.simulate", description=__doc__)
    parser.add_argument("--comparisons", type=int, default=2000, help="simulated comparisons per row")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of blocks per comparison")
    parser.add_argument("--sd", type=float, default=0.018, help="standard deviation of d = log(B/A)")
    parser.add_argument("--alpha", type=float, default=0.01, help="nominal false-alarm rate")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    args = parser.parse_args(argv)
    rows = table(args.comparisons, args.pairs, args.sd, args.alpha)
    print(render(rows))
    if args.json:
        args.json.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")
    return 0 if all(r.holds is not False for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
