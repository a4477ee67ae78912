"""Compressed records read as they were written; an archive that is damaged or a bomb is one finding, not a crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from bench import archive
from bench.records import RecordError, RunFolder, read_records
from ecp.errors import UsageError
from reports import measured

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "reports" / "records" / "2026-11-25-local-cpu-zoo"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "2026-01-01-run"
    folder.mkdir()
    (folder / "records.jsonl").write_bytes(archive.read(SOURCE / "records.jsonl"))
    (folder / "run.json").write_bytes((SOURCE / "run.json").read_bytes())
    return folder


def test_records_and_cells_are_the_same_compressed(run: Path) -> None:
    path = run / "records.jsonl"
    content, before = path.read_bytes(), [r.to_json() for r in read_records(path).records]
    cells = measured.load(run.parent).runs[0].cells
    done = subprocess.run(
        [sys.executable, "-m", "bench.archive", run.parent], check=True, capture_output=True
    )
    assert b"1 files compressed" in done.stdout and not path.exists()
    assert archive.read(path) == content and list(archive.record_files(run.parent)) == [path]
    assert [r.to_json() for r in read_records(path).records] == before and len(before) > 5
    assert measured.load(run.parent).runs[0].cells == cells and cells


def test_nothing_is_added_to_an_archived_run(run: Path) -> None:
    archive.compress(run)
    with pytest.raises(UsageError, match="archived run"):
        RunFolder(run).open()
    assert not (run / "records.jsonl").exists()


def test_damage_and_bombs_are_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.compress(run)
    packed = run / "records.jsonl.zst"
    whole = packed.read_bytes()
    packed.write_bytes(b"no archive" + whole)
    with pytest.raises(RecordError, match="damaged archive"):
        read_records(run / "records.jsonl")
    packed.write_bytes(zstandard.compress(bytes(1 << 20)))
    monkeypatch.setattr(archive, "MOST_BYTES", 1 << 16)
    with pytest.raises(RecordError, match="cannot read"):
        read_records(run / "records.jsonl")


def test_the_checkout_stays_small() -> None:
    """What git tracks comes to at most 10 MB; raw samples are committed compressed."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert sum(f.stat().st_size for f in files if f.is_file()) <= 10_000_000
    large = [f for f in files if f.name == archive.RECORDS and f.stat().st_size >= archive.LEAST_BYTES]
    assert not large, "compress them: python -m bench.archive reports/records"
