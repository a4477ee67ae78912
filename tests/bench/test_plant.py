"""Planted faults: exactly as large as asked, only where asked, always visible; and the disturber's life."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import psutil
import pytest
from onnx import numpy_helper

from baselines.base import Unsupported
from bench import compare_run, compare_sides, disturber, inputs, plant, run, worker
from bench.options import RunOptions
from bench.plan import Case, Step
from bench.prepare import Prepared
from bench.protocol import Reply, Request
from bench.records import RecordError
from bench.runner import Target
from ecp.errors import EcpError, UsageError
from tests.bench.conftest import tiny_model
from tests.bench.fake_backends import Right


class Counted(Right):
    """Executes as the clock says: every inference takes 10 units of a made-up time."""

    def __init__(self, clock):
        self.clock = clock

    def execute(self):
        self.clock.now += 10_000

    def fetch(self):
        return {"empty": np.zeros(0), "logits": self.outputs, "other": np.ones(3)}


class Clock:
    """Looking at it takes a unit."""

    def __init__(self):
        self.now = 0

    def perf_counter_ns(self):
        self.now += 1
        return self.now


@pytest.mark.parametrize("share", [0.01, 0.05, 0.21, 1.0])
def test_each_inference_takes_the_asked_share_longer(monkeypatch, share):
    clock = Clock()
    monkeypatch.setattr(plant, "time", clock)
    backend = plant.into(Counted(clock), {"plant.slow": share})
    for _ in range(3):
        before = clock.now
        backend.execute()
        assert (clock.now - before) / 10_000 == pytest.approx(1 + share, abs=1e-3)


@pytest.mark.parametrize(
    "outputs",
    [
        np.array([[1.0, -8.0]], np.float32),
        np.array([1.0, 2.0], np.float16),
        np.zeros((2, 2)),
        np.array(3.0),
        np.array([5, 7]),
        np.array([True, False]),
    ],
)
def test_one_value_is_far_off_and_the_backends_own_arrays_stay(outputs):
    backend = Counted(Clock())
    backend.outputs = outputs.copy()
    plant.into(backend, {"plant.wrong": 1.0})
    found = backend.fetch()["logits"]
    assert (found.shape, found.dtype) == (outputs.shape, outputs.dtype)
    off = np.abs(found.astype(float) - outputs.astype(float))
    assert (off > 0).sum() == 1
    assert off.max() == pytest.approx(float(np.abs(outputs.astype(float)).max()) or 1.0)
    assert np.array_equal(backend.outputs, outputs)


def test_nothing_is_touched_without_the_option():
    backend = Counted(Clock())
    assert plant.into(backend, {"ecp.fuse": "false"}) is backend
    assert not {"execute", "fetch"} & vars(backend).keys()


@pytest.mark.parametrize(
    "options",
    [
        {"plant.slwo": 0.1},
        {"plant.slow": 0},
        {"plant.slow": "0.1"},
        {"plant.slow": True},
        {"plant.wrong": float("nan")},
    ],
)
def test_what_cannot_be_planted_is_refused(options):
    with pytest.raises(UsageError, match=r"plant\."):
        plant.into(Counted(Clock()), options)


def test_a_program_that_clocks_itself_is_refused():
    backend = Counted(Clock())
    backend.own_latency = lambda: ([1.0], "its own")
    with pytest.raises(Unsupported, match="clocks itself"):
        plant.into(backend, {"plant.slow": 0.1})


def test_no_command_takes_it():
    with pytest.raises(UsageError, match="regress_proof alone"):
        run.make_cases("latency", RunOptions(settings=("plant.slow=0.5",)), ("vit_tiny",), ("ecp",))


def test_only_side_b_is_asked_and_its_run_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))
    asked = {"A": [], "B": []}

    def side(letter):
        def launch(request, timeout_s):
            asked[letter].append(dict(request.options))
            return Reply("measured", samples_ms=[1.0, 1.1], error={"ok": True})

        return launch

    case = Case("local", "ecp", "m", "latency", options={"ecp.fuse": "false"})
    this = compare_sides.Side(".", "tree", "a" * 40)
    found = compare_run.measure_sides(
        (this, this), [case], {"m": Prepared("m", "x.onnx", "0" * 64, "i", "r")},
        device="local", target=Target(), pairs=3, seed=0, out=tmp_path,
        launchers=(side("A"), side("B")), planted={"plant.slow": 0.05},
    )  # fmt: skip
    assert asked == {"A": 3 * [{"ecp.fuse": "false"}], "B": 3 * [{"ecp.fuse": "false", "plant.slow": 0.05}]}
    plans = [[step["case"]["options"] for step in r["plan"]] for r in (found.run_a, found.run_b)]
    assert plans == [asked["A"], asked["B"]]


def test_the_disturber_uses_its_share_and_ends_with_the_block():
    with disturber.disturbing(0.5) as found:
        (child,) = [p for p in psutil.Process().children() if "bench.disturber" in p.cmdline()]
        time.sleep(1.5)
    assert not child.is_running()
    # A busy machine may give it less, never more.
    assert 0.05 < found.share < 0.7
    with pytest.raises(KeyError), disturber.disturbing(0.5):
        (child,) = [p for p in psutil.Process().children() if "bench.disturber" in p.cmdline()]
        raise KeyError
    assert not child.is_running()


def test_a_disturber_that_was_ended_spoils_what_was_measured_beside_it():
    with pytest.raises(EcpError, match="ended early"), disturber.disturbing(0.5):
        (child,) = [p for p in psutil.Process().children() if "bench.disturber" in p.cmdline()]
        child.kill()
        psutil.wait_procs([child], timeout=5)
    with pytest.raises(UsageError, match="0 to 1"), disturber.disturbing(50):
        pass
    with disturber.disturbing(0.0) as found:
        assert not [p for p in psutil.Process().children() if "bench.disturber" in p.cmdline()]
    assert found.share is None


HOLDER = """
import time
from bench.disturber import disturbing
with disturbing(0.2):
    print("up", flush=True)
    time.sleep(60)
