"""``python -m bench profile``: time per operator of every backend, layout work against computation (Table 1).

Hooks cost time, so the profiled pass gives shares and a plain pass gives the latency; both are in the record, and
so is how much the hooks added. ``--ablate`` repeats `ecp` with its passes switched off one by one.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from baselines.base import OpTime
from bench import inputs
from bench import options as o
from bench.measure import Session
from bench.options import RunOptions
from bench.profile_classes import LAYOUT, classify, load
from bench.profile_graph import graph_facts
from bench.protocol import Request

DEFAULT_MODELS = ("vit_base", "deit_base", "deit_base_distilled")
REPEATS = 5
LISTED = 12
LISTED_NODES = 4
Ablate = Annotated[
    bool, typer.Option("--ablate", help="Only ecp, its passes switched off one by one (and all together).")
]
Trace = Annotated[
    Path | None, typer.Option("--trace", help="Write ecp's launches here, for Perfetto or chrome://tracing.")
]


def measure(request: Request, session: Session) -> dict[str, Any]:
    """One profile block; ``samples_ms`` holds the layout time scaled to the plain latency, one value a process."""
    backend = session.backend
    plain = _plain(session, request)
    feeds = inputs.row(inputs.load(Path(request.inputs)), 0)
    slow = statistics.median(plain) > 5000
    ops = backend.profile(feeds, 1 if slow else REPEATS)
    facts, memory = graph_facts(Path(request.onnx))
    summary = summarize(ops, request.backend, statistics.median(plain), facts, backend.profiled_pass_ms)
    return {
        "status": "measured",
        "first_ms": plain[0],
        "samples_ms": [summary["layout_ms"]],
        "extra": {
            "source": ops[0].source if ops else "none",
            "unit": "ms",
            "plain_ms": plain,
            "profile": {**summary, **memory, **_written(ops), **_launches(ops)},
        },
    }


def summarize(
    ops: list[OpTime], backend: str, plain_ms: float, facts: Any, pass_ms: float | None = None
) -> dict[str, Any]:
    """Time per class: ``hooked_class_ms`` as profiled, ``class_ms`` scaled so that the sum is the plain latency.

    ``pass_ms``: wall time of a hooked pass. ``hook_overhead`` is what it took longer than a plain one (None where
    it was not clocked), ``attributed`` the share of it (else of the plain pass) that the operators add up to.
    """
    mapping = load()
    classes: dict[str, float] = defaultdict(float)
    types: dict[tuple[str, str], list[float]] = defaultdict(list)
    for op in ops:
        kind = classify(mapping, backend, op, facts)
        classes[kind] += op.ms
        types[(op.op_type, kind)].append(op.ms)
    hooked = sum(classes.values())
    scale = plain_ms / hooked if hooked else 0.0
    share = classes.get(LAYOUT, 0.0) / hooked if hooked else 0.0
    heaviest = sorted(types.items(), key=lambda item: -sum(item[1]))
    return {
        "layout_ms": share * plain_ms,
        "compute_ms": (1 - share) * plain_ms,
        "layout_share": share,
        "latency_ms": plain_ms,
        "hooked_ms": hooked,
        "hooked_pass_ms": pass_ms,
        "hook_overhead": pass_ms / plain_ms - 1 if pass_ms and plain_ms else None,
        "attributed": hooked / (pass_ms or plain_ms) if plain_ms else None,
        "class_ms": {k: classes[k] * scale for k in mapping.classes if k in classes},
        "hooked_class_ms": {k: classes[k] for k in mapping.classes if k in classes},
        "operators": len(ops),
        "layout_operators": sum(len(v) for (_, k), v in types.items() if k == LAYOUT),
        "heaviest": [
            {"op": op, "class": kind, "count": len(ms), "hooked_ms": sum(ms)}
            for (op, kind), ms in heaviest[:LISTED]
        ],
        "unclassified": sorted({op for (op, kind) in types if kind == "other"}),
    }


def _written(ops: list[OpTime]) -> dict[str, float]:
    """Bytes that the framework itself said its operators wrote, where it did."""
    sizes = [op.details["output_bytes"] for op in ops if "output_bytes" in op.details]
    return {"framework_written_mb": round(sum(sizes) / 1e6, 3)} if sizes else {}


def _launches(ops: list[OpTime]) -> dict[str, list[dict[str, Any]]]:
    """Every launch with its counted flops and bytes, where the backend gives them: what a roofline is drawn from."""
    rows = [
        {
            "name": op.name,
            "family": op.op_type,
            "ms": round(op.ms, 6),
            "flops": op.details["flops"],
            "bytes": op.details["bytes"],
            "nodes": list(op.details.get("nodes", ()))[:LISTED_NODES],
        }
        for op in ops
        if {"flops", "bytes"} <= set(op.details)
    ]
    return {"launches": rows} if rows else {}


def _plain(session: Session, request: Request) -> list[float]:
    """Plain latencies in ms: until ``min_seconds`` and five runs, or one run of a very slow model."""
    times: list[float] = []
    end = time.perf_counter() + max(request.min_seconds, 1.0)
    while len(times) < 5 or time.perf_counter() < end:
        session.between()
        start = time.perf_counter_ns()
        session.backend.execute()
        times.append((time.perf_counter_ns() - start) / 1e6)
        if times[0] > 5000:
            break
    session.finish(times)
    return times[1:] if len(times) > 2 else times


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("profile")(profile)


def profile(
    device: o.Device = "local",
    models: o.Models = None,
    backends: o.Backends = None,
    precision: o.Precision = "fp32",
    threads: o.Threads = None,
    quick: o.Quick = False,
    json: o.Json = None,
    out: o.Out = o.DEFAULT_OUT,
    resume: o.Resume = False,
    seed: o.Seed = 0,
    blocks: o.Blocks = None,
    timeout: o.Timeout = 600.0,
    settings: o.Set = None,
    ablate: Ablate = False,
    trace: Trace = None,
) -> None:
    """Time per operator by class, layout work against computation, intermediate bytes; hooks' cost shown.

    Example: python -m bench profile --models vit_base --backends onnxruntime,openvino,mnn
    Example: python -m bench profile --models vit_tiny --backends ecp --trace vit_tiny.trace.json
    """
    from bench.profile_run import run_ablation, run_profile

    asked = RunOptions(
        device,
        models,
        backends,
        precision,
        threads,
        quick,
        json,
        out,
        resume,
        seed,
        blocks or 3,
        timeout,
        tuple(settings or ()),
    )
    raise typer.Exit((run_ablation if ablate else run_profile)(asked, trace))


def table_rows(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of Table 1's form from cells (as ``--json`` gives them); unmeasured ones keep their reason."""
    rows = []
    for cell in cells:
        found = cell.get("extra", {}).get("profile") or {}
        rows.append(
            {
                "model": cell["model"],
                "backend": cell["backend"],
                "status": cell["status"],
                "reason": cell.get("reason", ""),
                "layout_ms": cell.get("value"),
                "compute_ms": found.get("compute_ms"),
                "intermediate_mb": found.get("intermediate_mb"),
                "framework_mb": found.get("framework_written_mb"),
                "hook_overhead": found.get("hook_overhead"),
                "attributed": found.get("attributed"),
                "classes": found.get("class_ms", {}),
            }
        )
    return rows
