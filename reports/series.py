"""Histories: the same measurement over several runs, and where its level changed."""

from __future__ import annotations

from dataclasses import dataclass

from bench.stats.changepoints import MIN_SEGMENT, steps
from bench.store.key import comparability
from reports import versus
from reports.measured import Measured, Run, Store

# Changes below this are not named: two runs of one machine differ by as much.
SMALLEST_CHANGE = 0.02


@dataclass(frozen=True)
class Point:
    """One run's value in a series; ``value`` in ``cell.unit``."""

    run: Run
    cell: Measured
    value: float


@dataclass(frozen=True)
class Series:
    """Comparable cells, oldest first."""

    points: tuple[Point, ...]

    @property
    def cell(self) -> Measured:
        """The newest cell."""
        return self.points[-1].cell

    @property
    def values(self) -> list[float]:
        """The values, oldest first."""
        return [p.value for p in self.points]

    @property
    def change(self) -> float:
        """Newest over oldest value, minus one."""
        return self.values[-1] / self.values[0] - 1

    @property
    def changes(self) -> list[tuple[Point, float]]:
        """Change points: the first point of each new level, and new level over old level."""
        return [(self.points[i], ratio) for i, ratio in steps(self.values, SMALLEST_CHANGE)]

    @property
    def why_none(self) -> str:
        """Why no change point is named."""
        need = 2 * MIN_SEGMENT
        return f"needs {need} runs" if len(self.points) < need else "none"


def _key(run: Run, cell: Measured) -> tuple[str, ...]:
    """Cells may be compared if this is equal: the harness's own key where there are blocks."""
    if cell.records:
        return (*cell.key, comparability(cell.records[0], run.info)[0])
    return (*cell.key, cell.model_sha256)


def all_series(store: Store, least: int = 2) -> list[Series]:
    """Every series with at least ``least`` measured points."""
    table: dict[tuple[str, ...], list[Point]] = {}
    for run in store.runs:
        for cell in run.cells:
            # A ratio has two sides: its level says nothing of either alone.
            if cell.ok and cell.value is not None and cell.value > 0 and cell.metric != versus.METRIC:
                table.setdefault(_key(run, cell), []).append(Point(run, cell, cell.value))
    return [Series(tuple(points)) for points in table.values() if len(points) >= least]
