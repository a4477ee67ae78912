"""From records to rows: incremental, idempotent, rebuildable.

A run is a folder; merging two machines' histories is copying their run folders together and indexing again, or one
PostgreSQL index for both, where each writes its own rows only. A record is identified by the hash of its bytes, so a
run that is there twice counts once. Folders are read first and written in one transaction: readers see the index
before it or after it.
"""

from __future__ import annotations

import hashlib
import platform
import random
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from bench import archive, validity
from bench.metrics import SOURCES, UNITS
from bench.records import BlockRecord, ReadResult, RecordError, iter_runs, read_facts, read_records
from bench.store.engine import told, writing
from bench.store.key import comparability
from bench.store.models import Base, Block, Comparability, Run

BATCH = 500
ATTEMPTS = 6


@dataclass
class Indexed:
    """What an indexing pass did."""

    runs: int = 0
    unchanged: int = 0
    removed: int = 0
    blocks: int = 0
    duplicates: int = 0
    findings: list[str] = field(default_factory=list)


@dataclass
class _Draft:
    """The rows of one run's folder, not yet written."""

    run: dict[str, Any]
    keys: dict[str, dict[str, Any]]
    blocks: list[dict[str, Any]]


def origin_of(engine: Engine, results: Path) -> str:
    """Whose rows these are: this machine's and this results folder's; of an index beside its runs, that index's."""
    place = results.resolve()
    database = engine.url.database
    if engine.dialect.name == "sqlite" and database and Path(database).resolve().parent == place:
        return "beside"
    try:
        machine = Path("/etc/machine-id").read_text().strip()
    except OSError:
        machine = ""
    return hashlib.sha256(f"{machine} {platform.node()} {place}".encode()).hexdigest()


def fingerprint(folder: Path) -> str:
    """Hash of the run's files' sizes and times: cheap, and different after every append."""
    total = hashlib.sha256()
    for name in ("run.json", archive.RECORDS):
        path = archive.stored(folder / name)
        state = path.stat() if path else None
        total.update(f"{name} {state and state.st_size} {state and state.st_mtime_ns}\n".encode())
    return total.hexdigest()


def _gate_names(record: BlockRecord) -> tuple[list[str], list[str]]:
    judged = judge(record)
    failed = [g.name for g in judged if g.status == "failed" and g.decides]
    return failed, [g.name for g in judged if g.status == "unknown"]


def judge(record: BlockRecord) -> list[validity.Gate]:
    """Gates of a record: as its worker judged them, else judged now from the states that it stored."""
    stored = record.extra.get("gates")
    if stored:
        return [
            validity.Gate(g["name"], g["status"], g.get("detail", ""), g.get("decides", True)) for g in stored
        ]
    return validity.gates(
        record.env_before,
        record.env_after,
        wall_ms=record.extra.get("wall_ms"),
        device_ms=record.extra.get("device_ms"),
        correct=record.error.get("ok"),
    )


def _row(record: BlockRecord, line: int, key: str, sha: str) -> dict[str, Any]:
    cell = record.cell
    failed, unknown = _gate_names(record)
    measured = record.status == "measured" and record.samples_ms
    return {
        "record_sha256": sha,
        "run_id": record.run_id,
        "seq": record.seq,
        "block": record.block,
        "line": line,
        **{name: getattr(cell, name) for name in ("device", "backend", "backend_version", "model")},
        **{name: getattr(cell, name) for name in ("model_sha256", "precision", "metric")},
        "status": record.status,
        "reason": record.reason,
        "value": statistics.median(record.samples_ms) if measured else None,
        "samples": len(record.samples_ms),
        "unit": str(record.extra.get("unit") or UNITS.get(cell.metric, "")),
        "source": str(record.extra.get("source") or SOURCES.get(cell.metric, "")),
        "first_ms": record.first_ms,
        "compile_s": record.compile_s,
        "max_abs_error": record.error.get("max_abs"),
        "failed_gates": failed,
        "unknown_gates": unknown,
        "comparability_key": key,
    }


def _run_row(
    origin: str, folder: Path, run: Mapping[str, Any], findings: Sequence[str], print_: str
) -> dict[str, Any]:
    git = run.get("git") or (run.get("environment") or {}).get("git") or {}
    git = git.get("value", git) if isinstance(git, Mapping) else {}
    return {
        "origin": origin,
        "run_id": folder.name,
        "started_utc": _started(str(run.get("run_id") or folder.name)),
        "git_commit": git.get("commit"),
        "git_branch": git.get("branch"),
        "git_dirty": git.get("dirty"),
        "folder": str(folder),
        "fingerprint": print_,
        "findings": list(findings),
    }


def _started(name: str) -> str:
    """A run's name begins with its time; a renamed folder keeps that name in run.json."""
    found = re.match(r"\d{8}T\d{6}Z", name)
    return found[0] if found else name[:40]


def _insert_ignoring_known(session: Session, table: type[Base], rows: list[dict[str, Any]]) -> None:
    """Insert rows, skipping primary keys that are there."""
    connection = session.connection()
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).on_conflict_do_nothing()
    for start in range(0, len(rows), BATCH):
        connection.execute(statement, rows[start : start + BATCH])


