"""How long a run will take, from what earlier runs on this disk took: a long command says so before it starts."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.records import iter_runs, read_records

Pair = tuple[str, str]
"""(backend, model)."""


def block_seconds(results: Path, metric: str = "latency") -> dict[Pair, float]:
    """Median seconds of a whole block (process start to end) by backend and model, from the records there are."""
    found: dict[Pair, list[float]] = defaultdict(list)
    for folder in iter_runs(results):
        for record in read_records(folder / "records.jsonl").records:
            seconds = record.extra.get("block_wall_s")
            if record.cell.metric == metric and seconds is not None:
                found[(record.cell.backend, record.cell.model)].append(float(seconds))
    return {pair: statistics.median(values) for pair, values in found.items()}


def announce(pairs: Iterable[Pair], blocks: int, limit_s: float, known: Mapping[Pair, float]) -> str:
    """One sentence: blocks, expected minutes where earlier records tell, and the most it can take."""
    asked = list(pairs)
    total = len(asked) * blocks
    told = [known[p] for p in asked if p in known]
    text = f"{total} blocks, each ended after {limit_s:g} s at the latest"
    if not told:
        return f"{text}; how long a block takes is not known from earlier runs"
    expected = sum(told) * blocks / 60
    rest = len(asked) - len(told)
    unknown = f", and {rest * blocks} blocks of which no record tells" if rest else ""
    return f"{text}; about {expected:.0f} min by earlier records{unknown}"
