"""The driver: an ONNX file in, a bundle out."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecp import cache as bundles
from ecp.codegen.schedule import Schedule, schedule_for
from ecp.errors import ModelError
from ecp.frontend.identity import model_sha256
from ecp.precision import check_device, check_precision
from ecp.runtime.bundle import Bundle, Report
from ecp.runtime.devices import OpenCLDevice, resolve
from ecp.tune.cache import lookup

if TYPE_CHECKING:
    from ecp.ir.graph import Graph

# The passes, the importer and code generation are imported where they are called: a bundle that comes from the
# cache is there before they would be loaded.

# Platforms whose compilers are known to turn __builtin_prefetch into one instruction; rusticl's dies of it.
PREFETCHING = ("Intel(R) OpenCL", "Portable Computing Language")
# Platforms that run work-items of one kernel on as many threads as there are, each to its end.
CHAINING = PREFETCHING


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
    cache: bool = True,
    arithmetic: str = "float",
) -> Bundle:
    """Compile an ONNX model for an OpenCL device, or map the bundle of an earlier call (:mod:`ecp.cache`).

    ``precision``: fp32, or fp16 (weights and activations stored as half, accumulated in float).
    ``arithmetic``: float, or half (fp16 only, on GPUs with cl_khr_fp16 that are not NVIDIA's): products and
    convolutions multiply in half and add at most 32 products before the sum goes to a float accumulator.
    ``eliminate``, ``fuse``, ``layout_choice`` and ``memory_plan`` switch the four ideas off one by one.
    ``dims`` gives values to dynamic dimensions by name. ``cache`` False compiles anew and keeps nothing.
    Raises the errors of :mod:`ecp.errors`.
    """
    options = {
        "eliminate": eliminate,
        "fuse": fuse,
        "layout_choice": layout_choice,
        "memory_plan": memory_plan,
    }
    cache = cache and bundles.enabled()
    request = _Request(model, device, precision, options, dims, schedule, name, arithmetic)
    return (request.cached() if cache else None) or request.compiled(keep=cache)


def cached(
    model: str | Path | bytes,
    device: str | OpenCLDevice = "local",
    precision: str = "fp32",
    *,
    dims: Mapping[str, int] | None = None,
    schedule: Schedule | None = None,
    name: str = "",
    arithmetic: str = "float",
    **options: bool,
) -> Bundle | None:
    """What :func:`compile_onnx` would take from the cache; None where it would compile."""
    options = {"eliminate": True, "fuse": True, "layout_choice": True, "memory_plan": True, **options}
    if not bundles.enabled():
        return None
    return _Request(model, device, precision, options, dims, schedule, name, arithmetic).cached()


class _Request:
    """One call of the compiler: what is asked, and the key that follows from it."""

    def __init__(
        self,
        model: str | Path | bytes,
        device: str | OpenCLDevice,
        precision: str,
        options: Mapping[str, bool],
        dims: Mapping[str, int] | None,
        schedule: Schedule | None,
        name: str,
        arithmetic: str = "float",
    ):
        check_precision(precision, arithmetic)
        self.began = time.perf_counter()
        self.model, self.precision, self.options, self.dims, self.name = model, precision, options, dims, name
        self.path = None if isinstance(model, bytes) else Path(model)
        # Large models are hashed while the driver is loaded.
        with ThreadPoolExecutor(1) as beside:
            content = beside.submit(_sha256, model)
            self.target = device if isinstance(device, OpenCLDevice) else resolve(device)
            check_device(self.target, precision, arithmetic)
            self.sha256 = content.result()
        self.arithmetic = arithmetic
        default = default_schedule(self.target)
        # Rows are tuned with products in float: what they say about half nobody has measured.
        tuned = schedule or (
            lookup(self.target, self.sha256, precision, default) if arithmetic == "float" else None
        )
        self.row, self.groups = tuned or default, resident_groups(self.target)
        self.source = "given" if schedule else "tuned on this device" if tuned else "shipped"
        self.key = bundles.key_of(
            model=self.sha256, identity=self.target.identity, device_class=self.target.device_class,
            precision=precision, options=options, dims=dict(dims or {}), schedule=asdict(self.row),
            groups=self.groups, arithmetic=arithmetic,
        )  # fmt: skip

    def cached(self) -> Bundle | None:
        """The bundle of an earlier call."""
        found = bundles.load(self.key) if self.sha256 else None
        return self._finished(found.bundle, found.graph_name, True) if found else None

    def compiled(self, keep: bool) -> Bundle:
        """The bundle made now, and kept in the cache where it may be."""
        graph = import_model(self.model, self.dims, mapped=True)
        own_name = None if self.path is not None and graph.name == self.path.stem else graph.name
        bundle = compile_graph(
            graph, self.target.device_class, self.precision, self.row,
            persistent_groups=self.groups, arithmetic=self.arithmetic, **self.options,
        )  # fmt: skip
        self._label(bundle, own_name)
        seconds = round(time.perf_counter() - self.began, 3)
        bundle.plan["report"] |= {"compile_seconds": seconds, "cold_compile_seconds": seconds}
        # A file that changed while it was read: nobody knows whose bundle this is.
        if keep and self.sha256 and _sha256(self.model) == self.sha256:
            bundle = bundles.store(self.key, bundle, own_name)
        return self._finished(bundle, own_name, False)

    def _label(self, bundle: Bundle, own_name: str | None) -> None:
        stem = self.path.stem if self.path else "model"
        bundle.plan["device"] = self.target.name
        bundle.plan["model"] = {"name": self.name or own_name or stem, "sha256": self.sha256}
        bundle.plan["schedule"] = {"source": self.source, **asdict(self.row)}

    def _finished(self, bundle: Bundle, own_name: str | None, from_cache: bool) -> Bundle:
        """With the words and figures of this call, whoever wrote the entry."""
        self._label(bundle, own_name)
        seconds = round(time.perf_counter() - self.began, 3)
        bundle.plan["report"] |= {"from_cache": from_cache, "compile_seconds": seconds}
        return bundle


def import_model(
    model: str | Path | bytes, dims: Mapping[str, int] | None = None, mapped: bool = False
) -> Graph:
    """The IR graph of an ONNX model; see :func:`ecp.frontend.onnx.import_onnx`."""
    from ecp.frontend.onnx import import_onnx

    return import_onnx(model, dims=dict(dims) if dims else None, mapped=mapped)


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
    arithmetic: str = "float",
) -> Bundle:
    """Compile an imported graph for a device class; needs no device.

    ``arithmetic`` half: the bundle runs on devices with cl_khr_fp16 only.
    ``persistent_groups``: work-groups that an NVIDIA device of compute capability 9.0 keeps resident at once; 0
    where it can run neither the persistent kernel nor a chain of launches.
    """
    check_precision(precision, arithmetic, device_class)
    options: dict[str, Any] = {
        "eliminate": eliminate,
        "fuse": fuse,
        "layout_choice": layout_choice,
        "memory_plan": memory_plan,
    }
    # One persistent kernel for the whole ViT where the device class has it; else (a sentence says why) launches.
    whole: Any = "an idea is switched off"
    if device_class == "nvidia" and precision == "fp16" and all(options.values()):
        from ecp.codegen.nvidia import lower_vit

        whole = lower_vit(graph, persistent_groups)
    if isinstance(whole, str):
        persistent: str | bool = whole if device_class == "nvidia" else False
        row = schedule or schedule_for(device_class)
        plan, sources, pools = _lower(graph, row, precision, arithmetic, persistent_groups, **options)
    else:
        persistent = True
        plan, sources, pools = whole
    # Whether this came from a cache is known to the one who asks, not to the plan on disk.
    facts = {k: v for k, v in asdict(_report(graph, plan, arithmetic)).items() if k != "from_cache"}
    plan.update(
        format="ecp-bundle", version=1, device_class=device_class, precision=precision, arithmetic=arithmetic,
        model={"name": graph.name, "sha256": ""},
        options={**options, "persistent": persistent},
        report=facts,
    )  # fmt: skip
    return Bundle(plan, sources, pools)


def _lower(
    graph: Graph, row: Schedule, precision: str, arithmetic: str, persistent_groups: int,
    *, eliminate: bool, fuse: bool, layout_choice: bool, memory_plan: bool,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Plan, kernel sources and memory pools of a graph as launches, joined to one where the row asks for it."""
    from ecp.codegen.chain import chain
    from ecp.codegen.chain_gpu import chain_gpu
    from ecp.codegen.lower import lower
    from ecp.passes.canonicalize import canonicalize
    from ecp.passes.fuse import fuse as fuse_pass
    from ecp.passes.storage import place

    canonical = canonicalize(graph)
    fused = fuse_pass(canonical, fuse=fuse, eliminate=eliminate)
    placed = place(fused, half=precision == "fp16", layout_choice=layout_choice)
    lowered = lower(canonical, placed, row, precision, share_memory=memory_plan, arithmetic=arithmetic)
    if row.chain:
        return chain(*lowered, row.workers)
    if row.ptx >= 9 and persistent_groups:
        return chain_gpu(*lowered, persistent_groups)
    return lowered


def _report(graph: Graph, plan: Mapping[str, Any], arithmetic: str) -> Report:
    """What the compiler did to ``graph``, counted in its plan."""
    from ecp.ir.cost import macs
    from ecp.ir.ops import is_transformative

    views = [n for n in graph.nodes if is_transformative(n.op)]
    launches = plan["launches"]
    layout = [launch for launch in launches if launch["layout"]]
    bytes_of = {p["name"]: p["bytes"] for p in plan["pools"]}
    return Report(
        imported_nodes=len(graph.nodes),
        transformative_nodes=len(views),
        eliminated=max(0, len(views) - len(layout)),
        launches=len(launches),
        dispatches=1
        if "chain" in plan
        else len(launches) - sum(s["count"] - 1 for s in plan.get("stretches", [])),
        layout_launches=len(layout),
        layout_bytes=sum(launch["bytes"] for launch in layout),
        materialized=[
            (", ".join(launch["nodes"]) or launch["kernel"], launch["reason"]) for launch in layout
        ],
        arena_bytes=bytes_of["arena"],
        naive_bytes=sum(graph.types[o].nbytes for n in graph.nodes for o in n.outputs),
        weight_bytes=bytes_of["weights"],
        macs=macs(graph),
        arithmetic=arithmetic,
        half_launches=sum(launch.get("arithmetic") == "half" for launch in launches),
        wgmma_launches=sum("target" in launch for launch in launches),
    )


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
    row = replace(
        schedule_for(device.device_class, _vector_width(device)),
        workers=device.compute_units,
        prefetch=device.platform in PREFETCHING,
        chain=device.device_class == "cpu" and device.platform in CHAINING and _strongly_ordered(),
    )
    if not row.ptx:
        return row
    if _capability(device) < 8:  # no asynchronous copies
        return replace(row, groups=device.compute_units, ptx=False, local_bytes=32768, bk=64)
    return replace(row, groups=device.compute_units, ptx=_capability(device))


def _strongly_ordered() -> bool:
    """Whether this processor shows stores to others in their order: OpenCL 1.2 has no atomics that would ask for it."""
    return platform.machine() in ("x86_64", "AMD64")


def _capability(device: OpenCLDevice) -> int:
    """Major compute capability of an NVIDIA GPU, else 0."""
    return int(getattr(device.handle, "compute_capability_major_nv", 0) or 0)


def resident_groups(device: OpenCLDevice) -> int:
    """Compute units of a GPU with the instructions the persistent kernel needs (compute capability 9.0), else 0."""
    if device.device_class != "nvidia":
        return 0
    return device.compute_units if _capability(device) >= 9 else 0


def _vector_width(device: OpenCLDevice) -> int:
    return int(getattr(device.handle, "native_vector_width_float", 16) or 16)


def _sha256(model: str | Path | bytes) -> str:
    """Identity of the model; empty where it cannot be read, which the importer says in better words."""
    if isinstance(model, bytes):
        return hashlib.sha256(model).hexdigest()
    try:
        return model_sha256(model)
    except (OSError, ValueError, ModelError):
        return ""
