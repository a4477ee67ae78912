"""``python -m bench limits``: the largest image size and batch that each backend runs before it fails.

Every try is a fresh process with a limit of time and of memory, watched from outside; the first failure of a size
ends that size and is kept with the framework's own words. Latencies here are one run each, not results.
"""

from __future__ import annotations

import contextlib
import datetime
import json as json_module
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bench import devices
from bench import options as o
from bench.names import check_name, split_names
from bench.records import BlockRecord, CellKey, RunFolder
from bench.validity_machine import machine

DEFAULT_BACKENDS = ("ecp", "onnxruntime", "openvino", "torch", "mnn")
METRIC = "limits"

Model = Annotated[str, typer.Option("--model", help="Model whose size and batch are raised.")]
Sizes = Annotated[str, typer.Option("--sizes", help="Image sizes, separated by commas.")]
MaxBatch = Annotated[int, typer.Option("--max-batch", min=1, help="Batches 1, 2, 4, ... up to this.")]
Memory = Annotated[float, typer.Option("--memory-gb", min=0.5, help="Resident memory that ends a try.")]
Seconds = Annotated[float, typer.Option("--seconds", min=1, help="Time that ends a try.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("limits")(limits)


def limits(
    device: o.Device = "local",
    model: Model = "vit_base",
    sizes: Sizes = "224,384,512",
    max_batch: MaxBatch = 8,
    backends: o.Backends = None,
    precision: o.Precision = "fp32",
    threads: o.Threads = None,
    memory_gb: Memory = 8.0,
    seconds: Seconds = 120.0,
    json: o.Json = None,
    out: o.Out = o.DEFAULT_OUT,
) -> None:
    """Largest batch at each image size that every backend runs within the limits, and why not more.

    Example: python -m bench limits --backends ecp,onnxruntime --sizes 224,384 --max-batch 4
    """
    from baselines import registry

    reach = devices.require(device)
    names = [check_name("backend", b, registry.names()) for b in split_names(backends, DEFAULT_BACKENDS)]
    base = {
        "device": device,
        "precision": precision,
        "threads": threads or min(2, len(os.sched_getaffinity(0))),
        "device_class": reach.device_class,
    }
    bounds = {"seconds": seconds, "memory_gb": memory_gb}
    folder = _open(out, {**base, "model": model, "sizes": sizes, "max_batch": max_batch, **bounds})
    cells = []
    for size in split_names(sizes, ()):
        for name in names:
            tries = _climb(folder, base, name, f"{model}@{size}", max_batch, bounds)
            cells.append(make_cell(base, name, f"{model}@{size}", tries, bounds))
    folder.close()
    folder.write_run({**folder.read_run(), "state": "complete"})
    _print(cells, Console(stderr=str(json) == "-"))
    if json is not None:
        text = json_module.dumps(cells, indent=1)
        print(text) if str(json) == "-" else json.write_text(text + "\n")
    raise typer.Exit(0)


def _open(out: Any, request: Mapping[str, Any]) -> RunFolder:
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = RunFolder(out / f"{stamp}-{METRIC}-{secrets.token_hex(3)}")
    folder.create()
    facts = {"schema_version": 1, "run_id": folder.run_id, "metric": METRIC, "state": "started"}
    folder.write_run(
        {**facts, "request": dict(request), "command": ["bench", *sys.argv[1:]], "environment": machine()}
    )
    return folder


def _climb(
    folder: RunFolder,
    base: Mapping[str, Any],
    backend: str,
    model: str,
    most: int,
    bounds: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Double the batch until the first failure or ``most``; every try is recorded."""
    tries: list[dict[str, Any]] = []
    batch = 1
    while batch <= most:
        reply = {**_try(base, backend, f"{model}@b{batch}", bounds), "batch": batch}
        tries.append(reply)
        _record(folder, base, backend, model, reply, len(tries))
        print(f"{model} batch {batch} on {backend}: {reply['status']} {reply['reason']}", file=sys.stderr)
        if reply["status"] != "measured":
            break
        batch *= 2
    return tries


def _try(base: Mapping[str, Any], backend: str, model: str, bounds: Mapping[str, float]) -> dict[str, Any]:
    export = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from bench import models; print(models.onnx_path(sys.argv[1]))",
            model,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if export.returncode != 0:
        words = (export.stderr.strip().splitlines() or ["no message"])[-1]
        return {"status": "failed", "reason": f"the model could not be exported: {words[:300]}"}
    options = {
        "model": model,
        "device_class": base["device_class"],
        "torch_module": "bench.models:torch_module",
    }
    request = {**base, "backend": backend, "onnx": export.stdout.strip().splitlines()[-1], "options": options}
    return watched(
        [sys.executable, "-m", "bench.limits_worker"],
        json_module.dumps(request),
        bounds["seconds"],
        bounds["memory_gb"],
    )


def watched(command: list[str], text: str, seconds: float, memory_gb: float) -> dict[str, Any]:
    """Run a worker under both limits; its answer, or a ``failed`` one that says which limit or signal ended it."""
    import psutil

    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(text.encode())
    process.stdin.close()
    end, reason = time.monotonic() + seconds, ""
    watcher = psutil.Process(process.pid)
    while process.poll() is None and not reason:
        time.sleep(0.05)
        with contextlib.suppress(psutil.Error):
            family = [watcher, *watcher.children(recursive=True)]
            used = sum(p.memory_info().rss for p in family) / 2**30
            if used > memory_gb:
                reason = f"more than {memory_gb:g} GiB of memory (the limit of this run)"
        if time.monotonic() > end:
            reason = f"not done after {seconds:g} s (the limit of this run)"
    if reason:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return {"status": "failed", "reason": reason}
    assert process.stdout is not None
    lines = process.stdout.read().decode(errors="replace").strip().splitlines()
    try:
        answer: dict[str, Any] = json_module.loads(lines[-1])
    except (IndexError, ValueError):
        code = process.returncode
        how = (
            f"was ended by signal {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
        )
        return {"status": "failed", "reason": f"the process {how}"}
    return answer


def _record(
    folder: RunFolder,
    base: Mapping[str, Any],
    backend: str,
    model: str,
    reply: Mapping[str, Any],
    number: int,
) -> None:
    cell = CellKey(
        base["device"], backend, reply.get("backend_version", ""), model, "", base["precision"], METRIC
    )
    extra = {k: reply[k] for k in ("batch", "peak_mib", "true_backend") if k in reply}
    samples = [reply["ms"]] if "ms" in reply else []
    folder.append(
        BlockRecord(
            folder.run_id,
            number,
            number - 1,
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
) -> dict[str, Any]:
    """One cell: ``value`` is the largest batch that ran, ``extra["first_failure"]`` what ended the climb."""
    ran = [t for t in tries if t["status"] == "measured"]
    failed = next((t for t in tries if t["status"] != "measured"), None)
    status = "measured" if ran else (failed or {}).get("status", "not-run")
    first = {"batch": failed["batch"], "reason": failed["reason"]} if failed else None
    return {
        "device": base["device"],
        "backend": backend,
        "backend_version": ran[-1].get("backend_version", "") if ran else "",
        "model": model,
        "model_sha256": "",
        "precision": base["precision"],
        "metric": METRIC,
        "status": status,
        "value": ran[-1]["batch"] if ran else None,
        "unit": "batch",
        "ci": None,
        "blocks": [],
        "source": "wall",
        "reason": "" if ran else (failed or {}).get("reason", "nothing was tried"),
        "extra": {"first_failure": first, "tries": tries, "threads": base["threads"], **bounds},
    }


def _print(cells: list[dict[str, Any]], console: Console) -> None:
    table = Table(title="largest batch that ran", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("model", "backend", "batch", "ms", "peak MiB", "what ended it"):
        table.add_column(heading)
    for cell in cells:
        last: dict[str, Any] = next(
            (t for t in reversed(cell["extra"]["tries"]) if t["status"] == "measured"), {}
        )
        end = cell["extra"]["first_failure"]
        why = f"batch {end['batch']}: {end['reason']}" if end else "largest batch asked"
        shown = [f"{last[k]:.0f}" if k in last else "" for k in ("ms", "peak_mib")]
        table.add_row(cell["model"], cell["backend"], str(cell["value"] or cell["status"]), *shown, why)
    console.print(table)
