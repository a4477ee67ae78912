"""The user's own Android builds of other frameworks: pushed, run with their own test programs, outputs checked.

``$MNN_ANDROID`` and ``$TNN_ANDROID`` name folders with the build's programs and libraries (any depth). Their
programs print a mean over N inferences and no single times, so that a block holds one sample: that mean.
Sources: MNN ``tools/cpp/ModuleBasic.cpp`` and ``benchmark/benchmark.cpp``, TNN ``test/test.cc`` and their
documentation.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baselines.base import Unavailable, Unsupported
from bench import inputs
from bench.accuracy_gate import compare
from bench.expected import Expected
from bench.phones.connect import Identity
from bench.phones.runner import ANDROID_ROOT, LINUX_ROOT
from bench.phones.tvm import run_tvm
from bench.protocol import Reply, Request
from bench.transports.base import Transport
from bench.transports.store import Store
from ecp.errors import EcpError

LOOPS = 50
MNN_FORWARD = {"mnn": 0, "mnn-opencl": 3}
MNN_PRECISION = {"fp32": 1, "fp16": 2}  # BackendConfig::Precision_High, Precision_Low
TNN_DEVICE = {"tnn": "ARM", "tnn-opencl": "OPENCL"}
TNN_PRECISION = {"fp32": "HIGH", "fp16": "LOW"}


@dataclass(frozen=True)
class Times:
    """What a framework's program printed, in ms over ``LOOPS`` inferences."""

    mean: float
    least: float
    most: float


def run_foreign(transport: Transport, identity: Identity, request: Request, timeout_s: float) -> Reply:
    """One block of MNN, TNN or TVM. Raises :class:`Unavailable` without a build, :class:`Unsupported` for others."""
    if request.backend == "tvm-rpc":
        return run_tvm(transport, request)
    run = _ADAPTERS.get(request.backend)
    if run is None:
        raise Unsupported(
            f"{request.backend} has no adapter for phones; {', '.join(_ADAPTERS)}, tvm-rpc and ecp have one"
        )
    if request.metric != "latency":
        raise Unsupported(f"{request.backend}'s test program does not report {request.metric}")
    root = ANDROID_ROOT if identity.is_android else LINUX_ROOT
    return run(Store(transport, root), root, request, timeout_s)


def mnn_times(text: str) -> Times:
    """The last line ``[ - ] NAME max = 13.1 ms min = 12.0 ms avg = 12.3 ms`` of benchmark.out."""
    found = re.findall(r"max =\s*([\d.]+)\s*ms\s+min =\s*([\d.]+)\s*ms\s+avg =\s*([\d.]+)\s*ms", text)
    if not found:
        raise EcpError(f"MNN printed no times: {_tail(text)}")
    most, least, mean = map(float, found[-1])
    return Times(mean, least, most)


def tnn_times(text: str) -> Times:
    """The line ``time cost: min = 12.0 ms | max = 13.1 ms | avg = 12.3 ms`` of TNNTest."""
    found = re.findall(
        r"min\s*=\s*([\d.]+)\s*ms\s*\|\s*max\s*=\s*([\d.]+)\s*ms\s*\|\s*avg\s*=\s*([\d.]+)\s*ms", text
    )
    if not found:
        raise EcpError(f"TNN printed no times: {_tail(text)}")
    least, most, mean = map(float, found[-1])
    return Times(mean, least, most)


def _mnn(store: Store, root: str, request: Request, timeout_s: float) -> Reply:
    """ModuleBasic.out for the outputs, benchmark.out for the time: only the latter reads the output of a GPU
    inside its clock, the former would time the enqueueing."""
    from baselines.mnn_backend import convert, raise_on_fallback

    build = _put_build(store, "MNN_ANDROID", ("ModuleBasic.out", "benchmark.out"), "libMNN")
    feeds = inputs.row(inputs.load(Path(request.inputs)), 0)
    expected = inputs.row(inputs.load(Path(request.reference)), 0)
    converted = convert(Path(request.onnx))
    models = store.put(converted).path
    forward, precision = MNN_FORWARD[request.backend], MNN_PRECISION[request.precision]
    # For a GPU this number is a mode, 68 = tune the kernels and use buffers; for a CPU it is threads.
    mode = request.threads if forward == 0 else 68
    with tempfile.TemporaryDirectory(prefix="ecp-mnn-") as scratch:
        folder = Path(scratch)
        described = {"inputs": [{"name": n, "shape": list(v.shape)} for n, v in feeds.items()]}
        (folder / "input.json").write_text(json.dumps({**described, "outputs": list(expected)}))
        for name, values in feeds.items():
            np.savetxt(folder / f"{name}.txt", values.reshape(-1), fmt="%.9g")
        given = store.put(folder).path
        numbers = [str(n) for n in (0, forward, 0, mode, precision)]
        arguments = [f"{models}/{converted.name}", given, *numbers, "tune.cache"]
        text = _in_work_folder(
            store.transport, f"{root}/mnn", f"{build}/ModuleBasic.out", arguments, timeout_s
        )
        outputs = {}
        for index, (name, wanted) in enumerate(expected.items()):
            local = folder / f"out{index}.txt"
            store.transport.pull(f"{root}/mnn/output/{index}.txt", local)
            outputs[name] = np.loadtxt(local).reshape(wanted.shape)
    arguments = [models, *(str(n) for n in (LOOPS, 10, forward, mode, precision))]
    text += _in_work_folder(store.transport, f"{root}/mnn", f"{build}/benchmark.out", arguments, timeout_s)
    raise_on_fallback(text)
    return _reply(request, mnn_times(text), outputs, expected, f"MNN forward type {forward}", text)


