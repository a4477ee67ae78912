"""What is timed is what is checked: backends that cheat by design or by accident are caught, honest ones are not."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bench import accuracy_gate, inputs, measure
from bench.expected import Expected, declared_types
from bench.protocol import Request
from bench.timed_path import TimedPath, mixed
from tests.bench.conftest import tiny_model

RNG = np.random.default_rng(5)
WEIGHT = RNG.standard_normal((48, 6)).astype(np.float32)
FEEDS = {"input": RNG.standard_normal((3, 1, 48)).astype(np.float32)}
TYPES = {"large": "float32", "small": "float32", "index": "int64"}
INFERENCE_S = 0.003


def model(x: np.ndarray) -> dict[str, np.ndarray]:
    """Three outputs of very different scales and types."""
    y = x @ WEIGHT.astype(x.dtype)
    return {"large": 1000 * y, "small": 1e-3 * np.abs(y[:, :3]), "index": y.argmax(-1)}


class Honest:
    """The protocol of :class:`baselines.base.Backend`, done right."""

    name = "honest"

    def stage(self, feeds: dict[str, np.ndarray]) -> None:
        self.x = feeds["input"].copy()

    def execute(self) -> None:
        self.y = self.compute(self.x)

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(INFERENCE_S)
        return model(x)

    def fetch(self) -> dict[str, np.ndarray]:
        return {name: value.copy() for name, value in self.y.items()}

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.stage(feeds)
        self.execute()
        return self.fetch()


class Instant(Honest):
    """Microseconds an inference: nothing may be read into such times."""

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return model(x)


class LongFetch(Honest):
    """Large outputs: fetching takes longer than computing, every time."""

    def fetch(self) -> dict[str, np.ndarray]:
        time.sleep(3 * INFERENCE_S)
        return super().fetch()


class Unsteady(Honest):
    """Sums in another order every time, and takes two to five times as long now and then."""

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        found = super().compute(x)
        time.sleep(float(np.random.default_rng().choice([0.0, 0.0, INFERENCE_S, 4 * INFERENCE_S])))
        noise = 1 + 1e-5 * np.random.default_rng().standard_normal()
        return {n: (v * np.float32(noise)).astype(v.dtype) if n != "index" else v for n, v in found.items()}


class Remembers(Honest):
    """A cache by content: whatever it has seen once costs nothing."""

    def __init__(self) -> None:
        self.seen: dict[bytes, dict[str, np.ndarray]] = {}

    def execute(self) -> None:
        key = self.x.tobytes()
        if key not in self.seen:
            self.seen[key] = self.compute(self.x)
        self.y = self.seen[key]


class OncePerStage(Honest):
    """Lazy evaluation: the second execute on one input finds its result there."""

    def stage(self, feeds: dict[str, np.ndarray]) -> None:
        super().stage(feeds)
        self.dirty = True

    def execute(self) -> None:
        if self.dirty:
            super().execute()
        self.dirty = False


class FirstForEver(Honest):
    def execute(self) -> None:
        if not hasattr(self, "y"):
            super().execute()


class ReturnsEarly(Honest):
    """Work goes on in a thread; fetch waits for it, as a blocking read does."""

    def execute(self) -> None:
        self.wait()
        self.thread = threading.Thread(target=super().execute)
        self.thread.start()

    def wait(self) -> None:
        if hasattr(self, "thread"):
            self.thread.join()

    def stage(self, feeds: dict[str, np.ndarray]) -> None:
        self.wait()
        super().stage(feeds)

    def fetch(self) -> dict[str, np.ndarray]:
        self.wait()
        return super().fetch()


class NeverWaits(ReturnsEarly):
    """As before, and fetch gives whatever is there."""

    def execute(self) -> None:
        first = not hasattr(self, "thread")
        super().execute()
        if first:
            self.wait()

    def fetch(self) -> dict[str, np.ndarray]:
        return Honest.fetch(self)


class InFetch(Honest):
    """Computes when somebody asks for the outputs, each time anew."""

    def execute(self) -> None:
        pass

    def fetch(self) -> dict[str, np.ndarray]:
        super().execute()
        return super().fetch()


class InStage(Honest):
    """Computes when the input arrives."""

    def stage(self, feeds: dict[str, np.ndarray]) -> None:
        super().stage(feeds)
        super().execute()

    def execute(self) -> None:
        pass


class WrongOnSecond(Honest):
    """Bakes the first input in, so to speak."""

    def stage(self, feeds: dict[str, np.ndarray]) -> None:
        if not hasattr(self, "x"):
            super().stage(feeds)


class WrongWhileTimed(Honest):
    """Right for the test inputs, stale on all others: only the timed inferences' own outputs show it."""

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        found = super().compute(x)
        known = any(np.array_equal(x, row) for row in FEEDS["input"])
        stale, self.before = getattr(self, "before", found), found
        return found if known else stale


