"""One corpus of hostile bundles through both readers: the same verdict, one line, no traceback, no hang, no crash."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ecp.errors import BundleError
from ecp.runtime.bundle import Bundle
from tests.native import hostile, make_bundle
from tests.native.test_sanitized import sanitized  # noqa: F401 - a fixture

FEW, MANY = 400, 3000


def python_says(folder: Path) -> str:
    """The reason for which Python refuses a bundle, empty where it takes it."""
    try:
        Bundle.load(folder)
    except BundleError as error:
        assert len(str(error).splitlines()) == 1 and len(str(error)) < 1000
        return str(error)
    return ""


def native_says(program: Path, folder: Path) -> str:
    """The same of the native reader."""
    done = subprocess.run(
        [str(program), str(folder), "--validate"],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
    )
    assert done.returncode in (0, 2), (done.returncode, done.stderr)
    assert len(done.stderr.splitlines()) == (done.returncode != 0) and len(done.stderr) < 1000, done.stderr
    return done.stderr


def both(program: Path, folder: Path, name: object) -> bool:
    """Whether both refuse."""
    ours, theirs = python_says(folder), native_says(program, folder)
    assert bool(ours) == bool(theirs), (name, ours, theirs)
    return bool(ours)


def put(folder: Path, plan: object) -> None:
    (folder / "plan.json").write_text(json.dumps(plan))


def mutants(program: Path, tmp_path: Path, seeds: range) -> int:
    folder = make_bundle.write(tmp_path / "m")
    refused = 0
    for seed in seeds:
        put(folder, hostile.mutated(seed))
        refused += both(program, folder, seed)
    return refused


def test_mutants_get_one_verdict(runner: Path, tmp_path: Path):
    refused = mutants(runner, tmp_path, range(FEW))
    print(f"{FEW} mutants: {refused} refused by both, {FEW - refused} taken by both")
    assert refused > FEW // 2


def handmade(program: Path, tmp_path: Path) -> None:
    for index, (name, damage) in enumerate(hostile.by_hand()):
        folder = make_bundle.write(tmp_path / f"h{index}")
        damage(folder)
        assert both(program, folder, name) != (name in hostile.VALID), name


def test_what_a_person_would_try_is_refused(runner: Path, tmp_path: Path):
    handmade(runner, tmp_path)


@pytest.mark.parametrize("reader", ["python", "native"])
def test_memory_is_bounded_before_parsing(runner: Path, tmp_path: Path, reader: str):
    folder = make_bundle.write(tmp_path / "b")
    (folder / "plan.json").write_bytes(b"[" + b"[]," * ((1 << 19) // 2 - 8) + b"0]" + b" " * (8 << 20))
    python = "import sys; from ecp.runtime.bundle import Bundle; Bundle.load(sys.argv[1])"
    command = [sys.executable, "-c", python] if reader == "python" else [str(runner)]
    limit = 1 << 30

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    more = ["--validate"] if reader == "native" else []
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(folder), *more],
        capture_output=True,
        text=True,
        preexec_fn=bounded,
        env=env,
        timeout=60,
    )
    assert "MemoryError" not in done.stderr and "bad_alloc" not in done.stderr
    assert done.returncode in (1, 2) and ("not an object" in done.stderr or "no format" in done.stderr), (
        done.stderr
    )


@pytest.mark.slow
def test_the_whole_corpus_under_sanitizers(sanitized: Path, tmp_path: Path):  # noqa: F811
    refused = mutants(sanitized, tmp_path, range(MANY))
    handmade(sanitized, tmp_path)
    print(f"{MANY} mutants ({refused} refused) and {len(list(hostile.by_hand()))} made by hand")
