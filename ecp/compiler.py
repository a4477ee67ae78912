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
from ecp.options import CompileOptions
from ecp.plan import ChosenSchedule, Model, Plan, Port, Report
from ecp.precision import check_device, check_precision
from ecp.runtime.bundle import Bundle
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
# Multiprocessors of an H200, for who compiles for NVIDIA without a device.
PERSISTENT_GROUPS = 132


def compile_onnx(
    model: str | Path | bytes,
    device: str | OpenCLDevice = "local",
    precision: str = "fp32",
    **options: Any,
) -> Bundle:
    """Compile an ONNX model for an OpenCL device, or map the bundle of an earlier call (:mod:`ecp.cache`).

    ``options``: those of :class:`ecp.options.CompileOptions` by name. ``precision``: fp32, or fp16 (weights and
    activations stored as half, accumulated in float). ``arithmetic``: float, or half (fp16 only, on GPUs with
    cl_khr_fp16 that are not NVIDIA's): products and convolutions multiply in half and add at most 32 products before
    the sum goes to a float accumulator. ``eliminate``, ``fuse``, ``layout_choice`` and ``memory_plan`` switch the four
    ideas off one by one. ``dims`` gives values to dynamic dimensions by name, ``name`` the model's own in the bundle.
    ``cache`` False compiles anew and keeps nothing. Raises the errors of :mod:`ecp.errors`.
    """
    asked = CompileOptions.of(precision=precision, **options)
    cache = asked.cache and bundles.enabled()
    request = _Request(model, device, asked)
    return (request.cached() if cache else None) or request.compiled(keep=cache)


def cached(
    model: str | Path | bytes,
    device: str | OpenCLDevice = "local",
    precision: str = "fp32",
    **options: Any,
) -> Bundle | None:
    """What :func:`compile_onnx` would take from the cache; None where it would compile."""
    asked = CompileOptions.of(precision=precision, **options)
    if not bundles.enabled():
        return None
    return _Request(model, device, asked).cached()


class _Request:
    """One call of the compiler: what is asked, and the key that follows from it."""

    def __init__(self, model: str | Path | bytes, device: str | OpenCLDevice, asked: CompileOptions):
        check_precision(asked.precision, asked.arithmetic)
        self.began = time.perf_counter()
        self.model = model
        self.path = None if isinstance(model, bytes) else Path(model)
        # Large models are hashed while the driver is loaded.
        with ThreadPoolExecutor(1) as beside:
            content = beside.submit(_sha256, model)
            self.target = device if isinstance(device, OpenCLDevice) else resolve(device)
            check_device(self.target, asked.precision, asked.arithmetic)
            self.sha256 = content.result()
        default = default_schedule(self.target)
        tuned = asked.schedule
        # Rows are tuned with products in float: what they say about half nobody has measured.
        if tuned is None and asked.arithmetic == "float":
            tuned = lookup(self.target, self.sha256, asked.precision, default)
        self.source = "given" if asked.schedule else "tuned on this device" if tuned else "shipped"
        groups = asked.persistent_groups
        self.row = tuned or default
        self.options = asked.replaced(
            schedule=self.row, persistent_groups=resident_groups(self.target) if groups is None else groups
        )
        self.key = bundles.key_of(
            model=self.sha256, identity=self.target.identity, device_class=self.target.device_class,
            options=self.options.identity(),
        )  # fmt: skip

    def cached(self) -> Bundle | None:
        """The bundle of an earlier call."""
        found = bundles.load(self.key) if self.sha256 else None
        return self._finished(found.bundle, found.graph_name, True) if found else None

    def compiled(self, keep: bool) -> Bundle:
        """The bundle made now, and kept in the cache where it may be."""
        graph = import_model(self.model, self.options.dims, mapped=True)
        own_name = None if self.path is not None and graph.name == self.path.stem else graph.name
        bundle = _compiled(graph, self.target.device_class, self.options)
        self._label(bundle, own_name)
        seconds = round(time.perf_counter() - self.began, 3)
        bundle.report.compile_seconds = bundle.report.cold_compile_seconds = seconds
        # A file that changed while it was read: nobody knows whose bundle this is.
        if keep and self.sha256 and _sha256(self.model) == self.sha256:
            bundle = bundles.store(self.key, bundle, own_name)
        return self._finished(bundle, own_name, False)

    def _label(self, bundle: Bundle, own_name: str | None) -> None:
        stem = self.path.stem if self.path else "model"
        bundle.plan.device = self.target.name
        bundle.plan.model = Model(self.options.name or own_name or stem, self.sha256)
        row = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self.row).items()}
        bundle.plan.schedule = ChosenSchedule(self.source, row)

    def _finished(self, bundle: Bundle, own_name: str | None, from_cache: bool) -> Bundle:
        """With the words and figures of this call, whoever wrote the entry."""
        self._label(bundle, own_name)
        seconds = round(time.perf_counter() - self.began, 3)
        bundle.report.from_cache, bundle.report.compile_seconds = from_cache, seconds
        return bundle