class ZeroWhileTimed(Honest):
    """Answers the test inputs, and all others with zeros, repeatably."""

    def compute(self, x: np.ndarray) -> dict[str, np.ndarray]:
        known = any(np.array_equal(x, row) for row in FEEDS["input"])
        return {n: v if known else np.zeros_like(v) for n, v in super().compute(x).items()}


def reference(folder: Path) -> Path:
    rows = [model(row.astype(np.float64)) for row in FEEDS["input"]]
    inputs.save(folder / "reference.npz", {n: np.stack([r[n] for r in rows]) for n in rows[0]})
    (folder / "types.json").write_text(json.dumps(TYPES))
    return folder / "reference.npz"


def timed(backend: Honest, folder: Path) -> dict:
    """The record's error of one latency block."""
    request = Request(
        *("latency", "x", "m", "0", "o", "i", "r"), min_samples=40, min_seconds=0.1, warmup_seconds=0.1
    )
    backend.stage(inputs.row(FEEDS, 0))
    path = TimedPath(backend, FEEDS)  # type: ignore[arg-type]
    found = measure.latency(request, measure.Session(backend, 0, 0, path=path))  # type: ignore[arg-type]
    assert len(found["samples_ms"]) >= 5 and path.looks
    return accuracy_gate.check(backend, FEEDS, reference(folder), "fp32", Path("unused"), path)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Honest, Instant, LongFetch, Unsteady])
def test_honest_backends_pass(kind: type[Honest], tmp_path: Path) -> None:
    for _ in range(3):
        found = timed(kind(), tmp_path)
        assert found["ok"], found["reason"]
        assert found["timed"]["looks"] >= 1 and found["timed"]["late_ms"] is None


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Remembers, "remembers its outputs"),
        (OncePerStage, "remembers its outputs"),
        (FirstForEver, "wrong output"),
        (ReturnsEarly, "before its work was done"),
        (NeverWaits, "wrong output"),
        (InFetch, "outside the clock"),
        (InStage, "outside the clock"),
        (WrongOnSecond, "wrong output"),
        (WrongWhileTimed, "does not follow its input"),
        (ZeroWhileTimed, "gave the same outputs"),
    ],
)
def test_what_does_not_compute_inside_the_clock_is_caught(
    kind: type[Honest], said: str, tmp_path: Path
) -> None:
    # A busy machine can hide it from one block; a cell has several, and one of them fails it.
    tries = (timed(kind(), tmp_path) for _ in range(3))
    assert any(not found["ok"] and said in found["reason"] for found in tries)


def test_no_input_is_timed_twice_and_every_one_is_valid() -> None:
    rng = np.random.default_rng(0)
    feeds = {"x": np.arange(30, dtype=np.float32).reshape(3, 10), "ids": np.arange(30).reshape(3, 10) % 7}
    seen = [mixed(feeds, rng) for _ in range(200)]
    assert len({m["x"].tobytes() for m in seen}) == 200
    assert all(set(m["ids"].tolist()) <= set(range(7)) and m["ids"].dtype == feeds["ids"].dtype for m in seen)
    assert all(m["x"].shape == (10,) and m["x"].dtype == np.float32 for m in seen)
    assert np.array_equal(feeds["x"], np.arange(30).reshape(3, 10)), "test inputs stay as they are"


