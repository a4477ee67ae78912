"""From the records of contenders that took turns to ratios, as cells and as a table. Pure but for the printing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.cells import Cell, make_cell
from bench.records import BlockRecord
from bench.stats.adjacent import round_difference, split, turn_difference
from bench.stats.median_interval import FEW, median_interval
from bench.versus_run import Group, one_backend

LEGEND = (
    "{first} / this: time of {first} over time of this row, below 1 where {first} is faster; median over blocks,\n"
    "with the exact 95 % interval of that median. error: largest, against float64."
)


def make_cells(groups: Sequence[Group], records: Sequence[BlockRecord], planned: int) -> list[Cell]:
    """One cell per contender in the order asked: ``value`` is the ratio of the group's first to it (1 for itself).

    ``blocks`` holds one ratio per block in which both ran; ``extra["median_ms"]`` the contender's own time. A block
    that never became steady counts: the ratio is taken between neighbours, and ``extra["unsteady_blocks"]`` says
    how many there were.
    """
    table: dict[tuple[str, str], dict[int, BlockRecord]] = {}
    for record in sorted(records, key=lambda r: r.seq):
        table.setdefault((record.cell.backend, record.cell.model), {})[record.block] = record
    cells = []
    for group in groups:
        first = table.get((group[0].backend, group[0].model), {})
        for case in group:
            own = table.get((case.backend, case.model), {})
            cells.append(_cell(make_cell(case, _counted(own), planned), first, own, case is group[0]))
    return cells


def _counted(records: Mapping[int, BlockRecord]) -> list[BlockRecord]:
    """Records with those that ran unsteadily called measured (see :func:`make_cells`)."""
    return [replace(r, status="measured") if _took_turns(r) else r for r in records.values()]


def _took_turns(record: BlockRecord) -> bool:
    return record.status in ("measured", "unstable") and bool(record.extra.get("turn_lengths"))


def ratio_of(first: BlockRecord, other: BlockRecord) -> float:
    """Time of ``first`` over time of ``other`` in one block; ``ValueError`` where they did not take turns together.

    Of models on one backend by the minima of neighbouring turns, as of two revisions; of different backends by round.
    """
    one, two = (split(r.samples_ms, r.extra["turn_lengths"]) for r in (first, other))
    alike = first.cell.backend == other.cell.backend
    return math.exp(-(turn_difference if alike else round_difference)(one, two))


def _cell(cell: Cell, first: Mapping[int, BlockRecord], own: Mapping[int, BlockRecord], leads: bool) -> Cell:
    extra: dict[str, Any] = {
        **cell.extra,
        "median_ms": cell.value,
        "median_ms_ci": cell.ci,
        "unsteady_blocks": sum(r.status == "unstable" for r in own.values()),
    }
    if cell.status != "measured":
        return replace(cell, unit="ratio", value=None, ci=None, blocks=[], extra=extra)
    both = [n for n in sorted(own) if n in first and _took_turns(own[n]) and _took_turns(first[n])]
    ratios = [1.0 if leads else ratio_of(first[n], own[n]) for n in both]
    if not ratios:
        why = "no block in which the first contender ran beside it"
        return replace(cell, status="not-run", reason=why, unit="ratio", value=None, ci=None, blocks=[])
    found = median_interval(ratios)
    return replace(
        cell,
        unit="ratio",
        value=statistics.median(ratios),
        ci=None if found is None else [found[1], found[2]],
        blocks=[[ratio] for ratio in ratios],
        extra=extra,
    )


def print_cells(groups: Sequence[Group], cells: Sequence[Cell], console: Console) -> None:
    """The table, then one line per contender without a ratio."""
    left = list(cells)
    for group in groups:
        rows, left = left[: len(group)], left[len(group) :]
        console.print(_table(group, rows))
        for cell in rows:
            if cell.status != "measured":
                line = f"{cell.model} on {cell.backend}: {cell.status}: {cell.reason}"
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            elif cell.ci is None:
                few = f"{cell.model} on {cell.backend}: {len(cell.blocks)} blocks: no interval under {FEW}"
                console.print(few, markup=False, highlight=False, soft_wrap=True)
    console.print(LEGEND.format(first=_name(groups[0], 0)), markup=False, highlight=False, soft_wrap=True)


def _name(group: Group, place: int) -> str:
    """What tells a contender from the others of its group."""
    return group[place].model if one_backend(group) else group[place].backend


def _table(group: Group, rows: Sequence[Cell]) -> Table:
    case = group[0]
    shared = case.backend if one_backend(group) else case.model
    table = Table(
        title=f"{shared} on {case.device}, {case.precision}, {case.threads} threads, taking turns",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    # Names and headings may break where a terminal is narrow, numbers may not.
    table.add_column("", overflow="fold", min_width=21)
    headings = (
        ("ms", 8),
        (f"{_name(group, 0)} / this", 7),
        ("95 % interval", 13),
        ("blocks", 6),
        ("error", 7),
    )
    for heading, width in headings:
        table.add_column(heading, justify="right", overflow="fold", min_width=width)
    for place, cell in enumerate(rows):
        if cell.value is None:
            table.add_row(_name(group, place), Text(cell.status, style="yellow"))
            continue
        interval = f"{cell.ci[0]:.3f} - {cell.ci[1]:.3f}" if cell.ci and place else ""
        error = cell.extra.get("max_abs_error")
        table.add_row(
            _name(group, place),
            f"{cell.extra['median_ms']:.2f}",
            f"{cell.value:.3f}" if place else "",
            interval,
            str(len(cell.blocks)),
            "" if error is None else f"{error:.1e}",
        )
    return table
