"""A phone made of real parts: adb, Debian's adbd on loopback, this computer's OpenCL, and a `getprop` of ours."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench import inputs
from bench.devices import AdbDevice
from bench.protocol import Request
from ecp.errors import DeviceError
from ecp.native import build, process
from ecp.runtime import devices
from tests.bench.transports import real_adbd

PROPS = {
    "ro.product.model": "TP-1",
    "ro.product.manufacturer": "Testers",
    "ro.soc.model": "T1000",
    "ro.product.cpu.abi": "x86_64",
}


@dataclass
class Phone:
    """The daemon, its folder of fake programs, and the entry that describes it."""

    adbd: real_adbd.Adbd
    programs: Path
    entry: AdbDevice

    def program(self, name: str, script: str) -> Path:
        """Put a shell script into the phone's PATH."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def props(self, **changes: str) -> None:
        """Answer ``getprop`` with the usual properties and these changes."""
        lines = "".join(f"[{k}]: [{v}]\n" for k, v in {**PROPS, **changes}.items())
        self.program("getprop", f"cat <<'END'\n{lines}END")


def entry(**changes: object) -> AdbDevice:
    """A devices.yaml entry of the test phone."""
    data = {
        "transport": "adb",
        "title": "Test phone (this computer behind adbd)",
        "match": {"product_models": ["TP-1"], "soc_models": ["T1000"]},
        "abi": "x86_64",
        "opencl_libraries": [str(process.opencl_library() or "libOpenCL.so.1")],
    }
    return AdbDevice.model_validate({**data, **changes})


@pytest.fixture(scope="session")
def opencl_name() -> str:
    """An OpenCL CPU device of this computer, or skip."""
    for name in ("local-cpu", "local-pocl"):
        with contextlib.suppress(DeviceError):
            return devices.resolve(name).name
    pytest.skip("no OpenCL CPU device")


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opencl_name: str) -> Iterator[Phone]:
    try:
        build.runner("host")
    except build.NoToolchain as error:
        pytest.skip(str(error))
    for key, value in process.environment().items():
        monkeypatch.setenv(key, value)
    programs = tmp_path / "bin"
    programs.mkdir()
    with contextlib.ExitStack() as stack:
        try:
            adbd = stack.enter_context(real_adbd.running(extra_path=programs))
        except real_adbd.NoAdbd as error:
            pytest.skip(f"no adbd: {error}")
        found = Phone(adbd, programs, entry())
        found.props()
        yield found


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    """A small model with its inputs and float64 reference, as bench.prepare leaves them."""
    rng = np.random.default_rng(11)
    w = rng.standard_normal((24, 40)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Softmax", ["h"], ["y"], axis=-1)],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 7, 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 7, 40])],
        [numpy_helper.from_array(w, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "m.onnx")
    x = rng.standard_normal((3, 1, 7, 24)).astype(np.float32)
    logits = x.astype(np.float64) @ w
    e = np.exp(logits - logits.max(-1, keepdims=True))
    inputs.save(tmp_path / "in.npz", {"x": x})
    inputs.save(tmp_path / "ref.npz", {"y": e / e.sum(-1, keepdims=True)})
    return Request(
        metric="latency",
        backend="ecp",
        model="small",
        model_sha256="ab" * 32,
        onnx=str(tmp_path / "m.onnx"),
        inputs=str(tmp_path / "in.npz"),
        reference=str(tmp_path / "ref.npz"),
        device="test",
        threads=1,
        min_seconds=0.4,
        warmup_seconds=0.4,
        limits={"steady": 5.0},
    )
