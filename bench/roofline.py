"""``python -m bench roofline``: the device's measured peaks, and how near each kernel of a model comes to them.

The result is a run like any other: one record for each peak (``peak:fma`` in GFLOP/s, ``peak:read`` and ``peak:copy``
in GB/s) and one for each model (the share of its launches' time that the roof alone would take, in percent). The
peaks are pytest-benchmark's measurement (:mod:`bench.peaks`), whose JSON is kept beside the records.
"""

from __future__ import annotations

import json as json_module
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bench import devices
from bench import options as o
from bench.affinity import choose_cpus
from bench.cells import Cell
from bench.console import terminal
from bench.names import check_name, split_names
from bench.one_process import append, close_folder, open_folder, version
from bench.peaks import Peaks, measure_peaks
from bench.records import BlockRecord, CellKey, RunFolder
from bench.regress_output import write
from bench.run import PRECISIONS, check_model
from bench.runner import device_lock
from bench.trace import chrome_trace
from ecp.errors import UsageError
from ecp.frontend.identity import model_sha256

METRIC, PEAKS_FILE = "roofline", "pytest-benchmark.json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("roofline")(roofline)


def roofline(
    device: o.Device = "local",
    models: o.Models = None,
    precision: o.Precision = "fp32",
    threads: o.Threads = None,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", help="Write a Chrome/Perfetto trace of one inference of each model."),
    ] = None,
    json: o.Json = None,
    out: o.Out = o.DEFAULT_OUT,
) -> None:
    """Achieved GFLOP/s and GB/s of every kernel against the device's measured peaks; kept as a run's records.

    Example: python -m bench roofline --models vit_tiny --trace vit_tiny.trace.json
    """
    check_name("precision", precision, PRECISIONS)
    names = [check_model(name) for name in split_names(models, ["vit_tiny"])]
    devices.require(device)
    used = _threads(device, threads)
    request = {"device": device, "models": names, "precision": precision, "threads": used}
    with device_lock(device), _pinned(used):
        folder = open_folder(out, METRIC, request)
        peaks = measure_peaks(_selector(device), used)
        (folder.folder / PEAKS_FILE).write_text(json_module.dumps(peaks.report, indent=1) + "\n")
        facts = folder.read_run()
        folder.write_run({**facts, "pytest_benchmark": peaks.report.get("version")})
        cells = _record_peaks(folder, device, used, peaks)
        traced = {}
        for name in names:
            launches, identity = _profile(name, device, precision, used)
            traced[name] = [asdict(launch) for launch in launches]
            cells.append(_record_model(folder, device, used, precision, name, identity, launches, peaks))
    close_folder(folder)
    if trace:
        write(trace, json_module.dumps(chrome_trace(traced)), "--trace")
    _print(device, peaks, cells, terminal(stderr=str(json) == "-"))
    write(json, json_module.dumps([c.to_dict() for c in cells], indent=1) + "\n", "--json")
    print(f"records: {folder.records_path}", file=sys.stderr)


def _threads(device: str, asked: int | None) -> int | None:
    """Processors that both the microbenchmark and the model use; None for a GPU."""
    from ecp.runtime.devices import resolve

    target = resolve(_selector(device))
    return (asked or min(2, target.compute_units)) if target.device_class == "cpu" else None


