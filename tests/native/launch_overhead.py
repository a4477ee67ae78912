"""``python -m tests.native.launch_overhead``: what a launch, a request and a start cost, runner against pyopencl.

A bundle of launches that do nothing, so that only the host's side and the driver's dispatch are left; both run the
same bundle on the same device and take turns. A start is process start to ready on a real model, kernels cached.
Needs a quiet machine: run it alone.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import ecp
from bench.models import onnx_path
from ecp.native.process import RunnerProcess
from ecp.runtime import devices
from ecp.runtime.devices import OpenCLDevice
from tests.native import make_bundle

LAUNCHES, ROUNDS, EACH = 200, 40, 10
STARTS = 7
NOTHING = "__kernel void nothing(__global float *x) {}\n"
SESSION_START = "import sys, ecp; ecp.Session(ecp.Bundle.load(sys.argv[1]), sys.argv[2])"


def empty_bundle(folder: Path, device: OpenCLDevice) -> Path:
    """The hand-made bundle with :data:`LAUNCHES` empty launches in place of its own."""
    plan: dict[str, Any] = make_bundle.plan() | {"device_class": device.device_class}
    launch = {"kernel": "nothing", "args": [{"mem": "h"}], "global_size": [1], "local_size": [1]}
    plan["launches"] = [plan["launches"][0] | launch] * LAUNCHES
    make_bundle.write(folder, changed_plan=plan)
    (folder / "kernels/mm.cl").write_text(NOTHING)
    return folder


def per_launch(device: OpenCLDevice) -> dict[str, float]:
    """Microseconds a launch by ``runner`` and ``pyopencl``, and of a ``request`` to the runner over its pipe."""
    times: dict[str, list[float]] = {"runner": [], "pyopencl": [], "request": []}
    with tempfile.TemporaryDirectory(prefix="ecp-overhead-") as scratch:
        folder = empty_bundle(Path(scratch), device)
        feeds = {"x": make_bundle.arrays()["x"]}
        with (
            RunnerProcess(folder, device) as process,
            ecp.Session(ecp.Bundle.load(folder), device) as session,
        ):
            process.stage(feeds)
            session.stage(feeds)
            for _ in range(ROUNDS):
                times["runner"] += [ms * 1e3 / LAUNCHES for ms in process.execute(EACH)]
                for _ in range(EACH):
                    began = time.perf_counter()
                    session.execute()
                    times["pyopencl"].append((time.perf_counter() - began) * 1e6 / LAUNCHES)
                began = time.perf_counter()
                (inside,) = process.execute()
                times["request"].append((time.perf_counter() - began) * 1e6 - inside * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def start(device: OpenCLDevice, model: str, precision: str) -> dict[str, float]:
    """Milliseconds from process start to ready: ``runner``, ``python`` (a Session), and the runner's own parts."""
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="ecp-start-") as scratch:
        bundle = ecp.compile(onnx_path(model), device=device, precision=precision)
        folder = bundle.save(Path(scratch) / "bundle")
        (port,) = bundle.plan.inputs
        for _ in range(STARTS + 1):
            began = time.perf_counter()
            with RunnerProcess(folder, device) as process:
                row = {
                    "runner": (time.perf_counter() - began) * 1e3,
                    "inside": process.head["start"]["total_ms"],
                }
                row["build"] = process.head["start"]["build_ms"]
                row["upload"] = process.head["start"]["upload_ms"]
                process.stage({port.name: np.zeros(port.shape, port.dtype)})
                row["first"] = process.execute()[0]
            command = [sys.executable, "-c", SESSION_START, str(folder), device.name]
            began = time.perf_counter()
            subprocess.run(command, check=True)
            rows.append(row | {"python": (time.perf_counter() - began) * 1e3})
    # The first start builds the kernels; what counts is every later one.
    return {name: statistics.median(row[name] for row in rows[1:]) for name in rows[0]}


def main() -> int:
    """Print both tables for each device asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.native.launch_overhead", description=__doc__)
    parser.add_argument("--device", action="append", help="default: local-cpu and local-pocl")
    parser.add_argument("--model", default="vit_base")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--skip-start", action="store_true", help="only the launches")
    args = parser.parse_args()
    for name in args.device or ("local-cpu", "local-pocl"):
        device = devices.resolve(name)
        cost = per_launch(device)
        print(
            f"{name}: runner {cost['runner']:.2f} us a launch, pyopencl {cost['pyopencl']:.2f} us; "
            f"a request {cost['request']:.0f} us"
        )
        if not args.skip_start:
            took = start(device, args.model, args.precision)
            print(f"{name}: start on {args.model} {args.precision} in ms, medians of {STARTS}: " + str(took))
    return 0


if __name__ == "__main__":
    sys.exit(main())
