"""``python -m bench accuracy``: how often a backend is right, beside how fast it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench import options as o
from bench.options import RunOptions

DatasetName = Annotated[
    str,
    typer.Option(
        "--dataset",
        help="digits (no download), cifar10, cifar100, stl10, tiny-imagenet-200, imagenet-1k, imagefolder.",
    ),
]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of the data set.")]
Split = Annotated[str | None, typer.Option("--split", help="Split (default: the one for evaluation).")]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Only this many pictures, drawn by the seed.")
]
AllowIncomplete = Annotated[
    bool,
    typer.Option(
        "--allow-incomplete", help="Measure a copy with missing or damaged pictures; it is labelled."
    ),
]
Reference = Annotated[
    str | None,
    typer.Option("--reference", help="Backend to agree with (default: torch; onnxruntime for onnx: files)."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("accuracy")(accuracy)


def accuracy(
    device: o.Device = "local",
    models: o.Models = None,
    backends: o.Backends = None,
    precision: o.Precision = "fp32",
    threads: o.Threads = None,
    dataset: DatasetName = "digits",
    data: Data = None,
    split: Split = None,
    limit: Limit = None,
    allow_incomplete: AllowIncomplete = False,
    reference: Reference = None,
    quick: o.Quick = False,
    json: o.Json = None,
    out: o.Out = o.DEFAULT_OUT,
    resume: o.Resume = False,
    seed: o.Seed = 0,
) -> None:
    """Top-1 accuracy with its Wilson interval, and agreement with the reference, of every backend asked.

    The data set is checked by count and hash first; damaged pictures are named. An interrupted run continues with
    --resume where it stopped.

    Example: python -m bench accuracy --models onnx:tuned.onnx --dataset cifar10 --data ~/data
    """
    from bench.accuracy_run import Evaluation, evaluate

    asked = RunOptions(device, models, backends, precision, threads, quick, json, out, resume, seed)
    what = Evaluation(
        dataset, data, split, 100 if quick and limit is None else limit, allow_incomplete, reference
    )
    raise typer.Exit(evaluate(asked, what))
