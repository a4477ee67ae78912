"""``python -m bench limits``: the largest image size and batch that each backend runs before it fails.

Every try is a fresh process with a limit of time and of memory, watched from outside; the first failure of a size
ends that size and is kept with the framework's own words. Latencies here are one run each, not results. Every try
is on disk when it ends, so that ``--resume`` goes on after an interruption or after ``--minutes`` were over.
"""

from __future__ import annotations

import json as json_module
import os
import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

from bench import devices, limits_process
from bench import options as o
from bench.escape import line
from bench.names import check_name, split_names
from bench.one_process import open_folder
from bench.plain import plain_table
from bench.records import BlockRecord, CellKey, RunFolder, read_records
from bench.regress_output import write
from bench.resume import find_interrupted

DEFAULT_BACKENDS = ("ecp", "onnxruntime", "openvino", "torch", "mnn")
DEFAULT_SIZES, DEFAULT_BATCH = "224,384,512", 8
QUICK_SIZES, QUICK_BATCH = "224", 2
METRIC = "limits"
KEPT = ("batch", "peak_mib", "true_backend")
"""What a record's ``extra`` keeps of a try."""
OVER = "the time of this call (--minutes) was over; the same command with --resume goes on"

Model = Annotated[str, typer.Option("--model", help="Model whose size and batch are raised.")]
Sizes = Annotated[str | None, typer.Option("--sizes", help=f"Image sizes (default {DEFAULT_SIZES}).")]
MaxBatch = Annotated[
    int | None, typer.Option("--max-batch", min=1, help=f"Batches 1, 2, 4, ... up to this ({DEFAULT_BATCH}).")
]
Memory = Annotated[float, typer.Option("--memory-gb", min=0.5, help="Resident memory that ends a try.")]
Seconds = Annotated[float, typer.Option("--seconds", min=1, help="Time that ends a try.")]
Minutes = Annotated[float, typer.Option("--minutes", min=0, help="Time after which no new try starts.")]
Quick = Annotated[bool, typer.Option("--quick", help="One size, batches 1 and 2: a look, not a result.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("limits")(limits)


def limits(
    device: o.Device = "local",
    model: Model = "vit_base",
    sizes: Sizes = None,
    max_batch: MaxBatch = None,
    backends: o.Backends = None,
    precision: o.Precision = "fp32",
    threads: o.Threads = None,
    memory_gb: Memory = 8.0,
    seconds: Seconds = 120.0,
    minutes: Minutes = 60.0,
    quick: Quick = False,
    json: o.Json = None,
    out: o.Out = o.DEFAULT_OUT,
    resume: o.Resume = False,
) -> None:
    """Largest batch at each image size that every backend runs within the limits, and why not more.

    Example: python -m bench limits --backends ecp,onnxruntime --sizes 224,384 --max-batch 4
    """
    from baselines import registry
    from bench.run import PRECISIONS, check_model, console_for
    from bench.runner import device_lock

    reach = devices.require(device)
    names = [check_name("backend", b, registry.names()) for b in split_names(backends, DEFAULT_BACKENDS)]
    shapes = split_names(sizes, split_names(QUICK_SIZES if quick else DEFAULT_SIZES, ()))
    most = max_batch or (QUICK_BATCH if quick else DEFAULT_BATCH)
    pairs = [(name, check_model(f"{model}@{size}")) for size in shapes for name in names]
    base = {
        "device": device,
        "precision": check_name("precision", precision, PRECISIONS),
        "threads": threads or min(2, len(os.sched_getaffinity(0))),
        **reach.options,
    }
    bounds = {"seconds": seconds, "memory_gb": memory_gb}
    request = {**base, "model": model, "sizes": shapes, "max_batch": most, "backends": names, **bounds}
    print(_announcement(len(pairs), len(shapes), most, seconds, minutes), file=sys.stderr)
    code = 0
    with device_lock(device):
        folder = find_interrupted(out, METRIC, request)[0] if resume else open_folder(out, METRIC, request)
        climb = _Climb(folder, base, most, bounds, time.monotonic() + minutes * 60)
        try:
            for name, shape in pairs:
                climb.go(name, shape)
        except KeyboardInterrupt:
            code = 130
    cells = [make_cell(base, n, shape, climb.tries.get((n, shape), []), bounds, most) for n, shape in pairs]
    done = all(finished(c["extra"]["tries"], most) for c in cells)
    folder.close()
    folder.write_run({**folder.read_run(), "state": "complete" if done else "interrupted"})
    _print(cells, console_for(json))
    write(json, json_module.dumps(cells, indent=1) + "\n", "--json")
    raise typer.Exit(code or int(not done))


def _announcement(cells: int, sizes: int, most: int, seconds: float, minutes: float) -> str:
    batches = most.bit_length()
    tries = cells * batches
    longest = min(minutes, tries * seconds / 60)
    return (
        f"at most {tries} tries, each ended after {seconds:g} s: at most {longest:.0f} min, and once the export "
        f"of up to {sizes * batches} ONNX files, each with all weights; --resume goes on after an interruption"
    )


def finished(tries: list[dict[str, Any]], most: int) -> bool:
    """Whether a climb came to its end: a try that did not run, or the largest batch asked."""
    return bool(tries) and (tries[-1]["status"] != "measured" or tries[-1]["batch"] * 2 > most)


class _Climb:
    """Doubles the batch of one backend and size until the first failure; knows what an earlier call tried."""

    def __init__(
        self,
        folder: RunFolder,
        base: Mapping[str, Any],
        most: int,
        bounds: Mapping[str, float],
        end: float,
    ) -> None:
        self._folder, self._base, self._most, self._bounds, self._end = folder, base, most, bounds, end
        self.tries: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._count = 0
        earlier = read_records(folder.records_path)
        for finding in earlier.findings:
            print(line(finding), file=sys.stderr)
        for record in earlier.records:
            self.tries.setdefault((record.cell.backend, record.cell.model), []).append(_as_try(record))
            self._count = max(self._count, record.seq + 1)

    def go(self, backend: str, model: str) -> None:
        """Climb; starts no try after the end of this call's time."""
        tries = self.tries.setdefault((backend, model), [])
        while not finished(tries, self._most) and time.monotonic() < self._end:
            batch = tries[-1]["batch"] * 2 if tries else 1
            found = limits_process.attempt(self._base, backend, f"{model}@b{batch}", self._bounds)
            tries.append({**found, "batch": batch})
            _record(self._folder, self._base, backend, model, tries[-1], self._count)
            self._count += 1
            said = f"{found['status']} {found['reason']}".strip()
            print(line(f"{model} batch {batch} on {backend}: {said}"), file=sys.stderr)


def _as_try(record: BlockRecord) -> dict[str, Any]:
    """Inverse of :func:`_record`."""
    facts: dict[str, Any] = {k: record.extra[k] for k in KEPT if k in record.extra}
    facts["model_sha256"] = record.cell.model_sha256
    if record.samples_ms:
        facts |= {"ms": record.samples_ms[0], "compile_s": record.compile_s}
        facts["backend_version"] = record.cell.backend_version
    return {"status": record.status, "reason": record.reason, **facts}


def _record(
    folder: RunFolder,
    base: Mapping[str, Any],
    backend: str,
    model: str,
    reply: Mapping[str, Any],
    number: int,
) -> None:
    version, sha = reply.get("backend_version", ""), reply.get("model_sha256", "")
    cell = CellKey(base["device"], backend, version, model, sha, base["precision"], METRIC)
    extra = {k: reply[k] for k in KEPT if k in reply}
    samples = [reply["ms"]] if "ms" in reply else []
    folder.append(
        BlockRecord(
            folder.run_id,
            number,
            number,
            cell,
            reply["status"],
            reply["reason"],
            samples_ms=samples,
            compile_s=reply.get("compile_s"),
            extra={**extra, "threads": base["threads"], "unit": "ms", "source": "wall"},
        )
    )


def make_cell(
    base: Mapping[str, Any],
    backend: str,
    model: str,
    tries: list[dict[str, Any]],
    bounds: Mapping[str, float],
    most: int,
) -> dict[str, Any]:
    """One cell: ``value`` is the largest batch that ran, ``extra["first_failure"]`` what ended the climb.

    A climb that was stopped in between has no value: its largest batch so far is not the largest that runs.
    """
    ran = [t for t in tries if t["status"] == "measured"]
    failed = next((t for t in tries if t["status"] != "measured"), None)
    whole = finished(tries, most)
    status = "not-run" if not whole else "measured" if ran else str((failed or {})["status"])
    first = {"batch": failed["batch"], "reason": failed["reason"]} if failed else None
    measured = status == "measured"
    return {
        "device": base["device"],
        "backend": backend,
        "backend_version": ran[-1].get("backend_version", "") if ran else "",
        "model": model,
        "model_sha256": ran[-1].get("model_sha256", "") if ran else "",
        "precision": base["precision"],
        "metric": METRIC,
        "status": status,
        "value": ran[-1]["batch"] if measured else None,
        "unit": "batch",
        "ci": None,
        "blocks": [],
        "source": "wall",
        "reason": "" if measured else (failed or {}).get("reason", OVER),
        "extra": {"first_failure": first, "tries": tries, "threads": base["threads"], **bounds},
    }


def _print(cells: list[dict[str, Any]], console: Console) -> None:
    table = plain_table("largest batch that ran", ("model", "backend"), ("batch", "ms", "peak MiB"))
    table.add_column("what ended it", overflow="fold")
    for cell in cells:
        last: dict[str, Any] = next(
            (t for t in reversed(cell["extra"]["tries"]) if t["status"] == "measured"), {}
        )
        end = cell["extra"]["first_failure"]
        why = f"batch {end['batch']}: {end['reason']}" if end else cell["reason"] or "largest batch asked"
        shown = [f"{last[k]:.0f}" if k in last else "" for k in ("ms", "peak_mib")]
        table.add_row(cell["model"], cell["backend"], str(cell["value"] or cell["status"]), *shown, why)
    console.print(table)
