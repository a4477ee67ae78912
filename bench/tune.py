"""``python -m bench tune``: search kernel schedules on this device; the compiler uses what was found from then on.

The result is a run like any other, one record a model: the time with the schedule found over the time with the
shipped one, in pairs measured after the search (``extra`` has the schedule and how many candidates were tried). Where
the shipped row stays, it was measured against itself: what differs from 1 is noise.
"""

from __future__ import annotations

import json as json_module
import statistics
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench import devices
from bench import options as o
from bench.cells import Cell
from bench.console import terminal
from bench.names import check_name, split_names
from bench.one_process import append, close_folder, open_folder, version
from bench.records import BlockRecord, CellKey, RunFolder
from bench.regress_output import write
from bench.run import PRECISIONS, check_model
from bench.runner import device_lock
from ecp.errors import UsageError
from ecp.frontend.identity import model_sha256

METRIC = "tune"
SHOWN = ("found", "shipped", "search")


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
    json: o.Json = None,
    out: o.Out = o.DEFAULT_OUT,
) -> None:
    """Search for faster schedules, one field at a time, judged by interleaved runs; wrong results are rejected.

    A search that ran out of time goes on where it stopped when the command is given again. The gain over the
    shipped schedule is measured after the search.

    Example: python -m bench tune --models vit_tiny,vit_base --seconds 60
    """
    check_name("precision", precision, PRECISIONS)
    names = [check_model(name) for name in split_names(models, ["vit_tiny"])]
    entry = devices.get_device(device)
    if not isinstance(entry, devices.LocalDevice):
        raise UsageError(
            f"tune times in its own process and '{device}' is a phone; its class's shipped schedule is used there"
        )
    devices.require(device)
    request = {"device": device, "models": names, "precision": precision, "seconds": seconds}
    console = terminal(stderr=str(json) == "-")
    with device_lock(device):
        folder = open_folder(out, METRIC, request)
        cells = [
            _tune_one(folder, n, name, device, entry.opencl, precision, threads, seconds, rounds, console)
            for n, name in enumerate(names)
        ]
    close_folder(folder)
    _print(cells, console)
    write(json, json_module.dumps([c.to_dict() for c in cells], indent=1) + "\n", "--json")
    print(f"records: {folder.records_path}", file=sys.stderr)


def _tune_one(
    folder: RunFolder, seq: int, name: str, device: str, opencl: str, precision: str, threads: int | None,
    seconds: float, rounds: int, console: Console,
) -> Cell:  # fmt: skip
    from bench.models import onnx_path
    from ecp.compiler import default_schedule
    from ecp.frontend.onnx import import_onnx
    from ecp.runtime.devices import resolve
    from ecp.tune.cache import key_of, load
    from ecp.tune.search import Progress
    from ecp.tune.search import tune as search

    target = resolve(opencl)
    used = min(2, target.compute_units) if threads is None and target.device_class == "cpu" else threads
    path = onnx_path(name)
    sha256, shipped = model_sha256(path), default_schedule(target)

    def show(p: Progress) -> None:
        verdict = "taken" if p.accepted else p.note or "no gain"
        ratio = "-" if p.ratio is None else f"{p.ratio:.3f}"
        console.print(f"{name}: {dict(p.change)} -> {ratio} ({verdict})", markup=False)

    entry = search(
        import_onnx(path), target, load(key_of(target, sha256, precision, None)), precision=precision, threads=used,
        default=shipped, seconds=seconds, rounds=rounds, report=show,
    )  # fmt: skip
    facts = {
        "tried": len(entry.tried), "rejected": sum(r is None for r in entry.tried.values()),
        "state": "complete" if entry.complete else "goes on next time", "note": entry.note,
    }  # fmt: skip
    extra = {
        "unit": "x default", "source": "wall", "threads": used, "true_backend": target.device,
        "details": {"driver": target.driver}, "found": entry.best, "shipped": asdict(shipped), "search": facts,
    }  # fmt: skip
    key = CellKey(device, "ecp", version(), name, sha256, precision, METRIC)
    status, reason = ("measured", "") if entry.confirmed else ("unsupported", entry.note)
    record = BlockRecord(folder.run_id, seq, 0, key, status, reason, samples_ms=entry.confirmed, extra=extra)
    return append(folder, record, SHOWN)


def _print(cells: list[Cell], console: Console) -> None:
    table = Table("model", "schedule found", "time / shipped", "middle half", "candidates", "search")
    for cell in cells:
        search: dict[str, Any] = cell.extra["search"]
        best = ", ".join(f"{k}={v}" for k, v in cell.extra["found"].items())
        spread = ""
        if cell.blocks:
            low, _, high = statistics.quantiles(cell.blocks[0], n=4)
            spread = f"{low:.3f} to {high:.3f}"
        value = "-" if cell.value is None else f"{cell.value:.3f}"
        tried = f"{search['tried']} ({search['rejected']} rejected)"
        said = "; ".join(filter(None, (search["state"], search["note"])))
        table.add_row(cell.model, best or "the shipped one", value, spread, tried, said)
    console.print(table)
