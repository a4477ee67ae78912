"""Cache metrics: geometry, choice of launches, parsing of callgrind and perf, scaling, honest absence."""

import json
import os
import shutil
import stat
import sys

import pytest

from bench import cache_callgrind as sim
from bench import cache_geometry, cache_pmu
from bench.cache_report import choose_source
from bench.devices import CacheLevel
from bench.protocol import Request
from ecp.errors import UsageError
from ecp.plan import Launch, Mem, MemArgument, Plan, Pool, Port, Program
from ecp.runtime.bundle import Bundle

CALLGRIND = """\
version: 1
positions: line
events: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw

fn=(10) _pocl_kernel_matmul_a_workgroup
0 100 40 10 1 4 1 0 2
+3 50 10
cfn=(11) ecp_erf
calls=2 0
* 30 6 0 0 1

fn=(11) ecp_erf
0 30 6 0 0 1

fn=(12) main
0 999 999 999
cfn=(10)
calls=1 0
0 180 56 10 1 5 1 0 2

fn=(10)
0 20 4

totals: 1
"""


def test_kernels_count_inclusive_and_nothing_else():
    (row,) = sim.parse(CALLGRIND).values()
    assert row == {
        "Ir": 200, "Dr": 60, "Dw": 10, "I1mr": 1, "D1mr": 5, "D1mw": 1, "ILmr": 0, "DLmr": 2, "DLmw": 0
    }  # fmt: skip


def test_other_events_are_refused():
    with pytest.raises(sim.SimulationError, match="not Ir Dr"):
        sim.parse("events: Ir\n")


def _launch(kernel, size=4):
    return Launch("p0", kernel, [], [size, 1], [1, 1], "map")


def test_two_of_each_repeated_launch_are_simulated_and_scaled_by_work():
    launches = [_launch("conv"), *[_launch("mm"), _launch("mm", 8)] * 5, _launch("head")]
    chosen = sim.choose(launches, 2)
    assert chosen == [0, 1, 2, 3, 4, 11]
    row = dict.fromkeys(sim.EVENTS, 0) | {"Dr": 24, "Dw": 0, "D1mr": 12, "DLmr": 6, "Ir": 240}
    small = {"conv": row, "mm": row, "head": row}
    large = {k: {**row, "DLmr": 3} for k in small}
    result = sim.combine(launches, chosen, small, large)
    # mm: work 5*(4+8)=60 of which 2*(4+8)=24 simulated: a factor of 2.5.
    assert result.kernels["mm"].refs == 60
    assert result.kernels["mm"].launches == 10
    assert result.total.refs == 24 + 60 + 24
    assert result.total.rates() == {"L1": 50.0, "L2": 50.0, "L3": 50.0}
    assert (result.simulated, result.launches) == (6, 12)


def test_a_kernel_without_trace_is_an_error_and_not_zero_misses():
    with pytest.raises(sim.SimulationError, match="left no trace"):
        sim.combine([_launch("a")], [0], {}, {})


def test_reduced_bundle_keeps_files_and_drops_launches(tmp_path):
    bundle = _vadd_bundle(tmp_path / "b", 16)
    plan = Bundle.load(bundle).plan
    plan.launches = [_launch("a"), _launch("b")]
    (bundle / "plan.json").write_text(json.dumps(plan.to_json()))
    sim.reduced_bundle(bundle, tmp_path / "r", [1])
    assert [launch.kernel for launch in Bundle.load(tmp_path / "r").plan.launches] == ["b"]
    assert "vadd" in (tmp_path / "r/kernels/p0.cl").read_text()
    assert len(Bundle.load(bundle).plan.launches) == 2


def test_geometry_of_a_phone_is_that_of_its_entry():
    caches = cache_geometry.geometry("oneplus11")
    assert cache_geometry.option(caches.d1) == "65536,4,64"
    assert caches.l2.bytes == 1 << 20
    with pytest.raises(UsageError):
        cache_geometry.geometry("no-such-device")


def test_local_geometry_is_read_and_rounded_with_a_note(tmp_path):
    rows = [(1, "Data", "48K", 12), (1, "Instruction", "32K", 8), (2, "Unified", "2048K", 16)]
    rows.append((3, "Unified", "491520K", 20))
    for n, (level, kind, size, ways) in enumerate(rows):
        folder = tmp_path / f"index{n}"
        folder.mkdir()
        values = {"level": level, "type": kind, "size": size, "ways_of_associativity": ways}
        for name, value in {**values, "coherency_line_size": 64}.items():
            (folder / name).write_text(f"{value}\n")
    caches = cache_geometry.read_local(tmp_path)
    assert caches.d1 == CacheLevel(bytes=48 * 1024, ways=12, line=64)
    sets = caches.ll.bytes // (caches.ll.ways * 64)
    assert sets & (sets - 1) == 0
    assert "L3 Unified 491520 KiB" in caches.provenance
    with pytest.raises(UsageError, match="--geometry"):
        cache_geometry.read_local(tmp_path / "nothing")


PERF = (
    "1000,,L1-dcache-loads:u,5000,100.00,,\n250,,L1-dcache-load-misses:u,5000,50.00,,\n"
    "<not supported>,,LLC-loads:u,0,100.00,,\n"
)


