"""A/A campaign: this working tree against itself, many times, to learn how often the gate would cry wolf here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.compare_judge import CellVerdict, judge, quick_pairs
from bench.compare_report import DEFAULT_BACKENDS, QUICK, QUICK_REPEATS, reach
from bench.compare_run import measure_sides
from bench.compare_sides import WORKING_TREE, resolve
from bench.console import terminal
from bench.options import RunOptions
from bench.prepare import Prepared, prepare
from bench.regress_margin import NoiseProfile, profile, save
from bench.regress_output import write
from bench.run import make_cases
from bench.runner import Launcher, Settings, Target
from bench.stats.paired import MARGIN

DEFAULT_MODELS = ("vit_tiny",)


def compare_with_itself(
    times: int,
    options: RunOptions,
    pairs: int,
    margin: float,
    prepared: dict[str, Prepared],
    target: Target,
    done: Callable[[int, Sequence[CellVerdict]], None] = lambda number, verdicts: None,
    launchers: tuple[Launcher, Launcher] | None = None,
) -> list[CellVerdict]:
    """Verdicts of ``times`` comparisons, each judged on its own (a user's gate would be)."""
    cases = make_cases("latency", options, DEFAULT_MODELS, DEFAULT_BACKENDS)
    side = resolve(WORKING_TREE, options.out)
    verdicts: list[CellVerdict] = []
    for number in range(times):
        measured = measure_sides(
            (side, side),
            cases,
            prepared,
            device=options.device,
            target=target,
            pairs=pairs,
            seed=options.seed + 1000 * number,
            out=options.out,
            settings=Settings(QUICK.min_samples, QUICK.min_seconds, QUICK.warmup_seconds, options.timeout),
            purpose="aa",
            launchers=launchers,
            repeats=QUICK_REPEATS,
        )
        found = judge(measured.a, measured.b, measured.run_a, measured.run_b, margin=margin)
        verdicts += found
        done(number, found)
        if measured.interrupted:
            break
    return verdicts


def campaign(
    times: int, options: RunOptions, pairs: int | None, margin: float | None, json_path: Path | None
) -> int:
    """Run it, print the rate and the margin it suggests, keep the profile; exit code 0."""
    console = terminal(stderr=json_path is not None and str(json_path) == "-")
    target = reach(options.device)
    limit = MARGIN if margin is None else margin
    cases = make_cases("latency", options, DEFAULT_MODELS, DEFAULT_BACKENDS)
    prepared = {name: prepare(name) for name in sorted({c.model for c in cases})}

    def tell(number: int, verdicts: Sequence[CellVerdict]) -> None:
        words = ", ".join(f"{v.model}/{v.backend} {v.verdict}" for v in verdicts)
        console.print(f"{number + 1} of {times}: {words}", markup=False, highlight=False)

    verdicts = compare_with_itself(
        times, options, pairs or quick_pairs(len(cases)), limit, prepared, target, tell
    )
    summary = profile(options.device, verdicts, limit)
    path = save(summary, options.out)
    console.print(sentence(summary), markup=False, highlight=False, soft_wrap=True)
    console.print(f"kept in {path}; `regress` on {options.device} uses it", markup=False, highlight=False)
    facts = {**asdict(summary), "cells": [v.to_dict() for v in verdicts]}
    write(json_path, json.dumps(facts, indent=1, allow_nan=False) + "\n", "--json")
    return 0


def sentence(found: NoiseProfile) -> str:
    """The result in words."""
    low, high = found.interval
    unjudged = found.comparisons - found.judged
    rest = f"; {unjudged} more could not be judged" if unjudged else ""
    return (
        f"{found.device}: {found.false_alarms} false alarms in {found.judged} A/A comparisons at a margin of "
        f"{found.margin:.1%} (95 % interval of the rate {low:.0%} to {high:.0%}){rest}; largest difference "
        f"between equal codes {found.largest:.1%}; suggested margin {found.suggested:.1%}"
    )
