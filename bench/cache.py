"""``python -m bench cache``: cache misses, from counters where the machine has them, else by simulation."""

from __future__ import annotations

from typing import Annotated

import typer

from bench import options as o
from bench.options import RunOptions

Source = Annotated[
    str, typer.Option("--source", help="auto, pmu (perf counters) or callgrind-sim (simulated, ecp only).")
]
Geometry = Annotated[
    str | None,
    typer.Option(
        "--geometry", help="Simulate the caches of this device of devices.yaml (default: --device)."
    ),
]
Exact = Annotated[bool, typer.Option("--exact", help="Simulate every launch, not two of each repeated one.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("cache")(cache)


def cache(
    device: o.Device = "local",
    models: o.Models = None,
    backends: o.Backends = None,
    precision: o.Precision = "fp32",
    threads: o.Threads = None,
    source: Source = "auto",
    geometry: Geometry = None,
    exact: Exact = False,
    json: o.Json = None,
    out: o.Out = o.DEFAULT_OUT,
    timeout: o.Timeout = 600.0,
) -> None:
    """L1, L2, L3 miss rates of one inference, labelled with their source.

    The simulation runs ecp's kernels as AVX2 code on one thread; with --geometry oneplus11 through caches of that
    phone's size. It takes minutes per model.

    Example: python -m bench cache --models vit_base,ecp_vit_base --geometry oneplus11
    """
    from bench import devices
    from bench.cache_report import DEFAULT_BACKENDS, DEFAULT_MODELS, measure_cache
    from bench.run import measure

    asked = RunOptions(device, models, backends, precision, threads, json=json, out=out, timeout=timeout)
    if devices.get_device(device).transport != "local":
        # A phone has counters of its own; nothing is simulated in its place.
        raise typer.Exit(measure("cache", asked, DEFAULT_MODELS, DEFAULT_BACKENDS))
    raise typer.Exit(measure_cache(asked, source, geometry or device, exact))
