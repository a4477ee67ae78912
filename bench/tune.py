"""``python -m bench tune``: search kernel schedules on this device; the compiler uses what was found from then on."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench import options as o
from bench.names import split_names


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tune")(tune)


def tune(
    device: o.Device = "local",
    models: o.Models = None,
    precision: o.Precision = "fp32",
    threads: o.Threads = None,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="Time limit per model.")] = 120.0,
    rounds: Annotated[int, typer.Option("--rounds", min=5, help="Interleaved pairs per candidate.")] = 15,
    json: Annotated[
        str | None, typer.Option("--json", help="Write the results here; - is standard output.")
    ] = None,
) -> None:
    """Search for faster schedules, one field at a time, judged by interleaved runs; wrong results are rejected.

    A search that ran out of time goes on where it stopped when the command is given again.

    Example: python -m bench tune --models vit_tiny,vit_base --seconds 60
    """
    rows = [
        _tune_one(name, device, precision, threads, seconds, rounds, json)
        for name in split_names(models, ["vit_tiny"])
    ]
    if json == "-":
        print(json_module.dumps(rows))
        return
    if json:
        Path(json).write_text(json_module.dumps(rows))
    table = Table("model", "schedule found", "time against default", "candidates", "search")
    for row in rows:
        best = ", ".join(f"{k}={v}" for k, v in row["best"].items()) or "the default"
        table.add_row(row["model"], best, f"{row['ratio']:.3f}", str(row["tried"]), row["state"])
    Console().print(table)


def _tune_one(
    name: str, device: str, precision: str, threads: int | None, seconds: float, rounds: int, json: str | None
) -> dict[str, Any]:
    import hashlib

    from bench.models import onnx_path
    from ecp.compiler import default_schedule
    from ecp.frontend.onnx import import_onnx
    from ecp.runtime.devices import resolve
    from ecp.tune.cache import key_of, load
    from ecp.tune.search import Progress
    from ecp.tune.search import tune as search

    target = resolve(device)
    used = min(2, target.compute_units) if threads is None and target.device_class == "cpu" else threads
    path = onnx_path(name)
    entry = load(key_of(target, hashlib.sha256(path.read_bytes()).hexdigest(), precision, None))
    console = Console(stderr=True, quiet=json == "-")

    def show(p: Progress) -> None:
        verdict = "taken" if p.accepted else p.note or "no gain"
        ratio = "-" if p.ratio is None else f"{p.ratio:.3f}"
        console.print(f"{name}: {dict(p.change)} -> {ratio} ({verdict})")

    entry = search(
        import_onnx(path), target, entry, precision=precision, threads=used, default=default_schedule(target),
        seconds=seconds, rounds=rounds, report=show,
    )  # fmt: skip
    return {
        "device": device, "model": name, "precision": precision, "threads": used, "best": entry.best,
        "ratio": entry.ratio, "tried": len(entry.tried), "state": "complete" if entry.complete else "goes on next time",
    }  # fmt: skip
