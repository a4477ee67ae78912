"""The runner under AddressSanitizer and UBSan, and a short look with the fuzzer: minutes, so in the slow lane."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ecp.native import process
from ecp.native.build import SOURCE
from tests.native import make_bundle

pytestmark = pytest.mark.slow


def _build(folder: Path, target: str, *options: str) -> Path:
    if shutil.which("cmake") is None:
        pytest.skip("no cmake")
    subprocess.run(["cmake", "-S", str(SOURCE), "-B", str(folder), *options], check=True, capture_output=True)
    done = subprocess.run(
        ["cmake", "--build", str(folder), "--target", target], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / target


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(
        tmp_path_factory.mktemp("build"), "ecp-run", "-DECP_SANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug"
    )


def test_runs_are_clean(sanitized: Path, any_device, tmp_path: Path):
    # No leak check here: OpenCL implementations keep memory until the process ends.
    env = {**process.environment(), "ASAN_OPTIONS": "detect_leaks=0"}
    bundle = make_bundle.write(tmp_path / "bundle")
    chosen = process.arguments(any_device)[:-2]
    for options in (["--check", "--profile", "2", "--cache", str(tmp_path / "cache")], ["--list"]):
        command = [str(sanitized), *([str(bundle)] if "--list" not in options else []), *chosen, *options]
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
        assert done.returncode == 0, done.stderr
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr


def test_damaged_bundles_are_clean_and_leak_nothing(sanitized: Path, tmp_path: Path):
    for index, text in enumerate(["{", '{"a":"\\ud800"}', "[" * 5000, '{"format":"ecp-bundle","version":1}']):
        folder = make_bundle.write(tmp_path / str(index))
        (folder / "plan.json").write_text(text)
        done = subprocess.run([str(sanitized), str(folder)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2, done.stderr


def test_fuzzer_finds_nothing_in_a_short_run(tmp_path: Path):
    suffix = next((s for s in ("", "-14", "-15", "-16", "-17", "-18") if shutil.which(f"clang++{s}")), None)
    if suffix is None:
        pytest.skip("no clang++")
    program = _build(tmp_path / "b", "fuzz-bundle", "-DECP_FUZZ=ON", f"-DCMAKE_CXX_COMPILER=clang++{suffix}")
    corpus = shutil.copytree(SOURCE / "fuzz" / "corpus", tmp_path / "corpus")
    command = [
        str(program),
        "-runs=20000",
        "-max_len=8192",
        f"-dict={SOURCE / 'fuzz' / 'plan.dict'}",
        str(corpus),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=dict(os.environ))
    assert done.returncode == 0, done.stderr[-3000:]