def test_perf_rows_and_missing_levels():
    counted = cache_pmu.parse(PERF, runs=10)
    assert counted.events == {"L1-dcache-loads": 100.0, "L1-dcache-load-misses": 25.0}
    assert counted.running["L1-dcache-load-misses"] == 0.5
    assert counted.rates() == {"L1": 25.0}


@pytest.fixture
def fake_perf(tmp_path, monkeypatch):
    """A perf that waits for the interrupt and then prints counts, as the real one does."""

    def install(body):
        path = tmp_path / "bin/perf"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\n{body}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")

    return install


def test_unsupported_counters_say_what_would_help(fake_perf, monkeypatch):
    fake_perf("import sys; sys.stderr.write('<not supported>,,L1-dcache-load-misses:u,0,100.00,,\\n')")
    assert "virtual machine" in cache_pmu.missing_parts()
    fake_perf("import sys; sys.stderr.write('No permission\\n'); sys.exit(255)")
    assert "perf_event_paranoid" in cache_pmu.missing_parts()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "apt install linux-perf" in cache_pmu.missing_parts()
    source, why = choose_source("pmu")
    assert source == "unavailable"
    assert "linux-perf" in why


def test_unknown_source_is_a_usage_error():
    with pytest.raises(UsageError, match="did you mean pmu"):
        choose_source("pmuu")


def test_counting_attaches_to_a_worker_that_waits(fake_perf, tmp_path, monkeypatch):
    fake_perf(
        "import signal, sys\n"
        f"def stop(*_): sys.stderr.write({PERF!r}); sys.exit(0)\n"
        "signal.signal(signal.SIGINT, stop)\nsignal.pause()\n"
    )
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/__init__.py").write_text("")
    (tmp_path / "bench/cache_worker.py").write_text(
        'import sys\nsys.stdin.readline()\nprint(\'{"state": "ready", "version": "7"}\', flush=True)\n'
        "assert sys.stdin.readline() == 'go\\n'\nprint('{\"state\": \"done\"}', flush=True)\nsys.stdin.read()\n"
    )
    monkeypatch.chdir(tmp_path)
    counted, described = cache_pmu.count(Request("cache", "b", "m", "0", "o", "i", "r"), runs=10)
    assert counted.rates() == {"L1": 25.0}
    assert described["version"] == "7"


def test_a_worker_that_fails_gives_its_own_words(tmp_path, monkeypatch):
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/__init__.py").write_text("")
    (tmp_path / "bench/cache_worker.py").write_text('print(\'{"state": "failed", "reason": "no such op"}\')')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(cache_pmu.CounterError, match="no such op"):
        cache_pmu.count(Request("cache", "b", "m", "0", "o", "i", "r"))


@pytest.mark.slow
@pytest.mark.skipif(bool(shutil.which("valgrind") is None), reason="valgrind is not installed")
def test_a_vector_add_misses_once_per_line(tmp_path):
    """Truth: three arrays of n floats are read or written once, 16 floats to a line of 64 bytes."""
    pytest.importorskip("pyopencl")
    if sim.missing_parts():
        pytest.skip(sim.missing_parts())
    bundle = _vadd_bundle(tmp_path / "vadd", n := 1 << 16)
    phone = cache_geometry.geometry("oneplus11")
    result = sim.simulate(bundle, phone, exact=True)
    lines = 3 * n * 4 / 64
    assert result.total.l1 == pytest.approx(lines, rel=0.02)
    # The upload has just left both inputs in the larger caches, which hold 768 KiB; only the output is cold.
    assert result.total.l3 == pytest.approx(lines / 3, rel=0.02)
    small = CacheLevel(bytes=128 * 1024, ways=8, line=64)
    streamed = sim.simulate(bundle, phone.model_copy(update={"l2": small, "ll": small}), exact=True)
    assert streamed.total.l3 == pytest.approx(lines, rel=0.02), (
        "nothing survives in a cache that holds a sixth"
    )


def _vadd_bundle(folder, n):
    (folder / "kernels").mkdir(parents=True)
    (folder / "kernels/p0.cl").write_text(
        "__kernel void vadd(__global const float16* a, __global const float16* b, __global float16* c) {"
        " size_t i = get_global_id(0); c[i] = a[i] + b[i]; }"
    )
    size = n * 4
    launch = Launch(
        "p0",
        "vadd",
        [MemArgument(m) for m in "abc"],
        [n // 16],
        [min(64, n // 16)],
        "map",
        flops=n,
        bytes=3 * size,
    )
    plan = Plan(
        inputs=[Port(m, [n], "float32", m) for m in "ab"],
        outputs=[Port("c", [n], "float32", "c")],
        pools=[Pool("arena", 3 * 4096 * -(-size // 4096), None, "rw")],
        mems=[Mem(m, "arena", k * 4096 * -(-size // 4096), size) for k, m in enumerate("abc")],
        programs=[Program("p0", "kernels/p0.cl", "-cl-std=CL3.0")],
        launches=[launch],
        device_class="cpu",
    )
    (folder / "plan.json").write_text(json.dumps(plan.to_json()))
    return folder
