"""Records: the truth that remains of a run, one JSON object per line and block, safe against a kill at any time.

``results/<run-id>/run.json`` holds the plan and the environment, ``records.jsonl`` one :class:`BlockRecord`
per line. A line is written, flushed and fsynced before the next block starts. A half-written last line (kill -9,
power loss) is skipped by the reader, which says so; a record of a newer schema is skipped and named.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from bench import archive
from ecp.errors import EcpError, UsageError

SCHEMA_VERSION = 1
STATUSES = ("measured", "unsupported", "unavailable", "failed", "unstable", "not-run")
# Given back to the file system when it is full, so that the block just measured can still be written.
RESERVE_BYTES = 256 * 1024


class RecordError(EcpError):
    """The results folder cannot be written or read."""


@dataclass(frozen=True)
class CellKey:
    """What one cell of a table is about; blocks with equal keys are repeats of one measurement."""

    device: str
    backend: str
    backend_version: str
    model: str
    model_sha256: str
    precision: str
    metric: str


@dataclass(frozen=True)
class BlockRecord:
    """One block: a fresh process that measured one cell once.

    Times in milliseconds (``compile_s`` in seconds); ``status`` one of :data:`STATUSES`; ``reason`` says why
    a block is not ``measured``. ``error``: ``{"max_abs": float, "ref": str, ...}`` against the reference.
    ``samples_ms`` holds MiB for the metric ``memory`` (see ``extra["unit"]``).
    """

    run_id: str
    seq: int
    block: int
    cell: CellKey
    status: str
    reason: str = ""
    warmup_ms: list[float] = field(default_factory=list)
    samples_ms: list[float] = field(default_factory=list)
    first_ms: float | None = None
    compile_s: float | None = None
    error: dict[str, Any] = field(default_factory=dict)
    env_before: dict[str, Any] = field(default_factory=dict)
    env_after: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION
    kind: str = "block"

    def to_json(self) -> str:
        """One line; NaN and infinity are refused, because JSON has none."""
        return json.dumps(asdict(self), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BlockRecord:
        """Inverse of :meth:`to_json`; unknown keys are ignored. Raises KeyError, TypeError."""
        names = {f.name for f in fields(cls)}
        values = {k: v for k, v in data.items() if k in names}
        values["cell"] = CellKey(**{f.name: str(data["cell"][f.name]) for f in fields(CellKey)})
        if values["status"] not in STATUSES:
            raise KeyError(f"status {values['status']!r}")
        return cls(**values)


@dataclass
class ReadResult:
    """Records that could be read, and one sentence for each thing that could not."""

    records: list[BlockRecord] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def _parse(line: bytes, where: str, last: bool) -> tuple[BlockRecord | None, str | None]:
    try:
        data = json.loads(line)
        version = int(data["schema_version"])
        if version > SCHEMA_VERSION:
            newer = f"{where}: written by schema {version}, this program reads up to {SCHEMA_VERSION}"
            return None, f"{newer}; skipped (a newer release reads it)"
        return (BlockRecord.from_dict(data), None) if data.get("kind") == "block" else (None, None)
    except (ValueError, KeyError, TypeError) as error:
        if last:
            return None, f"{where}: incomplete last line (its writer was stopped); that block is not counted"
        return None, f"{where}: not a record ({type(error).__name__}: {error}); skipped"


def read_records(path: Path) -> ReadResult:
    """All readable records of one records.jsonl, in order; never raises for damaged content."""
    result = ReadResult()
    try:
        raw = archive.read(path)
    except FileNotFoundError:
        return result
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    lines = raw.split(b"\n")
    complete = raw.endswith(b"\n")
    if complete:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        last = number == len(lines) and not complete
        record, finding = _parse(line, f"{path.name} line {number}", last)
        if record is not None:
            result.records.append(record)
        if finding:
            result.findings.append(finding)
    return result


def iter_runs(results: Path) -> Iterator[Path]:
    """Folders of runs below ``results``, oldest first by their name (which starts with the UTC time)."""
    if results.is_dir():
        yield from sorted(p.parent for p in results.glob("*/run.json"))


class RunFolder:
    """Writer of one run. ``append`` returns only when the record is on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records_path = folder / "records.jsonl"
        self._reserve = folder / "reserve.bin"

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.folder.name

    def create(self) -> None:
        """Make the folder; raises :class:`UsageError` where it cannot be written, RecordError on a full disk."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.open()
        except OSError as error:
            # A folder that cannot be written is a wrong --out (exit 2), a full disk is not (exit 1).
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            raise (RecordError if full else UsageError)(
                f"cannot write results to {self.folder}: {error.strerror or error}; nothing was measured; "
                f"{'free some space or ' if full else ''}choose a writable folder with --out DIR"
            ) from error

    def open(self) -> None:
        """Prepare for appending: cut a half-written last line off and take the reserve."""
        if archive.stored(self.records_path) not in (None, self.records_path):
            raise UsageError(
                f"{self.folder} is an archived run: its records are compressed, nothing is added to it"
            )
        self.repair()
        with self.records_path.open("ab") as stream:
            os.fsync(stream.fileno())
        with self._reserve.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, RESERVE_BYTES)

    def repair(self) -> str | None:
        """Set a half-written last line aside (``records.partial``), so that the next record starts clean."""
        if not self.records_path.is_file():
            return None
        raw = self.records_path.read_bytes()
        if not raw or raw.endswith(b"\n"):
            return None
        keep = raw.rfind(b"\n") + 1
        (self.folder / "records.partial").write_bytes(raw[keep:])
        os.truncate(self.records_path, keep)
        return f"{self.records_path}: a half-written last line ({len(raw) - keep} bytes) was set aside"

    def append(self, record: BlockRecord) -> None:
        """Write one record. On a full disk the reserve is freed, the record written, and the run must stop.

        Raises :class:`RecordError` when the record (or any further one) cannot be written.
        """
        # Others read records: files under the home of whoever measured are told as a shell takes them anywhere.
        told = replace(record, reason=record.reason.replace(f"{Path.home()}/", "~/"))
        line = told.to_json().encode() + b"\n"
        try:
            self._write(line)
        except OSError as error:
            saved = self._write_into_reserve(line)
            what = "everything measured so far is kept" if saved else "the blocks before this one are kept"
            raise RecordError(
                f"cannot write {self.records_path}: {error.strerror or error}; {what}; "
                "free some space, then finish with --resume"
            ) from error

    def _write(self, line: bytes) -> None:
        before = self.records_path.stat().st_size if self.records_path.exists() else 0
        descriptor = os.open(self.records_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            written = 0
            while written < len(line):
                written += os.write(descriptor, line[written:])
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
        finally:
            os.close(descriptor)

    def _write_into_reserve(self, line: bytes) -> bool:
        self._reserve.unlink(missing_ok=True)
        try:
            self._write(line)
        except OSError:
            return False
        return True

    def write_run(self, data: Mapping[str, Any]) -> None:
        """Replace run.json in one step: readers see the old or the new one, never half of it."""
        temporary = self.folder / "run.json.tmp"
        try:
            with temporary.open("w") as stream:
                json.dump(data, stream, indent=1, allow_nan=False)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self.folder / "run.json")
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise RecordError(
                f"cannot write {self.folder / 'run.json'}: {error.strerror or error}"
            ) from error

    def read_run(self) -> dict[str, Any]:
        """run.json; raises :class:`RecordError` where it is missing or damaged."""
        try:
            data: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        except (OSError, ValueError) as error:
            raise RecordError(f"{self.folder / 'run.json'} cannot be read: {error}") from error
        return data

    def close(self) -> None:
        """Give the reserve back."""
        with contextlib.suppress(OSError):
            self._reserve.unlink(missing_ok=True)
