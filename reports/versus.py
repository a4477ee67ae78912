"""Contenders that took turns (``bench versus``): their records as cells, and the cells as bouts to be shown.

The arithmetic is the harness's (:mod:`bench.versus_report`). A ratio is no time: its cells have the metric ``versus``
and a name in ``against``, and stand in no table of latencies and in no history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import versus_run
from bench.cells import Cell
from bench.plan import Case, plan_from_json
from bench.records import BlockRecord
from bench.versus_run import METRIC, Group
from reports.cell import Measured
from reports.model_names import canonical

__all__ = ["METRIC", "Bout", "bouts", "ratio_text", "rows", "verdict", "with_opponents"]
Row = dict[str, Any]


def rows(records: Sequence[BlockRecord], info: Mapping[str, Any]) -> tuple[list[Row], list[str]]:
    """Cells of one run in the form of ``--json``, and a sentence for each group that could not be read.

    Each names in ``against`` the contender whom its ratio is to. ``extra``: that one's own time (``against_ms``), who
    has the least time of the group (``leader``) and whose interval does not tell them from it (``level_with``).
    """
    # Here, because the statistics take a second to import and most records need none of them.
    from bench import versus_report

    found: list[Row] = []
    troubles = []
    cases = _cases(records, info)
    planned = 1 + max((r.block for r in records), default=0)
    for number, group in enumerate(versus_run.make_groups(cases) if cases else []):
        try:
            cells = versus_report.make_cells([group], records, planned)
            facts = _leader(group, cells, records, planned)
        except ValueError as error:
            troubles.append(f"{', '.join(_name(group, c) for c in group)}: no ratios: {error}")
            continue
        facts |= {"against_ms": cells[0].extra.get("median_ms"), "turns_of": _told_by(group)}
        against = _name(group, group[0])
        for cell in cells:
            row = {**cell.to_dict(), "against": against, "group": number}
            found.append(row | {"extra": {**cell.extra, **facts}})
    return found, troubles


def _cases(records: Sequence[BlockRecord], info: Mapping[str, Any]) -> list[Case]:
    """Contenders in the order asked: run.json's plan has it, and the first block of each group keeps it."""
    if not records:
        return []
    try:
        planned = [s.case for s in plan_from_json(info["plan"]) if s.case.metric == METRIC]
    except (KeyError, TypeError, ValueError):
        planned = []
    blocks = sorted(records, key=lambda r: r.seq)
    found: dict[tuple[str, str], Case] = {}
    for case in planned or [
        Case(r.cell.device, r.cell.backend, r.cell.model, METRIC, r.cell.precision) for r in blocks
    ]:
        found.setdefault((case.backend, case.model), case)
    return list(found.values())


def _told_by(group: Group) -> str:
    """Whether contenders are the backends of one model or the models of one backend."""
    return "model" if len({c.backend for c in group}) == 1 else "backend"


def _name(group: Group, case: Case) -> str:
    return canonical(case.model) if _told_by(group) == "model" else case.backend


def _leader(group: Group, cells: Sequence[Cell], records: Sequence[BlockRecord], planned: int) -> Row:
    """Who is fastest, and who cannot be told from it: the same arithmetic with the fastest put first."""
    from bench import versus_report

    ran = [(case, cell) for case, cell in zip(group, cells, strict=True) if cell.value is not None]
    if len(ran) < 2:
        return {"leader": None, "level_with": []}
    best = max(ran, key=lambda pair: pair[1].value or 0.0)[0]
    order = (best, *(case for case, _ in ran if case is not best))
    seen = versus_report.make_cells([order], records, planned)[1:]
    level = [
        _name(group, case) for case, c in zip(order[1:], seen, strict=True) if c.ci is None or c.ci[1] >= 1.0
    ]
    return {"leader": _name(group, best), "level_with": level}


def with_opponents(found: Sequence[Any]) -> list[Any]:
    """Cells as ``versus --json`` wrote them, each with ``against``; others as they are.

    The file says no more than the order, in which the first of a group is the one that all ratios are to.
    """
    mine = [r for r in found if isinstance(r, Mapping) and r.get("metric") == METRIC and "against" not in r]
    cases = [
        Case(
            str(r.get("device")), str(r.get("backend")), str(r.get("model")), METRIC, str(r.get("precision"))
        )
        for r in mine
    ]
    names: dict[tuple[str, str], Row] = {}
    for group in versus_run.make_groups(cases) if cases else []:
        facts = {"against": _name(group, group[0]), "turns_of": _told_by(group)}
        for case in group:
            names[case.backend, case.model] = facts
    done = []
    for row in found:
        if row in mine:
            facts = names[str(row.get("backend")), str(row.get("model"))]
            extra = {**(row.get("extra") or {}), "turns_of": facts["turns_of"]}
            row = {**row, "against": facts["against"], "extra": extra}
        done.append(row)
    return done


@dataclass(frozen=True)
class Bout:
    """One group of one run. ``first`` is the contender that every ratio is to; it may have been superseded."""

    run: str
    device: str
    precision: str
    first: str
    shared: str
    told_by: str
    others: tuple[Measured, ...]

    @property
    def title(self) -> str:
        """What all contenders have in common, as text."""
        return f"{self.shared}, {self.device}, {self.precision}"

    def name(self, cell: Measured) -> str:
        """What tells a contender from the others."""
        return cell.model if self.told_by == "model" else cell.backend

    @property
    def first_ms(self) -> float | None:
        """The first contender's own time while taking turns."""
        found = self.others[0].extra.get("against_ms")
        return float(found) if isinstance(found, int | float) else None

    @property
    def leader(self) -> str:
        """Who is fastest, and who is level with it; empty where the file does not say."""
        extra = self.others[0].extra
        if not extra.get("leader"):
            return ""
        level = ", ".join(map(str, extra.get("level_with") or []))
        return str(extra["leader"]) + (f" (level: {level})" if level else "")


def bouts(cells: Iterable[Measured]) -> list[Bout]:
    """Bouts among these cells without those of unusual settings: backends of a model first, then models of a backend.

    Give a store's newest cells, and a bout has only the ratios that no newer run has measured again.
    """
    groups: dict[tuple[str, str, str, str, str, str], list[Measured]] = {}
    for cell in cells:
        if cell.metric == METRIC and cell.against and not cell.variant:
            told_by = str(cell.extra.get("turns_of", "backend"))
            shared = cell.backend if told_by == "model" else cell.model
            key = (cell.run, cell.device, cell.precision, cell.against, shared, told_by)
            groups.setdefault(key, []).append(cell)
    found = []
    for key, some in groups.items():
        bout = Bout(*key, others=())
        others = tuple(c for c in some if bout.name(c) != bout.first)
        if others:
            found.append(Bout(*key, others=others))
    return sorted(found, key=lambda b: (b.told_by, b.device, b.precision, b.first_ms or 0.0, b.shared))


def ratio_text(cell: Measured) -> str:
    """``0.812 [0.790, 0.834]``; without the interval where the blocks are too few; the status of what has no value."""
    if cell.value is None:
        return cell.status
    return f"{cell.value:.3f}" + (f" [{cell.ci[0]:.3f}, {cell.ci[1]:.3f}]" if cell.ci else "")


def verdict(cell: Measured) -> str:
    """The first contender is ``faster`` or ``slower`` than this one, ``level``, or there is no interval to tell."""
    if not cell.ok:
        return cell.status
    if cell.ci is None:
        return "too few blocks"
    return "faster" if cell.ci[1] < 1.0 else "slower" if cell.ci[0] > 1.0 else "level"
