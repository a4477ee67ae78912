"""From records to rows: incremental, idempotent, rebuildable.

A run is a folder; merging two machines' histories is copying their run folders together and indexing again. A
record is identified by the hash of its bytes, so a run that is there twice counts once.
"""

from __future__ import annotations

import hashlib
import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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


def _run_row(folder: Path, run: Mapping[str, Any], findings: Sequence[str], print_: str) -> Run:
    git = run.get("git") or (run.get("environment") or {}).get("git") or {}
    git = git.get("value", git) if isinstance(git, Mapping) else {}
    return Run(
        run_id=folder.name,
        started_utc=_started(str(run.get("run_id") or folder.name)),
        git_commit=git.get("commit"),
        git_branch=git.get("branch"),
        git_dirty=git.get("dirty"),
        folder=str(folder),
        fingerprint=print_,
        findings=list(findings),
    )


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


def _index_run(session: Session, folder: Path, print_: str, done: Indexed) -> None:
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
        row["run_id"] = folder.name
    session.execute(delete(Run).where(Run.run_id == folder.name))
    entry = _run_row(folder, run, findings, print_)
    session.add(entry)
    session.flush()
    _insert_ignoring_known(session, Comparability, [{"key": k, "inputs": v} for k, v in sorted(keys.items())])
    _insert_ignoring_known(session, Block, rows)
    mine = select(func.count()).select_from(Block).where(Block.run_id == folder.name)
    new = session.scalar(mine) or 0
    if new < len(rows):
        # Looked at again every time: when the folder that holds the other copy goes, this copy counts.
        entry.fingerprint = ""
        findings.append(f"{len(rows) - new} of its records lie in another folder too; they count once")
        entry.findings = list(findings)
    done.runs += 1
    done.blocks += new
    done.duplicates += len(rows) - new
    done.findings += [f"{folder.name}: {text}" for text in findings]


def index_results(
    engine: Engine, roots: Iterable[Path], progress: Callable[[str], None] = lambda name: None
) -> Indexed:
    """Bring the index up to date with all runs below ``roots``. Each run is one transaction.

    A run whose files did not change is skipped; a run whose folder is gone is removed.
    """
    done = Indexed()
    folders = {f.name: f for root in roots for f in iter_runs(root)}
    with Session(engine) as session:
        known = {name: print_ for name, print_ in session.execute(select(Run.run_id, Run.fingerprint))}
        for name in sorted(set(known) - set(folders)):
            session.execute(delete(Run).where(Run.run_id == name))
            done.removed += 1
        session.commit()
        for name, folder in sorted(folders.items()):
            print_ = fingerprint(folder)
            if known.get(name) == print_:
                done.unchanged += 1
                continue
            progress(name)
            _in_transaction(session, partial(_index_run, session, folder, print_, done))
    return done


def _in_transaction(session: Session, work: Callable[[], None]) -> None:
    """Commit ``work``; another indexer that was faster with the same rows makes it try again."""
    for attempt in range(ATTEMPTS):
        try:
            work()
            session.commit()
        except (IntegrityError, OperationalError):
            session.rollback()
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.05 * 2**attempt)
        else:
            return


def rebuild(
    engine: Engine, roots: Iterable[Path], progress: Callable[[str], None] = lambda n: None
) -> Indexed:
    """Empty the index and fill it from the records alone."""
    with Session(engine) as session:
        for table in (Block, Comparability, Run):
            session.execute(delete(table))
        session.commit()
    return index_results(engine, roots, progress)
