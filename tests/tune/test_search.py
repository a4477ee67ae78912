"""The schedule search: what it takes, rejects, remembers and confirms. Times are invented but for one small search."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import tune as command
from bench.cli import main
from ecp.codegen.schedule import ROWS, Schedule, schedule_for
from ecp.compiler import compile_graph, default_schedule
from ecp.errors import DeviceError
from ecp.runtime.devices import OpenCLDevice, resolve
from ecp.tune import cache, search
from tests.codegen.test_numerics import matmul
from tests.graphs import vit_block


def device(device_class: str = "cpu") -> OpenCLDevice:
    handle = SimpleNamespace(native_vector_width_float=16)
    return OpenCLDevice("d", "p", "card", "1", device_class, 2, False, True, (9, 9), handle)


class Run:
    """A session of a schedule: its plan and its invented time."""

    def __init__(self, schedule: Schedule, time: float, persistent: bool = False):
        self.schedule, self.time, self.closed = schedule, time, False
        self.bundle = SimpleNamespace(plan=SimpleNamespace(persistent=persistent))

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def invent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[Run]]:
    """Replaces compiling and timing: ``time_of(schedule)`` says what a schedule takes, an exception rejects it."""
    monkeypatch.setenv("ECP_CACHE", str(tmp_path))

    def install(
        time_of: Callable[[Schedule], float],
        wrong: Callable[[Schedule], str | None] = lambda _: None,
        persistent: bool = False,
    ) -> list[Run]:
        made: list[Run] = []

        class Bench:
            def __init__(self, *_: object):
                pass

            def session(self, schedule: Schedule) -> Run:
                made.append(Run(schedule, time_of(schedule), persistent))
                return made[-1]

            def error(self, reference: Run, candidate: Run) -> str | None:
                return wrong(candidate.schedule)

            def ratios(self, candidate: Run, incumbent: Run, rounds: int) -> list[float]:
                return [candidate.time / incumbent.time] * rounds

        monkeypatch.setattr(search, "_Bench", Bench)
        return made

    return install


def tune(entry: cache.Entry, device_class: str = "cpu", seconds: float = 60.0, **more: Any) -> cache.Entry:
    row = schedule_for(device_class)
    return search.tune(None, device(device_class), entry, default=row, seconds=seconds, rounds=5, **more)  # type: ignore[arg-type]


def test_the_fastest_fields_are_taken_and_their_gain_is_measured_again(invent: Any) -> None:
    made = invent(lambda s: {8: 0.8, 4: 1.0}.get(s.unroll, 1.1) * (0.9 if s.chunk_k == 1536 else 1.0))
    entry = tune(cache.Entry("k"))
    assert entry.best == {"unroll": 8, "chunk_k": 1536} and entry.complete
    assert entry.confirmed == [pytest.approx(0.72)] * 10 and entry.ratio == pytest.approx(0.72)
    assert all(run.closed for run in made)
    assert cache.load("k") == entry


def test_a_gain_that_does_not_come_again_is_dropped(invent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    invent(lambda s: 0.9 if s.unroll == 8 else 1.0)
    bench, lucky = search._Bench, search._Bench.ratios
    monkeypatch.setattr(bench, "ratios", lambda *a: [1.02] * a[3] if a[3] == 10 else lucky(*a))
    entry = tune(cache.Entry("k"))
    assert entry.best == {} and entry.ratio == 1.02
    assert entry.note == "unroll=8: 1.020 of the default's time when measured again, dropped"


def test_wrong_and_failing_candidates_are_rejected(invent: Any) -> None:
    def time_of(s: Schedule) -> float:
        if s.unroll == 2:
            raise DeviceError("too much of everything\nmore")
        return 0.5 if s.unroll == 8 else 1.0

    invent(time_of, wrong=lambda s: "output 'y' differs by 3" if s.unroll == 8 else None)
    said: list[search.Progress] = []
    entry = tune(cache.Entry("k"), report=said.append)
    assert entry.best == {}
    assert entry.tried["[('unroll', 2)]"] is None and entry.tried["[('unroll', 8)]"] is None
    assert {"too much of everything", "output 'y' differs by 3"} <= {p.note for p in said}


def test_a_search_goes_on_where_it_stopped(invent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = invent(lambda s: 0.9 if s.unroll == 8 else 1.0)
    now = iter(range(1000))
    monkeypatch.setattr(search.time, "monotonic", lambda: next(now))
    first = tune(cache.Entry("k"), seconds=3)
    assert not first.complete and len(first.tried) == 3 and first.confirmed
    made.clear()
    second = tune(cache.load("k"), seconds=100)
    assert second.complete and second.best == {"unroll": 8} and set(first.tried) < set(second.tried)
    made.clear()
    assert tune(cache.load("k"), seconds=100) == second
    assert len(made) == 1, "a complete search is not measured again"


def test_a_work_group_size_comes_back_as_a_tuple(invent: Any) -> None:
    """JSON makes lists of tuples; a schedule with a list has no hash, which the kernels' tile models need."""
    invent(lambda s: 0.5 if s.wg == (16, 16) else 1.0)
    entry = tune(cache.Entry("k"), "generic")
    found = cache.load("k").best
    assert found == entry.best == {"wg": (16, 16)}
    row = replace(schedule_for("generic"), **found)
    assert hash(row) and compile_graph(matmul(5, 12, 8), "generic", schedule=row).report.launches == 1


