"""Measuring a group of contenders together: every block loads all of them at once and lets them take turns.

Blocks that follow one another see a shared machine at different speeds; contenders that take turns of a tenth of a
second see the same one, so their ratio holds where neither time alone does (:mod:`bench.interleave`, MATH.md 3).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import interleave
from bench.plan import Case, Step
from bench.prepare import Prepared
from bench.protocol import Reply
from bench.records import BlockRecord, RunFolder
from bench.runner import Settings, Target, make_request, to_record

METRIC = "versus"
Group = tuple[Case, ...]
TREE = Path(__file__).parent.parent
# A case in this state once is not loaded again.
SETTLED = ("unsupported", "unavailable", "failed")


def make_groups(cases: Sequence[Case]) -> list[Group]:
    """Cases that are measured together: the backends of one model, or all models where there is one backend."""
    if len({case.backend for case in cases}) == 1:
        return [tuple(cases)]
    return [tuple(c for c in cases if c.model == model) for model in dict.fromkeys(c.model for c in cases)]


def make_plan(groups: Sequence[Group], blocks: int, seed: int) -> list[list[Step]]:
    """One list of steps per block of a group; each round visits the groups in a fresh random order."""
    rng = random.Random(seed)  # noqa: S311 - an order of measurements, not a secret
    plan: list[list[Step]] = []
    seq = 0
    for block in range(blocks):
        order = list(groups)
        rng.shuffle(order)
        for group in order:
            plan.append([Step(seq + i, block, case) for i, case in enumerate(group)])
            seq += len(group)
    return plan


def orders_of(count: int, seed: int) -> interleave.Orders:
    """A fresh random order for every round: who runs before whom is nobody's advantage."""

    def order(number: int) -> list[int]:
        places = list(range(count))
        random.Random(f"{seed}/{number}").shuffle(places)  # noqa: S311
        return places

    return order


def carry_out(
    plan: Sequence[Sequence[Step]],
    prepared: Mapping[str, Prepared],
    target: Target,
    settings: Settings,
    folder: RunFolder,
    have: Sequence[BlockRecord] = (),
    *,
    progress: Callable[[str, int, int], None] = lambda label, done, total: None,
) -> None:
    """Measure every block of the plan that is not complete in ``have``; records are on disk block by block."""
    settled = {_key(r): r for r in have if r.status in SETTLED}
    seen = {r.seq for r in have}
    for number, steps in enumerate(plan):
        progress(steps[0].case.model, number, len(plan))
        running = [s for s in steps if (s.case.backend, s.case.model) not in settled]
        if len(running) < 2 and number >= 1:
            continue
        if all(s.seq in seen for s in running):
            continue
        for record in _block(running, prepared, target, settings, folder.run_id):
            folder.append(record)
            if record.status in SETTLED:
                settled[_key(record)] = record
    progress("", len(plan), len(plan))


def _key(record: BlockRecord) -> tuple[str, str]:
    return record.cell.backend, record.cell.model


def _block(
    steps: Sequence[Step], prepared: Mapping[str, Prepared], target: Target, settings: Settings, run_id: str
) -> list[BlockRecord]:
    requests = [make_request(s.case, prepared[s.case.model], target, settings) for s in steps]
    begin = time.perf_counter()
    replies = interleave.run_group(
        requests, [TREE] * len(steps), orders_of(len(steps), steps[0].seq), settings.timeout_s
    )
    wall = (time.perf_counter() - begin) / len(steps)
    return [
        to_record(step, prepared[step.case.model], _alone(reply), run_id, wall)
        for step, reply in zip(steps, replies, strict=True)
    ]


def _alone(reply: Reply) -> Reply:
    """A contender that ran without anybody to take turns with has no ratio; say so instead of a number."""
    extra: dict[str, Any] = dict(reply.extra)
    if reply.samples_ms and "turn_lengths" not in extra:
        return replace(reply, status="unsupported", reason="clocks itself and cannot take turns")
    return reply
