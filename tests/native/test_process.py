"""The runner as a server: the Python side of backend ``ecp-native``."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from ecp.errors import BundleError, EcpError, InputError
from ecp.native import build
from ecp.native.process import RunnerProcess
from tests.native import make_bundle


@pytest.fixture
def served(runner, any_device, tmp_path):
    with RunnerProcess(make_bundle.write(tmp_path / "b"), any_device, threads=1) as process:
        yield process


def test_stage_execute_fetch(served):
    data = make_bundle.arrays()
    served.stage({"x": data["x"]})
    times = served.execute(3)
    assert len(times) == 3 and min(times) > 0
    np.testing.assert_array_equal(served.fetch()["y"], data["y"])
    served.stage({"x": -data["x"]})
    served.execute()
    expected = make_bundle.SCALE * (-data["x"] @ data["w"]) + data["bias"] + make_bundle.SHIFT
    np.testing.assert_array_equal(served.fetch()["y"], expected)


def test_memory_is_the_runners_own(served):
    status = Path(f"/proc/{served.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    assert abs(served.memory()["VmHWM"] - int(peak.split()[1]) * 1024) < 1 << 20


def test_profile(served):
    assert [(p["kernel"], len(p["ms"])) for p in served.profile(4)] == [("mm", 4), ("bias", 4)]


def test_wrong_feeds(served):
    x = make_bundle.arrays()["x"]
    for feeds, words in (({"z": x}, "given"), ({"x": x[1:]}, "wants"), ({"x": x.astype("f8")}, "wants")):
        with pytest.raises(InputError, match=words):
            served.stage(feeds)


def test_bad_requests_are_answered_and_survived(served):
    for line in (
        "nonsense",
        "run",
        "run -1",
        "input 7 /tmp/x",
        "output 0 /nonexistent/folder/x",
        "input 0 /nonexistent",
    ):
        with pytest.raises(EcpError, match="native runner"):
            served.request(line)
    served.stage({"x": make_bundle.arrays()["x"]})
    assert served.execute()


def test_death_is_reported_and_close_is_quiet(runner, any_device, tmp_path):
    process = RunnerProcess(make_bundle.write(tmp_path / "b"), any_device)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(EcpError, match="status -9"):
        process.execute()
    process.close()
    process.close()


def test_damaged_bundle_raises(runner, any_device, tmp_path):
    plan = make_bundle.plan()
    plan["version"] = 9
    with pytest.raises(BundleError, match="version 9"):
        RunnerProcess(make_bundle.write(tmp_path / "b", changed_plan=plan), any_device)


def test_missing_ndk_is_one_sentence(monkeypatch):
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    monkeypatch.delenv("ECP_RUN_ANDROID_ARM64", raising=False)
    with pytest.raises(build.NoToolchain, match="set ANDROID_NDK_HOME"):
        build.runner("android-arm64")


def test_ready_binary_by_environment(monkeypatch, tmp_path):
    binary = tmp_path / "ecp-run"
    binary.touch()
    monkeypatch.setenv("ECP_RUN_ANDROID_ARM64", str(binary))
    assert build.runner("android-arm64") == binary
