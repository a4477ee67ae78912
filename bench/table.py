"""Cells as a table for people: what was measured, how sure, how right, and how `ecp` compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.cells import Cell, batch_of

OURS = "ecp"
WIDE = 120
LEGEND = {
    "ecp is": "ecp is: times faster than this row",
    "error": "error: largest, against float64",
    "launches": "launches: kernels per inference, in brackets those that only move data",
    "images/s": "images/s: batch over median latency",
    "mJ": "mJ: energy of an inference by the processor's counters, neighbours on the package included",
}
BUSY = (
    "unstable: the machine was disturbed, so there is no value (~: what was seen meanwhile). Run again when nothing\n"
    "else runs; how much disturbance is tolerated stands in devices.yaml (limits)."
)


def make_table(cells: Sequence[Cell], wide: bool = False) -> Table:
    """One row per cell; a cell that was not measured shows its status and, below the table, its reason.

    The narrow form fits 80 columns; ``wide`` adds what else was measured.
    """
    metric = cells[0].metric if cells else ""
    unit = next((c.unit for c in cells if c.unit), "")
    table = Table(
        title=_title(cells), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    for heading in ("model", "backend"):
        table.add_column(heading, no_wrap=True)
    columns = [c for c in _columns(metric, wide) if any(c[1](cell, cells) for cell in cells)]
    for heading in (f"{unit}", "95 % interval", *(c[0] for c in columns)):
        table.add_column(heading, justify="right", no_wrap=True)
    previous = None
    for cell in cells:
        if previous is not None and cell.model != previous:
            table.add_section()
        head = [cell.model if cell.model != previous else "", cell.backend]
        table.add_row(*head, *_value(cell), *(show(cell, cells) for _, show in columns))
        previous = cell.model
    return table


def _title(cells: Sequence[Cell]) -> str:
    if not cells:
        return "nothing measured"
    threads = sorted({int(c.extra["threads"]) for c in cells if c.extra.get("threads")})
    count = f", {', '.join(map(str, threads))} threads" if threads else ""
    blocks = max(c.extra["blocks_measured"] for c in cells)
    what = {"latency": "median latency", "memory": "peak memory"}.get(cells[0].metric, cells[0].metric)
    processes = f"{blocks} process{'es' if blocks != 1 else ''} each"
    return f"{what} on {cells[0].device}, {cells[0].precision}{_batch(cells)}{count}, {processes}"


def _batch(cells: Sequence[Cell]) -> str:
    sizes = {batch_of(c.model) for c in cells} - {None}
    if len(sizes) > 1:
        return ", batches as in the names"
    return f", batch {sizes.pop()}" if sizes else ""


Show = Callable[[Cell, Sequence[Cell]], str]


def _columns(metric: str, wide: bool) -> list[tuple[str, Show]]:
    """Heading and content of the columns after value and interval."""
    error: tuple[str, Show] = ("error", lambda c, _: _scientific(c.extra.get("max_abs_error")))
    if metric == "latency":
        narrow: list[tuple[str, Show]] = [
            ("ecp is", _speed_up),
            error,
            ("launches", lambda c, _: _launches(c)),
            ("images/s", _throughput),
        ]
        more: list[tuple[str, Show]] = [
            ("first ms", lambda c, _: _number(c.extra.get("first_ms"))),
            ("start s", lambda c, _: _number(c.extra.get("compile_s"))),
            ("avg of 50", lambda c, _: _number(c.extra.get("paper_protocol_ms"))),
            ("mJ", lambda c, _: _number(c.extra.get("energy_mj"))),
            ("version", lambda c, _: c.backend_version),
        ]
        return narrow + more if wide else narrow
    if metric == "memory":
        return [
            ("above idle", lambda c, _: _number(c.extra.get("above_idle_mib"))),
            ("ecp needs", _share),
            error,
        ]
    return []


def _value(cell: Cell) -> list[str | Text]:
    if cell.value is None:
        hint = f"~{_number(cell.extra['indicative'])}" if "indicative" in cell.extra else ""
        return [Text(cell.status, style="yellow"), hint]
    if cell.ci is None:
        return [_number(cell.value), f"{len(cell.blocks)} blocks"]
    return [_number(cell.value), " - ".join(map(_number, cell.ci))]


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


def _throughput(cell: Cell, cells: Sequence[Cell]) -> str:
    """Images per second, where a table holds batches; at batch 1 alone the latency says it."""
    batched = any((batch_of(c.model) or 1) > 1 for c in cells)
    return _number(cell.extra.get("images_per_s")) if batched else ""


def _share(cell: Cell, cells: Sequence[Cell]) -> str:
    ours = _ours(cell, cells)
    if ours is None or ours is cell or not cell.value or not ours.value:
        return ""
    return f"{ours.value / cell.value:.0%}"


def _launches(cell: Cell) -> str:
    details = cell.extra.get("details", {})
    if details.get("launches") is None:
        return ""
    return f"{details['launches']} ({details.get('layout_launches', '?')})"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}"


def _scientific(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def _legend(table: Table) -> str:
    """What the columns that are there mean."""
    shown = [LEGEND[str(c.header)] for c in table.columns if str(c.header) in LEGEND]
    return ";\n".join(shown) + "." if shown else ""


def _cost(cells: Sequence[Cell]) -> str:
    """What a block took and how much of it was the harness's own; nothing where nothing was measured."""
    whole = [c.extra["block_wall_s"] for c in cells if c.extra.get("harness_s") is not None]
    own = [c.extra["harness_s"] for c in cells if c.extra.get("harness_s") is not None]
    if not own:
        return ""
    return (
        f"\na block took {median(whole):.1f} s, of it {median(own):.1f} s the harness (process start, checks)"
    )


def print_cells(cells: Sequence[Cell], console: Console) -> None:
    """The table, what its columns mean, then one line per cell that has no value, with its reason."""
    table = make_table(cells, wide=console.width >= WIDE)
    console.print(table)
    if cells and cells[0].metric == "latency":
        console.print(_legend(table) + _cost(cells), markup=False, highlight=False, soft_wrap=True)
    print_gaps(cells, console)


def print_gaps(cells: Sequence[Cell], console: Console) -> None:
    """Why cells have no value, in the framework's own words."""
    for cell in cells:
        if cell.status != "measured":
            line = f"{cell.model} on {cell.backend}: {cell.status}: {cell.reason}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if any(c.status == "unstable" for c in cells):
        console.print(BUSY, markup=False, highlight=False, soft_wrap=True)
