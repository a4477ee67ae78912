"""Cells as a table for people: what was measured, how sure, how right, and how `ecp` compares."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.cells import Cell

OURS = "ecp"


def make_table(cells: Sequence[Cell]) -> Table:
    """One row per cell; a cell that was not measured shows its status and, below the table, its reason."""
    metric = cells[0].metric if cells else ""
    unit = next((c.unit for c in cells if c.unit), "")
    table = Table(title=_title(cells), title_justify="left", header_style="bold", show_lines=False)
    table.add_column("model")
    table.add_column("backend")
    table.add_column(f"{metric} [{unit}]", justify="right")
    table.add_column("95 % interval", justify="right")
    for heading in _extra_headings(metric):
        table.add_column(heading, justify="right")
    previous = None
    for cell in cells:
        if previous is not None and cell.model != previous:
            table.add_section()
        table.add_row(*_row(cell, cells, show_model=cell.model != previous))
        previous = cell.model
    return table


def _title(cells: Sequence[Cell]) -> str:
    if not cells:
        return "nothing measured"
    threads = sorted({int(c.extra["threads"]) for c in cells if c.extra.get("threads")})
    count = f", {', '.join(map(str, threads))} threads" if threads else ""
    return f"{cells[0].metric} on {cells[0].device}, {cells[0].precision}, batch 1{count}"


def _extra_headings(metric: str) -> list[str]:
    if metric == "latency":
        return [
            "ecp is faster by",
            "max abs error",
            "launches",
            "of them layout",
            "first run [ms]",
            "start [s]",
        ]
    if metric == "memory":
        return ["above idle [MiB]", "ecp needs", "max abs error"]
    return []


def _row(cell: Cell, cells: Sequence[Cell], show_model: bool) -> list[str]:
    head = [cell.model if show_model else "", cell.backend]
    if cell.value is None:
        return [*head, f"[yellow]{cell.status}[/yellow]", *[""] * (1 + len(_extra_headings(cell.metric)))]
    low, high = cell.ci or [cell.value, cell.value]
    row = [*head, _number(cell.value), f"{_number(low)} .. {_number(high)}"]
    error = _scientific(cell.extra.get("max_abs_error"))
    if cell.metric == "latency":
        details = cell.extra.get("details", {})
        row += [
            _speed_up(cell, cells),
            error,
            _count(details, "launches"),
            _count(details, "layout_launches"),
        ]
        row += [_number(cell.extra.get("first_ms")), _number(cell.extra.get("compile_s"))]
    elif cell.metric == "memory":
        row += [_number(cell.extra.get("above_idle_mib")), _share(cell, cells), error]
    return row


def _ours(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    return next(
        (
            c
            for c in cells
            if (c.backend, c.model, c.precision) == (OURS, cell.model, cell.precision) and c.value is not None
        ),
        None,
    )


def speed_up(cell: Cell, cells: Sequence[Cell]) -> float | None:
    """How many times faster `ecp` is than this cell's backend on the same model; None where unknown."""
    ours = _ours(cell, cells)
    if ours is None or ours is cell or not cell.value or not ours.value:
        return None
    return cell.value / ours.value


def _speed_up(cell: Cell, cells: Sequence[Cell]) -> str:
    ratio = speed_up(cell, cells)
    return "" if ratio is None else f"{ratio:.2f}x"


def _share(cell: Cell, cells: Sequence[Cell]) -> str:
    ours = _ours(cell, cells)
    if ours is None or ours is cell or not cell.value or not ours.value:
        return ""
    return f"{ours.value / cell.value:.0%}"


def _count(details: dict[str, object], key: str) -> str:
    value = details.get(key)
    return "" if value is None else str(value)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}"


def _scientific(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def print_cells(cells: Sequence[Cell], console: Console) -> None:
    """The table, then one line per cell that has no value, with its reason."""
    console.print(make_table(cells))
    for cell in cells:
        if cell.status != "measured":
            console.print(
                f"{cell.model} on {cell.backend}: {cell.status}: {cell.reason}", markup=False, highlight=False
            )
