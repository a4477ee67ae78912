"""Records survive what happens to files: kills, full disks, other versions."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.records import (
    SCHEMA_VERSION,
    BlockRecord,
    CellKey,
    RecordError,
    RunFolder,
    iter_runs,
    read_records,
)
from ecp.errors import UsageError

CELL = CellKey("local", "ecp", "1", "vit_tiny", "ab", "fp32", "latency")


def record(seq: int = 0, **changes: object) -> BlockRecord:
    base = BlockRecord("run", seq, 0, CELL, "measured", samples_ms=[1.0, 2.0], error={"max_abs": 1e-6})
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.create()
    return folder


def test_what_is_written_is_read(run: RunFolder) -> None:
    written = [record(0), record(1, status="failed", reason="why", samples_ms=[])]
    for item in written:
        run.append(item)
    result = read_records(run.records_path)
    assert result.records == written and result.findings == []


def test_the_home_of_whoever_measured_is_not_told(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    run.append(record(0, status="failed", reason="no /home/someone/.cache/m.onnx", samples_ms=[]))
    assert [r.reason for r in read_records(run.records_path).records] == ["no ~/.cache/m.onnx"]


def test_no_file_is_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "none.jsonl").records == []


def test_half_written_last_line_is_named_and_set_aside(run: RunFolder) -> None:
    run.append(record(0))
    with run.records_path.open("ab") as stream:
        stream.write(record(1).to_json().encode()[:40])
    result = read_records(run.records_path)
    assert [r.seq for r in result.records] == [0]
    assert "incomplete last line" in result.findings[0]
    run.close()
    again = RunFolder(run.folder)
    assert "half-written" in (again.create() or "")
    again.append(record(2))
    result = read_records(run.records_path)
    assert [r.seq for r in result.records] == [0, 2] and not result.findings


def test_damage_in_the_middle_and_newer_schemas_are_skipped_and_named(run: RunFolder) -> None:
    newer = json.loads(record(1).to_json()) | {"schema_version": SCHEMA_VERSION + 1, "new": True}
    bad = json.loads(record(2).to_json()) | {"status": "splendid"}
    lines = [record(0).to_json(), "\x00\x00garbage", json.dumps(newer), json.dumps(bad), record(3).to_json()]
    run.records_path.write_text("\n".join(lines) + "\n")
    result = read_records(run.records_path)
    assert [r.seq for r in result.records] == [0, 3]
    assert "line 2" in result.findings[0] and "not a record" in result.findings[0]
    assert f"schema {SCHEMA_VERSION + 1}" in result.findings[1] and "splendid" in result.findings[2]


def test_unknown_keys_of_this_schema_are_ignored() -> None:
    data = json.loads(record().to_json()) | {"later_addition": 1}
    assert BlockRecord.from_dict(data) == record()


def test_infinity_is_not_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        record(samples_ms=[float("inf")]).to_json()


def test_run_json_is_replaced_whole(run: RunFolder) -> None:
    run.write_run({"state": "started"})
    run.write_run({"state": "complete"})
    assert run.read_run() == {"state": "complete"}
    assert list(iter_runs(run.folder.parent)) == [run.folder]
    assert not (run.folder / "run.json.tmp").exists()
    (run.folder / "run.json").write_text("{")
    with pytest.raises(RecordError, match=r"run\.json"):
        run.read_run()


def test_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="nothing was measured"):
        RunFolder(tmp_path / "file" / "run").create()


def test_the_reserve_goes_when_the_run_ends(run: RunFolder) -> None:
    reserve = run.folder / "reserve.bin"
    assert reserve.stat().st_size > 0
    run.close()
    assert not reserve.exists()


LIMITED = """
import resource, signal, sys
from pathlib import Path
from bench.records import RunFolder, RecordError, read_records
from tests.bench.test_records import record
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = RunFolder(Path(sys.argv[1]))
folder.create()
folder.append(record(0))
size = folder.records_path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, size + 50))
try:
    folder.append(record(1))
except RecordError as error:
    print(error)
    print([r.seq for r in read_records(folder.records_path).records], folder.records_path.stat().st_size == size)
"""


def test_a_line_that_does_not_fit_leaves_no_half_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "run")], capture_output=True, text=True, check=True
    )
    message, left = done.stdout.splitlines()
    assert "blocks before this one are kept" in message and "--resume" in message
    assert left == "[0] True"