def import_model(
    model: str | Path | bytes, dims: Mapping[str, int] | None = None, mapped: bool = False
) -> Graph:
    """The IR graph of an ONNX model; see :func:`ecp.frontend.onnx.import_onnx`."""
    from ecp.frontend.onnx import import_onnx

    return import_onnx(model, dims=dict(dims) if dims else None, mapped=mapped)


def compile_graph(
    graph: Graph, device_class: str, precision: str = "fp32", schedule: Schedule | None = None, **options: Any
) -> Bundle:
    """Compile an imported graph for a device class; needs no device.

    ``options``: those of :class:`ecp.options.CompileOptions` by name. ``arithmetic`` half: the bundle runs on devices
    with cl_khr_fp16 only. ``persistent_groups``: by default those of the largest device that was measured.
    """
    return _compiled(
        graph, device_class, CompileOptions.of(precision=precision, schedule=schedule, **options)
    )


def _compiled(graph: Graph, device_class: str, options: CompileOptions) -> Bundle:
    from ecp.pipeline import lower_graph

    check_precision(options.precision, options.arithmetic, device_class)
    groups = PERSISTENT_GROUPS if options.persistent_groups is None else options.persistent_groups
    options = options.replaced(
        schedule=options.schedule or schedule_for(device_class), persistent_groups=groups
    )
    (plan, sources, pools), reason = lower_graph(graph, device_class, options)
    plan.device_class, plan.precision, plan.arithmetic = device_class, options.precision, options.arithmetic
    plan.model = Model(graph.name, "")
    plan.options, plan.persistent, plan.persistent_reason = options.switches(), reason is None, reason or ""
    plan.report = _report(graph, plan)
    return Bundle(plan, sources, pools)


def _report(graph: Graph, plan: Plan) -> Report:
    """What the compiler did to ``graph``, counted in its plan."""
    from ecp.ir.cost import macs
    from ecp.ir.ops import is_transformative

    views = [n for n in graph.nodes if is_transformative(n.op)]
    layout = [launch for launch in plan.launches if launch.layout]
    bytes_of = {p.name: p.bytes for p in plan.pools}
    return Report(
        imported_nodes=len(graph.nodes),
        transformative_nodes=len(views),
        eliminated=max(0, len(views) - len(layout)),
        launches=len(plan.launches),
        dispatches=len(list(plan.dispatched())),
        layout_launches=len(layout),
        layout_bytes=sum(launch.bytes for launch in layout),
        materialized=[(", ".join(launch.nodes) or launch.kernel, launch.reason) for launch in layout],
        arena_bytes=bytes_of["arena"],
        naive_bytes=sum(graph.types[o].nbytes for n in graph.nodes for o in n.outputs),
        weight_bytes=bytes_of["weights"],
        macs=macs(graph),
        arithmetic=plan.arithmetic,
        half_launches=sum(launch.arithmetic == "half" for launch in plan.launches),
        wgmma_launches=sum(bool(launch.target) for launch in plan.launches),
    )


def golden(bundle: Bundle, graph: Graph, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """A seeded input and the float64 reference output, to check a bundle with on another machine."""
    from ecp.ir.interp import run

    rng = np.random.default_rng(seed)
    feeds = {p.name: sample(p, rng) for p in bundle.plan.inputs}
    out = run(graph, feeds, dtype=np.float64)
    types = {p.name: p.dtype for p in bundle.plan.outputs}
    return {"inputs": feeds, "outputs": {k: v.astype(types[k]) for k, v in out.items()}}


def sample(port: Port, rng: np.random.Generator) -> np.ndarray:
    """A random array for a model input."""
    if np.dtype(port.dtype).kind == "f":
        return rng.standard_normal(port.shape).astype(port.dtype)
    return rng.integers(0, 2, size=prod(port.shape)).reshape(port.shape).astype(port.dtype)


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
