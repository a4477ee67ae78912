"""Run-time indices: whatever their value, no access leaves its buffer, and what ONNX Runtime refuses is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ecp.compiler import compile_graph, default_schedule
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session
from tests.codegen.indices import CASES, Case, interpreted, outcome, peer, tensors, wrong
from tests.codegen.test_oclgrind import oclgrind_environment

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_as_onnxruntime(case: Case, opencl: OpenCLDevice) -> None:
    """Compiled code (launches in one chain, as by default) and the interpreter, valid indices or not."""
    ours, theirs = interpreted(case), peer(case)
    refused = 0
    bundle = compile_graph(case.graph, "cpu", schedule=default_schedule(opencl))
    assert bundle.plan.groups or case.op != "Gather" or not case.tail
    with Session(bundle, opencl) as session:
        for indices in tensors(case, 150):
            feeds = case.feeds(indices)
            want = outcome(theirs, feeds)
            refused += isinstance(want, str)
            for engine in (session.run, ours):
                assert not (words := wrong(case, indices, outcome(engine, feeds), want)), words
    assert (refused > 20) == (case.op != "OneHot")


def campaign(
    how: str, device_class: str, count: int, seed: int, **env: str
) -> tuple[int, dict[str, Any], str]:
    """Exit status, findings and errors of a run in a process of its own: an access outside may end it."""
    command = [sys.executable, "-m", "tests.codegen.run_indices", how, device_class, str(count), str(seed)]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=3000)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr[-2000:]


@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
@pytest.mark.parametrize(
    ("device_class", "count"), [("cpu", 60), ("generic", 4), ("adreno", 4), ("nvidia", 4)]
)
def test_no_access_outside_a_buffer(device_class: str, count: int, opencl: OpenCLDevice) -> None:
    """Every buffer between pages that nobody may touch."""
    status, found, errors = campaign("guard", device_class, count, 1)
    assert status == 0, errors
    assert found["tensors"] == count * len(CASES) and found["refused"] and not found["wrong"]


@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
def test_the_guard_sees_an_access_outside_a_buffer(opencl: OpenCLDevice) -> None:
    status, found, _ = campaign("unguarded-index", "cpu", 20, 1)
    assert status == -signal.SIGSEGV and not found


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
@pytest.mark.parametrize(
    ("device_class", "count"), [("cpu", 5000), ("generic", 500), ("adreno", 500), ("nvidia", 500)]
)
def test_many_index_tensors(device_class: str, count: int, opencl: OpenCLDevice) -> None:
    """More than 100,000 index tensors."""
    status, found, errors = campaign("guard", device_class, count, 3)
    assert status == 0, errors
    assert found["tensors"] == count * len(CASES) and found["refused"] and not found["wrong"]


@pytest.mark.oclgrind
@pytest.mark.parametrize("device_class", ["cpu", "generic", "adreno"])
def test_clean_under_oclgrind(device_class: str, tmp_path: Path) -> None:
    """No access outside a buffer, no race, no uninitialised read."""
    env, log = oclgrind_environment(tmp_path)
    env["OCLGRIND_UNINITIALIZED"] = "1"
    status, found, errors = campaign("oclgrind", device_class, 12, 2, **env)
    assert status == 0, errors
    assert found["refused"] and not found["wrong"]
    assert not (log.read_text().strip() if log.exists() else "")
