"""A second compile maps the first one's bundle; anything that could make it another bundle makes it another entry."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import ecp
from ecp import cache, checked
from ecp.compiler import default_schedule
from ecp.errors import DeviceError, ModelError
from ecp.runtime.bundle import Bundle
from ecp.runtime.devices import OpenCLDevice, resolve
from ecp.tune import cache as tuning

X = {"x": np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)}


def save(path: Path, seed: int = 0, batch: int | str = 4, external: str = "") -> Path:
    weight = np.random.default_rng(seed).standard_normal((64, 320)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 320])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    places = {"save_as_external_data": True, "location": external, "size_threshold": 0} if external else {}
    onnx.save(model, str(path), **places)
    return path


@pytest.fixture(scope="module")
def cpu() -> OpenCLDevice:
    try:
        return resolve("local-cpu")
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ECP_NO_BUNDLE_CACHE")
    monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bundles"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(tmp_path / "m.onnx")


def run(bundle: Bundle, device: OpenCLDevice) -> np.ndarray:
    with ecp.Session(bundle, device, cache=False) as session:
        return session.run(X)["y"]


def entries(root: Path) -> list[str]:
    return sorted(p.name for p in root.iterdir())


def test_second_call_maps_the_first_and_computes_the_same_bits(
    model: Path, cpu: OpenCLDevice, root: Path
) -> None:
    first, second = ecp.compile(model, cpu), ecp.compile(model, cpu)
    assert [b.report.from_cache for b in (first, second)] == [False, True]
    assert len(entries(root)) == 1
    assert first.folder == second.folder == root / entries(root)[0]
    assert second.sha256 == first.sha256
    fresh = ecp.compile(model, cpu, cache=False)
    assert fresh.folder is None and not fresh.report.from_cache and fresh.sha256 == first.sha256
    assert all(isinstance(b.pools["weights"], np.memmap) for b in (first, second))
    np.testing.assert_array_equal(run(first, cpu), run(fresh, cpu))
    np.testing.assert_array_equal(run(second, cpu), run(fresh, cpu))


def test_times_are_those_of_the_call(model: Path, cpu: OpenCLDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ecp.compile(model, cpu).report
    assert first.compile_seconds >= first.cold_compile_seconds > 0
    load = cache.load

    def slow(*arguments: Any) -> Any:
        time.sleep(first.cold_compile_seconds + 0.5)
        return load(*arguments)

    monkeypatch.setattr(cache, "load", slow)
    again = ecp.compile(model, cpu).report
    assert again.compile_seconds >= first.cold_compile_seconds + 0.5
    assert again.cold_compile_seconds == first.cold_compile_seconds


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "fp16"},
        {"eliminate": False},
        {"fuse": False},
        {"layout_choice": False},
        {"memory_plan": False},
        {"dims": {"n": 4}},
        {"schedule": True},
    ],
    ids=lambda c: next(iter(c)),
)
def test_what_was_asked_is_part_of_the_key(
    change: dict[str, Any], tmp_path: Path, cpu: OpenCLDevice, root: Path
) -> None:
    model = save(tmp_path / "m.onnx", batch="n" if "dims" in change else 4)
    base = {"dims": {"n": 8}} if "dims" in change else {}
    if "schedule" in change:
        change = {"schedule": replace(default_schedule(cpu), unroll=2)}
    ecp.compile(model, cpu, **base)
    other = ecp.compile(model, cpu, **change)
    assert not other.report.from_cache and len(entries(root)) == 2
    assert ecp.compile(model, cpu, **change).report.from_cache


@pytest.mark.parametrize(
    "change", [{"device": "another name"}, {"driver": "newer"}, {"device_class": "generic"}], ids=str
)
def test_device_and_driver_are_part_of_the_key(
    change: dict[str, str], model: Path, cpu: OpenCLDevice
) -> None:
    ecp.compile(model, cpu)
    assert not ecp.compile(model, replace(cpu, **change)).report.from_cache  # type: ignore[arg-type]


def test_content_of_the_model_is_part_of_the_key(model: Path, cpu: OpenCLDevice) -> None:
    first = ecp.compile(model, cpu)
    stat = model.stat()
    save(model, seed=1)
    os.utime(model, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = ecp.compile(model, cpu)
    assert not second.report.from_cache
    assert not np.array_equal(run(first, cpu), run(second, cpu))
    assert ecp.compile(save(model, seed=0).read_bytes(), cpu).report.from_cache


def test_compiler_sources_are_part_of_the_key(
    model: Path, cpu: OpenCLDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    ecp.compile(model, cpu)
    monkeypatch.setattr(cache, "sources_hash", lambda: "another compiler")
    assert not ecp.compile(model, cpu).report.from_cache


@pytest.mark.parametrize("folder", ["codegen", "passes", "index", "ir", "frontend", "compiler.py"])
def test_sources_hash_reads_the_whole_compiler(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tuning.sources_hash.__wrapped__()
    read, changed = Path.read_bytes, []

    def other(self: Path) -> bytes:
        if folder in self.parts and "onnx" not in self.parts[-2:-1] and not changed:
            changed.append(self)
            return b"another text"
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", other)
    assert tuning.sources_hash.__wrapped__() != before and changed


def test_schedule_found_later_is_used_and_named(model: Path, cpu: OpenCLDevice) -> None:
    shipped = ecp.compile(model, cpu)
    assert shipped.plan.schedule.source == "shipped"
    key = tuning.key_of(cpu, shipped.plan.model.sha256, "fp32", None)
    tuning.store(tuning.Entry(key, best={"unroll": 1}, complete=True))
    tuned = ecp.compile(model, cpu)
    assert not tuned.report.from_cache
    assert tuned.plan.schedule.source == "tuned on this device" and tuned.plan.schedule.row["unroll"] == 1
    given = ecp.compile(model, cpu, schedule=replace(default_schedule(cpu), unroll=1))
    assert given.report.from_cache and given.plan.schedule.source == "given"


def test_names_are_those_of_the_call(model: Path, cpu: OpenCLDevice) -> None:
    assert ecp.compile(model, cpu, name="first").plan.model.name == "first"
    local = replace(cpu, name="local")
    found = ecp.compile(model, local)
    assert found.report.from_cache
    assert found.plan.model.name == "product" and found.plan.device == "local"


def cut(folder: Path) -> None:
    (folder / "weights.bin").write_bytes((folder / "weights.bin").read_bytes()[:-1])


def edit(folder: Path) -> None:
    (folder / "plan.json").write_text((folder / "plan.json").read_text().replace("product", "pr0duct"))


def patch(folder: Path) -> None:
    (folder / "kernels" / "p0.cl").write_text("this is no kernel")


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        edit,
        patch,
        lambda f: (f / "weights.bin").unlink(),
        lambda f: (f / "plan.json").unlink(),
        lambda f: (f / "entry.json").write_text("{"),
        lambda f: (f / "entry.json").write_text("[]"),
    ],
)
def test_damaged_entry_is_compiled_again(
    damage: Callable[[Path], object], model: Path, cpu: OpenCLDevice, root: Path
) -> None:
    want = run(ecp.compile(model, cpu), cpu)
    damage(root / entries(root)[0])
    again = ecp.compile(model, cpu)
    assert not again.report.from_cache
    np.testing.assert_array_equal(run(again, cpu), want)
    assert ecp.compile(model, cpu).report.from_cache and len(entries(root)) == 1


def test_switched_off_it_writes_nothing(
    model: Path, cpu: OpenCLDevice, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ecp.compile(model, cpu, cache=False)
    monkeypatch.setenv("ECP_NO_BUNDLE_CACHE", "1")
    for _ in range(2):
        assert not ecp.compile(model, cpu).report.from_cache
    assert not root.exists()


def test_cache_that_cannot_be_written_is_named_and_costs_only_time(
    model: Path, cpu: OpenCLDevice, root: Path
) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    root.write_text("a file where the folder should be")
    with pytest.warns(RuntimeWarning, match="not kept in .*bundles"):
        bundle = ecp.compile(model, cpu)
    assert bundle.folder is None and run(bundle, cpu).shape == (4, 320)


def test_failed_compile_leaves_nothing(tmp_path: Path, cpu: OpenCLDevice, root: Path) -> None:
    for content in (b"", b"no model"):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(ModelError):
            ecp.compile(tmp_path / "bad.onnx", cpu)
    with pytest.raises(ModelError, match="no such file"):
        ecp.compile(tmp_path / "absent.onnx", cpu)
    assert not root.exists()


def test_least_recently_used_goes_first(
    tmp_path: Path, cpu: OpenCLDevice, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = (save(tmp_path / f"{i}.onnx", seed=i) for i in range(3))
    ecp.compile(a, cpu)
    size = sum(p.stat().st_size for p in root.rglob("*") if p.is_file())
    monkeypatch.setenv("ECP_BUNDLE_CACHE_GIB", str(2.5 * size / 2**30))
    ecp.compile(b, cpu)
    for age, folder in enumerate(sorted(root.iterdir(), key=lambda p: -p.stat().st_mtime)):
        os.utime(folder, (time.time() - 100 * (age + 1),) * 2)
    assert ecp.compile(a, cpu).report.from_cache  # now b is the one that was not used for longest
    (root / ".half.made").mkdir()
    os.utime(root / ".half.made", (1, 1))
    ecp.compile(c, cpu)
    assert len(entries(root)) == 2
    assert ecp.compile(a, cpu).report.from_cache and not ecp.compile(b, cpu).report.from_cache


def test_evicted_bundle_still_runs(model: Path, cpu: OpenCLDevice, root: Path) -> None:
    bundle = ecp.compile(model, cpu)
    want = run(bundle, cpu)
    checked.discard(root / entries(root)[0])
    assert entries(root) == []
    np.testing.assert_array_equal(run(bundle, cpu), want)


def test_data_beside_the_model_is_checked(tmp_path: Path, cpu: OpenCLDevice) -> None:
    model = save(tmp_path / "m.onnx", external="m.data")
    want = run(ecp.compile(model, cpu), cpu)
    assert ecp.compile(model, cpu).report.from_cache
    data = (tmp_path / "m.data").read_bytes()
    (tmp_path / "m.data").write_bytes(np.negative(np.frombuffer(data, np.float32)).tobytes())
    other = ecp.compile(model, cpu)
    assert not other.report.from_cache and not np.array_equal(run(other, cpu), want)
    assert ecp.compile(model, cpu).report.from_cache


PROCESS = """
import sys
import numpy as np
import ecp
bundle = ecp.compile(sys.argv[1], "local-cpu")
x = np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)
out = ecp.Session(bundle, "local-cpu", cache=False).run({"x": x})["y"]
print(bundle.report.from_cache, [m for m in ("onnx", "ecp.frontend.onnx", "ecp.passes", "scipy") if m in sys.modules])
print(out.tobytes().hex())
"""


def test_processes_at_once_and_a_light_second_start(model: Path, cpu: OpenCLDevice, root: Path) -> None:
    command = [sys.executable, "-c", PROCESS, str(model)]
    crowd = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [p.communicate(timeout=300)[0].splitlines() for p in crowd]
    want = run(ecp.compile(model, cpu, cache=False), cpu).tobytes().hex()
    assert [a[-1] for a in answers] == [want] * 4
    assert len(entries(root)) == 1 and not entries(root)[0].startswith(".")
    alone = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=300
    ).stdout.splitlines()
    assert alone == ["True []", want], "a start from the cache loads neither importer nor passes"