@contextmanager
def _pinned(threads: int | None) -> Iterator[None]:
    """This process and the one it starts on ``threads`` processors: a waiting host thread also computes."""
    before = os.sched_getaffinity(0)
    chosen = choose_cpus(threads) if threads else ()
    os.sched_setaffinity(0, chosen or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _selector(device: str) -> str:
    """The OpenCL device of a name of devices.yaml; a phone has none in this process."""
    entry = devices.get_device(device)
    if not isinstance(entry, devices.LocalDevice):
        raise UsageError(
            f"roofline times in its own process and '{device}' is a phone; nothing else is measured"
        )
    return entry.opencl


def _record_peaks(folder: RunFolder, device: str, threads: int | None, peaks: Peaks) -> list[Cell]:
    both = {"gflops": peaks.gflops, "gbytes_per_s": peaks.gbs}
    cells: list[Cell] = []
    kinds = (("fma", "GFLOP/s", peaks.fma), ("read", "GB/s", peaks.read), ("copy", "GB/s", peaks.copy))
    for kind, unit, runs in kinds:
        extra = {
            "unit": unit,
            "source": "device-event",
            "threads": threads,
            "peaks": both,
            "runs": list(runs),
        }
        key = CellKey(device, "ecp", version(), f"peak:{kind}", "", "fp32", METRIC)
        cells.append(
            append(
                folder,
                BlockRecord(
                    folder.run_id, len(cells), 0, key, "measured", samples_ms=[max(runs)], extra=extra
                ),
                ("peaks", "runs"),
            )
        )
    return cells


def _record_model(
    folder: RunFolder, device: str, threads: int | None, precision: str, name: str, identity: str,
    launches: list[Any], peaks: Peaks,
) -> Cell:  # fmt: skip
    rows = _by_kernel(name, launches, peaks)
    share = 100 * sum(r["of_roofline"] * r["ms"] for r in rows) / sum(r["ms"] for r in rows)
    extra = {"unit": "%", "source": "device-event", "threads": threads, "kernels": rows}
    key = CellKey(device, "ecp", version(), name, identity, precision, METRIC)
    record = BlockRecord(folder.run_id, 3, 0, key, "measured", samples_ms=[share], extra=extra)
    return append(folder, record, ("kernels",))


def _print(device: str, peaks: Peaks, cells: list[Cell], console: Console) -> None:
    console.print(
        f"{device}: {peaks.gflops:.0f} GFLOP/s multiply-add, {max(peaks.read):.1f} GB/s read, "
        f"{max(peaks.copy):.1f} GB/s copy (measured by pytest-benchmark, best of {len(peaks.fma)} rounds)"
    )
    table = Table("model", "kernel", "launches", "ms", "GFLOP/s", "GB/s", "of roofline", "first nodes")
    for r in (row for cell in cells for row in cell.extra.get("kernels", ())):
        table.add_row(
            r["model"], r["kernel"], str(r["launches"]), f"{r['ms']:.3f}", f"{r['gflops']:.0f}", f"{r['gbs']:.1f}",
            f"{100 * r['of_roofline']:.0f} %", ", ".join(n.rsplit("/", 1)[-1] for n in r["nodes"][:4]),
        )  # fmt: skip
    console.print(table)


def _profile(name: str, device: str, precision: str, threads: int | None) -> tuple[list[Any], str]:
    """Launches of one inference and the model file's hash."""
    import ecp
    from bench.models import onnx_path
    from ecp.compiler import sample
    from ecp.runtime.devices import resolve

    target = resolve(_selector(device))
    path = onnx_path(name)
    bundle = ecp.compile(path, device=target, precision=precision)
    rng = np.random.default_rng(0)
    with ecp.Session(bundle, target, threads) as session:
        session.run({p.name: sample(p, rng) for p in bundle.plan.inputs})
        return session.profile(20), model_sha256(path)


def _by_kernel(model: str, launches: list[Any], peaks: Peaks) -> list[dict[str, Any]]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for launch in launches:
        groups[launch.name.split(":", 1)[1]].append(launch)
    rows = []
    for kernel, members in groups.items():
        ms, flops, moved = (sum(getattr(m, f) for m in members) for f in ("ms", "flops", "bytes"))
        # The roof at this intensity: the slower of computing and moving.
        floor = max(flops / peaks.gflops, moved / peaks.gbs) * 1e-6
        rows.append(
            {
                "model": model, "kernel": kernel, "launches": len(members), "ms": ms, "gflops": flops / ms / 1e6,
                "gbs": moved / ms / 1e6, "of_roofline": floor / ms, "nodes": list(members[0].nodes),
            }
        )  # fmt: skip
    return sorted(rows, key=lambda r: -r["ms"])
