"""``python -m bench tune-baselines``: each backend's best thread count and precision by a small measured search.

So that nobody can say that a baseline was held back: every setting tried is in the records with its own latency.
"""

from __future__ import annotations

import json as json_module
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bench import options as o
from bench.options import RunOptions

DEFAULT_MODELS = ("vit_tiny", "vit_small", "vit_base")
DEFAULT_BACKENDS = ("onnxruntime", "openvino", "torch", "torch-compile", "mnn")
PRECISIONS = ("fp32", "fp16")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tune-baselines")(tune_baselines)


def tune_baselines(
    device: o.Device = "local",
    models: o.Models = None,
    backends: o.Backends = None,
    quick: o.Quick = False,
    json: o.Json = None,
    out: o.Out = o.DEFAULT_OUT,
    seed: o.Seed = 0,
    blocks: o.Blocks = None,
    timeout: o.Timeout = 600.0,
    settings: o.Set = None,
) -> None:
    """Latency of every backend with 1, 2, 4, ... threads in fp32 and fp16; the best setting of each is marked.

    Example: python -m bench tune-baselines --models vit_tiny --backends openvino,onnxruntime --quick
    """
    asked = RunOptions(
        device=device,
        models=models,
        backends=backends,
        quick=quick,
        out=out,
        seed=seed,
        blocks=blocks or 3,
        timeout=timeout,
        settings=tuple(settings or ()),
    )
    cells = [cell for variant in variants(asked) for cell in _measure(variant)]
    mark_best(cells)
    _print(cells, Console(stderr=str(json) == "-"))
    if json is not None:
        text = json_module.dumps(cells, indent=1)
        print(text) if str(json) == "-" else json.write_text(text + "\n")
    raise typer.Exit(int(all(c["status"] != "measured" for c in cells)))


def variants(asked: RunOptions) -> list[RunOptions]:
    """The runs of the search: powers of two up to the processors of this computer, each precision."""
    count = len(os.sched_getaffinity(0))
    threads = [1 << i for i in range(count.bit_length()) if 1 << i <= count]
    if count not in threads:
        threads.append(count)
    return [replace(asked, threads=t, precision=p) for p in PRECISIONS for t in threads]


def _measure(asked: RunOptions) -> list[dict[str, Any]]:
    from bench.run import measure

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cells.json"
        measure("latency", replace(asked, json=file), DEFAULT_MODELS, DEFAULT_BACKENDS)
        cells: list[dict[str, Any]] = json_module.loads(file.read_text())
    for cell in cells:
        cell["extra"]["threads"] = asked.threads
    return cells


def mark_best(cells: Sequence[dict[str, Any]]) -> None:
    """``extra["best"]``: the fastest measured setting of its device, backend, model and precision."""
    best: dict[tuple[str, ...], dict[str, Any]] = {}
    for cell in cells:
        cell["extra"]["best"] = False
        key = (cell["device"], cell["backend"], cell["model"], cell["precision"])
        if cell["value"] is not None and (key not in best or cell["value"] < best[key]["value"]):
            best[key] = cell
    for cell in best.values():
        cell["extra"]["best"] = True


def _print(cells: Sequence[dict[str, Any]], console: Console) -> None:
    table = Table(
        title="settings tried, best marked", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for heading in ("model", "backend", "precision", "threads", "ms", ""):
        table.add_column(heading, no_wrap=True)
    for cell in sorted(
        cells, key=lambda c: (c["model"], c["backend"], c["precision"], c["extra"]["threads"])
    ):
        value = f"{cell['value']:.2f}" if cell["value"] is not None else cell["status"]
        best = "best" if cell["extra"]["best"] else ""
        table.add_row(
            cell["model"], cell["backend"], cell["precision"], str(cell["extra"]["threads"]), value, best
        )
    console.print(table)
