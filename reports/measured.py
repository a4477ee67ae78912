"""Measured cells: what the records of a folder say, aggregated per run and never across runs.

A records folder holds one folder per run (``<date>-<what>/``) with ``records.jsonl`` (blocks) and
``run.json``, or
``*.json`` files that commands wrote with ``--json`` (lists of cells), or both. Damaged content becomes a
finding,
not an error, so that one bad file cannot hide the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.cells import group, make_cell
from bench.metrics import SOURCES, UNITS
from bench.plan import Case
from bench.records import STATUSES, BlockRecord, read_records

COMMITTED = Path(__file__).parent / "records"
DEFAULT_RATIO = "0.8"


@dataclass(frozen=True)
class Measured:
    """One cell of one run. ``value`` and ``ci`` are in ``unit``; ``blocks`` holds the raw samples, one list
    per process."""

    device: str
    backend: str
    model: str
    precision: str
    metric: str
    status: str
    run: str
    value: float | None = None
    unit: str = ""
    ci: tuple[float, float] | None = None
    blocks: tuple[tuple[float, ...], ...] = ()
    source: str = ""
    reason: str = ""
    backend_version: str = ""
    model_sha256: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    records: tuple[BlockRecord, ...] = ()

    @property
    def ok(self) -> bool:
        """Measured, with a value."""
        return self.status == "measured" and self.value is not None

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What the cell is about; two runs' cells with equal keys measured the same thing."""
        return (self.device, self.backend, self.model, self.precision, self.metric)

    @property
    def slug(self) -> str:
        """Name usable in a file or an anchor."""
        return slug("-".join((self.metric, self.model, self.backend, self.precision)))


def slug(text: str) -> str:
    """Lower-case letters, digits, points, dashes and underscores only."""
    return "".join(c if c.isalnum() or c in "-._" else "-" for c in text.lower())


def canonical(model: str) -> str:
    """One spelling per model: ``ecp_vit_tiny@0.8`` is ``ecp_vit_tiny``; ``@0.30`` is ``@0.3``."""
    name, at, ratio = model.partition("@")
    if not at:
        return model
    try:
        text = f"{float(ratio):g}"
    except ValueError:
        return model
    if text == "1":
        text = "1.0"
    return name if text == DEFAULT_RATIO else f"{name}@{text}"


def core_ratio(model: str) -> float | None:
    """The core ratio in a model's name; None for a model without core-periphery attention."""
    if not model.startswith("ecp_"):
        return None
    ratio = canonical(model).partition("@")[2]
    return float(ratio) if ratio else float(DEFAULT_RATIO)


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


@dataclass
class Store:
    """All runs of one records folder, oldest first."""

    runs: list[Run]

    @cached_property
    def cells(self) -> list[Measured]:
        """Every cell of every run, oldest first."""
        return [c for run in self.runs for c in run.cells]

    @cached_property
    def latest(self) -> dict[tuple[str, str, str, str, str], Measured]:
        """Per key the newest cell; a newer failure replaces an older value only if nothing was ever
        measured."""
        table: dict[tuple[str, str, str, str, str], Measured] = {}
        for cell in self.cells:
            old = table.get(cell.key)
            if old is None or cell.ok or not old.ok:
                table[cell.key] = cell
        return table

    def find(self, **want: str) -> list[Measured]:
        """Newest cells whose fields equal ``want`` (model names in any spelling)."""
        if "model" in want:
            want["model"] = canonical(want["model"])
        return [c for c in self.latest.values() if all(getattr(c, k) == v for k, v in want.items())]

    def names(self, attribute: str, where: Callable[[Measured], bool] = lambda _: True) -> list[str]:
        """Distinct values of one field, in order of appearance."""
        return list(dict.fromkeys(str(getattr(c, attribute)) for c in self.latest.values() if where(c)))

    def run(self, run_id: str) -> Run:
        """The run with this id; KeyError if there is none."""
        return {r.id: r for r in self.runs}[run_id]