def test_a_persistent_kernel_has_nothing_to_search(invent: Any) -> None:
    made = invent(lambda s: 1.0, persistent=True)
    entry = tune(cache.Entry("k"), "nvidia")
    assert (entry.complete, entry.note, entry.tried, len(made)) == (True, search.PERSISTENT, {}, 1)


def test_every_device_class_has_a_shipped_row_and_a_space_around_it() -> None:
    assert set(ROWS) == set(search.SPACE) == {"cpu", "nvidia", "adreno", "generic"}
    for device_class, space in search.SPACE.items():
        row = asdict(schedule_for(device_class))
        for options in space.values():
            assert any(all(row[k] == v for k, v in change.items()) for change in options)
            assert all(set(change) <= set(row) for change in options)


@pytest.mark.parametrize("device_class", ["adreno", "generic", "nvidia"])
def test_every_candidate_compiles(device_class: str) -> None:
    graph = vit_block(tokens=21, dim=64, heads=2)
    for change in search._candidates(device_class):
        row = replace(schedule_for(device_class), **change)
        assert compile_graph(graph, device_class, schedule=row).report.launches >= 5


def test_a_real_search_on_a_small_product(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ECP_CACHE", str(tmp_path))
    target = resolve("local-cpu")
    row = default_schedule(target)
    entry = search.tune(matmul(13, 64, 100), target, cache.Entry("k"), default=row, seconds=1, rounds=5)
    assert entry.tried and len(entry.confirmed) == 10 and 0 < entry.ratio < 100
    assert cache.load("k") == entry


def test_the_command_keeps_the_gain_as_a_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ECP_CACHE", str(tmp_path))
    model = tmp_path / "m.onnx"
    model.write_bytes(b"a model")
    monkeypatch.setattr("bench.models.onnx_path", lambda name: model)
    monkeypatch.setattr("ecp.frontend.onnx.import_onnx", lambda path: None)

    def found(graph: object, target: object, entry: cache.Entry, **_: object) -> cache.Entry:
        return replace(
            entry, best={"unroll": 8}, tried={"a": 0.9, "b": None}, confirmed=[0.9, 0.8, 1.0], ratio=0.9
        )

    monkeypatch.setattr(search, "tune", found)
    target = tmp_path / "cells.json"
    words = ["tune", "--device", "local-cpu", "--models", "vit_tiny", "--out", str(tmp_path)]
    assert main([*words, "--json", str(target)]) == 0
    (cell,) = json.loads(target.read_text())
    assert (cell["metric"], cell["status"], cell["value"], cell["unit"]) == (
        "tune", "measured", 0.9, "x default",
    )  # fmt: skip
    assert cell["extra"]["found"] == {"unroll": 8} and cell["extra"]["search"]["rejected"] == 1
    assert cell["extra"]["shipped"]["mr"] == 6
    (file,) = tmp_path.glob("*-tune-*/run.json")
    assert json.loads(file.read_text())["state"] == "complete"
    assert "unroll=8" in capsys.readouterr().out


def test_a_phone_is_refused_with_what_it_uses(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.METRIC == "tune" and main(["tune", "--device", "oneplus11"]) == 2
    assert "its class's shipped schedule is used there" in capsys.readouterr().err
