"""``python -m bench roofline``: the device's measured peaks, and how near each kernel of a model comes to them.

The result is a run like any other: one record for each peak (``peak:fma`` in GFLOP/s, ``peak:copy`` in GB/s) and one
for each model (the share of its launches' time that the roof alone would take, in percent).
"""

# ruff: noqa: E501
from __future__ import annotations

import datetime
import json as json_module
import secrets
import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bench import devices
from bench import options as o
from bench.cells import Cell, make_cell
from bench.names import check_name, split_names
from bench.plan import Case
from bench.records import BlockRecord, CellKey, RunFolder
from bench.regress_output import write
from bench.run import PRECISIONS, check_model
from bench.runner import device_lock
from bench.validity_machine import machine, sha256_file
from ecp.errors import UsageError

FMA = """__kernel void peak(__global float* out) {
  float16 a0=1,a1=2,a2=3,a3=4,a4=5,a5=6,a6=7,a7=8,a8=9,a9=10; const float16 x=1.0000001f, y=1e-9f;
  for (int i = 0; i < %d; ++i) {
    a0=fma(a0,x,y); a1=fma(a1,x,y); a2=fma(a2,x,y); a3=fma(a3,x,y); a4=fma(a4,x,y);
    a5=fma(a5,x,y); a6=fma(a6,x,y); a7=fma(a7,x,y); a8=fma(a8,x,y); a9=fma(a9,x,y);
  }
  a0 += a1+a2+a3+a4+a5+a6+a7+a8+a9;
  out[get_global_id(0)] = a0.s0+a0.s1+a0.s2+a0.s3+a0.s4+a0.s5+a0.s6+a0.s7+a0.s8+a0.s9+a0.sa+a0.sb+a0.sc+a0.sd+a0.se+a0.sf;
}
__kernel void copy(__global const float16* a, __global float16* b, int chunk) {
  const int item = get_global_id(0);
  for (int i = item*chunk; i < (item+1)*chunk; ++i) b[i] = a[i];
}
"""


METRIC = "roofline"


@dataclass(frozen=True)
class Peaks:
    """Multiply-adds in registers (GFLOP/s) and a copy larger than the caches (GB/s, read plus written), every run.

    The peak is the best run: nothing but a disturbance makes a run slower.
    """

    fma: tuple[float, ...]
    copy: tuple[float, ...]

    @property
    def gflops(self) -> float:
        """Best multiply-add rate."""
        return max(self.fma)

    @property
    def gbs(self) -> float:
        """Best copy rate."""
        return max(self.copy)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("roofline")(roofline)


