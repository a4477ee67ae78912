"""Measuring a group of contenders together: every block loads all of them at once and lets them take turns.

Blocks that follow one another see a shared machine at different speeds; contenders that take turns of a tenth of a
second see the same one, so their ratio holds where neither time alone does (:mod:`bench.interleave`, MATH.md 3).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
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


def one_backend(cases: Iterable[Case]) -> bool:
    """Whether these are models of one backend, as alike as two builds, and not backends of one model."""
    return len({case.backend for case in cases}) == 1


def make_groups(cases: Sequence[Case]) -> list[Group]:
    """Cases that are measured together: the backends of one model, or all models where there is one backend."""
    if one_backend(cases):
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
    share: int = 1,
    progress: Callable[[str, int, int], None] = lambda label, done, total: None,
) -> None:
    """Measure every block of the plan that is not complete in ``have``; records are on disk block by block.

    ``share``: how many models of a round a block's processes measure one after the other before they end.
    """
    settled = {_key(r): r for r in have if r.status in SETTLED}
    seen = {r.seq for r in have}
    done = 0
    for blocks in shared(plan, share):
        todo = []
        for number, steps in enumerate(blocks, start=done):
            running = [s for s in steps if (s.case.backend, s.case.model) not in settled]
            alone = len(running) < 2 and number >= 1
            if running and not alone and not all(s.seq in seen for s in running):
                todo.append(running)
        progress(" ".join(steps[0].case.model for steps in todo), done, len(plan))
        for records in _blocks(todo, prepared, target, settings, folder.run_id) if todo else ():
            for record in records:
                folder.append(record)
                if record.status in SETTLED:
                    settled[_key(record)] = record
        done += len(blocks)
    progress("", len(plan), len(plan))


def shared(plan: Sequence[Sequence[Step]], share: int) -> Iterator[list[Sequence[Step]]]:
    """Up to ``share`` neighbours of the plan at a time, all of one round: no model meets itself in a process."""
    for _, grouped in groupby(plan, key=lambda steps: steps[0].block):
        one_round = list(grouped)
        for start in range(0, len(one_round), share):
            yield one_round[start : start + share]


def _key(record: BlockRecord) -> tuple[str, str]:
    return record.cell.backend, record.cell.model


def _blocks(
    blocks: Sequence[Sequence[Step]],
    prepared: Mapping[str, Prepared],
    target: Target,
    settings: Settings,
    run_id: str,
) -> Iterator[list[BlockRecord]]:
    """Records of one block after the other; a contender has one process for all of them."""
    rows = _rows(blocks)
    count = len(rows[0])
    requests = [
        [s if s is None else make_request(s.case, prepared[s.case.model], target, settings) for s in row]
        for row in rows
    ]
    orders = [orders_of(count, steps[0].seq) for steps in blocks]
    # Short turns, whose minima are neighbours, where minima compare.
    turns = interleave.PAIR if one_backend(s.case for steps in blocks for s in steps) else interleave.GROUP
    begin = time.perf_counter()
    for number, replies in enumerate(
        interleave.run_series(requests, [TREE] * count, orders, settings.timeout_s, turns)
    ):
        pairs = [
            (s, r) for s, r in zip(rows[number], replies, strict=True) if s is not None and r is not None
        ]
        wall, begin = (time.perf_counter() - begin) / len(pairs), time.perf_counter()
        yield [
            to_record(step, prepared[step.case.model], _told(reply, number, len(rows)), run_id, wall)
            for step, reply in pairs
        ]


def _rows(blocks: Sequence[Sequence[Step]]) -> list[list[Step | None]]:
    """The steps of each block by contender: one column each, None where one does not run that model."""
    if len(blocks) == 1:
        return [list(blocks[0])]
    backends = dict.fromkeys(step.case.backend for steps in blocks for step in steps)
    tables = [{step.case.backend: step for step in steps} for steps in blocks]
    return [[table.get(backend) for backend in backends] for table in tables]


def _told(reply: Reply, number: int, models: int) -> Reply:
    """The reply with its place among the models of its process, where it shares one."""
    found = _alone(reply)
    shared_with = {"models_in_process": models, "place_in_process": number} if models > 1 else {}
    return replace(found, extra={**found.extra, **shared_with})


def _alone(reply: Reply) -> Reply:
    """A contender that ran without anybody to take turns with has no ratio; say so instead of a number."""
    extra: dict[str, Any] = dict(reply.extra)
    if reply.samples_ms and "turn_lengths" not in extra:
        return replace(reply, status="unsupported", reason="clocks itself and cannot take turns")
    return reply
