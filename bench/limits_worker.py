"""One try of ``limits`` in a process of its own: prepare, run a random input twice, look at the output."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from baselines import registry
from baselines.base import RunConfig, Unavailable, Unsupported
from baselines.common import read_interface
from bench.limits_process import PREPARED
from bench.measure import status_kib
from ecp.errors import EcpError


def attempt(request: dict[str, Any], prepared: Callable[[], None]) -> dict[str, Any]:
    """``{"status", "reason", "ms", "compile_s", "peak_mib"}`` of one backend on one ONNX file.

    ``prepared`` is called when converters and compilers have ended.
    """
    config = RunConfig(request["device"], request["precision"], request["threads"], request["options"])
    path = Path(request["onnx"])
    rng = np.random.default_rng(0)
    feeds = {p.name: rng.standard_normal(p.shape).astype(p.dtype) for p in read_interface(path).inputs}
    backend = registry.get(request["backend"])()
    start = time.perf_counter()
    backend.prepare(path, config)
    compiled = time.perf_counter() - start
    prepared()
    backend.run(feeds)
    start = time.perf_counter()
    outputs = backend.run(feeds)
    ms = (time.perf_counter() - start) * 1e3
    if not all(np.isfinite(v).all() for v in outputs.values()):
        return {"status": "failed", "reason": "the output holds NaN or infinity"}
    peak = status_kib("VmHWM") / 1024
    described = backend.describe()
    facts = {"true_backend": described.true_backend, "backend_version": described.version}
    return {"status": "measured", "reason": "", "ms": ms, "compile_s": compiled, "peak_mib": peak, **facts}


def main() -> int:
    """Read the request from stdin; on the real stdout the word ``prepared``, then one line of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(line: str) -> None:
        answers.write(line + "\n")
        answers.flush()

    try:
        reply = attempt(json.load(sys.stdin), lambda: say(PREPARED))
    except Unsupported as error:
        reply = {"status": "unsupported", "reason": " ".join(str(error).split())}
    except Unavailable as error:
        reply = {"status": "unavailable", "reason": " ".join(str(error).split())}
    except (EcpError, MemoryError, RuntimeError, ValueError) as error:
        text = " ".join(str(error).split()) or "out of memory"
        reply = {"status": "failed", "reason": f"{type(error).__name__}: {text}"[:400]}
    say(json.dumps(reply))
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
