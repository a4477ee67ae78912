"""Measured cells: what the records of a folder say, aggregated per run and never across runs.

A records folder holds one folder per run (``<date>-<what>/``) with ``records.jsonl`` (blocks) and
``run.json``, or
``*.json`` files that commands wrote with ``--json`` (lists of cells), or both. Damaged content becomes a
finding,
not an error, so that one bad file cannot hide the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.cells import group, make_cell
from bench.metrics import SOURCES, UNITS
from bench.plan import Case
from bench.records import STATUSES, BlockRecord, read_records
from reports import trained

Key = tuple[str, str, str, str, str, str, str]
COMMITTED = Path(__file__).parent / "records"
DEFAULT_RATIO = 0.8
# The compiler's passes that an ablation turns off one by one.
SWITCHES = ("eliminate", "fuse", "layout_choice", "memory_plan")


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
    variant: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    records: tuple[BlockRecord, ...] = ()

    @property
    def ok(self) -> bool:
        """Measured, with a value."""
        return self.status == "measured" and self.value is not None

    @property
    def key(self) -> Key:
        """What the cell is about; two runs' cells with equal keys measured the same thing."""
        return (
            self.device,
            self.backend,
            self.model,
            self.precision,
            self.metric,
            self.variant,
            self.dataset,
        )

    @property
    def dataset(self) -> str:
        """Name of the labelled data set, or an empty string."""
        found = self.extra.get("dataset", "")
        return str(found.get("name", "") if isinstance(found, Mapping) else found)

    @property
    def slug(self) -> str:
        """Name usable in a file or an anchor."""
        return slug(
            "-".join(filter(None, (self.metric, self.model, self.backend, self.precision, self.variant)))
        )


def slug(text: str) -> str:
    """Lower-case letters, digits, points, dashes and underscores only."""
    return "".join(c if c.isalnum() or c in "-._" else "-" for c in text.lower())


def canonical(model: str) -> str:
    """One spelling per model: ``ecp_vit_tiny@0.80`` is ``ecp_vit_tiny``; order is ratio, image size, batch."""
    if model.startswith("onnx:"):
        return model
    name, ratio, size, batch = _parts(model)
    if name.startswith("ecp_") and ratio == DEFAULT_RATIO:
        ratio = None
    texts = [
        f"{ratio:g}" if ratio not in (None, 1.0) else "1.0" if ratio == 1.0 else "",
        str(size or ""),
        batch,
    ]
    return "@".join([name, *filter(None, texts)])


def _parts(model: str) -> tuple[str, float | None, int | None, str]:
    """(base name, core ratio, image size, ``bN``) of a registry name; unknown suffixes stay with the base name."""
    name, *suffixes = model.split("@")
    ratio, size, batch = None, None, ""
    for text in suffixes:
        if re.fullmatch(r"b\d+", text):
            batch = "" if text == "b1" else text
        elif re.fullmatch(r"\d{2,4}", text):
            size = int(text)
        elif re.fullmatch(r"\d?\.?\d+|\d\.", text):
            ratio = float(text)
        else:
            name += f"@{text}"
    return name, ratio, size, batch


def core_ratio(model: str) -> float | None:
    """The core ratio in a model's name; None for a model without core-periphery attention."""
    name, ratio, _, _ = _parts(model)
    if not name.startswith("ecp_"):
        return None
    return DEFAULT_RATIO if ratio is None else ratio


def base_name(model: str) -> str:
    """The registry's name without ratio, size and batch."""
    return model if model.startswith("onnx:") else _parts(model)[0]


def image_size(model: str) -> int:
    """The input's side in pixels, 224 where the name does not say."""
    return _parts(model)[2] or 224


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
    by_key: dict[Key, Measured] = {}
    for file in sorted(path.rglob("records.jsonl")):
        result = read_records(file)
        records += result.records
        findings += result.findings
        # Several runs in one folder stay apart: of two that measured the same, the later one stands.
        for cell in aggregate(result.records, path.name):
            old = by_key.get(cell.key)
            if old is None or cell.ok or not old.ok:
                by_key[cell.key] = cell
    summaries: list[Any] = []
    for file in sorted(path.rglob("*.json")):
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            findings.append(f"{file.relative_to(path)}: not readable as JSON ({error})")
            continue
        if file.name == "run.json":
            info = _merge(info, dict(data))
        elif trained.is_summary(data):
            summaries.append(data)
        else:
            found = list(_cells_of(data, path.name))
            cells += found
            if not found:
                findings.append(f"{file.relative_to(path)}: holds no cells")
    cells += _cells_of(trained.cells(summaries), path.name)
    others = [c for c in cells if c.key not in by_key]
    return Run(path.name, path, info, records, [*by_key.values(), *others], findings)


def _merge(info: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Facts of a folder with several run.json: the first counts, the models of all are kept."""
    if not info:
        return more
    return info | {"models": {**(more.get("models") or {}), **(info.get("models") or {})}}


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
            variant=str(row.get("variant") or ""),
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


def variant_of(record: BlockRecord) -> str:
    """The backend settings of a record (``eliminate=off``, ``precision=low``), or an empty string.

    A setting is ``BACKEND.KEY`` as ``--set`` takes it, or a pass of the compiler; other options change nothing.
    """
    options = record.extra.get("options")
    texts = []
    for name, value in sorted(options.items()) if isinstance(options, Mapping) else ():
        _, dot, setting = name.partition(".")
        key = setting if dot else name
        if key in SWITCHES:
            texts += [f"{key}=off"] if str(value).lower() in ("false", "0", "off") else []
        elif dot:
            texts.append(f"{key}={value}")
    return " ".join(texts)


def is_ablation(variant: str) -> bool:
    """Whether a variant is the compiler with passes turned off, and nothing else."""
    return bool(variant) and {t.removesuffix("=off") for t in variant.split()} <= set(SWITCHES)


def aggregate(records: Iterable[BlockRecord], run: str) -> list[Measured]:
    """Blocks of one cell become one measured cell, by the rules of ``bench.cells``; ablations stay apart."""
    by_variant: dict[str, list[BlockRecord]] = {}
    for record in records:
        by_variant.setdefault(variant_of(record), []).append(record)
    return [
        _one_cell(key, variant, blocks, run)
        for variant, some in by_variant.items()
        for key, blocks in group(some).items()
    ]


def _one_cell(
    key: tuple[str, str, str, str, str], variant: str, blocks: list[BlockRecord], run: str
) -> Measured:
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
        variant=variant,
        status=shown.status,
        run=run,
        reason=shown.reason,
        unit=str(shown.extra.get("unit") or UNITS.get(metric, "")),
        source=str(shown.extra.get("source") or SOURCES.get(metric, "")),
        extra=shown.extra,
        records=tuple(blocks),
    )
    if metric == "limits":
        return _limit(base, blocks)
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


def _limit(base: Measured, tries: list[BlockRecord]) -> Measured:
    """Largest batch that ran; the blocks are tries of growing batch, the last of which may have failed."""
    ran = [int(t.extra["batch"]) for t in tries if t.status == "measured" and "batch" in t.extra]
    failed = next((t for t in tries if t.status != "measured"), None)
    first = {"batch": failed.extra.get("batch"), "reason": failed.reason} if failed else None
    extra = {**base.extra, "first_failure": first}
    if not ran:
        return replace(base, unit="batch", source="wall", extra=extra)
    return replace(
        base, status="measured", reason="", value=float(max(ran)), unit="batch", source="wall", extra=extra
    )
