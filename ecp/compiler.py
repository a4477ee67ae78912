"""The driver: an ONNX file in, a bundle out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ecp.codegen.lower import lower
from ecp.codegen.nvidia import lower_vit
from ecp.codegen.schedule import Schedule, schedule_for
from ecp.errors import UsageError
from ecp.frontend.onnx import import_onnx
from ecp.ir.cost import macs
from ecp.ir.graph import Graph
from ecp.passes.canonicalize import canonicalize
from ecp.passes.fuse import fuse as fuse_pass
from ecp.passes.rewrite import is_view
from ecp.passes.storage import place
from ecp.runtime.bundle import Bundle, Report
from ecp.runtime.devices import OpenCLDevice, resolve
from ecp.tune.cache import lookup

PRECISIONS = ("fp32", "fp16")


def compile_onnx(
    model: str | Path | bytes,
    device: str | OpenCLDevice = "local",
    precision: str = "fp32",
    *,
    eliminate: bool = True,
    fuse: bool = True,
    layout_choice: bool = True,
    memory_plan: bool = True,
    dims: Mapping[str, int] | None = None,
    schedule: Schedule | None = None,
    name: str = "",
) -> Bundle:
    """Compile an ONNX model for an OpenCL device.

    ``precision``: fp32, or fp16 (weights and activations stored as half, accumulated in float).
    ``eliminate``, ``fuse``, ``layout_choice`` and ``memory_plan`` switch the four ideas off one by one.
    ``dims`` gives values to dynamic dimensions by name. Raises the errors of :mod:`ecp.errors`.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
    began = time.perf_counter()
    target = device if isinstance(device, OpenCLDevice) else resolve(device)
    graph = import_onnx(model, dims=dict(dims) if dims else None)
    sha256 = _sha256(model)
    tuned = schedule or lookup(target, sha256, precision, default_schedule(target))
    row = tuned or default_schedule(target)
    bundle = compile_graph(
        graph, target.device_class, precision, row,
        eliminate=eliminate, fuse=fuse, layout_choice=layout_choice, memory_plan=memory_plan,
        persistent_groups=_persistent_groups(target),
    )  # fmt: skip
    bundle.plan["device"] = target.name
    bundle.plan["model"] = {"name": name or graph.name, "sha256": sha256}
    source = "given" if schedule else "tuned on this device" if tuned else "shipped"
    bundle.plan["schedule"] = {"source": source, **asdict(row)}
    bundle.plan["report"]["compile_seconds"] = round(time.perf_counter() - began, 3)
    return bundle


def compile_graph(
    graph: Graph,
    device_class: str,
    precision: str = "fp32",
    schedule: Schedule | None = None,
    *,
    eliminate: bool = True,
    fuse: bool = True,
    layout_choice: bool = True,
    memory_plan: bool = True,
    persistent_groups: int = 132,
) -> Bundle:
    """Compile an imported graph for a device class; needs no device.

    ``persistent_groups``: work-groups that an NVIDIA device of compute capability 9.0 keeps resident at once; 0
    where it cannot run the persistent kernel.
    """
    options: dict[str, Any] = {
        "eliminate": eliminate,
        "fuse": fuse,
        "layout_choice": layout_choice,
        "memory_plan": memory_plan,
    }
    # One persistent kernel for the whole ViT where the device class has it; else (a sentence says why) launches.
    whole: Any = "an idea is switched off"
    if device_class == "nvidia" and precision == "fp16" and all(options.values()):
        whole = lower_vit(graph, persistent_groups)
    if isinstance(whole, str):
        options["persistent"] = whole if device_class == "nvidia" else False
        row = schedule or schedule_for(device_class)
        canonical = canonicalize(graph)
        fused = fuse_pass(canonical, fuse=fuse, eliminate=eliminate)
        placed = place(fused, half=precision == "fp16", layout_choice=layout_choice)
        plan, sources, pools = lower(canonical, placed, row, precision, share_memory=memory_plan)
    else:
        options["persistent"] = True
        plan, sources, pools = whole
    views = [n for n in graph.nodes if is_view(n) or n.op == "GatherDyn"]
    launches = plan["launches"]
    layout = [launch for launch in launches if launch["layout"]]
    report = Report(
        imported_nodes=len(graph.nodes),
        transformative_nodes=len(views),
        eliminated=max(0, len(views) - len(layout)),
        launches=len(launches),
        layout_launches=len(layout),
        layout_bytes=sum(launch["bytes"] for launch in layout),
        materialized=[
            (", ".join(launch["nodes"]) or launch["kernel"], launch["reason"]) for launch in layout
        ],
        arena_bytes=next(p["bytes"] for p in plan["pools"] if p["name"] == "arena"),
        naive_bytes=sum(graph.types[o].nbytes for n in graph.nodes for o in n.outputs),
        weight_bytes=next(p["bytes"] for p in plan["pools"] if p["name"] == "weights"),
        macs=macs(graph),
    )
    plan.update(
        format="ecp-bundle", version=1, device_class=device_class, precision=precision,
        model={"name": graph.name, "sha256": ""},
        options=options,
        report=asdict(report),
    )  # fmt: skip
    return Bundle(plan, sources, pools)


def golden(bundle: Bundle, graph: Graph, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """A seeded input and the float64 reference output, to check a bundle with on another machine."""
    from ecp.ir.interp import run

    rng = np.random.default_rng(seed)
    feeds = {p["name"]: sample(p, rng) for p in bundle.plan["inputs"]}
    out = run(graph, feeds, dtype=np.float64)
    types = {p["name"]: p["dtype"] for p in bundle.plan["outputs"]}
    return {"inputs": feeds, "outputs": {k: v.astype(types[k]) for k, v in out.items()}}


def sample(port: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """A random array for a model input."""
    if np.dtype(port["dtype"]).kind == "f":
        return rng.standard_normal(port["shape"]).astype(port["dtype"])
    return rng.integers(0, 2, size=prod(port["shape"])).reshape(port["shape"]).astype(port["dtype"])


def default_schedule(device: OpenCLDevice) -> Schedule:
    """The shipped schedule row for a device."""
    return schedule_for(device.device_class, _vector_width(device))


def _persistent_groups(device: OpenCLDevice) -> int:
    """Compute units of a GPU with the instructions the persistent kernel needs (compute capability 9.0), else 0."""
    if device.device_class != "nvidia":
        return 0
    capable = int(getattr(device.handle, "compute_capability_major_nv", 0) or 0) >= 9
    return device.compute_units if capable else 0


def _vector_width(device: OpenCLDevice) -> int:
    return int(getattr(device.handle, "native_vector_width_float", 16) or 16)


def _sha256(model: str | Path | bytes) -> str:
    data = model if isinstance(model, bytes) else Path(model).read_bytes()
    return hashlib.sha256(data).hexdigest()
