"""The plan of a run: cases times blocks, in a randomized, interleaved order that the seed fixes.

Each round runs every case once in a fresh random order, so that slow drift of the machine (heat, other load)
falls on all cases alike instead of on the one that happens to come last.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter


@dataclass(frozen=True)
class Case:
    """One cell to be measured. ``options`` go to the backend and are published in every record."""

    device: str
    backend: str
    model: str
    metric: str
    precision: str = "fp32"
    threads: int = 2
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Short form for a progress line."""
        return f"{self.model} on {self.backend}"


@dataclass(frozen=True)
class Step:
    """One block of one case; ``seq`` is its place in the run, ``block`` its round."""

    seq: int
    block: int
    case: Case


def make_plan(cases: Sequence[Case], blocks: int, seed: int) -> list[Step]:
    """``blocks`` rounds over all cases, each round in its own random order. Same seed, same plan."""
    rng = random.Random(seed)  # noqa: S311 - an order of measurements, not a secret
    steps: list[Step] = []
    for block in range(blocks):
        order = list(cases)
        rng.shuffle(order)
        steps += [Step(len(steps) + i, block, case) for i, case in enumerate(order)]
    return steps


def retry_steps(
    steps: Sequence[Step], latest: Mapping[tuple[str, str, int], str], first_seq: int
) -> list[Step]:
    """Steps that measure again what a disturbed machine spoiled.

    ``latest``: status of the last record by (backend, model, block); those ``unstable`` are planned once more.
    """
    spoiled = [s for s in steps if latest.get((s.case.backend, s.case.model, s.block)) == "unstable"]
    return [Step(first_seq + i, step.block, step.case) for i, step in enumerate(spoiled)]


_STEPS = TypeAdapter(list[Step])


def plan_to_json(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The plan as it stands in run.json."""
    return [asdict(step) for step in steps]


def plan_from_json(data: Sequence[Mapping[str, Any]]) -> list[Step]:
    """Inverse of :func:`plan_to_json`; ValueError where the data has other types."""
    return _STEPS.validate_python(list(data))
