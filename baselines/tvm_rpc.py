"""TVM on another machine through its RPC server: compiled here, uploaded, timed by TVM's own evaluator there.

``TVM_RPC=HOST:PORT`` names the server (a phone: ``tvm_rpc`` pushed and started, ``adb forward tcp:9090 tcp:9090``).
``TVM_RPC_TARGET`` is the target as JSON; ``TVM_NDK_CC`` the NDK's compiler for Android. Source: TVM documentation,
"Cross Compilation and RPC".
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from baselines.base import Backend, Description, RunConfig, Unavailable, Unsupported
from baselines.common import (
    check_feeds,
    first_line,
    opencl_selector,
    read_interface,
    require_precision,
    zero_feeds,
)
from baselines.output import captured_output
from baselines.tvm_common import import_onnx, import_tvm, tvm_version

HOW = (
    "start TVM's RPC server on the device (python -m tvm.exec.rpc_server, or tvm_rpc on a phone; TVM documentation, "
    "'Cross Compilation and RPC'), then export TVM_RPC=HOST:PORT TVM_RPC_TARGET='{\"kind\":\"llvm\",...}'"
)
REPEATS, LEAST_MS = 10, 200
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class TvmRpcBackend(Backend):
    """TVM's default LLVM code on the machine behind ``TVM_RPC``."""

    name: ClassVar[str] = "tvm-rpc"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Connect, compile for the remote target, upload, load, run once."""
        require_precision(config, ["fp32"], self.name)
        host, port, target = server_address()
        if opencl_selector(config).startswith("local") and host not in LOOPBACK:
            raise Unsupported(f"tvm-rpc: TVM_RPC names {host}, which is not device {config.device!r}")
        self._tvm = import_tvm()
        from tvm import relax, rpc

        self._interface = read_interface(onnx_path)
        try:
            with captured_output():
                self._remote = rpc.connect(host, port, session_timeout=600)
        except Exception as exc:  # a socket error, in a class of TVM's own
            raise Unavailable(f"tvm-rpc: no server at {host}:{port} ({first_line(exc)}); {HOW}") from exc
        self._device = self._remote.cpu()
        configure = self._remote.get_function("runtime.config_threadpool")
        configure(1, config.threads)
        self._target = self._tvm.target.Target(target)
        try:
            with captured_output():
                built = relax.build(relax.get_pipeline("zero")(import_onnx(onnx_path)), self._target)
        except Exception as exc:  # any pass may refuse, in an error class of its own
            raise Unsupported(f"tvm: {first_line(exc)}") from exc
        self._vm = relax.VirtualMachine(self._upload(built), self._device)
        self._address = f"{host}:{port}"
        self.stage(zero_feeds(self._interface))
        self.execute()

    def _upload(self, built: Any) -> Any:
        compiler = os.environ.get("TVM_NDK_CC")
        with tempfile.TemporaryDirectory(prefix="ecp-tvm-") as folder:
            library = Path(folder) / "model.so"
            try:
                built.export_library(str(library), **({"cc": compiler} if compiler else {}))
            except Exception as exc:  # the linker's failure, in TVM's words
                raise Unavailable(f"tvm-rpc: linking failed ({first_line(exc)}); set TVM_NDK_CC") from exc
            self._remote.upload(str(library))
        return self._remote.load_module("model.so")

    def describe(self) -> Description:
        """TVM's version here, the server and the target."""
        details = {"server": self._address, "target": str(self._target), "schedules": "untuned"}
        return Description(tvm_version(), "TVM LLVM (untuned) over RPC", details)

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Send the inputs."""
        arrays = check_feeds(self._interface, feeds)
        self._inputs = [self._tvm.runtime.tensor(a, self._device) for a in arrays]
        self._vm.set_input("main", *self._inputs)

    def execute(self) -> None:
        """One inference there; the call returns when it is complete (a network round trip is inside)."""
        self._vm.invoke_stateful("main")
        self._device.sync()

    def own_latency(self) -> tuple[list[float], str]:
        """(samples in ms by TVM's evaluator on the remote machine, what a sample is)."""
        evaluate = self._vm.time_evaluator(
            "invoke_stateful", self._device, number=1, repeat=REPEATS, min_repeat_ms=LEAST_MS
        )
        results = evaluate("main").results
        return [float(t) * 1e3 for t in results], f"tvm time_evaluator, at least {LEAST_MS} ms a sample"

    def fetch(self) -> dict[str, np.ndarray]:
        """Fetch the outputs by ONNX name."""
        result = self._vm.get_outputs("main")
        ports = self._interface.outputs
        values = [result] if len(ports) == 1 and hasattr(result, "numpy") else list(result)
        return {p.name: v.numpy() for p, v in zip(ports, values, strict=True)}

    def close(self) -> None:
        """Drop the remote machine's objects and the connection."""
        for name in ("_vm", "_inputs", "_remote"):
            self.__dict__.pop(name, None)


def server_address() -> tuple[str, int, dict[str, Any]]:
    """(host, port, target) from the environment; :class:`Unavailable` with the steps where one is missing."""
    address, target = os.environ.get("TVM_RPC"), os.environ.get("TVM_RPC_TARGET")
    if not address or not target:
        raise Unavailable(f"tvm-rpc: {'TVM_RPC' if not address else 'TVM_RPC_TARGET'} is not set; {HOW}")
    host, _, port = address.rpartition(":")
    try:
        parsed = json.loads(target)
        number = int(port)
    except ValueError as exc:
        raise Unavailable(
            f"tvm-rpc: TVM_RPC={address} or TVM_RPC_TARGET is malformed ({exc}); {HOW}"
        ) from exc
    if not host or not isinstance(parsed, dict):
        raise Unavailable(
            f"tvm-rpc: TVM_RPC={address} must be HOST:PORT and TVM_RPC_TARGET a JSON object; {HOW}"
        )
    return host, number, parsed
