"""Processes of ``limits``: export a model, run one try under limits of time and memory, survive both."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecp import children
from ecp.frontend.identity import model_sha256

EXPORT = "import sys; from bench import models; print(models.onnx_path(sys.argv[1]))"
EXPORT_S = 900.0
PREPARED = "prepared"
"""What a worker says when its converters and compilers are done: from then on its children count too."""
LEAST_FREE_GB = 1.0
"""A try ends when the whole computer has less memory than this left, whatever its own limit."""


def attempt(base: Mapping[str, Any], backend: str, model: str, bounds: Mapping[str, float]) -> dict[str, Any]:
    """One try in fresh processes: the worker's answer, or ``failed`` with what ended it."""
    try:
        export = children.run([sys.executable, "-c", EXPORT, model], timeout_s=EXPORT_S)
    except children.TooLate:
        return {"status": "failed", "reason": f"the model was not exported within {EXPORT_S:g} s"}
    if export.returncode != 0:
        words = (export.error_text.strip().splitlines() or ["no message"])[-1]
        return {"status": "failed", "reason": f"the model could not be exported: {words[:300]}"}
    onnx = Path(export.text.strip().splitlines()[-1])
    place = {k: base[k] for k in ("device_class", "opencl", "opencl_name") if k in base}
    options = {**place, "model": model, "torch_module": "bench.models:torch_module"}
    request = {**base, "backend": backend, "onnx": str(onnx), "options": options}
    worker = [sys.executable, "-m", "bench.limits_worker"]
    found = watched(worker, json.dumps(request), bounds["seconds"], bounds["memory_gb"])
    return {**found, "model_sha256": model_sha256(onnx)}


def watched(command: list[str], text: str, seconds: float, memory_gb: float) -> dict[str, Any]:
    """Run a worker under both limits; its answer, or a ``failed`` one that says which limit or signal ended it."""
    process = children.start(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        # Should memory run out faster than it is watched, the kernel takes this process and no other.
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000")
        assert process.stdin is not None
        process.stdin.write(text.encode())
        process.stdin.close()
        said, reason = _watch(process, seconds, memory_gb)
    finally:
        children.end(process)
    if reason:
        return {"status": "failed", "reason": reason}
    return _answer(process, said)


def _watch(process: subprocess.Popen[bytes], seconds: float, memory_gb: float) -> tuple[bytes, str]:
    """Wait for the end: (what it said so far, the reason for ending it from here or nothing).

    While a model is converted or compiled only the worker itself counts: a converter's memory is not the framework's.
    """
    import psutil

    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    said = b""
    end = time.monotonic() + seconds
    watcher = psutil.Process(process.pid)
    while process.poll() is None:
        time.sleep(0.05)
        said += process.stdout.read() or b""
        with contextlib.suppress(psutil.Error):
            helpers = watcher.children(recursive=True) if PREPARED.encode() in said.split() else []
            if sum(p.memory_info().rss for p in (watcher, *helpers)) > memory_gb * 2**30:
                return said, f"more than {memory_gb:g} GiB of memory (the limit of this run)"
        if psutil.virtual_memory().available < LEAST_FREE_GB * 2**30:
            return said, f"less than {LEAST_FREE_GB:g} GiB of this computer's memory was left"
        if time.monotonic() > end:
            return said, f"not done after {seconds:g} s (the limit of this run)"
    return said + (process.stdout.read() or b""), ""


def _answer(process: subprocess.Popen[bytes], said: bytes) -> dict[str, Any]:
    lines = said.decode(errors="replace").strip().splitlines()
    try:
        answer: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        code = process.returncode
        name = signal.Signals(-code).name if code < 0 else ""
        how = f"was ended by signal {name}" if name else f"exited with status {code}"
        return {"status": "failed", "reason": f"the process {how}"}
    return answer
