"""``python -m bench roofline``: the device's measured peaks, and how near each kernel of a model comes to them."""

# ruff: noqa: E501
from __future__ import annotations

import json as json_module
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bench import options as o
from bench.names import split_names

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


@dataclass(frozen=True)
class Peaks:
    """Best of several runs: multiply-adds in registers (GFLOP/s) and a copy larger than the caches (GB/s)."""

    gflops: float
    gbs: float


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

    target = resolve(device)
    handle = sub_device(cl, target, threads if target.device_class == "cpu" else None)
    context = cl.Context([handle])
    queue = cl.CommandQueue(context, handle, cl.command_queue_properties.PROFILING_ENABLE)
    cpu = target.device_class == "cpu"
    loops, items = (200_000, 8) if cpu else (4_000, 65_536)
    program = cl.Program(context, FMA % loops).build("-cl-mad-enable")
    out = cl.Buffer(context, cl.mem_flags.READ_WRITE, 4 * items)
    peak, copy = cl.Kernel(program, "peak"), cl.Kernel(program, "copy")

    def best(kernel: Any, size: int, local: tuple[int, ...] | None, *args: Any) -> float:
        kernel.set_args(*args)
        times = []
        for _ in range(repeats):
            event = cl.enqueue_nd_range_kernel(queue, kernel, (size,), local)
            event.wait()
            times.append((event.profile.end - event.profile.start) * 1e-9)
        return min(times)

    seconds = best(peak, items, (1,) if cpu else (64,), out)
    flops = 10 * 16 * 2 * loops * items
    vectors = 1 << 23  # 512 MiB a side
    a, b = (cl.Buffer(context, cl.mem_flags.READ_WRITE, vectors * 64) for _ in range(2))
    cl.enqueue_fill_buffer(queue, a, np.ones(1, np.float32), 0, vectors * 64).wait()
    chunk = vectors // 64 if cpu else 16
    moved = best(copy, vectors // chunk, (1,) if cpu else (64,), a, b, np.int32(chunk))
    return Peaks(flops / seconds / 1e9, 2 * vectors * 64 / moved / 1e9)


def roofline(
    device: o.Device = "local",
    models: o.Models = None,
    precision: o.Precision = "fp32",
    threads: o.Threads = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Write a Chrome/Perfetto trace of one inference here.")
    ] = None,
    json: Annotated[
        str | None, typer.Option("--json", help="Write the result here; - is standard output.")
    ] = None,
) -> None:
    """Achieved GFLOP/s and GB/s of every kernel against the device's measured peaks.

    Example: python -m bench roofline --models vit_tiny --trace vit_tiny.trace.json
    """
    peaks = measure_peaks(device, threads)
    rows = []
    for name in split_names(models, ["vit_tiny"]):
        launches = _profile(name, device, precision, threads)
        if trace:
            trace.write_text(json_module.dumps(chrome_trace(launches)))
        rows += _by_kernel(name, launches, peaks)
    if json == "-":
        print(json_module.dumps({"device": device, "peaks": asdict(peaks), "kernels": rows}))
        return
    if json:
        Path(json).write_text(json_module.dumps({"device": device, "peaks": asdict(peaks), "kernels": rows}))
    console = Console()
    console.print(
        f"{device}: {peaks.gflops:.0f} GFLOP/s multiply-add, {peaks.gbs:.1f} GB/s copy (measured, best of 7)"
    )
    table = Table("model", "kernel", "launches", "ms", "GFLOP/s", "GB/s", "of roofline", "first nodes")
    for r in rows:
        table.add_row(
            r["model"], r["kernel"], str(r["launches"]), f"{r['ms']:.3f}", f"{r['gflops']:.0f}", f"{r['gbs']:.1f}",
            f"{100 * r['of_roofline']:.0f} %", ", ".join(n.rsplit("/", 1)[-1] for n in r["nodes"][:4]),
        )  # fmt: skip
    console.print(table)


def _profile(name: str, device: str, precision: str, threads: int | None) -> list[Any]:
    import ecp
    from bench.models import onnx_path
    from ecp.compiler import sample
    from ecp.runtime.devices import resolve

    target = resolve(device)
    bundle = ecp.compile(onnx_path(name), device=target, precision=precision)
    used = min(2, target.compute_units) if threads is None and target.device_class == "cpu" else threads
    rng = np.random.default_rng(0)
    with ecp.Session(bundle, target, used) as session:
        session.run({p["name"]: sample(p, rng) for p in bundle.plan["inputs"]})
        return session.profile(20)


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
