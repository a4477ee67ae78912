"""Measuring two sides interleaved: pair by pair, who leads in each pair drawn by a coin.

Where both revisions know how, the two processes of a pair take turns (:mod:`bench.interleave`); else, and behind
other launchers, one block follows the other.

Each side becomes an ordinary run folder at its own commit, so the history gains both; ``interleaved_with`` in
run.json ties them together, and a finished pair of runs can be judged again later without measuring.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import random
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import interleave, launch
from bench.compare_judge import disturbed
from bench.compare_sides import Side, checkout
from bench.plan import Case, Step, plan_to_json
from bench.prepare import Prepared
from bench.protocol import Reply, Request
from bench.records import BlockRecord, RunFolder, read_records
from bench.runner import Launcher, Settings, Target, device_lock, make_request, run_steps, to_record
from bench.stats.paired import pair_orders
from bench.validity_machine import machine

Pair = Callable[..., list[BlockRecord]]
PAIRED = Settings(min_samples=30, min_seconds=1.0, warmup_seconds=3.0)
# Rounds in which disturbed pairs are measured again, as `latency` does with blocks.
REPEATS = 2


@dataclass
class Measured:
    """What an interleaved measurement left: records and run.json of both sides."""

    a: list[BlockRecord]
    b: list[BlockRecord]
    run_a: dict[str, Any]
    run_b: dict[str, Any]
    folders: tuple[Path, Path]
    interrupted: bool = False


def launch_in(tree: Path, request: Request, timeout_s: float) -> Reply:
    """One block with the code of ``tree``: the worker starts there, so its packages come first."""
    with contextlib.chdir(tree), _python_path(tree):
        return launch.run_block(request, timeout_s)


@contextlib.contextmanager
def _python_path(tree: Path) -> Iterator[None]:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(tree) if not before else f"{tree}{os.pathsep}{before}"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def make_pairs(cases: Sequence[Case], pairs: int, seed: int) -> list[tuple[Step, str]]:
    """Every pair of every case as ``(step, "AB" or "BA")``; each round visits the cases in random order."""
    orders = {i: pair_orders(pairs, seed + 7919 * i) for i in range(len(cases))}
    rng = random.Random(seed)  # noqa: S311 - an order of measurements, not a secret
    plan: list[tuple[Step, str]] = []
    for pair in range(pairs):
        chosen = list(range(len(cases)))
        rng.shuffle(chosen)
        plan += [(Step(len(plan) + n, pair, cases[i]), orders[i][pair]) for n, i in enumerate(chosen)]
    return plan


def open_folders(
    out: Path,
    sides: tuple[Side, Side],
    plan: Sequence[tuple[Step, str]],
    metric: str,
    purpose: str,
    planted: Mapping[str, Any],
) -> tuple[RunFolder, RunFolder]:
    """Two run folders that name each other."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    stem = f"{stamp}-{purpose}-{secrets.token_hex(3)}"
    folders = RunFolder(out / f"{stem}-A"), RunFolder(out / f"{stem}-B")
    environment = machine()
    for letter, folder, other, side in zip("AB", folders, reversed(folders), sides, strict=True):
        folder.create()
        folder.write_run(
            {
                "schema_version": 1,
                "run_id": folder.run_id,
                "metric": metric,
                "purpose": purpose,
                "state": "started",
                "side": letter,
                "interleaved_with": other.run_id,
                "git": {"commit": side.commit, "branch": side.text, "dirty": side.dirty},
                "command": ["bench", *sys.argv[1:]],
                "environment": environment,
                "orders": [order for _, order in plan],
                "plan": plan_to_json([_of_sides(step, planted)["AB".index(letter)] for step, _ in plan]),
            }
        )
    return folders


def measure_sides(
    sides: tuple[Side, Side],
    cases: Sequence[Case],
    prepared: Mapping[str, Prepared],
    *,
    device: str,
    target: Target,
    pairs: int,
    seed: int,
    out: Path,
    settings: Settings = PAIRED,
    metric: str = "latency",
    purpose: str = "compare",
    progress: Callable[[str, int, int], None] = lambda label, done, total: None,
    launchers: tuple[Launcher, Launcher] | None = None,
    repeats: int = REPEATS,
    planted: Mapping[str, Any] | None = None,
) -> Measured:
    """Measure both sides. Ctrl-C ends the measurement; the pairs that are complete are judged.

    ``repeats``: rounds in which the pairs that the gates call disturbed are measured again. ``launchers`` replaces
    the processes started in the two checkouts (another host's transport, a test). ``planted``: the fault that side B
    gets (:mod:`bench.plant`); only a proof of the gate asks for one.
    """
    plan = make_pairs(cases, pairs, seed)
    interrupted = False
    fault = dict(planted or {})
    with device_lock(device), contextlib.ExitStack() as stack:
        measure: Pair
        if launchers is None:
            one, other = (stack.enter_context(checkout(side)) for side in sides)
            if interleave.can_take_turns(one) and interleave.can_take_turns(other):
                measure = partial(_in_turns, (one, other), fault)
            else:
                both = partial(launch_in, one), partial(launch_in, other)
                measure = partial(_block_after_block, both, fault)
        else:
            measure = partial(_block_after_block, launchers, fault)
        folders = open_folders(out, sides, plan, metric, purpose, fault)
        state = "stopped"
        try:
            carry_out = partial(_carry_out, partial(measure, folders, prepared, target, settings), progress)
            _with_repeats(carry_out, plan, folders, repeats, seed)
            state = "complete"
        except KeyboardInterrupt:
            state, interrupted = "interrupted", True
        finally:
            for folder in folders:
                folder.close()
                folder.write_run({**folder.read_run(), "state": state})
    return load(folders[0].folder, folders[1].folder, interrupted)


