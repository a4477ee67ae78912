"""``python -m bench compare A B``: two revisions measured interleaved, or two finished runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bench import options as o
from bench.options import RunOptions

PairCount = Annotated[
    int | None,
    typer.Option("--pairs", min=1, help="Pairs of blocks per cell (default: 10, more for many cells)."),
]
Margin = Annotated[
    float | None,
    typer.Option(
        "--margin", min=0.0, help="Smallest change worth a verdict, 0.02 = 2 % (default: the device's)."
    ),
]
Junit = Annotated[
    Path | None, typer.Option("--junit", help="Write JUnit XML to this file; - is standard output.")
]
Markdown = Annotated[
    Path | None,
    typer.Option("--markdown", help="Write a Markdown comment to this file; - is standard output."),
]
Ci = Annotated[
    bool,
    typer.Option(
        "--ci", help="For pipelines: fail on everything that is not shown to be unchanged or improved."
    ),
]
SideA = Annotated[str, typer.Argument(metavar="A", help="Git revision, run, or . for this working tree.")]
SideB = Annotated[str, typer.Argument(metavar="B", help="As A.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(compare)


def compare(
    a: SideA,
    b: SideB = ".",
    device: o.Device = "local",
    models: o.Models = None,
    backends: o.Backends = None,
    precision: o.Precision = "fp32",
    threads: o.Threads = None,
    pairs: PairCount = None,
    margin: Margin = None,
    ci: Ci = False,
    quick: o.Quick = False,
    json: o.Json = None,
    junit: Junit = None,
    markdown: Markdown = None,
    out: o.Out = o.DEFAULT_OUT,
    seed: o.Seed = 0,
    timeout: o.Timeout = 600.0,
) -> None:
    """Compare two git revisions (measured now, interleaved in random order) or two finished runs.

    Revisions are checked out into scratch worktrees; the working tree is never touched. Two runs of different
    times are shown side by side, but only "unchanged" is ever claimed of them. A wrong output or a crash on either
    side is "failed". Exit code 1 on regressed and failed; with --ci on all but unchanged and improved.

    Example: python -m bench compare main . --models vit_small --backends ecp
    """
    from bench.compare_report import compare_and_show

    asked = RunOptions(
        device, models, backends, precision, threads, quick, None, out, False, seed, timeout=timeout
    )
    outputs: dict[str, Any] = {"json": json, "junit": junit, "markdown": markdown}
    raise typer.Exit(compare_and_show(a, b, asked, pairs, margin, outputs, ci=ci, purpose="compare"))
