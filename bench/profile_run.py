"""Running and showing profiles: the common run, then Table 1's columns; and the ablation of this compiler's passes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.cells import Cell
from bench.options import RunOptions
from bench.profile import DEFAULT_MODELS, table_rows
from bench.regress_output import write
from bench.run import console_for, measure
from bench.table import print_gaps
from bench.trace import trace_of_cells
from ecp.errors import UsageError
from ecp.options import SWITCHES

DEFAULT_BACKENDS = ("ecp", "onnxruntime", "openvino", "torch", "mnn")
WIDE = 120
NOTE = (
    "layout + compute = latency of the plain pass, divided by the shares of the profiled pass. hooks: what the\n"
    "profiler added to a pass; sum (wide tables): the operators' times over that pass. graph MB: every computed\n"
    "tensor of the ONNX graph once; written MB: what the framework said its operators wrote. Classes:\n"
    "bench/op_classes.yaml."
)


def run_profile(asked: RunOptions, trace: Path | None = None) -> int:
    """Measure, print Table 1's columns and write the ``trace``; the exit code."""
    found: list[dict[str, Any]] = []

    def show(cells: Sequence[Cell], console: Console) -> None:
        found.extend(c.to_dict() for c in cells)
        _print(found, console, _title(asked, "time of layout work and of computation (Table 1's columns)"))
        print_gaps(cells, console)

    code = measure("profile", asked, DEFAULT_MODELS, DEFAULT_BACKENDS, show=show)
    _write_trace(found, trace)
    return code


def run_ablation(asked: RunOptions, trace: Path | None = None) -> int:
    """``ecp`` as it is, with each pass off, and with all off: one run each, cells told apart by their options."""
    if asked.backends not in (None, "ecp"):
        raise UsageError("--ablate switches passes of ecp; leave --backends away or say ecp")
    if asked.resume:
        raise UsageError("--ablate is several runs; --resume finishes one. Run it again without --resume")
    worst, everything = 0, list[dict[str, Any]]()
    console = console_for(asked.json)
    variants: list[tuple[str, ...]] = [(), *((s,) for s in SWITCHES), SWITCHES]
    for off in variants:
        settings = (*asked.settings, *(f"ecp.{name}=false" for name in off))
        label = "all passes" if not off else "without " + ("all four" if off == SWITCHES else off[0])

        def show(cells: Sequence[Cell], console: Console, label: str = label) -> None:
            everything.extend(replace(c, extra={**c.extra, "ablation": label}).to_dict() for c in cells)
            print_gaps(cells, console)

        one = replace(asked, backends="ecp", settings=settings, json=None)
        worst = max(
            worst, measure("profile", one, DEFAULT_MODELS, DEFAULT_BACKENDS, console=console, show=show)
        )
    _print(everything, console, _title(asked, "ecp with passes switched off"), label="ablation")
    write(asked.json, json.dumps(everything, indent=1) + "\n", "--json")
    _write_trace(everything, trace)
    return worst


def _write_trace(cells: list[dict[str, Any]], trace: Path | None) -> None:
    if trace is not None:
        write(trace, json.dumps(trace_of_cells(cells)), "--trace")


def _title(asked: RunOptions, what: str) -> str:
    return f"{what} on {asked.device}, {asked.precision}"


def _print(cells: list[dict[str, Any]], console: Console, title: str, label: str = "") -> None:
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    wide = console.width >= WIDE
    table.add_column("model", no_wrap=True)
    table.add_column("passes" if label else "backend", no_wrap=True)
    for heading in ("layout ms", "compute ms", "graph MB", "written MB", "hooks"):
        table.add_column(heading, justify="right", no_wrap=True)
    if wide:
        table.add_column("sum", justify="right", no_wrap=True)
        table.add_column("largest classes")
    for cell, row in zip(cells, table_rows(cells), strict=True):
        name = cell["extra"].get(label, "") if label else row["backend"]
        table.add_row(row["model"], name, *_values(row)[: None if wide else -2])
    console.print(table)
    console.print(NOTE, markup=False, highlight=False, soft_wrap=True)


def _values(row: Mapping[str, Any]) -> list[str]:
    if row["layout_ms"] is None:
        return [row["status"], "", _mb(row["intermediate_mb"]), "", "", "", ""]
    total = row["layout_ms"] + (row["compute_ms"] or 0.0)
    heavy = sorted(row["classes"].items(), key=lambda item: -item[1])[:3]
    text = ", ".join(f"{k} {v / total:.0%}" for k, v in heavy if total)
    overhead = row["hook_overhead"]
    return [
        f"{row['layout_ms']:.2f}",
        f"{row['compute_ms']:.2f}",
        _mb(row["intermediate_mb"]),
        _mb(row["framework_mb"]),
        "" if overhead is None else f"{overhead:+.0%}",
        "" if row["attributed"] is None else f"{row['attributed']:.0%}",
        text,
    ]


def _mb(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