def _tnn(store: Store, root: str, request: Request, timeout_s: float) -> Reply:
    build = _put_build(store, "TNN_ANDROID", ("TNNTest",), "libTNN")
    proto, model = _tnn_model(request)
    feeds = inputs.row(inputs.load(Path(request.inputs)), 0)
    expected = inputs.row(inputs.load(Path(request.reference)), 0)
    if len(feeds) != 1 or len(expected) != 1:
        raise Unsupported("TNNTest feeds one input and compares one output")
    with tempfile.TemporaryDirectory(prefix="ecp-tnn-") as scratch:
        folder = Path(scratch)
        for file in (proto, model):
            (folder / file.name).write_bytes(file.read_bytes())
        values = next(iter(feeds.values()))
        np.savetxt(folder / "input.txt", values.reshape(-1), fmt="%.9g")
        given = store.put(folder).path
        arguments = [
            "-mp",
            f"{given}/{proto.name}",
            "-dt",
            TNN_DEVICE[request.backend],
            "-th",
            str(request.threads),
        ]
        arguments += ["-wc", "10", "-ic", str(LOOPS), "-pr", TNN_PRECISION[request.precision]]
        arguments += ["-ip", f"{given}/input.txt", "-op", "output.txt"]
        text = _in_work_folder(store.transport, f"{root}/tnn", f"{build}/TNNTest", arguments, timeout_s)
        times = tnn_times(text)
        store.transport.pull(f"{root}/tnn/output.txt", folder / "output.txt")
        numbers = np.array(
            re.findall(r"-?\d+\.\d+(?:e[-+]?\d+)?", (folder / "output.txt").read_text()), float
        )
    ((name, wanted),) = expected.items()
    if numbers.size < wanted.size:
        raise EcpError(f"TNN wrote {numbers.size} output values, {wanted.size} were expected")
    outputs = {name: numbers[-wanted.size :].reshape(wanted.shape)}
    return _reply(request, times, outputs, expected, f"TNN {TNN_DEVICE[request.backend]}", text)


def _tnn_model(request: Request) -> tuple[Path, Path]:
    """The model as TNN's converter wrote it: ``$TNN_MODELS/HASH.tnnproto`` and ``.tnnmodel``."""
    folder = os.environ.get("TNN_MODELS")
    stem = request.model_sha256[:16]
    if folder is None or not (Path(folder) / f"{stem}.tnnproto").is_file():
        raise Unavailable(
            f"convert {request.onnx} with TNN's onnx2tnn to {stem}.tnnproto and {stem}.tnnmodel, and set TNN_MODELS "
            "to their folder"
        )
    return Path(folder) / f"{stem}.tnnproto", Path(folder) / f"{stem}.tnnmodel"


_ADAPTERS: dict[str, Callable[[Store, str, Request, float], Reply]] = {
    "mnn": _mnn,
    "mnn-opencl": _mnn,
    "tnn": _tnn,
    "tnn-opencl": _tnn,
}


def _put_build(store: Store, variable: str, programs: tuple[str, ...], library: str) -> str:
    """Push a build's programs with its libraries into one folder; its path there."""
    home = os.environ.get(variable)
    if not home:
        raise Unavailable(
            f"set {variable} to your Android build's folder with {programs[0]} and {library}*.so"
        )
    with tempfile.TemporaryDirectory(prefix="ecp-build-") as scratch:
        for name in (*programs, f"{library}*.so"):
            found = sorted(Path(home).rglob(name))
            if not found and name in programs:
                raise Unavailable(f"{variable}={home} holds no {name}")
            for file in found:
                target = Path(scratch) / file.name
                target.write_bytes(file.read_bytes())
                target.chmod(0o755)
        return store.put(Path(scratch)).path


def _in_work_folder(
    transport: Transport, folder: str, program: str, arguments: list[str], timeout_s: float
) -> str:
    """What a program printed that ran in a folder with a subfolder ``output``, its libraries beside it."""
    script = 'mkdir -p "$1/output" && cd "$1" && shift && exec "$@"'
    env = {"LD_LIBRARY_PATH": program.rpartition("/")[0]}
    done = transport.run(
        ["sh", "-c", script, "sh", folder, program, *arguments], timeout_s=timeout_s, env=env
    )
    text = done.text + done.error_text
    if done.code != 0:
        raise EcpError(f"{program.rpartition('/')[2]} ended with status {done.code}: {_tail(text)}")
    return text


def _reply(
    request: Request,
    times: Times,
    outputs: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    true_backend: str,
    text: str,
) -> Reply:
    reference = Expected({name: wanted[None] for name, wanted in expected.items()}, request.precision, {})
    error = compare(reference, [dict(outputs)])
    extra = {
        "true_backend": true_backend,
        "source": "wall",
        "unit": "ms",
        "sample": f"mean of {LOOPS} inferences, as the framework's own program prints it",
        "min_ms": times.least,
        "max_ms": times.most,
        "output": text[-2000:],
    }
    return Reply(
        "measured" if error["ok"] else "failed",
        error["reason"],
        backend_version="user build",
        samples_ms=[times.mean],
        error=error,
        extra=extra,
    )


def _tail(text: str) -> str:
    return " ".join(text.split())[-300:] or "nothing"
