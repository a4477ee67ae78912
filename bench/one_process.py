"""A run without workers: what one process measured by itself, kept as a folder of records like any other run."""

from __future__ import annotations

import datetime
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.cells import Cell, make_cell
from bench.plan import Case
from bench.records import BlockRecord, RunFolder
from bench.validity_machine import machine


def open_folder(out: Path, metric: str, request: dict[str, Any]) -> RunFolder:
    """A new run's folder below ``out``, marked as started."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = RunFolder(out / f"{stamp}-{metric}-{secrets.token_hex(3)}")
    folder.create()
    facts = {"schema_version": 1, "run_id": folder.run_id, "metric": metric, "state": "started"}
    folder.write_run(
        {**facts, "request": request, "command": ["bench", *sys.argv[1:]], "environment": machine()}
    )
    return folder


def close_folder(folder: RunFolder) -> None:
    """Everything that was asked for is there."""
    folder.close()
    folder.write_run({**folder.read_run(), "state": "complete"})


def append(folder: RunFolder, record: BlockRecord, shown: Sequence[str] = ()) -> Cell:
    """Keep a record; its cell, with the facts named in ``shown`` out of the record's ``extra``."""
    folder.append(record)
    c = record.cell
    cell = make_cell(Case(c.device, c.backend, c.model, c.metric, c.precision), [record], 1)
    kept: dict[str, Any] = {k: record.extra[k] for k in shown if k in record.extra}
    return replace(cell, extra={**cell.extra, **kept})


def version() -> str:
    """The project's version."""
    try:
        return metadata.version("ecp-vit")
    except metadata.PackageNotFoundError:
        return "uninstalled"
