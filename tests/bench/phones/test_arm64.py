"""Real adb -> real adbd -> arm64 runner -> arm64 PoCL, buffers and images; right answers, times without meaning."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.devices import AdbDevice, get_device
from bench.phones.connect import find_phone
from bench.phones.runner import PhoneRunner
from ecp.errors import EcpError
from ecp.native import build
from tests.bench.phones import arm64_lane
from tests.bench.transports.real_adbd import Adbd, NoAdbd
from tests.native import make_bundle

pytestmark = pytest.mark.arm64


@pytest.fixture(scope="module")
def arm64() -> Iterator[Adbd]:
    with contextlib.ExitStack() as stack:
        try:
            build.runner("aarch64-linux-gnu")
            daemon = stack.enter_context(arm64_lane.running())
        except (build.NoToolchain, NoAdbd) as error:
            pytest.skip(str(error))
        yield daemon


@pytest.fixture(scope="module")
def runner(arm64: Adbd) -> Iterator[PhoneRunner]:
    entry = get_device("qemu-arm64")
    assert isinstance(entry, AdbDevice) and entry.emulated
    transport, identity = find_phone("qemu-arm64", entry)
    assert identity.kernel.endswith("aarch64") and not identity.is_android
    with transport:
        yield PhoneRunner(transport, identity, entry)


@pytest.mark.parametrize("half_image", [False, True])
def test_bundle_with_an_image_is_exact(runner: PhoneRunner, tmp_path: Path, half_image: bool):
    remote = runner.put(make_bundle.write(tmp_path / "b", half_image=half_image))
    document = runner.run([remote, *runner.device_options(), "--check", "--iterations", "2"], 600)
    assert document["check"]["outputs"][0]["bit_equal"]
    assert document["start"]["programs_from_cache"] in (0, 2)
    assert "pocl" in document["device"]["opencl"].lower()


def test_damaged_bundle_is_refused_there_too(runner: PhoneRunner, tmp_path: Path):
    plan = make_bundle.plan()
    plan["mems"][0]["offset"] = 2**40
    remote = runner.put(make_bundle.write(tmp_path / "b", changed_plan=plan))
    with pytest.raises(EcpError, match="reaches beyond pool"):
        runner.run([remote], 120)


def test_latency_command(arm64: Adbd, tmp_path: Path):
    # A small model: compiling a transformer's kernels by an emulated LLVM takes longer than anyone waits.
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Softmax", ["h"], ["y"], axis=-1)],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 7, 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 7, 16])],
        [numpy_helper.from_array(np.random.default_rng(1).standard_normal((24, 16)).astype(np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "small.onnx")
    command = [
        sys.executable,
        "-m",
        "bench",
        "latency",
        "--device",
        "qemu-arm64",
        "--backends",
        "ecp",
        "--quick",
    ]
    command += [
        "--models",
        f"onnx:{tmp_path / 'small.onnx'}",
        "--blocks",
        "1",
        "--out",
        str(tmp_path / "results"),
    ]
    done = subprocess.run(
        [*command, "--json", "-"], capture_output=True, text=True, env=dict(os.environ), timeout=900
    )
    assert done.stdout, done.stderr
    (cell,) = json.loads(done.stdout)
    # Under emulation the times may never settle; the answer has to be right.
    assert cell["status"] in ("measured", "unstable"), cell["reason"]
    record = json.loads(next(tmp_path.glob("results/*/records.jsonl")).read_text().splitlines()[0])
    assert record["error"]["ok"] and "means nothing" in record["extra"]["note"]
