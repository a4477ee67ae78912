"""``python -m bench history``: what was measured so far, and where a level changed (triage, to be confirmed)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench import options as o

Metric = Annotated[str, typer.Option("--metric", help="latency, memory, ...")]
AnyDevice = Annotated[str | None, typer.Option("--device", "-d", help="Only this device.")]
AnyPrecision = Annotated[str | None, typer.Option("--precision", help="Only this precision.")]
Rebuild = Annotated[bool, typer.Option("--rebuild", help="Empty the index and fill it from the records.")]
Store = Annotated[
    str | None,
    typer.Option(
        "--store", help="Index: a path or a PostgreSQL URL (default: index.sqlite beside the runs)."
    ),
]
Also = Annotated[
    list[Path] | None,
    typer.Option("--also", help="A further folder of runs, as copied from another machine."),
]
Confirm = Annotated[bool, typer.Option("--confirm", help="Measure each change point again as a paired run.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("history")(history)


def history(
    metric: Metric = "latency",
    device: AnyDevice = None,
    models: o.Models = None,
    backends: o.Backends = None,
    precision: AnyPrecision = None,
    rebuild: Rebuild = False,
    confirm: Confirm = False,
    store: Store = None,
    also: Also = None,
    json: o.Json = None,
    out: o.Out = o.DEFAULT_OUT,
) -> None:
    """Every series over the recorded runs: newest value, change points, and how to confirm one.

    The index is brought up to date first. Runs of other machines are merged by copying their folders into
    --out or naming their place with --also.

    Example: python -m bench history --models vit_small --backends ecp
    """
    from bench.history_report import show_history
    from bench.names import split_names
    from bench.store.query import Filter

    wanted = Filter(
        metrics=(metric,),
        devices=(device,) if device else (),
        models=tuple(split_names(models, ())),
        backends=tuple(split_names(backends, ())),
        precisions=(precision,) if precision else (),
    )
    raise typer.Exit(show_history(wanted, [out, *(also or [])], store, rebuild, confirm, json))