Plan = Sequence[tuple[Step, str]]


def _with_repeats(
    carry_out: Callable[[Plan, set[str]], list[Step]],
    plan: Plan,
    folders: tuple[RunFolder, RunFolder],
    repeats: int,
    seed: int,
) -> None:
    """The plan, then up to ``repeats`` rounds of its disturbed pairs, in an order drawn anew.

    Which pairs are repeated is decided by the gates alone, never by a time. A round that leaves as many disturbed as
    there were is the last: this machine will not become quiet now.
    """
    settled: set[str] = set()
    again, seq = carry_out(plan, settled), len(plan)
    for number in range(repeats):
        again = [step for step in again if repr(step.case) not in settled]
        if not again:
            return
        orders = pair_orders(len(again), seed + 104_729 * (number + 1))
        round_of = [
            (Step(seq + n, s.block, s.case), o) for n, (s, o) in enumerate(zip(again, orders, strict=True))
        ]
        seq += len(again)
        for folder in folders:
            run = folder.read_run()
            folder.write_run({**run, "orders": [*run["orders"], *orders]})
        left = carry_out(round_of, settled)
        if len(left) == len(again):
            return
        again = left


def _carry_out(
    measure: Callable[[Step, str], list[BlockRecord]],
    progress: Callable[[str, int, int], None],
    plan: Plan,
    settled: set[str],
) -> list[Step]:
    """Measure the pairs of ``plan``; the disturbed ones. ``settled`` gains the cases that can have no more pairs."""
    spoiled = []
    for number, (step, order) in enumerate(plan):
        progress(step.case.label, number, len(plan))
        if repr(step.case) in settled:
            continue
        records = measure(step, order)
        if any(r.status not in ("measured", "unstable") for r in records):
            # Neither side can make a pair of this case any more: the other blocks would be wasted time.
            settled.add(repr(step.case))
        elif any(disturbed(r) for r in records):
            spoiled.append(step)
    progress("", len(plan), len(plan))
    return spoiled


def _of_sides(step: Step, planted: Mapping[str, Any]) -> tuple[Step, Step]:
    """The step as each side is asked for it."""
    case = replace(step.case, options={**step.case.options, **planted})
    return step, replace(step, case=case)


def _block_after_block(
    launchers: tuple[Launcher, Launcher],
    planted: Mapping[str, Any],
    folders: tuple[RunFolder, RunFolder],
    prepared: Mapping[str, Prepared],
    target: Target,
    settings: Settings,
    step: Step,
    order: str,
) -> list[BlockRecord]:
    """One block of each side, the second when the first has ended."""
    steps = _of_sides(step, planted)
    sides = ["AB".index(letter) for letter in order]
    return [
        record
        for i in sides
        for record in run_steps([steps[i]], prepared, target, settings, folders[i], launcher=launchers[i])
    ]


def _in_turns(
    trees: tuple[Path, Path],
    planted: Mapping[str, Any],
    folders: tuple[RunFolder, RunFolder],
    prepared: Mapping[str, Prepared],
    target: Target,
    settings: Settings,
    step: Step,
    order: str,
) -> list[BlockRecord]:
    """One block of each side, both at once, taking turns."""
    model = prepared[step.case.model]
    one, other = (make_request(s.case, model, target, settings) for s in _of_sides(step, planted))
    replies = interleave.run_pair((one, other), trees, order, settings.timeout_s)
    records = []
    for reply, folder in zip(replies, folders, strict=True):
        # Half of the pair's time: what a block of it cost.
        records.append(to_record(step, model, reply, folder.run_id, reply.extra["pair_wall_s"] / 2))
        folder.append(records[-1])
    return records


def load(folder_a: Path, folder_b: Path, interrupted: bool = False) -> Measured:
    """Two finished run folders."""
    first, second = RunFolder(folder_a), RunFolder(folder_b)
    return Measured(
        read_records(first.records_path).records,
        read_records(second.records_path).records,
        first.read_run(),
        second.read_run(),
        (folder_a, folder_b),
        interrupted,
    )


def are_interleaved(measured: Measured) -> bool:
    """Whether the two runs were measured as pairs of each other."""
    return measured.run_a.get("interleaved_with") == measured.run_b.get("run_id")
