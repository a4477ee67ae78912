"""Records: the truth that remains of a run, one JSON object per line and block, safe against a kill at any time.

``results/<run-id>/run.json`` holds the plan and the environment, ``records.jsonl`` one :class:`BlockRecord`
per line. A line is written, flushed and fsynced before the next block starts. Whoever writes a run holds a lock on
its records file, so that nobody repairs or resumes a run that lives. What is read passes :mod:`bench.schema`: a line
that is no record (half-written by a kill, of a newer schema, damaged) is counted and named, never an error.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

from bench import archive, schema
from bench.escape import line as one_line
from bench.schema import SCHEMA_VERSION, STATUSES
from bench.strict_json import Malformed, cleaned, parse_json
from ecp.errors import EcpError, UsageError

__all__ = ["SCHEMA_VERSION", "STATUSES", "BlockRecord", "CellKey", "RecordError", "RunFolder", "read_records"]
# A longer line is no record: the longest of a year's campaigns had 64 kB.
LONGEST_LINE = 16 << 20
# So many findings of one file are named; the others are counted.
NAMED = 20
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
        """Inverse of :meth:`to_json`; unknown keys are ignored. Raises :class:`Malformed` where types do not fit."""
        checked = schema.check(schema.Block, dict(data))
        values = {f.name: checked[f.name] for f in fields(cls) if f.name in checked}
        values["cell"] = CellKey(**{f.name: checked["cell"][f.name] for f in fields(CellKey)})
        return cls(**values)


@dataclass
class ReadResult:
    """Records that could be read, and one sentence for each line that could not.

    ``lines``: the place (from 1) of each record in its file; ``bad``: how many lines are no records. At most
    ``NAMED`` of those have a sentence of their own in ``findings``.
    """

    records: list[BlockRecord] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    bad: int = 0

    def refuse(self, finding: str) -> None:
        """Count a line that is no record."""
        self.bad += 1
        if self.bad <= NAMED:
            self.findings.append(finding)


def read_records(path: Path) -> ReadResult:
    """All readable records of one records.jsonl, in order; whatever a line holds, it never raises.

    Raises :class:`RecordError` where the file itself cannot be read.
    """
    result = ReadResult()
    try:
        for number, (line, whole) in enumerate(archive.lines(path, LONGEST_LINE), start=1):
            where = f"{path.name} line {number}"
            if line is None:
                result.refuse(f"{where}: longer than {LONGEST_LINE >> 20} MiB; skipped")
            elif line.strip():
                _read_line(result, line, number, where, whole)
    except FileNotFoundError:
        return result
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    if result.bad > NAMED:
        result.findings.append(f"{path.name}: {result.bad - NAMED} further lines are no records; skipped")
    return result


def _read_line(result: ReadResult, line: bytes, number: int, where: str, whole: bool) -> None:
    try:
        result.records.append(BlockRecord.from_dict(parse_json(line)))
        result.lines.append(number)
    except schema.Newer as error:
        result.refuse(f"{where}: {error}; skipped")
    except Malformed as error:
        if whole:
            result.refuse(f"{where}: not a record ({error}); skipped")
        else:
            # Its writer was stopped, or is writing it now.
            result.refuse(f"{where}: incomplete last line; that block is not counted")


def read_facts(path: Path) -> dict[str, Any]:
    """A run.json; raises :class:`RecordError` where it is missing, damaged or not of its types."""
    try:
        with path.open("rb") as stream:
            text = stream.read(LONGEST_LINE + 1)
        if len(text) > LONGEST_LINE:
            raise Malformed(f"more than {LONGEST_LINE >> 20} MiB")
        return schema.check(schema.RunFacts, parse_json(text))
    except (OSError, Malformed) as error:
        told = error.strerror if isinstance(error, OSError) else error
        raise RecordError(f"{path} cannot be read: {told}") from error


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
        self._held: BinaryIO | None = None

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.folder.name

    def create(self) -> str | None:
        """Make the folder and :meth:`open` it; :class:`UsageError` if that is refused, RecordError on a full disk."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return self.open()
        except OSError as error:
            # A folder that cannot be written is a wrong --out (exit 2), a full disk is not (exit 1).
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            raise (RecordError if full else UsageError)(
                f"cannot write results to {self.folder}: {error.strerror or error}; nothing was measured; "
                f"{'free some space or ' if full else ''}choose a writable folder with --out DIR"
            ) from error

    def open(self) -> str | None:
        """Prepare for appending: hold the folder, set a half-written last line aside, take the reserve.

        What was set aside, as a sentence. Raises :class:`UsageError` where another process writes this run.
        """
        if archive.stored(self.records_path) not in (None, self.records_path):
            raise UsageError(
                f"{self.folder} is an archived run: its records are compressed, nothing is added to it"
            )
        held = self.records_path.open("ab")
        try:
            # Gone with the process, however it ends.
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            held.close()
            raise UsageError(
                f"{self.folder} is being measured by another process; wait for it to end or stop it, "
                "then start again with --resume"
            ) from error
        self._held = held
        try:
            found = self._repair()
            os.fsync(held.fileno())
            with self._reserve.open("wb") as stream:
                os.posix_fallocate(stream.fileno(), 0, RESERVE_BYTES)
        except OSError:
            self.close()
            raise
        return found

    def _repair(self) -> str | None:
        """End the file with a whole line; called under the lock only.

        A last record that lacks nothing but its line feed gets it; anything else was half-written by a writer that
        was stopped and goes to ``records.partial``.
        """
        raw = self.records_path.read_bytes()
        if not raw or raw.endswith(b"\n"):
            return None
        keep = raw.rfind(b"\n") + 1
        with contextlib.suppress(Malformed):
            schema.check(schema.Block, parse_json(raw[keep:]))
            self._write(b"\n")
            return None
        with (self.folder / "records.partial").open("ab") as aside:
            aside.write(raw[keep:] + b"\n")
            aside.flush()
            os.fsync(aside.fileno())
        os.truncate(self.records_path, keep)
        return f"{self.records_path}: a half-written last line ({len(raw) - keep} bytes) was set aside"

    def restart(self) -> None:
        """Empty the records of a run whose blocks are scored again."""
        os.truncate(self.records_path, 0)

    def append(self, record: BlockRecord) -> None:
        """Write one record. On a full disk the reserve is freed, the record written, and the run must stop.

        Raises :class:`RecordError` when the record (or any further one) cannot be written.
        """
        line = _line_of(record)
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
                json.dump(cleaned(data), stream, indent=1, allow_nan=False)
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
        return read_facts(self.folder / "run.json")

    def close(self) -> None:
        """Give the reserve and the folder back."""
        with contextlib.suppress(OSError):
            self._reserve.unlink(missing_ok=True)
        if self._held is not None:
            self._held.close()
            self._held = None


def _line_of(record: BlockRecord) -> bytes:
    """The record as its line, which :func:`read_records` will take.

    A framework's answer may hold what a record cannot (NaN, an endless number): such a block is ``failed``, with the
    reason, and ends neither the run nor what was measured before it.
    """
    # Others read records: files under the home of whoever measured are told as a shell takes them anywhere.
    reason = record.reason.replace(f"{Path.home()}/", "~/")
    names = {name: one_line(value) for name, value in asdict(record.cell).items()}
    names["backend_version"] = names["backend_version"][:200]
    told = replace(record, reason=reason, cell=CellKey(**names))
    try:
        data = cleaned(asdict(told))
        line = json.dumps(data, allow_nan=False, separators=(",", ":"))
        schema.check(schema.Block, parse_json(line))
    except (ValueError, TypeError) as error:
        why = f"the answer cannot be kept as a record: {one_line(error)}"
        told = BlockRecord(
            told.run_id, told.seq, told.block, told.cell, "failed", f"{why}; {reason}".strip("; ")
        )
        line = json.dumps(cleaned(asdict(told)), separators=(",", ":"))
    return line.encode() + b"\n"
