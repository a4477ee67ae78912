"""Carry a plan out: one worker per block, one record per block on disk before the next block starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from filelock import FileLock, Timeout

from bench import devices, launch
from bench.affinity import choose_cpus
from bench.paths import cache_dir
from bench.plan import Case, Step
from bench.prepare import Prepared
from bench.protocol import Reply, Request
from bench.records import BlockRecord, CellKey, RunFolder
from ecp.errors import DeviceError


@dataclass(frozen=True)
class Settings:
    """How long to measure: the numbers that ``--quick`` makes smaller. Times in seconds."""

    min_samples: int = 50
    min_seconds: float = 2.0
    warmup_seconds: float = 5.0
    timeout_s: float = 600.0


@dataclass(frozen=True)
class Target:
    """The reached device: its class, the disturbance it tolerates, and how a worker finds it (see ``Request``)."""

    device_class: str = "cpu"
    limits: Mapping[str, float] = field(default_factory=dict)
    opencl: str = ""
    opencl_name: str = ""


def target_of(name: str, reach: devices.Reach) -> Target:
    """The device ``name`` of devices.yaml as blocks are asked for it."""
    limits = devices.get_device(name).limits.model_dump(exclude_none=True)
    if reach.opencl in ("", name):
        return Target(reach.device_class, limits)
    return Target(reach.device_class, limits, reach.opencl, reach.opencl_name)


class Launcher(Protocol):
    """Something that carries out one block: the local worker process, or a transport to another host."""

    def __call__(self, request: Request, timeout_s: float) -> Reply:
        """One block."""
        ...


@contextmanager
def device_lock(device: str) -> Any:
    """Hold the device for this process: two harnesses at once would measure each other (exit code 3).

    Devices of this computer share its processors, so they share a lock, whatever they are called.
    """
    here = devices.get_device(device).transport == "local"
    path = cache_dir("locks") / f"{'this-computer' if here else device}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise DeviceError(
            f"device '{device}' is in use by another run (lock {path}); wait for it to end, then start again"
        ) from None
    try:
        yield
    finally:
        lock.release()


def run_steps(
    steps: Sequence[Step],
    prepared: Mapping[str, Prepared],
    target: Target,
    settings: Settings,
    folder: RunFolder,
    *,
    done: Callable[[Step, BlockRecord], None] = lambda step, record: None,
    starting: Callable[[Step], None] = lambda step: None,
    launcher: Launcher = launch.run_block,
) -> list[BlockRecord]:
    """Records of the steps in order. A case that is unsupported or unavailable is asked once, then skipped.

    KeyboardInterrupt and RecordError pass through; what was measured before is on disk.
    """
    records: list[BlockRecord] = []
    settled: dict[str, BlockRecord] = {}
    for step in steps:
        key = _identity(step.case)
        starting(step)
        if key not in settled:
            record = _measure(step, prepared, target, settings, folder.run_id, launcher)
            folder.append(record)
            records.append(record)
            if record.status in ("unsupported", "unavailable"):
                settled[key] = record
        done(step, settled.get(key) or records[-1])
    return records


def _identity(case: Case) -> str:
    return repr(case)


def _measure(
    step: Step,
    prepared: Mapping[str, Prepared],
    target: Target,
    settings: Settings,
    run_id: str,
    launcher: Launcher,
) -> BlockRecord:
    request = make_request(step.case, prepared[step.case.model], target, settings)
    start = time.perf_counter()
    reply = launcher(request, settings.timeout_s)
    return to_record(step, prepared[step.case.model], reply, run_id, time.perf_counter() - start)


def make_request(case: Case, model: Prepared, target: Target, settings: Settings) -> Request:
    """What a worker is asked for one block of ``case``."""
    return Request(
        metric=case.metric,
        backend=case.backend,
        model=case.model,
        model_sha256=model.sha256,
        onnx=model.onnx,
        inputs=model.inputs,
        reference=model.reference,
        device=case.device,
        device_class=target.device_class,
        limits=dict(target.limits),
        opencl=target.opencl,
        opencl_name=target.opencl_name,
        precision=case.precision,
        threads=case.threads,
        cpus=choose_cpus(case.threads),
        options=dict(case.options),
        min_samples=settings.min_samples,
        min_seconds=settings.min_seconds,
        warmup_seconds=settings.warmup_seconds,
    )


def to_record(step: Step, model: Prepared, reply: Reply, run_id: str, wall_s: float) -> BlockRecord:
    """A reply as the record that is kept; ``wall_s`` is the whole block with process start and end."""
    values = reply.to_dict()
    version = values.pop("backend_version")
    cell = CellKey(
        device=step.case.device,
        backend=step.case.backend,
        backend_version=version,
        model=step.case.model,
        model_sha256=model.sha256,
        precision=step.case.precision,
        metric=step.case.metric,
    )
    values["extra"] = {**values["extra"], "threads": step.case.threads, "block_wall_s": wall_s}
    return BlockRecord(run_id=run_id, seq=step.seq, block=step.block, cell=cell, **values)
