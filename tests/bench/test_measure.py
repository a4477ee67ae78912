"""The clocks, on work of known length."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from bench import measure
from bench.affinity import choose_cpus


class Work:
    """Callable that lasts as long as it is told, by a clock that the test owns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, lengths_ms: list[float]) -> None:
        self.now_ns = 0
        self.lengths = iter(lengths_ms)
        self.last = lengths_ms[-1]
        monkeypatch.setattr(time, "perf_counter_ns", lambda: self.now_ns)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now_ns / 1e9)

    def __call__(self) -> None:
        self.now_ns += int(next(self.lengths, self.last) * 1e6)


def test_warm_up_ends_when_two_windows_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    slow_start = [100.0 * 0.5**i + 10.0 for i in range(10)]
    times, steady = measure.warm_up(Work(monkeypatch, [*slow_start, 10.0]), limit_s=60)
    assert steady and times[:3] == [110.0, 60.0, 35.0]
    assert 2 * measure.WINDOW <= len(times) <= 3 * measure.WINDOW + 10


def test_a_machine_that_never_settles_has_no_steady_state(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = [10.0 * 1.02**i for i in range(300)]
    times, steady = measure.warm_up(Work(monkeypatch, ramp), limit_s=5)
    assert not steady and sum(times) >= 5000


def test_a_slow_model_is_judged_by_the_runs_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    times, steady = measure.warm_up(Work(monkeypatch, [3000.0, 2000.0]), limit_s=5)
    assert steady and len(times) == measure.LEAST_SAMPLES


@pytest.mark.parametrize(("length", "count"), [(20.0, 50), (1.0, 500), (100.0, 20), (1000.0, 5)])
def test_how_many_samples_are_taken(monkeypatch: pytest.MonkeyPatch, length: float, count: int) -> None:
    assert len(measure.sample(Work(monkeypatch, [length]), least=50, seconds=2.0)) == count


def test_peak_memory_is_read_from_the_kernel() -> None:
    # In a process of its own: here an earlier test may have set a high-water mark that 64 MiB do not reach.
    code = (
        "from bench import measure\n"
        "before = measure.status_kib('VmHWM')\n"
        "block = bytearray(64 << 20)\n"
        "block[::4096] = b'x' * len(block[::4096])\n"
        "print(measure.status_kib('VmHWM') - before)\n"
    )
    grown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(grown) > 40 << 10
    with pytest.raises(RuntimeError, match="VmNone"):
        measure.status_kib("VmNone")


def test_pinning_takes_allowed_processors_and_says_when_there_are_too_few() -> None:
    allowed = os.sched_getaffinity(0)
    assert set(choose_cpus(1)) <= allowed and len(choose_cpus(1)) == 1
    assert choose_cpus(len(allowed) + 1) == ()


def test_worker_answers_one_line_of_json_whatever_happens() -> None:
    request = '{"metric":"latency","backend":"none","model":"m","model_sha256":"","onnx":"","inputs":"","reference":""}'
    done = subprocess.run(
        [sys.executable, "-m", "bench.worker"], input=request, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1 and '"status": "failed"' in done.stdout


def test_a_backends_other_process_is_not_other_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """ecp-native computes in the runner's process: a busy runner is no reason to call its block disturbed."""
    from baselines.base import Description
    from bench import worker
    from bench.protocol import Request

    class Elsewhere:
        prepare = stage = close = lambda self, *_: None

        def describe(self) -> Description:
            return Description("1", "elsewhere", {})

        def processes(self) -> tuple[int, ...]:
            return (4711,)

    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(worker.validity, "capture", lambda others=(): seen.append(tuple(others)) or {})
    monkeypatch.setattr(worker.validity, "gates", lambda *_, **__: [])
    monkeypatch.setattr(worker.inputs, "load", lambda _: {})
    monkeypatch.setattr(worker.inputs, "row", lambda *_: {})
    monkeypatch.setattr(worker.accuracy_gate, "check", lambda *_: {"ok": True})
    monkeypatch.setattr(worker, "_metric", lambda _: lambda *_: {"status": "measured"})
    request = Request("latency", "x", "m", "0", "o", "i", "r")
    assert worker._measure(request, Elsewhere()).status == "measured"  # type: ignore[arg-type]
    assert seen == [(4711,), (4711,)]