def load(folder: Path = COMMITTED) -> Store:
    """Read every run below ``folder``, oldest first by name (names start with the date). Missing folder: no
    runs."""
    if not folder.is_dir():
        return Store([])
    return Store([_load_run(p) for p in sorted(folder.iterdir()) if p.is_dir()])


def _load_run(path: Path) -> Run:
    findings: list[str] = []
    info: dict[str, Any] = {}
    records: list[BlockRecord] = []
    cells: list[Measured] = []
    for file in sorted(path.rglob("records.jsonl")):
        result = read_records(file)
        records += result.records
        findings += result.findings
    for file in sorted(path.rglob("*.json")):
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            findings.append(f"{file.relative_to(path)}: not readable as JSON ({error})")
            continue
        if file.name == "run.json":
            info = info or dict(data)
        else:
            found = list(_cells_of(data, path.name))
            cells += found
            if not found:
                findings.append(f"{file.relative_to(path)}: holds no cells")
    from_blocks = aggregate(records, path.name)
    known = {c.key for c in from_blocks}
    return Run(
        path.name, path, info, records, from_blocks + [c for c in cells if c.key not in known], findings
    )


def _cells_of(data: Any, run: str) -> Iterable[Measured]:
    rows = data.get("cells", []) if isinstance(data, Mapping) else data
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, Mapping) or not {"model", "metric", "status"} <= set(row):
            continue
        ci = row.get("ci")
        value = row.get("value")
        yield Measured(
            device=str(row.get("device", "")),
            backend=str(row.get("backend", "")),
            backend_version=str(row.get("backend_version", "")),
            model=canonical(str(row["model"])),
            model_sha256=str(row.get("model_sha256", "")),
            precision=str(row.get("precision", "")),
            metric=str(row["metric"]),
            status=row["status"] if row["status"] in STATUSES else "failed",
            run=run,
            value=float(value) if isinstance(value, int | float) else None,
            unit=str(row.get("unit") or ""),
            ci=(float(ci[0]), float(ci[1]))
            if isinstance(ci, list) and len(ci) == 2 and None not in ci
            else None,
            blocks=tuple(tuple(map(float, b)) for b in row.get("blocks") or [] if isinstance(b, list)),
            source=str(row.get("source") or ""),
            reason=str(row.get("reason") or ""),
            extra=dict(row.get("extra") or {}),
        )


def aggregate(records: Iterable[BlockRecord], run: str) -> list[Measured]:
    """Blocks of one cell become one measured cell, by the rules of ``bench.cells``."""
    return [_one_cell(key, blocks, run) for key, blocks in group(list(records)).items()]


def _one_cell(key: tuple[str, str, str, str, str], blocks: list[BlockRecord], run: str) -> Measured:
    device, backend, model, precision, metric = key
    good = [b for b in blocks if b.status == "measured"]
    shown = good[-1] if good else blocks[-1]
    base = Measured(
        device=device,
        backend=backend,
        backend_version=shown.cell.backend_version,
        model=canonical(model),
        model_sha256=shown.cell.model_sha256,
        precision=precision,
        metric=metric,
        status=shown.status,
        run=run,
        reason=shown.reason,
        unit=str(shown.extra.get("unit") or UNITS.get(metric, "")),
        source=str(shown.extra.get("source") or SOURCES.get(metric, "")),
        extra=shown.extra,
        records=tuple(blocks),
    )
    if not any(b.samples_ms for b in blocks):
        # A metric whose result is a structure (a profile) has no samples; its numbers lie in ``extra``.
        value = shown.extra.get("value") if good else None
        return replace(base, value=float(value) if isinstance(value, int | float) else None)
    cell = make_cell(Case(device, backend, model, metric, precision), blocks, len(blocks))
    several = len(cell.blocks) > 1 or any(len(b) > 1 for b in cell.blocks)
    return replace(
        base,
        status=cell.status,
        reason=cell.reason,
        value=cell.value,
        ci=(cell.ci[0], cell.ci[1]) if cell.ci and several else None,
        blocks=tuple(tuple(b) for b in cell.blocks),
        extra={**shown.extra, **{k: v for k, v in cell.extra.items() if v is not None}},
    )