def _draft(origin: str, folder: Path, print_: str) -> _Draft:
    """Read a run's folder; what cannot be read is among the findings of its row."""
    findings: list[str] = []
    run, result = {}, ReadResult()
    try:
        run = read_facts(folder / "run.json")
    except RecordError as error:
        findings.append(f"{error}; commit and host are unknown")
    try:
        result = read_records(folder / "records.jsonl")
    except RecordError as error:
        findings.append(str(error))
    findings += result.findings
    keys: dict[str, dict[str, Any]] = {}
    rows = []
    for line, record in zip(result.lines, result.records, strict=True):
        key, inputs = comparability(record, run)
        keys[key] = inputs
        sha = hashlib.sha256(record.to_json().encode()).hexdigest()
        rows.append(_row(record, line, key, sha))
    # A folder may be renamed; records of another run than its run.json's are worth a word.
    strange = {r["run_id"] for r in rows} - {folder.name, run.get("run_id")}
    if strange:
        findings.append(f"records of run {', '.join(sorted(strange))} lie in folder {folder.name}")
    for row in rows:
        row |= {"origin": origin, "run_id": folder.name}
    return _Draft(_run_row(origin, folder, run, findings, print_), keys, rows)


def _write(session: Session, draft: _Draft, done: Indexed) -> None:
    """Put a run's rows in the place of those that it had."""
    origin, name = draft.run["origin"], draft.run["run_id"]
    mine = (Block.origin == origin) & (Block.run_id == name)
    session.execute(delete(Run).where(Run.origin == origin, Run.run_id == name))
    # Rows of before origins were known belong to whoever has their folder.
    session.execute(
        delete(Run).where(Run.origin == "", Run.run_id == name, Run.folder == draft.run["folder"])
    )
    entry = Run(**draft.run)
    session.add(entry)
    session.flush()
    known = [{"key": k, "inputs": v} for k, v in sorted(draft.keys.items())]
    _insert_ignoring_known(session, Comparability, known)
    _insert_ignoring_known(session, Block, draft.blocks)
    new = session.scalar(select(func.count()).select_from(Block).where(mine)) or 0
    findings = list(draft.run["findings"])
    if new < len(draft.blocks):
        # Looked at again every time: when the folder that holds the other copy goes, this copy counts.
        entry.fingerprint = ""
        findings.append(
            f"{len(draft.blocks) - new} of its records lie in another folder too; they count once"
        )
        entry.findings = findings
    done.runs += 1
    done.blocks += new
    done.duplicates += len(draft.blocks) - new
    done.findings += [f"{name}: {text}" for text in findings]


def index_results(
    engine: Engine, roots: Sequence[Path], progress: Callable[[str], None] = lambda name: None
) -> Indexed:
    """Bring the index up to date with all runs below ``roots``. Each run is one transaction.

    A run whose files did not change is skipped; one of this origin (machine and first root) whose folder is gone is
    removed. Raises :class:`StoreError` where the index refuses.
    """
    origin = origin_of(engine, roots[0])
    folders = {f.name: f for root in roots for f in iter_runs(root)}
    done = Indexed()
    with told(engine):
        with Session(engine) as session:
            mine = select(Run.run_id, Run.fingerprint).where(Run.origin == origin)
            known = {name: print_ for name, print_ in session.execute(mine)}
        gone = sorted(set(known) - set(folders))
        if gone:
            _in_transaction(engine, lambda session, _: _remove(session, origin, gone), done)
            done.removed = len(gone)
        for name, folder in sorted(folders.items()):
            print_ = fingerprint(folder)
            if known.get(name) == print_:
                done.unchanged += 1
                continue
            progress(name)
            draft = _draft(origin, folder, print_)
            done = _in_transaction(engine, partial(_write_one, draft), done)
    return done


def _write_one(draft: _Draft, session: Session, done: Indexed) -> None:
    _write(session, draft, done)


def _remove(session: Session, origin: str, names: Sequence[str]) -> None:
    for start in range(0, len(names), BATCH):
        wanted = names[start : start + BATCH]
        session.execute(delete(Run).where(Run.origin == origin, Run.run_id.in_(wanted)))


def _in_transaction(engine: Engine, work: Callable[[Session, Indexed], None], done: Indexed) -> Indexed:
    """Commit ``work``; what it counted on top of ``done``. Another indexer that was faster makes it try again."""
    for attempt in range(ATTEMPTS):
        counted = replace(done, findings=list(done.findings))
        try:
            with Session(writing(engine)) as session, session.begin():
                work(session, counted)
            return counted
        except (IntegrityError, OperationalError) as error:
            # A lock that was waited for in vain is not waited for again.
            waited = "locked" in str(error.orig) or "lock timeout" in str(error.orig)
            if attempt == ATTEMPTS - 1 or waited:
                raise
            time.sleep(random.uniform(0.5, 1.5) * 0.05 * 2**attempt)  # noqa: S311 - no secret
    raise AssertionError("unreachable")


def rebuild(
    engine: Engine, roots: Sequence[Path], progress: Callable[[str], None] = lambda n: None
) -> Indexed:
    """Make this origin's rows anew from the records alone, in one transaction: readers see the old rows until then."""
    origin = origin_of(engine, roots[0])
    folders = {f.name: f for root in roots for f in iter_runs(root)}
    drafts = []
    for name, folder in sorted(folders.items()):
        progress(name)
        drafts.append(_draft(origin, folder, fingerprint(folder)))

    def everything(session: Session, done: Indexed) -> None:
        session.execute(delete(Run).where(Run.origin == origin))
        for draft in drafts:
            _write(session, draft, done)
        unused = ~select(Block.record_sha256).where(Block.comparability_key == Comparability.key).exists()
        session.execute(delete(Comparability).where(unused))

    with told(engine):
        return _in_transaction(engine, everything, Indexed())
