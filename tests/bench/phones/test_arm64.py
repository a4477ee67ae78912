"""Real adb -> real adbd -> arm64 runner -> arm64 PoCL, buffers and images; right answers, times without meaning."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import ecp
from bench.devices import AdbDevice, get_device
from bench.models import onnx_path
from bench.phones.connect import find_phone
from bench.phones.runner import PhoneRunner
from ecp.compiler import golden, import_model
from ecp.errors import EcpError
from ecp.native import build
from tests.bench.phones import arm64_lane
from tests.bench.transports.real_adbd import Adbd, NoAdbd
from tests.native import make_bundle

# Six blocks of 64 channels on 17 tokens: an emulated LLVM compiles its kernels in half a minute.
MODEL = "timm:test_vit@64"
TIMEOUT_S = 3600.0

pytestmark = [pytest.mark.arm64, pytest.mark.timeout(TIMEOUT_S)]


@pytest.fixture(scope="module")
def arm64() -> Iterator[Adbd]:
    with contextlib.ExitStack() as stack:
        try:
            build.runner("aarch64-linux-gnu")
            daemon = stack.enter_context(arm64_lane.running())
        except (build.NoToolchain, NoAdbd) as error:
            pytest.skip(str(error))
        yield daemon


# Closed after each test: one run per phone, and the command below is a run of its own.
@pytest.fixture
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


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_transformer_compiled_for_adreno_gives_the_golden_output(
    runner: PhoneRunner, tmp_path: Path, precision: str
):
    """The kernels and images that an Adreno would get, on an arm64 processor: slow there, and right."""
    target = replace(runner.compile_target("qemu-arm64"), device_class="adreno")
    path = onnx_path(MODEL)
    bundle = ecp.compile(path, device=target, precision=precision)
    assert any(mem.image for mem in bundle.plan.mems)
    bundle.golden = golden(bundle, import_model(path))
    remote = runner.put(bundle.save(tmp_path / "bundle"))
    amount = ["--warmup", "0", "--iterations", "1"]
    document = runner.run([remote, *runner.device_options(), *amount, "--check"], TIMEOUT_S)
    print(json.dumps({key: document[key] for key in ("bundle", "start", "first_ms", "memory", "check")}))
    assert document["check"]["ok"] and document["memory"]["image_bytes"] > 0


def test_latency_command_on_a_transformer(arm64: Adbd, tmp_path: Path):
    command = [sys.executable, "-m", "bench", "latency", "--device", "qemu-arm64", "--backends", "ecp"]
    command += ["--models", MODEL, "--quick", "--blocks", "1", "--timeout", str(TIMEOUT_S)]
    command += ["--out", str(tmp_path / "results"), "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), timeout=TIMEOUT_S)
    print(done.stderr)
    assert done.stdout, done.stderr
    (cell,) = json.loads(done.stdout)
    # Under emulation the times may never settle; the answer has to be right.
    assert cell["status"] in ("measured", "unstable"), cell["reason"]
    record = json.loads(next(tmp_path.glob("results/*/records.jsonl")).read_text().splitlines()[0])
    print(json.dumps({key: record[key] for key in ("status", "reason", "error", "first_ms", "compile_s")}))
    assert record["error"]["ok"] and record["error"]["top1_agreement"] == 1.0
    # PoCL compiles in the first inference, which must not use up the block.
    assert len(record["warmup_ms"]) + len(record["samples_ms"]) > 1
    assert "means nothing" in record["extra"]["note"]
