"""A run that lives is nobody else's: no second writer, no repair; what was acknowledged as written is found again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.cli import main
from bench.records import RunFolder, read_records
from bench.resume import find_interrupted
from bench.runner import device_lock
from ecp.errors import UsageError

from .test_records import record

WRITER = """
import sys
from pathlib import Path
from bench.records import RunFolder
from tests.bench.test_records import record
folder = RunFolder(Path(sys.argv[1]))
folder.create()
if not (folder.folder / "run.json").is_file():
    folder.write_run({"metric": "latency", "state": "started", "request": {}, "plan": []})
print("ready", flush=True)
for seq in range(int(sys.argv[2]), int(sys.argv[3])):
    folder.append(record(seq, reason="x" * 3000))
    print(seq, flush=True)
sys.stdin.readline()
"""


def writer(folder: Path, first: int, end: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(folder), str(first), str(end)]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def test_hammering_a_live_run_with_resume_loses_nothing(tmp_path: Path) -> None:
    process = writer(tmp_path / "run", 0, 400)
    refused = 0
    path = tmp_path / "run" / "records.jsonl"
    while not path.exists() or path.read_bytes().count(b"\n") < 400:
        with pytest.raises(UsageError, match="being measured by another process"):
            find_interrupted(tmp_path, "latency", {})
        refused += 1
    process.communicate("end\n")
    assert refused > 10 and process.returncode == 0
    found = read_records(path)
    assert [r.seq for r in found.records] == list(range(400)) and not found.findings
    assert not (tmp_path / "run" / "records.partial").exists()
    folder, _ = find_interrupted(tmp_path, "latency", {})
    folder.append(record(400))
    assert len(read_records(folder.records_path).records) == 401


@pytest.mark.slow
def test_killed_and_resumed_again_and_again_loses_nothing_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(0)
    told = 0
    for round_ in range(6):
        process = writer(tmp_path / "run", 1000 * round_, 1000 * round_ + 1000)
        time.sleep(rng.uniform(0.02, 0.2))
        process.send_signal(signal.SIGKILL)
        told += len(process.communicate()[0].split())
    found = read_records(tmp_path / "run" / "records.jsonl")
    assert told > 20 and told <= len(found.records) <= told + 6 and found.bad <= 1
    seqs = [r.seq for r in found.records]
    assert seqs == sorted(set(seqs))


def test_a_record_that_lacks_only_its_line_feed_is_whole(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create()
    run.append(record(0))
    run.append(record(1))
    run.close()
    run.records_path.write_bytes(run.records_path.read_bytes()[:-1])
    assert RunFolder(run.folder).create() is None
    assert [r.seq for r in read_records(run.records_path).records] == [0, 1]
    assert run.records_path.read_bytes().endswith(b"\n") and not (run.folder / "records.partial").exists()


@pytest.mark.parametrize("command", ["latency", "versus", "limits", "tune", "roofline"])
def test_a_run_that_is_refused_leaves_no_folder(tmp_path: Path, command: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))
    with device_lock("local"):
        assert main([command, "--out", str(tmp_path / "results")]) == 3
    assert "in use by another run" in capsys.readouterr().err
    assert not list(tmp_path.glob("results/*"))


def test_an_answer_that_is_no_record_fails_its_block_and_not_the_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create()
    run.append(record(0, samples_ms=[1.0, float("nan")]))
    run.append(record(1, extra={"details": {"x": 10**30}}))
    run.append(record(2, extra={"x": object()}))
    run.append(record(3, reason="half \udcff, NUL \0", extra={"a\0": ["\ud800"]}))
    found = read_records(run.records_path)
    assert [r.status for r in found.records] == ["failed"] * 3 + ["measured"] and not found.findings
    assert "cannot be kept as a record" in found.records[0].reason
    assert found.records[3].reason == "half ?, NUL \ufffd"


def test_a_damaged_run_json_is_passed_over_and_named(tmp_path: Path, capsys) -> None:
    for name, content in (("a", "[" * 100_000), ("b", "[]"), ("c", '{"plan": 3}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(content)
    with pytest.raises(UsageError, match="no interrupted latency run"):
        find_interrupted(tmp_path, "latency", {})
    assert capsys.readouterr().err.count("cannot be read") == 3
