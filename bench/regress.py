"""``python -m bench regress --against main``: the gate. ``--aa N`` states this device's false-alarm rate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench import options as o
from bench.compare import Ci, Junit, Margin, Markdown, PairCount
from bench.options import RunOptions
from ecp.errors import UsageError

Against = Annotated[
    str, typer.Option("--against", help="Revision (or run) that this one must not be slower than.")
]
Revision = Annotated[
    str, typer.Option("--revision", help="What is judged: a revision, a run, or . (this tree).")
]
AA = Annotated[
    int | None,
    typer.Option(
        "--aa", min=1, help="Compare the code with itself this often: the device's false-alarm rate."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("regress")(regress)


def regress(
    against: Against = "main",
    revision: Revision = ".",
    device: o.Device = "local",
    models: o.Models = None,
    backends: o.Backends = None,
    precision: o.Precision = "fp32",
    threads: o.Threads = None,
    pairs: PairCount = None,
    margin: Margin = None,
    aa: AA = None,
    ci: Ci = False,
    quick: o.Quick = False,
    json: o.Json = None,
    junit: Junit = None,
    markdown: Markdown = None,
    out: o.Out = o.DEFAULT_OUT,
    seed: o.Seed = 0,
    timeout: o.Timeout = 600.0,
) -> None:
    """Has anything become slower? Both revisions are measured now, interleaved; exit code 1 on a regression.

    Verdicts: regressed, improved, unchanged, inconclusive, unstable-device, no-baseline, incomparable, failed,
    not-run. Only regressed and failed fail the gate; with --ci everything but improved and unchanged does.

    Example: python -m bench regress --ci --against main --models vit_small --junit regress.xml
    """
    asked = RunOptions(
        device, models, backends, precision, threads, quick, None, out, False, seed, timeout=timeout
    )
    if aa is not None:
        if ci or junit or markdown:
            raise UsageError(
                "--aa learns this device's noise and judges nothing: no --ci, --junit or --markdown"
            )
        from bench.regress_aa import campaign

        raise typer.Exit(campaign(aa, asked, pairs, margin, json))
    from bench.compare_report import compare_and_show

    outputs: dict[str, Path | None] = {"json": json, "junit": junit, "markdown": markdown}
    raise typer.Exit(
        compare_and_show(against, revision, asked, pairs, margin, outputs, ci=ci, purpose="regress")
    )
