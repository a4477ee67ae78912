"""One bit, a piece or the kind of a cached file changes: the next call gives the right result and makes it again."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import ecp
from ecp import cache, checked
from ecp.compiler import default_schedule
from ecp.errors import DeviceError, UsageError
from ecp.runtime import icd
from ecp.runtime.devices import OpenCLDevice, resolve
from ecp.tune import cache as tuning

X = {"x": np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def become_folder(path: Path) -> None:
    path.unlink()
    (path / "inner").mkdir(parents=True)


def become_link(path: Path) -> None:
    target = path.with_name(f"{path.name}.elsewhere")
    path.rename(target)
    path.symlink_to(target.name)


def become_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: list[Callable[[Path], None]] = [flip, cut, become_folder, become_link, become_pipe, Path.unlink]


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
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A product and a gather with a table: a bundle with weights and with memory that launches write."""
    weight = np.random.default_rng(0).standard_normal((64, 320)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 320])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(tmp_path / "m.onnx"))
    return tmp_path / "m.onnx"


def run(model: Path, device: OpenCLDevice) -> tuple[bool, np.ndarray]:
    bundle = ecp.compile(model, device)
    with ecp.Session(bundle, device) as session:
        return bundle.report.from_cache, session.run(X)["y"]


FILES = ["weights.bin", "static.bin", "plan.json", "entry.json", "kernels/p0.cl"]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_bundle_is_compiled_again(
    damage: Callable[[Path], None], file: str, model: Path, cpu: OpenCLDevice, root: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    _, want = run(model, cpu)
    (entry,) = (root / "bundles").iterdir()
    if not (entry / file).exists():
        pytest.skip(f"bundles for this device have no {file}")
    damage(entry / file)
    with caplog.at_level(logging.WARNING, "ecp.cache"):
        from_cache, got = run(model, cpu)
    assert not from_cache and "it is compiled again" in caplog.text
    np.testing.assert_array_equal(got, want)
    assert run(model, cpu)[0] and len(list((root / "bundles").iterdir())) == 1


@pytest.mark.parametrize("damage", [shutil.rmtree, "file", "link"])
def test_an_entry_that_is_no_folder_any_more(
    damage: str | Callable[[Path], None], model: Path, cpu: OpenCLDevice, root: Path
) -> None:
    _, want = run(model, cpu)
    (entry,) = (root / "bundles").iterdir()
    if damage == "link":
        entry.rename(root / "elsewhere")
        entry.symlink_to(root / "elsewhere")
    else:
        shutil.rmtree(entry)
        if damage == "file":
            entry.write_text("no folder")
    from_cache, got = run(model, cpu)
    assert not from_cache and run(model, cpu)[0]
    np.testing.assert_array_equal(got, want)
    assert [p.name for p in (root / "bundles").iterdir()] == [entry.name]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_kernel_is_built_again(
    damage: Callable[[Path], None], model: Path, cpu: OpenCLDevice, root: Path
) -> None:
    _, want = run(model, cpu)
    kept = {p: p.read_bytes() for p in (root / "kernels").iterdir()}
    assert kept
    for path in kept:
        damage(path)
    np.testing.assert_array_equal(run(model, cpu)[1], want)
    for path in kept:
        assert checked.read(path), "it was built and kept again"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_schedule_is_none(damage: Callable[[Path], None], cpu: OpenCLDevice, root: Path) -> None:
    key, shipped = tuning.key_of(cpu, "0" * 64, "fp32", None), default_schedule(cpu)
    entry = tuning.Entry(key, best={"unroll": 1}, tried={"a": None, "b": 0.5}, complete=True)
    tuning.store(entry)
    assert tuning.load(key) == entry
    assert tuning.lookup(cpu, "0" * 64, "fp32", shipped) == replace(shipped, unroll=1)
    damage(root / "tune" / f"{key}.json")
    assert tuning.lookup(cpu, "0" * 64, "fp32", shipped) is None
    tuning.store(entry)
    assert tuning.load(key) == entry


def test_another_models_schedule_is_not_taken(cpu: OpenCLDevice, root: Path) -> None:
    tuning.store(tuning.Entry("one", best={"unroll": 1}))
    shutil.copy(root / "tune" / "one.json", root / "tune" / "two.json")
    assert tuning.load("two") == tuning.Entry("two")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_icd_file_is_written_again(damage: Callable[[Path], None]) -> None:
    files = {"a.icd": "/lib/liba.so\n", "b.icd": "/lib/libb.so\n"}
    folder = icd.folder_of(files)
    damage(folder / "a.icd")
    (folder / "stray.icd").write_text("/lib/another.so\n")
    assert icd.folder_of(files) == folder
    assert {p.name: p.read_text() for p in folder.glob("*.icd")} == files
    assert not (folder / "a.icd").is_symlink()


def test_a_damaged_folder_of_icd_files_is_not_handed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = icd.folder_of({"a.icd": "/lib/liba.so\n"})
    flip(folder / "a.icd")
    monkeypatch.setenv("OCL_ICD_VENDORS", str(folder))
    if icd.intel_library() is None:
        pytest.skip("nothing is set up without the runtime from pip")
    shown = icd.setup.__wrapped__()
    assert shown is not None and shown != folder and not (shown / "a.icd").exists()


@pytest.mark.parametrize("damage", DAMAGES)
def test_sealed_and_written_files(damage: Callable[[Path], None], tmp_path: Path) -> None:
    for path, keep, kept in (
        (tmp_path / "f", lambda p: checked.write(p, b"content"), lambda p: checked.read(p) == b"content"),
        (
            tmp_path / "g",
            lambda p: checked.write_json(p, {"a": [1.5]}),
            lambda p: checked.read_json(p) == {"a": [1.5]},
        ),
        (tmp_path / "h", lambda p: (checked.put(p, b"content"), checked.seal(p)), checked.sealed),
    ):
        assert not kept(path)
        keep(path)
        assert kept(path)
        damage(path)
        assert not kept(path)
        keep(path)
        assert kept(path)
    checked.put(tmp_path / "made", b"content")
    damage(tmp_path / "h.sum")
    assert not checked.sealed(tmp_path / "h")
    checked.publish(tmp_path / "made", tmp_path / "h")
    assert checked.sealed(tmp_path / "h")


@pytest.mark.parametrize("limit", ["abc", "-1", "nan", "8 GB", "1e"])
def test_a_limit_that_is_none_is_told_before_anything_is_compiled(
    limit: str, model: Path, cpu: OpenCLDevice, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECP_BUNDLE_CACHE_GIB", limit)
    monkeypatch.setattr(ecp.compiler._Request, "__init__", lambda *_: pytest.fail("work had begun"))
    for ask in (ecp.compile, ecp.compiler.cached):
        with pytest.raises(UsageError, match=r"ECP_BUNDLE_CACHE_GIB=.*GiB is wanted"):
            ask(model, cpu)
    assert not root.exists()


def test_other_limits_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, size in (("", 8.0), ("0", 0.0), ("0.5", 0.5), ("inf", float("inf"))):
        monkeypatch.setenv("ECP_BUNDLE_CACHE_GIB", limit)
        assert cache.limit_bytes() == size * 2**30


PROCESS = """
import sys
import numpy as np
import ecp
x = np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)
print(ecp.Session(ecp.compile(sys.argv[1], "local-cpu"), "local-cpu").run({"x": x})["y"].tobytes().hex())
"""


def test_two_processes_over_a_damaged_cache_at_once(model: Path, cpu: OpenCLDevice, root: Path) -> None:
    _, want = run(model, cpu)
    (entry,) = (root / "bundles").iterdir()
    for path in (entry / "weights.bin", *(root / "kernels").iterdir()):
        flip(path)
    command = [sys.executable, "-c", PROCESS, str(model)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [p.communicate(timeout=120)[0].strip() for p in both] == [want.tobytes().hex()] * 2
    assert run(model, cpu)[0] and [p.name for p in (root / "bundles").iterdir()] == [entry.name]
