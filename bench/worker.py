"""One block in a fresh process: ``python -m bench.worker`` reads a request from stdin, answers on stdout.

A list of requests is answered one after the other, a line each: models that share a block's process.

Frameworks print to standard output as they please, so the worker keeps the real stdout for its one line of JSON
and points descriptor 1 at stderr before it imports any of them.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

START = time.perf_counter()

import numpy as np  # noqa: E402 - the clock starts before the imports

from baselines import registry  # noqa: E402
from baselines.base import Backend, RunConfig, Unavailable, Unsupported  # noqa: E402
from bench import accuracy_gate, inputs, measure, nvidia, plant, timed_path, turns, validity  # noqa: E402
from bench.metrics import METRICS  # noqa: E402
from bench.protocol import Reply, Request  # noqa: E402
from ecp.errors import DeviceError, EcpError, UnsupportedOperatorError  # noqa: E402

# Metrics that a disturbed machine spoils; peak memory is not one of them.
TIMED = ("latency",)
TIMED_BY_WALL = (*TIMED, "versus")


def main() -> int:
    """Answer what is asked; the exit status is 0 whenever an answer was written."""
    reply_fd = os.dup(1)
    os.dup2(2, 1)
    asked = json.load(sys.stdin)
    turn = turns.channel()
    with os.fdopen(reply_fd, "w") as stream:
        for data in asked if isinstance(asked, list) else [asked]:
            reply = answer(Request.from_dict(data))
            stream.write(json.dumps(reply.to_dict(), allow_nan=False) + "\n")
            stream.flush()
            if turn is not None:
                turn.over()
    # Some frameworks crash in their exit handlers; the answer is out, nothing of this process is needed any more.
    sys.stderr.flush()
    os._exit(0)


def answer(request: Request) -> Reply:
    """Measure; anything the backend raises becomes a status with its own words."""
    _pin(request)
    try:
        backend = plant.into(registry.get(request.backend)(), request.options)
        return _measure(request, backend)
    except (Unsupported, UnsupportedOperatorError) as error:
        return Reply("unsupported", _words(error))
    except (Unavailable, DeviceError) as error:
        return Reply("unavailable", _words(error))
    except EcpError as error:
        return Reply("failed", _words(error))
    except MemoryError:
        return Reply("failed", "out of memory")
    except Exception as error:
        traceback.print_exc()
        return Reply("failed", f"{type(error).__name__}: {_words(error)}")


def _measure(request: Request, backend: Backend) -> Reply:
    feeds = inputs.load(Path(request.inputs))
    idle = measure.status_kib("VmRSS")
    ready = time.perf_counter()
    backend.prepare(Path(request.onnx), _config(request))
    compile_s = time.perf_counter() - ready
    described = backend.describe()
    backend.stage(inputs.row(feeds, 0))
    prepared = measure.status_kib("VmRSS")
    turn = turns.channel()
    if turn is not None:
        turn.prepared()
    others = (*(turn.others if turn is not None else ()), *_processes(backend))
    path = timed_path.TimedPath(backend, feeds)
    session = measure.Session(backend, idle_kib=idle, prepared_kib=prepared, turn=turn, path=path)
    before = _state(request, others)
    values = _metric(request.metric)(request, session)
    after = _state(request, others)
    on_device = _device_time(request, backend)
    if turn is not None:
        turn.finished()
    # After the measurement, so that the reference arrays are in nobody's peak memory and no cache is disturbed.
    reference, onnx_path = Path(request.reference), Path(request.onnx)
    error = accuracy_gate.check(backend, feeds, reference, request.precision, onnx_path, path)
    backend.close()
    status, reason = values.pop("status"), values.pop("reason", "")
    gates = validity.gates(
        before, after, affinity=request.cpus or None, correct=error["ok"], limits=_limits(request)
    )
    disturbed = validity.failures(gates)
    if status == "measured" and disturbed and request.metric in TIMED:
        status, reason = "unstable", "; ".join(f"{g.name}: {g.detail}" for g in disturbed)
    if not error["ok"]:
        status, reason = "failed", error["reason"]
    extra = values.pop("extra", {}) | {"gates": validity.to_json(gates)}
    extra |= {
        "true_backend": described.true_backend,
        "details": dict(described.details),
        "threads": request.threads,
        "options": dict(request.options),
        **({"planted": planted} if (planted := plant.planted(request.options)) else {}),
        **on_device,
        "worker_start_s": ready - START,
        "worker_total_s": time.perf_counter() - START,
        "python_pid": os.getpid(),
    }
    return Reply(
        status,
        reason,
        backend_version=described.version,
        compile_s=compile_s,
        error=error,
        env_before=before,
        env_after=after,
        extra=_plain(extra),
        **values,
    )


def _processes(backend: Backend) -> tuple[int, ...]:
    """Processes that compute for a backend outside this one; what they use is not other load on the machine."""
    found = getattr(backend, "processes", None)
    return tuple(found()) if found is not None else ()


def _state(request: Request, others: tuple[int, ...]) -> dict[str, Any]:
    """This machine now, with its NVIDIA GPUs where one of them is measured."""
    found = validity.capture(others)
    return found | ({"gpu": nvidia.state()} if request.device_class == "nvidia" else {})


def _device_time(request: Request, backend: Backend) -> dict[str, float]:
    """A GPU's own time beside the wall's, from a backend that can tell. While nobody else uses the device."""
    tell = getattr(backend, "device_event_ms", None)
    if tell is None or request.device_class == "cpu" or request.metric not in TIMED_BY_WALL:
        return {}
    return {"device_event_ms": tell()}


def _limits(request: Request) -> validity.Limits:
    return validity.Limits(**{k: v for k, v in request.limits.items() if k != "steady"})


def _config(request: Request) -> RunConfig:
    options = {**plant.without(request.options), "model": request.model, "model_sha256": request.model_sha256}
    options |= {"device_class": request.device_class, "torch_module": "bench.models:torch_module"}
    if request.opencl:
        options |= {"opencl": request.opencl, "opencl_name": request.opencl_name}
    return RunConfig(request.device, request.precision, request.threads, options)


def _pin(request: Request) -> None:
    """Pin this process, and through inheritance every thread pool that a framework starts later."""
    if request.cpus:
        os.sched_setaffinity(0, request.cpus)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(request.threads)


def _metric(name: str) -> Any:
    module, _, function = METRICS[name].partition(":")
    return getattr(importlib.import_module(module), function)


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _plain(value: Any) -> Any:
    """JSON-ready copy: numpy scalars and tuples become plain, anything else its text."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


if __name__ == "__main__":
    sys.exit(main())