def test_staging_is_outside_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"ns": 0}
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now["ns"])
    monkeypatch.setattr(time, "perf_counter", lambda: now["ns"] / 1e9)
    order = []

    def spend(what: str, ms: float) -> None:
        order.append(what)
        now["ns"] += int(ms * 1e6)

    times = measure.sample(lambda: spend("run", 10.0), 4, 0.05, lambda: spend("stage", 3.0))
    assert set(times) == {10.0} and order[:4] == ["stage", "run", "stage", "run"]
    times, _ = measure.warm_up(lambda: spend("run", 10.0), 1.0, between=lambda: spend("stage", 3.0))
    assert set(times) == {10.0}


def answers(**changes: np.ndarray) -> list[dict[str, np.ndarray]]:
    return [{**model(row), **{n: f(model(row)[n]) for n, f in changes.items()}} for row in FEEDS["input"]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"small": lambda v: v * np.float32(1.0005)}, ""),
        ({"small": np.zeros_like}, "in 'small'"),
        ({"small": lambda v: v + 1e-3 * v.max()}, ""),
        ({"small": lambda v: (v + 1e-2 * v.max()).astype(np.float32)}, "in 'small'"),
        ({"large": lambda v: v.astype(np.complex64)}, "type complex64, expected float32"),
        ({"large": lambda v: v.astype(np.float64)}, "type float64, expected float32"),
        ({"large": lambda v: v.astype(np.float16)}, "type float16, expected float32"),
        ({"large": lambda v: v.T}, "shape (6, 1), expected (1, 6)"),
        ({"large": lambda v: v[0]}, "shape (6,)"),
        ({"small": lambda v: v * np.nan}, "NaN"),
        ({"large": lambda v: v / np.float32(0)}, "NaN or infinity"),
        ({"index": lambda v: v + 1}, "in 'index'"),
        ({"index": lambda v: v.astype(np.float32)}, "type float32, expected int64"),
        ({"index": lambda v: v.astype(np.int32)}, "type int32, expected int64"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_output_counts_by_its_own_scale_type_and_shape(
    changes: dict, said: str, tmp_path: Path
) -> None:
    expected = Expected.load(reference(tmp_path), "fp32", Path("unused"))
    found = accuracy_gate.compare(expected, answers(**changes))
    assert found["ok"] == (said == "") and said in found["reason"]
    if "in '" in said:
        assert found["max_abs"] > found["limit"]
    if found["max_abs"] is not None:
        assert set(found["outputs"]) == set(TYPES)


def test_halves_may_be_handed_out_where_halves_were_asked(tmp_path: Path) -> None:
    expected = Expected.load(reference(tmp_path), "fp16", Path("unused"))
    assert accuracy_gate.compare(expected, answers(large=lambda v: v.astype(np.float16)))["ok"]
    assert not accuracy_gate.compare(expected, answers(small=np.zeros_like))["ok"]


def test_zero_in_the_reference_allows_one_rounding_step() -> None:
    expected = Expected({"y": np.zeros((3, 1, 4))}, "fp32", {})
    for value, fine in ((0.0, True), (5e-8, True), (1e-3, False)):
        got = [{"y": np.full((1, 4), value, np.float32)}] * 3
        assert accuracy_gate.compare(expected, got)["ok"] == fine


def test_declared_types_are_read_once_and_kept(tmp_path: Path) -> None:
    path, kept = tiny_model(tmp_path / "tiny.onnx"), tmp_path / "types.json"
    assert declared_types(path, kept) == {"logits": "float32"}
    path.unlink()
    assert declared_types(path, kept) == {"logits": "float32"}
