"""Cache misses of models x backends: choose the source, measure, record, show."""

from __future__ import annotations

import datetime
import json
import secrets
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from baselines.base import RunConfig
from bench import cache_callgrind, cache_pmu, devices
from bench.affinity import choose_cpus
from bench.cache_geometry import geometry
from bench.cells import Cell, make_cells
from bench.names import check_name
from bench.options import RunOptions
from bench.plain import plain_table
from bench.plan import Case, Step
from bench.prepare import Prepared, prepare
from bench.protocol import Reply, Request
from bench.records import BlockRecord, RunFolder
from bench.regress_output import write
from bench.run import console_for, exit_code, make_cases
from bench.runner import device_lock, to_record
from bench.table import print_gaps
from bench.validity_machine import machine
from ecp.errors import EcpError

SOURCES = ("auto", "pmu", "callgrind-sim")
DEFAULT_MODELS = ("vit_base", "ecp_vit_base")
DEFAULT_BACKENDS = ("ecp",)
SIMULATED_BACKEND = "ecp"
LEGEND = (
    "L1, L2, L3: of the references that reach a level the share that misses there; M refs: data references in\n"
    "millions; MB: read from memory past the last level."
)


def choose_source(asked: str) -> tuple[str, str]:
    """``(source, why not another)``; source is ``unavailable`` where nothing can be had, with the reasons."""
    check_name("source", asked, SOURCES)
    reasons: list[str] = []
    for name, module in (("pmu", cache_pmu), ("callgrind-sim", cache_callgrind)):
        if asked not in ("auto", name):
            continue
        missing = module.missing_parts()
        if not missing:
            return name, "; ".join(reasons)
        reasons.append(f"{name}: {missing}")
    return "unavailable", "; ".join(reasons)


def measure_cache(options: RunOptions, asked: str, geometry_of: str, exact: bool) -> int:
    """The whole command; its exit code."""
    console = console_for(options.json)
    cases = make_cases("cache", options, DEFAULT_MODELS, DEFAULT_BACKENDS)
    devices.require(options.device)
    caches = geometry(geometry_of)
    source, why = choose_source(asked)
    console.print(
        f"source: {source}{f' ({why})' if why else ''}", markup=False, highlight=False, soft_wrap=True
    )
    records: list[BlockRecord] = []
    # A simulation disturbs no measurement of the device and is not disturbed by one.
    with device_lock(options.device) if source == "pmu" else nullcontext():
        folder = _open(options, cases)
        for seq, case in enumerate(cases):
            console.print(f"{case.label} ...", markup=False, highlight=False)
            prepared = prepare(case.model)
            begin = time.perf_counter()
            reply = _reply(case, prepared, source, why, options, exact, geometry_of, caches)
            record = to_record(
                Step(seq, 0, case), prepared, reply, folder.run_id, time.perf_counter() - begin
            )
            folder.append(record)
            records.append(record)
    folder.close()
    folder.write_run({**folder.read_run(), "state": "complete"})
    # The shared cell keeps what every metric has; this metric's own numbers are added to it.
    cells = [
        replace(cell, extra={**cell.extra, **record.extra})
        for cell, record in zip(make_cells(cases, records, 1), records, strict=True)
    ]
    _show(cells, console)
    console.print(f"records: {folder.records_path}", markup=False, highlight=False, soft_wrap=True)
    text = json.dumps([c.to_dict() for c in cells], indent=1, allow_nan=False) + "\n"
    write(options.json, text, "--json")
    return exit_code(cells)


def _open(options: RunOptions, cases: list[Case]) -> RunFolder:
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = RunFolder(options.out / f"{stamp}-cache-{secrets.token_hex(3)}")
    folder.create()
    folder.write_run(
        {
            "schema_version": 1,
            "run_id": folder.run_id,
            "metric": "cache",
            "state": "started",
            "command": ["bench", *sys.argv[1:]],
            "environment": machine(),
            "plan": [asdict(case) for case in cases],
        }
    )
    return folder