"""


def test_the_disturber_ends_with_a_harness_that_is_killed():
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert holder.stdout.readline() == b"up\n"
    (child,) = psutil.Process(holder.pid).children()
    os.kill(holder.pid, signal.SIGKILL)
    # The disturber's standard error is the holder's: it ends without a word.
    assert holder.communicate(timeout=10) == (b"", b"")
    _, alive = psutil.wait_procs([child], timeout=5)
    assert not alive


@pytest.fixture
def answer(tmp_path, monkeypatch):
    """The real worker, in this process, on the fake backend that computes ``x @ W``."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    backend = Right()
    monkeypatch.setattr(worker.registry, "get", lambda name: lambda: backend)
    model = tiny_model(tmp_path / "tiny.onnx")
    feeds = np.random.default_rng(0).standard_normal((3, 1, 8)).astype(np.float32)
    inputs.save(tmp_path / "inputs.npz", {"input": feeds})
    weight = numpy_helper.to_array(onnx.load(str(model)).graph.initializer[0])
    inputs.save(tmp_path / "reference.npz", {"logits": feeds.astype(np.float64) @ weight})

    def ask(**options):
        files = (str(tmp_path / name) for name in ("tiny.onnx", "inputs.npz", "reference.npz"))
        limits = {"others_cpus": 1e3, "clock": 1e3, "probe": 1e3, "temperature_c": 1e3, "steady": 1e3}
        found = worker.answer(
            Request(
                "latency", "fake-right", "m", "0" * 64, *files, options=options, threads=4, limits=limits,
                min_samples=10, min_seconds=0.2, warmup_seconds=0.1,
            )
        )  # fmt: skip
        return found, backend

    return ask


def test_the_worker_plants_what_is_asked_and_says_so(answer):
    clean, _ = answer()
    assert (clean.status, "planted" in clean.extra) == ("measured", False)
    slow, backend = answer(**{"plant.slow": 1.0, "fake.x": 1})
    assert slow.status == "measured"
    assert slow.extra["planted"] == {"plant.slow": 1.0}
    assert slow.extra["options"] == {"plant.slow": 1.0, "fake.x": 1}
    # The backend's own 2 ms and as long again; it never hears of it.
    assert min(slow.samples_ms) >= 4.0
    assert "fake.x" in backend.options
    assert not plant.planted(backend.options)


def test_a_planted_wrong_output_fails_the_block(answer):
    wrong, _ = answer(**{"plant.wrong": 1.0})
    assert (wrong.status, wrong.error["ok"]) == ("failed", False)
    assert wrong.reason.startswith("wrong output")
    unknown, _ = answer(**{"plant.other": 1.0})
    assert (unknown.status, unknown.error) == ("failed", {})


def test_no_interrupted_run_is_finished_with_a_fault_in_its_plan(tmp_path):
    asked = RunOptions(out=tmp_path)
    faulty = Step(0, 0, Case("local", "ecp", "m", "latency", options={"plant.slow": 0.05}))
    folder, _ = run.open_run("latency", asked, [faulty])
    folder.close()
    with pytest.raises(RecordError, match="planted faults"):
        run.open_run("latency", RunOptions(out=tmp_path, resume=True), [])
