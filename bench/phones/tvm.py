"""TVM on a phone: its own RPC server there, behind a port of this computer that ``adb forward`` leads to that phone."""

from __future__ import annotations

from pathlib import Path

from baselines.base import RunConfig, Unavailable, Unsupported
from baselines.tvm_rpc import LOOPBACK, TvmRpcBackend, server_address
from bench import accuracy_gate, inputs
from bench.protocol import Reply, Request
from bench.timed_path import TimedPath
from bench.transports.adb import AdbTransport
from bench.transports.base import Transport


def run_tvm(transport: Transport, request: Request) -> Reply:
    """Compile here, upload, time by TVM's evaluator there, check every test input.

    Raises :class:`Unavailable` without a server, or with one that does not run on this very phone.
    """
    if request.metric != "latency":
        raise Unsupported(f"tvm-rpc does not report {request.metric}")
    _check_address(transport)
    backend = TvmRpcBackend()
    config = RunConfig(request.device, request.precision, request.threads, request.options)
    try:
        backend.prepare(Path(request.onnx), config)
        feeds = inputs.load(Path(request.inputs))
        path = TimedPath(backend, feeds)
        path.between()
        samples, sample = backend.own_latency()
        path.finish(samples, own_clock=True)
        described = backend.describe()
        reference, onnx_path = Path(request.reference), Path(request.onnx)
        error = accuracy_gate.check(backend, feeds, reference, request.precision, onnx_path, path)
    finally:
        backend.close()
    extra = {
        "true_backend": described.true_backend,
        "details": described.details,
        "source": "wall",
        "unit": "ms",
    }
    return Reply(
        "measured" if error["ok"] else "failed",
        error["reason"],
        backend_version=described.version,
        samples_ms=samples,
        error=error,
        extra={**extra, "sample": sample},
    )


def _check_address(transport: Transport) -> None:
    """A server anywhere else would be measured in the phone's name."""
    host, port, _ = server_address()
    ports = transport.forwarded_ports() if isinstance(transport, AdbTransport) else set()
    if host not in LOOPBACK or port not in ports:
        serial = getattr(transport, "serial", transport.identity)
        raise Unavailable(
            f"tvm-rpc: TVM_RPC={host}:{port} does not lead to this phone: start tvm_rpc on it, then "
            f"adb -s {serial} forward tcp:9090 tcp:9090 and TVM_RPC=127.0.0.1:9090"
        )
