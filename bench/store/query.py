"""Questions to the index: series over runs, and the points of one run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, Select, distinct, func, select
from sqlalchemy.orm import Session

from bench.stats.median_interval import blocks_interval
from bench.store.models import Block, Comparability, Run


@dataclass(frozen=True)
class Filter:
    """Which blocks; an empty tuple means any."""

    metrics: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()

    def apply(self, query: Select) -> Select:
        """The query restricted to this filter."""
        columns = {
            Block.metric: self.metrics,
            Block.device: self.devices,
            Block.backend: self.backends,
            Block.model: self.models,
            Block.precision: self.precisions,
            Block.run_id: self.runs,
        }
        for column, wanted in columns.items():
            if wanted:
                query = query.where(column.in_(wanted))
        return query


@dataclass(frozen=True)
class SeriesId:
    """One line of a history: equal comparability key, so its points may be compared."""

    metric: str
    device: str
    backend: str
    model: str
    precision: str
    key: str


@dataclass
class Point:
    """One run within a series. ``medians``: block medians; ``ci``: from the blocks, in ``unit``."""

    run_id: str
    started_utc: str
    git_commit: str | None
    backend_version: str
    unit: str
    medians: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    failed_gates: int = 0

    def value(self) -> float | None:
        """Median of the measured blocks; None where there is none."""
        return statistics.median(self.medians) if self.medians else None

    def interval(self) -> tuple[float, float] | None:
        """Its 95 % interval; None where the blocks are too few for one."""
        return blocks_interval([[m] for m in self.medians]) if self.medians else None


def series(engine: Engine, wanted: Filter) -> dict[SeriesId, list[Point]]:
    """Every series that matches, points oldest first. Blocks without a measurement count by status only."""
    query = wanted.apply(
        select(Block, Run.started_utc, Run.git_commit)
        .join(Run, (Run.origin == Block.origin) & (Run.run_id == Block.run_id))
        .order_by(Run.started_utc, Run.run_id, Run.origin, Block.seq)
    )
    table: dict[SeriesId, dict[tuple[str, str], Point]] = {}
    with Session(engine) as session:
        for block, started, commit in session.execute(query):
            identity = SeriesId(
                block.metric,
                block.device,
                block.backend,
                block.model,
                block.precision,
                block.comparability_key,
            )
            points = table.setdefault(identity, {})
            place = (block.origin, block.run_id)
            point = points.get(place)
            if point is None:
                point = Point(block.run_id, started, commit, block.backend_version, block.unit)
                points[place] = point
            point.statuses[block.status] = point.statuses.get(block.status, 0) + 1
            point.failed_gates += bool(block.failed_gates)
            if block.value is not None:
                point.medians.append(block.value)
            elif block.reason and block.reason not in point.reasons:
                point.reasons.append(block.reason)
    return {identity: list(points.values()) for identity, points in table.items()}


def run_ids(engine: Engine, commit: str | None = None) -> list[str]:
    """Runs, newest first; with ``commit`` those made at a commit that starts with it."""
    query = select(Run.run_id).order_by(Run.started_utc.desc(), Run.run_id.desc())
    if commit:
        query = query.where(Run.git_commit.startswith(commit, autoescape=True))
    with Session(engine) as session:
        return list(session.scalars(query))


def comparability_inputs(engine: Engine, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the comparability keys were made of, by key."""
    with Session(engine) as session:
        rows = session.scalars(select(Comparability).where(Comparability.key.in_(keys)))
        return {row.key: row.inputs for row in rows}


def counts(engine: Engine) -> dict[str, int]:
    """Sizes of the index, for a line of summary."""
    with Session(engine) as session:
        return {
            "runs": session.scalar(select(func.count()).select_from(Run)) or 0,
            "blocks": session.scalar(select(func.count()).select_from(Block)) or 0,
            "series": session.scalar(select(func.count(distinct(Block.comparability_key)))) or 0,
        }


def names(engine: Engine, column: str) -> Sequence[str]:
    """Known values of a block column (``model``, ``backend``, ...), for messages about unknown names."""
    with Session(engine) as session:
        return sorted(session.scalars(select(getattr(Block, column)).distinct()))