def _reply(
    case: Case,
    prepared: Prepared,
    source: str,
    why: str,
    options: RunOptions,
    exact: bool,
    geometry_of: str,
    caches: devices.CacheGeometry,
) -> Reply:
    try:
        if source == "pmu":
            return _counted(case, prepared)
        if source == "callgrind-sim":
            return _simulated(case, prepared, geometry_of, caches, exact)
    except EcpError as error:
        return Reply("failed", str(error))
    return Reply("unavailable", why)


def _counted(case: Case, prepared: Prepared) -> Reply:
    request = Request(
        metric="cache",
        backend=case.backend,
        model=case.model,
        model_sha256=prepared.sha256,
        onnx=prepared.onnx,
        inputs=prepared.inputs,
        reference=prepared.reference,
        device=case.device,
        precision=case.precision,
        threads=case.threads,
        cpus=choose_cpus(case.threads),
        options=dict(case.options),
    )
    counted, described = cache_pmu.count(request)
    rates = counted.rates()
    extra: dict[str, Any] = {"source": "pmu", "unit": "%", "miss_rates": rates, "events": counted.events}
    extra |= {"running": counted.running, "true_backend": described.get("true_backend")}
    if "L1" not in rates:
        return Reply("unavailable", "the processor counts no L1 misses", extra=extra)
    return Reply("measured", "", str(described.get("version", "")), samples_ms=[rates["L1"]], extra=extra)


def _simulated(
    case: Case, prepared: Prepared, geometry_of: str, caches: devices.CacheGeometry, exact: bool
) -> Reply:
    if case.backend != SIMULATED_BACKEND:
        why = f"callgrind-sim separates kernels only for {SIMULATED_BACKEND}; use a machine with counters"
        return Reply("unavailable", why)
    from baselines import ecp_backend
    from ecp.runtime import devices as opencl

    device = opencl.resolve("local-pocl")
    config = RunConfig("local-pocl", case.precision, 1, dict(case.options))
    bundle, _ = ecp_backend.bundle_folder(Path(prepared.onnx), device, config)
    result = cache_callgrind.simulate(bundle, caches, exact)
    return Reply(
        "measured",
        samples_ms=[result.total.rates()["L1"]],
        extra={
            "source": "callgrind-sim",
            "unit": "%",
            "miss_rates": result.total.rates(),
            "counts": asdict(result.total),
            "kernels": {k: {**asdict(s), "miss_rates": s.rates()} for k, s in result.kernels.items()},
            "launches_simulated": result.simulated,
            "launches": result.launches,
            "geometry": {"of": geometry_of, **caches.model_dump()},
            "true_backend": f"{device.name}: AVX2 code on one thread under callgrind",
        },
    )


def _show(cells: list[Cell], console: Console) -> None:
    numbers = ("L1 %", "L2 %", "L3 %", "M refs", "MB")
    table = plain_table("cache misses of one inference", ("model", "source", "caches of"), numbers)
    for cell in cells:
        name = cell.model if cell.backend == SIMULATED_BACKEND else f"{cell.model} on {cell.backend}"
        table.add_row(name, *_columns(cell))
    console.print(table)
    console.print(LEGEND, markup=False, highlight=False, soft_wrap=True)
    print_gaps(cells, console)


def _columns(cell: Cell) -> list[str]:
    if cell.status != "measured":
        return [cell.status]
    rates: dict[str, Any] = cell.extra.get("miss_rates", {})
    counts: dict[str, Any] = cell.extra.get("counts", {})
    geometry_ = cell.extra.get("geometry", {})
    line = geometry_.get("ll", {}).get("line", 64)
    row = [cell.source, str(geometry_.get("of", "the processor"))]
    row += [f"{rates[level]:.2f}" if level in rates else "" for level in ("L1", "L2", "L3")]
    row += [f"{counts['refs'] / 1e6:.0f}", f"{counts['l3'] * line / 1e6:.1f}"] if counts else ["", ""]
    return row
