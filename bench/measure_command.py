"""The signature that ``latency``, ``memory`` and ``versus`` share: every common option, declared once."""

from __future__ import annotations

from collections.abc import Callable

import typer

from bench import options as o
from bench.options import RunOptions
from ecp.errors import UsageError


def add(
    app: typer.Typer, metric: str, words: str, carry_out: Callable[[RunOptions], int] | None = None
) -> None:
    """Add ``python -m bench METRIC`` with all common options. ``words``: its help, with an example line.

    ``carry_out``: what runs and gives the exit code, where that is not one metric over models x backends.
    """

    def command(
        device: o.Device = "local",
        models: o.Models = None,
        backends: o.Backends = None,
        precision: o.Precision = "fp32",
        threads: o.Threads = None,
        quick: o.Quick = False,
        json: o.Json = None,
        out: o.Out = o.DEFAULT_OUT,
        resume: o.Resume = False,
        seed: o.Seed = 0,
        blocks: o.Blocks = None,
        timeout: o.Timeout = 600.0,
        settings: o.Set = None,
        batches: o.Batches = None,
        share: o.Share = 1,
    ) -> None:
        from bench.run import measure

        if share != 1 and metric != "versus":
            raise UsageError(
                f"--share belongs to versus; {metric} has a process for every block of every model"
            )
        asked = RunOptions(
            *(device, models, backends, precision, threads, quick, json, out, resume, seed, blocks, timeout),
            settings=tuple(settings or ()),
            batches=batches,
            share=share,
        )
        raise typer.Exit(carry_out(asked) if carry_out else measure(metric, asked))

    command.__doc__ = words
    app.command(metric)(command)
