"""The command line as a user meets it: real processes, real files, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.records import read_records
from tests.bench.conftest import Workplace


def one_line_error(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    return line


def cells(done: subprocess.CompletedProcess[str]) -> dict[str, dict]:
    return {c["backend"]: c for c in json.loads(done.stdout)}


def records_of(workplace: Workplace) -> list:
    (path,) = (workplace.folder / "results").glob("*/records.jsonl")
    return read_records(path).records


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--device", "onplus11"], 2, "did you mean oneplus11"),
        (["--device", "oneplus11"], 3, "USB debugging"),
        (["--models", "vit_tny"], 2, "did you mean vit_tiny"),
        (["--backends", "onnxrutime"], 2, "did you mean onnxruntime"),
        (["--precision", "fp23"], 2, "did you mean fp32"),
        (["--models", ","], 2, "empty list"),
        (["--threads", "zero"], 2, "--threads"),
        (["--nonsense"], 2, "--nonsense"),
        (["--set", "fuse=false"], 2, "BACKEND.KEY=VALUE"),
        (["--set", "eco.fuse=false"], 2, "did you mean ecp"),
        (["--resume"], 2, "no interrupted latency run"),
        (["--models", "onnx:missing.onnx"], 2, "missing.onnx"),
    ],
)
def test_a_mistake_is_one_line_and_the_right_exit_code(
    workplace: Workplace, arguments: list[str], code: int, said: str
) -> None:
    done = workplace.latency("--backends", "fake-right", *arguments)
    assert done.returncode == code, done.stderr
    assert said in one_line_error(done)
    assert not list((workplace.folder / "results").glob("*/records.jsonl")) or not records_of(workplace)


def test_corrupt_and_truncated_models_are_named(workplace: Workplace) -> None:
    whole = (workplace.folder / "tiny.onnx").read_bytes()
    for name, content in (
        ("cut.onnx", whole[: len(whole) // 2]),
        ("noise.onnx", b"\xff" * 300),
        ("empty.onnx", b""),
    ):
        (workplace.folder / name).write_bytes(content)
        done = workplace.latency("--backends", "fake-right", "--models", f"onnx:{workplace.folder / name}")
        assert done.returncode == 2, (name, done.stderr)
        assert name in one_line_error(done)


def test_each_outcome_becomes_its_status_and_nothing_else_is_printed(workplace: Workplace) -> None:
    names = (
        "fake-right,fake-chatty,fake-wrong,fake-nan,fake-killed,fake-unsupported,fake-unavailable,fake-raises,"
        "fake-remembers,fake-early"
    )
    done = workplace.latency("--backends", names, "--json", "-")
    assert done.returncode == 1, done.stderr
    found = cells(done)
    assert {name: c["status"] for name, c in found.items()} == {
        "fake-right": "measured",
        "fake-chatty": "measured",
        "fake-wrong": "failed",
        "fake-nan": "failed",
        "fake-killed": "failed",
        "fake-unsupported": "unsupported",
        "fake-unavailable": "unavailable",
        "fake-raises": "failed",
        "fake-remembers": "failed",
        "fake-early": "failed",
    }
    for cell in found.values():
        measured = cell["status"] == "measured"
        assert (cell["value"] is not None) == measured and bool(cell["reason"]) != measured
    right = found["fake-right"]
    assert right["value"] >= 2.0 and right["ci"] is None and "2 blocks" in right["extra"]["ci_reason"]
    assert len(right["blocks"]) == 2 and right["unit"] == "ms" and right["source"] == "wall"
    assert right["extra"]["max_abs_error"] < 1e-5 and right["extra"]["threads"] == 1
    assert right["extra"]["harness_s"] > 0
    assert "max abs error 1" in found["fake-wrong"]["reason"]
    assert "NaN" in found["fake-nan"]["reason"]
    assert "remembers its outputs" in found["fake-remembers"]["reason"]
    assert "before its work was done" in found["fake-early"]["reason"]
    assert "SIGSEGV" in found["fake-killed"]["reason"]
    assert found["fake-unsupported"]["reason"] == "no Softmax on Tuesdays"
    assert "pip install fake" in found["fake-unavailable"]["reason"]
    assert found["fake-raises"]["reason"].endswith("kernel panic in two lines")


def test_table_shows_every_status_with_its_reason(workplace: Workplace) -> None:
    done = workplace.latency("--backends", "fake-right,fake-unsupported")
    assert done.returncode == 0, done.stderr
    assert "no Softmax on Tuesdays" in done.stdout and "fake-right" in done.stdout
    assert "records.jsonl" in done.stdout


def test_a_hanging_block_is_given_up(workplace: Workplace) -> None:
    done = workplace.latency("--backends", "fake-hangs", "--blocks", "1", "--timeout", "6", "--json", "-")
    assert done.returncode == 1
    assert "no answer within 6 s" in cells(done)["fake-hangs"]["reason"]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_a_backend_that_takes_more_processors_than_asked_fails(workplace: Workplace) -> None:
    done = workplace.latency("--backends", "fake-greedy", "--blocks", "1", "--json", "-")
    assert done.returncode == 1
    reason = cells(done)["fake-greedy"]["reason"]
    assert "processors" in reason


def _start(workplace: Workplace, *arguments: str) -> subprocess.Popen[str]:
    common = ("--device", "local-cpu", "--models", workplace.model, "--threads", "1", "--quick")
    return subprocess.Popen(
        workplace.command("latency", *common, *arguments),
        cwd=workplace.folder,
        env=workplace.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _wait_for_a_record(folder: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if any(p.stat().st_size for p in folder.glob("*/records.jsonl")):
            return
        time.sleep(0.1)
    raise AssertionError("no record within two minutes")


SLOW_RUN = ("--blocks", "5", "--backends", "fake-slow,fake-right")


def _interrupt(workplace: Workplace, number: int) -> tuple[int, str]:
    """Send a signal to the harness after its first record; (exit code, stderr)."""
    process = _start(workplace, *SLOW_RUN)
    _wait_for_a_record(workplace.folder / "results")
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell starts background jobs with SIGINT ignored, and their children would ignore it as well."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_keeps_its_blocks_and_resume_finishes_it(
    workplace: Workplace, number: int
) -> None:
    code, said = _interrupt(workplace, number)
    if number == signal.SIGINT:
        assert code == 130 and "--resume" in said, said
    before = records_of(workplace)
    assert 1 <= len(before) < 10
    done = workplace.latency(*SLOW_RUN, "--resume", "--json", "-")
    assert done.returncode == 0, done.stderr
    after = records_of(workplace)
    assert after[: len(before)] == before
    assert sorted(r.seq for r in after) == list(range(10))
    assert all(len(c["blocks"]) == 5 for c in cells(done).values())
    again = workplace.latency(*SLOW_RUN, "--resume")
    assert again.returncode == 2 and "no interrupted" in one_line_error(again)


def test_resume_skips_a_half_written_record_and_says_so(workplace: Workplace) -> None:
    _interrupt(workplace, signal.SIGKILL)
    (path,) = workplace.folder.glob("results/*/records.jsonl")
    with path.open("ab") as stream:
        stream.write(b'{"schema_version":1,"kind":"blo')
    done = workplace.latency(*SLOW_RUN, "--resume")
    assert done.returncode == 0, done.stderr
    assert "half-written" in done.stderr
    assert sorted(r.seq for r in records_of(workplace)) == list(range(10))
    assert (path.parent / "records.partial").read_bytes().startswith(b'{"schema_version"')


def test_two_harnesses_do_not_share_a_device(workplace: Workplace) -> None:
    from filelock import FileLock

    locks = workplace.folder / "cache" / "locks"
    locks.mkdir(parents=True)
    with FileLock(locks / "this-computer.lock"):
        done = workplace.latency("--backends", "fake-right")
    assert done.returncode == 3
    assert "in use by another run" in one_line_error(done)


def test_results_folder_that_cannot_be_written(workplace: Workplace) -> None:
    (workplace.folder / "file").write_text("not a folder")
    done = workplace.latency("--backends", "fake-right", "--out", "file")
    assert done.returncode == 2
    assert "nothing was measured" in one_line_error(done) and "--out" in one_line_error(done)


def _mount(folder: Path, options: str) -> None:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("mounting a small file system needs root")


def test_read_only_results_folder(workplace: Workplace) -> None:
    small = workplace.folder / "small"
    _mount(small, "ro")
    try:
        done = workplace.latency("--backends", "fake-right", "--out", "small")
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert done.returncode == 2
    assert "Read-only file system" in one_line_error(done)


def test_a_disk_that_fills_up_costs_no_measured_block(workplace: Workplace) -> None:
    small = workplace.folder / "small"
    _mount(small, "size=1m")
    try:
        process = _start(workplace, *SLOW_RUN, "--out", "small")
        _wait_for_a_record(small)
        (path,) = small.glob("*/records.jsonl")
        before = len(read_records(path).records)
        with pytest.raises(OSError), (small / "filler").open("wb", buffering=0) as stream:
            while True:
                stream.write(b"x" * 4096)
        _, said = process.communicate(timeout=120)
        content = read_records(path)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
    assert process.returncode == 1, said
    (line,) = [text for text in said.splitlines() if text.startswith("error: ")]
    assert "No space left" in line and "everything measured so far is kept" in line and "--resume" in line
    # The block whose record met the full disk is on disk too: the reserve made room for it.
    assert not content.findings and before < len(content.records) < 10
