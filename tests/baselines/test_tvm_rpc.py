"""TVM's RPC path against a real server on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from baselines.base import RunConfig, Unavailable
from baselines.contract import block_model, reference, sample
from baselines.tvm_rpc import TvmRpcBackend

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("tvm")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        "-m",
        "tvm.exec.rpc_server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--port-end",
        str(port + 1),
    ]
    process = subprocess.Popen(
        [sys.executable, *command],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + 120
    while time.monotonic() < end:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.5)
    yield f"127.0.0.1:{port}"
    # The server serves from a child of its own, which would outlive it.
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(10)


def test_a_model_runs_and_is_timed_there(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TVM_RPC", server)
    monkeypatch.setenv("TVM_RPC_TARGET", json.dumps({"kind": "llvm"}))
    adapter = TvmRpcBackend()
    adapter.prepare(block_model(tmp_path / "m.onnx"), RunConfig(device="phone", threads=1))
    for seed in (0, 1):
        got = adapter.run({"input": sample(seed)})["logits"]
        np.testing.assert_allclose(got, reference(sample(seed)), rtol=1e-4)
    samples, what = adapter.own_latency()
    assert len(samples) == 10 and min(samples) > 0 and "time_evaluator" in what
    assert "over RPC" in adapter.describe().true_backend
    adapter.close()


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tvm")
    monkeypatch.setenv("TVM_RPC", "127.0.0.1:9")
    monkeypatch.setenv("TVM_RPC_TARGET", json.dumps({"kind": "llvm"}))
    with pytest.raises(Unavailable, match=r"no server at 127\.0\.0\.1:9"):
        TvmRpcBackend().prepare(block_model(tmp_path / "m.onnx"), RunConfig(device="phone", threads=1))
