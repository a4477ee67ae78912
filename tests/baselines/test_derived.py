"""Only the weights file changes, and every layer sees another model; a damaged conversion is made again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from baselines import contract, tnn_backend, torch_source, tvm_tune
from baselines.base import RunConfig, Unavailable
from baselines.common import read_interface
from bench import inputs, prepare
from ecp import checked
from ecp.errors import ModelError
from ecp.frontend.identity import model_sha256


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The contract's block with its weights in a file of their own."""
    whole = onnx.load(str(contract.block_model(tmp_path / "whole.onnx")))
    path = tmp_path / "m.onnx"
    onnx.save(whole, str(path), save_as_external_data=True, location="m.data", size_threshold=128)
    return path


def change(model: Path) -> None:
    """Other weights in the same file: the model itself stays byte for byte."""
    data = model.with_name("m.data")
    data.write_bytes(np.negative(np.frombuffer(data.read_bytes(), np.float32)).tobytes())


def fake_converter(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A converter that writes what the model computes; the list of its calls."""
    calls: list[Path] = []

    def run(target: str, command: list[str], out: Path) -> None:
        calls.append(out)
        out.write_bytes(f"made {len(calls)}".encode())
        torch_source._facts_file(out).write_text(json.dumps({"converter": f"fake {len(calls)}"}))

    monkeypatch.setattr(torch_source, "_run", run)
    return calls


def from_torch(target: str, model: Path) -> tuple[Path, dict[str, Any]]:
    config = RunConfig(device="local", threads=1, options={"model": "block", "torch_module": "none:none"})
    return torch_source.converted(target, model, read_interface(model), config, sys.executable, "1")


@pytest.mark.parametrize("target", ["litert", "executorch"])
def test_converters_from_source_run_once_for_every_content(
    target: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake_converter(monkeypatch)
    first, facts = from_torch(target, model)
    assert from_torch(target, model) == (first, facts) and len(calls) == 1
    moved = shutil.copytree(model.parent, tmp_path / "moved", ignore=shutil.ignore_patterns("cache"))
    assert from_torch(target, moved / "m.onnx") == (first, facts) and len(calls) == 1
    change(model)
    assert from_torch(target, model)[0] != first and len(calls) == 2


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def become_folder(path: Path) -> None:
    path.unlink()
    (path / "inner").mkdir(parents=True)


def become_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


DAMAGES = [flip, lambda path: path.write_bytes(path.read_bytes()[:-1]), become_folder, become_link]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", ["", ".json", ".sum"])
def test_a_damaged_conversion_is_made_again(
    damage: Callable[[Path], object], suffix: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake_converter(monkeypatch)
    out, _ = from_torch("litert", model)
    damage(out.with_name(out.name + suffix))
    again, facts = from_torch("litert", model)
    assert again == out and out.read_bytes() == b"made 2" and facts == {"converter": "fake 2"}
    assert from_torch("litert", model) == (again, facts) and len(calls) == 2


def test_weights_that_change_while_they_are_converted_are_not_kept(
    model: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        torch_source, "_run", lambda target, command, out: (out.write_bytes(b"?"), change(model))
    )
    monkeypatch.setattr(torch_source, "_facts_file", lambda path: model.with_name("facts.json"))
    model.with_name("facts.json").write_text("{}")
    with pytest.raises(ModelError, match="changed while"):
        from_torch("litert", model)
    assert not list(root.rglob("*.bin")) and not list(root.rglob("*.part"))


def outputs_of_mnn(model: Path) -> np.ndarray:
    from baselines.mnn_backend import MnnBackend

    backend = MnnBackend()
    try:
        backend.prepare(model, RunConfig(device="local-cpu", threads=1))
    except Unavailable as reason:
        pytest.skip(str(reason))
    try:
        return backend.run({"input": contract.sample()})["logits"]
    finally:
        backend.close()


def test_mnn_converts_again_and_never_serves_a_damaged_file(model: Path, root: Path) -> None:
    first = outputs_of_mnn(model)
    np.testing.assert_allclose(first, contract.reference(contract.sample()), atol=1e-3)
    (kept,) = root.rglob("*.mnn")
    for damage in DAMAGES:
        damage(kept)
        np.testing.assert_array_equal(outputs_of_mnn(model), first)
    change(model)
    assert np.abs(outputs_of_mnn(model) - first).max() > 0.1
    assert len(list(root.rglob("*.mnn"))) == 2


def test_tnn_asks_for_another_conversion(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model.parent
    monkeypatch.setenv("TNN_MODELS", str(folder))
    for suffix in (".tnnproto", ".tnnmodel"):
        (folder / f"{model_sha256(model)[:16]}{suffix}").touch()
    assert tnn_backend.converted_model(model).is_file()
    change(model)
    with pytest.raises(Unavailable, match="onnx2tnn"):
        tnn_backend.converted_model(model)


def test_tvm_counts_the_trials_of_another_model(
    model: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tvm_tune, "database_dir", lambda threads: root)
    first = tvm_tune._progress_file(model, 1)
    change(model)
    assert tvm_tune._progress_file(model, 1) != first


@pytest.mark.parametrize("file", [*tvm_tune.DATABASE, tvm_tune.SEAL])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_tuning_database_is_set_aside(
    damage: Callable[[Path], object], file: str, tmp_path: Path
) -> None:
    folder = tmp_path / "database"
    tvm_tune.restore(checked.folder(folder))
    for name in tvm_tune.DATABASE:
        (folder / name).write_text("[1, 2]\n[3, 4]\n")
    tvm_tune._seal(folder)
    assert tvm_tune.intact(folder)
    damage(folder / file)
    assert not tvm_tune.intact(folder)
    tvm_tune.restore(folder)
    assert tvm_tune.intact(folder) and not list(folder.iterdir())
    assert len(list(tmp_path.glob("database.damaged-*"))) == 1


def test_what_a_killed_search_left_behind_is_taken_back(tmp_path: Path) -> None:
    for name in tvm_tune.DATABASE:
        (tmp_path / name).write_text("[1, 2]\n")
    tvm_tune._seal(tmp_path)
    with (tmp_path / tvm_tune.DATABASE[1]).open("a") as stream:
        stream.write("[3, ")
    assert not tvm_tune.intact(tmp_path)
    tvm_tune.restore(tmp_path)
    assert tvm_tune.intact(tmp_path)
    assert (tmp_path / tvm_tune.DATABASE[1]).read_text() == "[1, 2]\n"


def test_the_reference_is_computed_again(model: Path) -> None:
    name = f"onnx:{model}"
    first = prepare.prepare_here(name)
    assert prepare.prepare_here(name) == first
    change(model)
    second = prepare.prepare_here(name)
    assert second.sha256 == second.info["sha256"] != first.sha256 and second.reference != first.reference
    one, two = (inputs.load(Path(p.reference))["logits"] for p in (first, second))
    assert np.abs(one - two).max() > 0.1


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["inputs", "reference"])
def test_a_damaged_reference_is_computed_again(
    damage: Callable[[Path], object], file: str, model: Path
) -> None:
    first = prepare.prepare_here(f"onnx:{model}")
    path = Path(getattr(first, file))
    want = inputs.load(path)
    damage(path)
    with pytest.raises(ModelError, match="missing or damaged"):
        inputs.load(path)
    assert prepare.prepare_here(f"onnx:{model}") == first
    for name, values in inputs.load(path).items():
        np.testing.assert_array_equal(values, want[name])


def test_a_reference_whose_folder_became_a_file(model: Path) -> None:
    first = prepare.prepare_here(f"onnx:{model}")
    folder = Path(first.inputs).parent
    shutil.rmtree(folder)
    folder.write_text("no folder")
    assert prepare.prepare_here(f"onnx:{model}") == first and inputs.load(Path(first.reference))


def test_two_processes_prepare_over_a_damaged_reference_at_once(model: Path) -> None:
    first = prepare.prepare_here(f"onnx:{model}")
    want = inputs.load(Path(first.reference))
    flip(Path(first.reference))
    command = [sys.executable, "-m", "bench.prepare", f"onnx:{model}"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [json.loads(p.communicate(timeout=120)[0])["prepared"]["sha256"] for p in both] == [
        first.sha256
    ] * 2
    np.testing.assert_array_equal(inputs.load(Path(first.reference))["logits"], want["logits"])