def measure_peaks(device: str, threads: int | None = None, repeats: int = 7) -> Peaks:
    """Microbenchmarks on the device, by OpenCL events."""
    from ecp.runtime import icd
    from ecp.runtime.devices import resolve
    from ecp.runtime.session import sub_device

    icd.setup()
    import pyopencl as cl

    target = resolve(_selector(device))
    handle = sub_device(cl, target, threads if target.device_class == "cpu" else None)
    context = cl.Context([handle])
    queue = cl.CommandQueue(context, handle, cl.command_queue_properties.PROFILING_ENABLE)
    cpu = target.device_class == "cpu"
    loops, items = (200_000, 8) if cpu else (4_000, 65_536)
    program = cl.Program(context, FMA % loops).build("-cl-mad-enable")
    out = cl.Buffer(context, cl.mem_flags.READ_WRITE, 4 * items)
    peak, copy = cl.Kernel(program, "peak"), cl.Kernel(program, "copy")

    def seconds(kernel: Any, size: int, local: tuple[int, ...] | None, *args: Any) -> list[float]:
        kernel.set_args(*args)
        times = []
        for _ in range(repeats):
            event = cl.enqueue_nd_range_kernel(queue, kernel, (size,), local)
            event.wait()
            times.append((event.profile.end - event.profile.start) * 1e-9)
        return times

    flops = 10 * 16 * 2 * loops * items
    fma = [flops / s / 1e9 for s in seconds(peak, items, (1,) if cpu else (64,), out)]
    vectors = 1 << 23  # 512 MiB a side
    a, b = (cl.Buffer(context, cl.mem_flags.READ_WRITE, vectors * 64) for _ in range(2))
    cl.enqueue_fill_buffer(queue, a, np.ones(1, np.float32), 0, vectors * 64).wait()
    chunk = vectors // 64 if cpu else 16
    moved = seconds(copy, vectors // chunk, (1,) if cpu else (64,), a, b, np.int32(chunk))
    return Peaks(tuple(fma), tuple(2 * vectors * 64 / s / 1e9 for s in moved))


def roofline(
    device: o.Device = "local",
    models: o.Models = None,
    precision: o.Precision = "fp32",
    threads: o.Threads = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Write a Chrome/Perfetto trace of one inference here.")
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
    folder = _open(out, {"device": device, "models": names, "precision": precision, "threads": used})
    with device_lock(device):
        peaks = measure_peaks(device, used)
        cells = _record_peaks(folder, device, used, peaks)
        for name in names:
            launches, identity = _profile(name, device, precision, used)
            if trace:
                write(trace, json_module.dumps(chrome_trace(launches)), "--trace")
            cells.append(_record_model(folder, device, used, precision, name, identity, launches, peaks))
    folder.close()
    folder.write_run({**folder.read_run(), "state": "complete"})
    _print(device, peaks, cells, Console(stderr=str(json) == "-"))
    write(json, json_module.dumps([c.to_dict() for c in cells], indent=1) + "\n", "--json")
    print(f"records: {folder.records_path}", file=sys.stderr)


def _threads(device: str, asked: int | None) -> int | None:
    """Processors that both the microbenchmark and the model use; None for a GPU."""
    from ecp.runtime.devices import resolve

    target = resolve(_selector(device))
    return (asked or min(2, target.compute_units)) if target.device_class == "cpu" else None


def _selector(device: str) -> str:
    """The OpenCL device of a name of devices.yaml; a phone has none in this process."""
    entry = devices.get_device(device)
    if not isinstance(entry, devices.LocalDevice):
        raise UsageError(
            f"roofline times in its own process and '{device}' is a phone; nothing else is measured"
        )
    return entry.opencl


def _open(out: Path, request: dict[str, Any]) -> RunFolder:
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = RunFolder(out / f"{stamp}-{METRIC}-{secrets.token_hex(3)}")
    folder.create()
    facts = {"schema_version": 1, "run_id": folder.run_id, "metric": METRIC, "state": "started"}
    folder.write_run(
        {**facts, "request": request, "command": ["bench", *sys.argv[1:]], "environment": machine()}
    )
    return folder


def _record_peaks(folder: RunFolder, device: str, threads: int | None, peaks: Peaks) -> list[Cell]:
    both = {"gflops": peaks.gflops, "gbytes_per_s": peaks.gbs}
    cells: list[Cell] = []
    for kind, unit, runs in (("fma", "GFLOP/s", peaks.fma), ("copy", "GB/s", peaks.copy)):
        extra = {
            "unit": unit,
            "source": "device-event",
            "threads": threads,
            "peaks": both,
            "runs": list(runs),
        }
        key = CellKey(device, "ecp", _version(), f"peak:{kind}", "", "fp32", METRIC)
        cells.append(
            _append(
                folder,
                BlockRecord(
                    folder.run_id, len(cells), 0, key, "measured", samples_ms=[max(runs)], extra=extra
                ),
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
    key = CellKey(device, "ecp", _version(), name, identity, precision, METRIC)
    return _append(folder, BlockRecord(folder.run_id, 2, 0, key, "measured", samples_ms=[share], extra=extra))


def _append(folder: RunFolder, record: BlockRecord) -> Cell:
    folder.append(record)
    c = record.cell
    cell = make_cell(Case(c.device, c.backend, c.model, c.metric, c.precision), [record], 1)
    kept: dict[str, Any] = {k: record.extra[k] for k in ("peaks", "runs", "kernels") if k in record.extra}
    return replace(cell, extra={**cell.extra, **kept})


def _version() -> str:
    try:
        return metadata.version("ecp-vit")
    except metadata.PackageNotFoundError:
        return "uninstalled"


def _print(device: str, peaks: Peaks, cells: list[Cell], console: Console) -> None:
    console.print(
        f"{device}: {peaks.gflops:.0f} GFLOP/s multiply-add, {peaks.gbs:.1f} GB/s copy "
        f"(measured, best of {len(peaks.fma)})"
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
        session.run({p["name"]: sample(p, rng) for p in bundle.plan["inputs"]})
        return session.profile(20), sha256_file(path)


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


def chrome_trace(launches: list[Any]) -> dict[str, Any]:
    """Launches end to end in the trace-event format that Perfetto and chrome://tracing open. Times in us."""
    events, at = [], 0.0
    for launch in launches:
        events.append(
            {
                "name": launch.name, "cat": launch.family, "ph": "X", "ts": at, "dur": launch.ms * 1e3, "pid": 0, "tid": 0,
                "args": {"flops": launch.flops, "bytes": launch.bytes, "nodes": list(launch.nodes)},
            }
        )  # fmt: skip
        at += launch.ms * 1e3
    return {"traceEvents": events, "displayTimeUnit": "ms"}
