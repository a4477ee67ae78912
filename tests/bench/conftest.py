"""A workplace of its own for tests that run the real command line in real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent.parent
CLASSES = (
    *("Right", "Wrong", "NotANumber", "Chatty", "Killed", "Hangs"),
    *("Family", "Deaf", "Stopped", "Clinging"),
    *("Slow", "Twice", "Remembers", "Early", "Greedy", "CannotRun", "NotThere", "Raises"),
)
# The tests run several at a time on a busy machine: no gate about other load, no gate about steadiness.
DEVICES = """
version: 1
devices:
  local-cpu:
    transport: local
    title: this processor, any amount of disturbance
    opencl: local-cpu
    limits: {others_cpus: 1000, clock: 1000.0, probe: 1000.0, temperature_c: 1000.0, steady: 1000.0}
  desk:
    transport: local
    title: the same processor under a name of its own
    opencl: local-cpu
    limits: {others_cpus: 1000, clock: 1000.0, probe: 1000.0, temperature_c: 1000.0, steady: 1000.0}
  other-card:
    transport: local
    title: a device that this computer is not
    opencl: local-cpu
    match: {gpu_names: [NVIDIA H200]}
  oneplus11:
    transport: adb
    title: OnePlus 11 (test)
    match: {product_models: [PHB110]}
    abi: arm64-v8a
    opencl_libraries: [libOpenCL.so]
"""


def tiny_model(path: Path) -> Path:
    """An ONNX file ``logits = input @ W``, input ``[1, 8]``, logits ``[1, 4]``."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(1).standard_normal((8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "w"], ["logits"], name="product")],
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return path


@dataclass(frozen=True)
class Workplace:
    """A folder with a model, its own devices.yaml, cache and backends; ``bench`` runs the command line in it."""

    folder: Path
    model: str
    environment: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "bench", *arguments]

    def bench(self, *arguments: str, timeout: float = 240, **kw: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **kw,  # type: ignore[call-overload]
        )

    def latency(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """A short run on the tiny model; ``arguments`` come last and win."""
        common = (
            "--device",
            "local-cpu",
            "--models",
            self.model,
            "--quick",
            "--blocks",
            "2",
            "--threads",
            "1",
        )
        return self.bench("latency", *common, *arguments, timeout=timeout)

    def campaign_command(self) -> list[str]:
        """Many short blocks of a backend whose helpers do not want to end."""
        common = ["--device", "local-cpu", "--models", self.model, "--quick", "--threads", "1"]
        return self.command("latency", *common, "--blocks", "30", "--backends", "fake-right,fake-family")


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return make_workplace(tmp_path)


def make_workplace(tmp_path: Path) -> Workplace:
    """The files of a workplace below ``tmp_path``."""
    plugin = tmp_path / "plugin" / "fakes-1.0.dist-info"
    plugin.mkdir(parents=True)
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: fakes\nVersion: 1.0\n")
    names = {c: _name(c) for c in CLASSES}
    lines = [f"{name} = tests.bench.fake_backends:{c}" for c, name in names.items()]
    (plugin / "entry_points.txt").write_text("[ecp_bench.backends]\n" + "\n".join(lines) + "\n")
    devices = tmp_path / "devices.yaml"
    devices.write_text(DEVICES)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{plugin.parent}",
        "ECP_CACHE": str(tmp_path / "cache"),
        "ECP_BENCH_DEVICES": str(devices),
        "COLUMNS": "100",
        "OMP_NUM_THREADS": "1",
    }
    tiny_model(tmp_path / "tiny.onnx")
    return Workplace(tmp_path, f"onnx:{tmp_path / 'tiny.onnx'}", environment)


def _name(class_name: str) -> str:
    import tests.bench.fake_backends as fakes

    return str(getattr(fakes, class_name).name)
