"""The records of a folder as runs and cells: newest wins, runs are never mixed.

A records folder holds one folder per run (``<date>-<what>/``) with ``records.jsonl`` (blocks) and ``run.json``, or
``*.json`` files that commands wrote with ``--json`` (lists of cells), or both. Damaged content becomes a finding, not
an error, so that one bad file cannot hide the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bench import archive, schema
from bench.records import NAMED, BlockRecord, RecordError, read_facts, read_records
from bench.strict_json import Malformed, parse_json
from reports import trained, versus
from reports.aggregate import aggregate, from_rows
from reports.cell import Key, Measured, slug
from reports.model_names import canonical

__all__ = ["COMMITTED", "Measured", "Run", "Store", "load", "slug"]
COMMITTED = Path(__file__).parent / "records"


@dataclass
class Run:
    """One folder of records: its cells, the raw blocks, run.json and what could not be read."""

    id: str
    path: Path
    info: dict[str, Any]
    records: list[BlockRecord]
    cells: list[Measured]
    findings: list[str]

    @property
    def environment(self) -> dict[str, Any]:
        """The host and environment that run.json recorded; empty where there is none."""
        parts = (self.info.get("host"), self.info.get("environment"))
        return {k: v for part in parts if isinstance(part, Mapping) for k, v in part.items()}

    @property
    def date(self) -> str:
        """ISO date of the run: recorded, else the one its folder's name starts with."""
        stamp = str(self.info.get("run_id") or self.id)
        if stamp[:8].isdigit() and stamp[8:9] == "T":
            return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}"
        return stamp[:10]

    @property
    def moment(self) -> tuple[str, str]:
        """Sorts runs by when they began, as far as they say: day and minute, then the folder's name."""
        stamp = re.sub(r"[-:]", "", str(self.info.get("began") or self.info.get("run_id") or ""))
        found = re.match(r"\d{8}(T\d{4})?", stamp)
        return (found[0] if found else re.sub("-", "", self.id[:10])), self.id


@dataclass
class Store:
    """All runs of one records folder, oldest first."""

    runs: list[Run]

    @cached_property
    def cells(self) -> list[Measured]:
        """Every cell of every run, oldest first."""
        return [c for run in self.runs for c in run.cells]

    @cached_property
    def latest(self) -> dict[Key, Measured]:
        """Per key the newest cell; a newer failure replaces an older value only if nothing was ever
        measured."""
        table: dict[Key, Measured] = {}
        for cell in self.cells:
            old = table.get(cell.key)
            if old is None or cell.ok or not old.ok:
                table[cell.key] = cell
        return table

    def find(self, **want: str) -> list[Measured]:
        """Newest cells whose fields equal ``want`` (model names in any spelling).

        Ablations (cells with a ``variant``) are left out unless asked for.
        """
        want.setdefault("variant", "")
        if "model" in want:
            want["model"] = canonical(want["model"])
        return [c for c in self.latest.values() if all(getattr(c, k) == v for k, v in want.items())]

    def alone(self, run_id: str) -> Store:
        """This run and no other; times of different runs are times of different minutes."""
        return Store([self.run(run_id)])

    def model_info(self, model: str) -> dict[str, Any]:
        """What the newest run that used a model wrote about it (MACs, parameters, input shape); empty: no run did."""
        for run in reversed(self.runs):
            models = run.info.get("models")
            for name, info in models.items() if isinstance(models, Mapping) else ():
                if canonical(name) == canonical(model) and isinstance(info, Mapping):
                    return dict(info)
        return {}

    def names(self, attribute: str, where: Callable[[Measured], bool] = lambda _: True) -> list[str]:
        """Distinct values of one field, in order of appearance."""
        return list(dict.fromkeys(str(getattr(c, attribute)) for c in self.latest.values() if where(c)))

    def run(self, run_id: str) -> Run:
        """The run with this id; KeyError if there is none."""
        return {r.id: r for r in self.runs}[run_id]


def load(folder: Path = COMMITTED) -> Store:
    """Read every run below ``folder``, oldest first. Missing folder: no runs."""
    if not folder.is_dir():
        return Store([])
    return Store(sorted((_load_run(p) for p in folder.iterdir() if p.is_dir()), key=lambda r: r.moment))


def _load_run(path: Path) -> Run:
    findings: list[str] = []
    info: dict[str, Any] = {}
    records: list[BlockRecord] = []
    cells: list[Measured] = []
    by_key: dict[Key, Measured] = {}
    for file in archive.record_files(path):
        try:
            result = read_records(file)
        except RecordError as error:
            findings.append(str(error))
            continue
        records += result.records
        found, troubles = aggregate(result.records, path.name, _facts(file.parent / "run.json"))
        findings += [*result.findings, *troubles]
        # Several runs in one folder stay apart: of two that measured the same, the later one stands.
        for cell in found:
            old = by_key.get(cell.key)
            if old is None or cell.ok or not old.ok:
                by_key[cell.key] = cell
    summaries: list[dict[str, Any]] = []
    for file in sorted(path.rglob("*.json")):
        name = str(file.relative_to(path))
        try:
            if file.name == "run.json":
                info = _merge(info, read_facts(file))
                continue
            data = parse_json(file.read_bytes(), infinite=True)
        except (OSError, Malformed, RecordError) as error:
            findings.append(f"{name}: cannot be read: {error}")
            continue
        if trained.is_summary(data):
            summaries += _typed(schema.Summary, [data], name, findings)
        elif not trained.is_core_order(data):
            rows = _typed(schema.Row, _rows(data), name, findings)
            cells += from_rows(versus.with_opponents(rows), path.name)
            if not rows:
                findings.append(f"{name}: holds no cells")
    cells += from_rows(trained.cells(summaries), path.name)
    others = [c for c in cells if c.key not in by_key]
    return Run(path.name, path, info, records, [*by_key.values(), *others], findings)


def _typed(kind: type[BaseModel], found: list[Any], name: str, findings: list[str]) -> list[dict[str, Any]]:
    """Those of ``found`` that have the types of ``kind``; the others are named in ``findings``, at most ``NAMED``."""
    good, bad = [], []
    for number, data in enumerate(found, start=1):
        try:
            good.append(schema.check(kind, data))
        except Malformed as error:
            bad.append(f"{name} item {number}: {error}; left out")
    findings += bad[:NAMED]
    if len(bad) > NAMED:
        findings.append(f"{name}: {len(bad) - NAMED} further items left out")
    return good


def _facts(file: Path) -> dict[str, Any]:
    """run.json of one run; empty where it cannot be read, which is a finding of its own."""
    try:
        return read_facts(file)
    except RecordError:
        return {}


def _rows(data: Any) -> list[Any]:
    """The cells in a JSON file: a list, ``{"cells": [...]}``, or a search's state with cells per setting."""
    if isinstance(data, Mapping) and isinstance(data.get("done"), Mapping):
        return [row for some in data["done"].values() if isinstance(some, list) for row in some]
    rows = data.get("cells", []) if isinstance(data, Mapping) else data
    return rows if isinstance(rows, list) else []


def _merge(info: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Facts of a folder with several run.json: the first counts, the models of all are kept."""
    if not info:
        return more
    return info | {"models": {**(more.get("models") or {}), **(info.get("models") or {})}}
