"""Environment capture and gates: on this machine, on a made-up /sys, and on states that must be refused."""

import copy
import json
import os
import time

import pytest

from bench import validity, validity_machine


@pytest.fixture
def quiet():
    state = {
        "utc": validity.known("2026-01-01T00:00:00.000+00:00", "t"),
        "monotonic_s": validity.known(100.0, "t"),
        "affinity": validity.known([0, 1], "t"),
        "clocks_mhz": validity.known([2400.0, 2400.0], "t"),
        "speed_probe_ms": validity.known(1.0, "t"),
        "temperature_c": validity.known([50.0], "t"),
        "throttle_count": validity.known(3, "t"),
        "cpu_s": validity.known({"busy": 1000.0, "steal": 0.0}, "t"),
        "own_cpu_s": validity.known(1.0, "t"),
        "memory_mib": validity.known({"available": 4000.0}, "t"),
    }
    after = copy.deepcopy(state)
    after["utc"]["value"] = "2026-01-01T00:00:10.000+00:00"
    after["monotonic_s"]["value"] = 110.0
    after["cpu_s"]["value"]["busy"] = 1018.0
    after["own_cpu_s"]["value"] = 19.0
    return state, after


def _status(judged, name):
    return next(g.status for g in judged if g.name == name)


def test_a_quiet_block_passes_every_gate(quiet):
    judged = validity.gates(*quiet, wall_ms=10.0, device_ms=9.0, correct=True)
    assert {g.status for g in judged} == {"ok"}
    assert validity.failures(judged) == []


@pytest.mark.parametrize(
    ("key", "value", "gate"),
    [
        ("affinity", [0], "affinity"),
        ("clocks_mhz", [1800.0, 1800.0], "clocks"),
        ("speed_probe_ms", 1.4, "speed-probe"),
        ("temperature_c", [61.0], "temperature"),
        ("throttle_count", 4, "throttling"),
        ("own_cpu_s", 9.0, "load-by-others"),
        ("memory_mib", {"available": 10.0}, "free-memory"),
    ],
)
def test_each_disturbance_fails_its_gate_only(quiet, key, value, gate):
    before, after = quiet
    after[key] = validity.known(value, "t")
    judged = validity.gates(before, after, wall_ms=10.0, device_ms=9.0, correct=True)
    assert [g.name for g in validity.failures(judged)] == [gate]


def test_unreadable_is_unknown_and_not_ok(quiet):
    before, after = quiet
    for state in quiet:
        for key in ("clocks_mhz", "temperature_c", "throttle_count", "cpu_s", "affinity"):
            state[key] = validity.unknown("permission denied", "x")
    judged = validity.gates(before, after)
    unknown = {g.name for g in judged if g.status == "unknown"}
    assert unknown >= {
        "clocks", "temperature", "throttling", "load-by-others", "affinity", "device-time", "output"
    }  # fmt: skip
    assert next(g for g in judged if g.name == "clocks").detail == "permission denied"
    assert validity.gates({}, {})[0].status == "unknown"


def test_device_time_above_wall_time_and_wrong_output_are_caught(quiet):
    judged = validity.gates(*quiet, wall_ms=0.274, device_ms=17.0, correct=False)
    assert [g.name for g in validity.failures(judged)] == ["device-time", "output"]


def test_a_clock_change_is_told_but_does_not_spoil_monotonic_times(quiet):
    before, after = quiet
    after["utc"]["value"] = "2026-01-01T01:00:10.000+00:00"
    judged = validity.gates(before, after)
    assert _status(judged, "wall-clock") == "failed"
    assert validity.failures(judged) == []


def test_affinity_is_read_back_from_the_kernel():
    whole = os.sched_getaffinity(0)
    one = {min(whole)}
    try:
        os.sched_setaffinity(0, one)
        state = validity.capture()
    finally:
        os.sched_setaffinity(0, whole)
    assert state["affinity"]["value"] == sorted(one)
    assert _status(validity.gates(state, state, affinity=one), "affinity") == "ok"
    if len(whole) > 1:
        assert _status(validity.gates(state, state, affinity=whole), "affinity") == "failed"


def test_capture_is_json_and_every_reading_has_a_source():
    state = validity.capture()
    assert json.loads(json.dumps(state)) == state
    for key, reading in state.items():
        assert reading["source"], key
        assert (reading["value"] is None) == ("unknown" in reading), key


def test_work_of_this_process_is_counted_as_its_own():
    before = validity.capture()
    stop = time.process_time() + 0.2
    while time.process_time() < stop:
        sum(range(1000))
    after = validity.capture()
    own = after["own_cpu_s"]["value"] - before["own_cpu_s"]["value"]
    assert own > 0.1


def test_a_made_up_sys_is_read(tmp_path, monkeypatch):
    for cpu, khz in ((0, 1_800_000), (1, 2_400_000)):
        folder = tmp_path / f"devices/system/cpu/cpu{cpu}"
        (folder / "cpufreq").mkdir(parents=True)
        (folder / "cpufreq/scaling_cur_freq").write_text(f"{khz}\n")
        (folder / "cpufreq/scaling_governor").write_text("performance\n")
        (folder / "thermal_throttle").mkdir()
        (folder / "thermal_throttle/core_throttle_count").write_text("2\n")
    (tmp_path / "class/thermal/thermal_zone0").mkdir(parents=True)
    (tmp_path / "class/thermal/thermal_zone0/temp").write_text("47000\n")
    monkeypatch.setattr(validity, "SYS", tmp_path)
    state = validity.capture()
    assert state["clocks_mhz"]["value"] == [1800.0, 2400.0]
    assert state["governor"]["value"] == ["performance"]
    assert state["temperature_c"]["value"] == [47.0]
    assert state["throttle_count"]["value"] == 4
    (tmp_path / "class/thermal/thermal_zone0/temp").write_text("broken")
    assert "unknown" in validity.capture()["temperature_c"]


def test_a_missing_clock_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(validity, "SYS", tmp_path)
    reading = validity.capture()["clocks_mhz"]
    assert reading["value"] is None
    assert "clock" in reading["unknown"] or "cpufreq" in reading["unknown"]


def test_machine_names_its_parts_and_git_state(tmp_path):
    found = validity_machine.machine()
    assert found["cpu"]["value"]["model"]
    assert found["versions"]["value"]["numpy"]
    assert json.loads(json.dumps(found))
    assert validity_machine.git_state(tmp_path)["commit"] is None


def test_hashes_see_content_names_and_values(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x").write_text("1")
    first = validity_machine.hashes({"bundle": tmp_path / "a", "gone": tmp_path / "b"}, {"seed": 1})
    (tmp_path / "a/x").rename(tmp_path / "a/y")
    second = validity_machine.hashes({"bundle": tmp_path / "a"}, {"seed": 2})
    assert first["bundle"]["value"] != second["bundle"]["value"]
    assert first["seed"]["value"] != second["seed"]["value"]
    assert "unknown" in first["gone"]
    assert validity_machine.differing(first, second, ["bundle", "seed"]) == ["bundle", "seed"]
