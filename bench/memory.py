"""``python -m bench memory``: peak memory of the whole process."""

from __future__ import annotations

import typer

from bench import options as o
from bench.options import RunOptions


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("memory")(memory)


def memory(
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
    """Peak resident memory of a fresh process that loads and runs one model, and how much of it is above idle.

    Example: python -m bench memory --models vit_small,ecp_vit_small --backends ecp,onnxruntime,torch
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
    raise typer.Exit(measure("memory", asked))
