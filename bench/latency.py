"""``python -m bench latency``: the main command."""

from __future__ import annotations

import typer

from bench import options as o
from bench.options import RunOptions


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("latency")(latency)


def latency(
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
) -> None:
    """Latency at batch 1: median over fresh processes with a 95 % interval, outputs checked.

    Example: python -m bench latency --models vit_small,ecp_vit_small --backends ecp,onnxruntime,torch
    """
    from bench.run import measure

    asked = RunOptions(
        device,
        models,
        backends,
        precision,
        threads,
        quick,
        json,
        out,
        resume,
        seed,
        blocks,
        timeout,
        tuple(settings or ()),
    )
    raise typer.Exit(measure("latency", asked))
