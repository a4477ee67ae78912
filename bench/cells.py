"""Records -> cells: one row of the JSON output per device x backend x model x precision x metric."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.metrics import SOURCES, UNITS
from bench.models import spec
from bench.plan import Case
from bench.records import BlockRecord
from bench.stats.median_interval import FEW, blocks_interval
from bench.stats.percentiles import percentile
from ecp.errors import UsageError

PAPER_RUNS = 50


@dataclass(frozen=True)
class Cell:
    """One measured (or not measured) value, as ``--json`` gives it. A cell that is not ``measured`` has no value."""

    device: str
    backend: str
    backend_version: str
    model: str
    model_sha256: str
    precision: str
    metric: str
    status: str
    value: float | None
    unit: str
    ci: list[float] | None
    blocks: list[list[float]]
    source: str
    reason: str
    extra: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return asdict(self)


def group(records: Sequence[BlockRecord]) -> dict[tuple[str, str, str, str, str], list[BlockRecord]]:
    """Records by (device, backend, model, precision, metric), in order of appearance."""
    table: dict[tuple[str, str, str, str, str], list[BlockRecord]] = {}
    for record in records:
        c = record.cell
        table.setdefault((c.device, c.backend, c.model, c.precision, c.metric), []).append(record)
    return table


def make_cells(cases: Sequence[Case], records: Sequence[BlockRecord], planned_blocks: int) -> list[Cell]:
    """One cell per case in the order asked; a case without a block is ``not-run``."""
    table = group(records)
    cells = []
    for case in cases:
        key = (case.device, case.backend, case.model, case.precision, case.metric)
        cells.append(make_cell(case, table.get(key, []), planned_blocks))
    return cells


def make_cell(case: Case, records: Sequence[BlockRecord], planned_blocks: int) -> Cell:
    """The cell of one case from its blocks; see :func:`_verdict` for what makes it ``measured``."""
    everything = records
    records = _standing(records)
    status, reason = _verdict(records)
    blocks = [r.samples_ms for r in records if r.samples_ms]
    value, ci = None, None
    if status == "measured":
        value = statistics.median(statistics.median(b) for b in blocks)
        ci = blocks_interval(blocks)
    shown = next(
        (r for r in records if r.status in ("measured", "unstable")), records[0] if records else None
    )
    extra = _extra(records, shown) if shown else {}
    if status == "measured" and case.metric == "latency":
        extra |= _latency_extra(blocks)
        extra["batch"] = batch_of(case.model)
        extra["images_per_s"] = extra["batch"] * 1e3 / value if extra["batch"] and value else None
    if status == "measured" and ci is None:
        extra["ci_reason"] = f"{len(blocks)} blocks: no 95 % interval under {FEW}"
    if status == "unstable" and blocks:
        extra["indicative"] = statistics.median(statistics.median(b) for b in blocks)
    return Cell(
        device=case.device,
        backend=case.backend,
        backend_version=shown.cell.backend_version if shown else "",
        model=case.model,
        model_sha256=shown.cell.model_sha256 if shown else "",
        precision=case.precision,
        metric=case.metric,
        status=status,
        value=value,
        unit=(shown.extra.get("unit") if shown else None) or UNITS.get(case.metric, ""),
        ci=None if ci is None else list(ci),
        blocks=blocks,
        source=(shown.extra.get("source") if shown else None) or SOURCES.get(case.metric, ""),
        reason=reason,
        extra=extra
        | {
            "blocks_planned": planned_blocks,
            "blocks_measured": len(blocks),
            "blocks_repeated": len(everything) - len(records),
        },
    )


def _standing(records: Sequence[BlockRecord]) -> list[BlockRecord]:
    """The last record of each block: an ``unstable`` block that was measured again is replaced by its repeat.

    Which blocks are repeated is decided by the gates alone, never by the value that came out.
    """
    last = {record.block: record for record in sorted(records, key=lambda r: r.seq)}
    return list(last.values())


def _verdict(records: Sequence[BlockRecord]) -> tuple[str, str]:
    """Status and reason of a cell.

    One failed block fails the cell: a backend that crashes or answers wrongly now and then has no latency.
    Blocks without a steady state are tolerated up to half; then the cell is ``unstable``.
    """
    if not records:
        return "not-run", "the run ended before this was measured; finish it with --resume"
    for status in ("unsupported", "unavailable", "failed", "not-run"):
        hit = [r for r in records if r.status == status]
        if hit:
            many = f"{len(hit)} of {len(records)} blocks: " if status == "failed" and len(records) > 1 else ""
            return status, many + hit[0].reason
    versions = {r.cell.backend_version for r in records}
    contents = {r.cell.model_sha256 for r in records}
    if len(versions) > 1 or len(contents) > 1:
        what = f"the backend ({', '.join(sorted(versions))})" if len(versions) > 1 else "the model file"
        return "failed", f"{what} changed during the run: its blocks are not repeats of one measurement"
    unstable = [r for r in records if r.status == "unstable"]
    if 2 * len(unstable) > len(records):
        return "unstable", f"{len(unstable)} of {len(records)} blocks: {unstable[0].reason}"
    if not any(r.samples_ms for r in records):
        return "failed", "its blocks are called measured, and none holds a sample"
    return "measured", ""


def batch_of(model: str) -> int | None:
    """Images of one inference, from the model's name; None where only its file knows."""
    try:
        found = spec.parse(model)
    except UsageError:
        return None
    return None if found.maker == "onnx" else found.batch


def _extra(records: Sequence[BlockRecord], shown: BlockRecord) -> dict[str, Any]:
    errors = [r.error["max_abs"] for r in records if r.error.get("max_abs") is not None]
    extra: dict[str, Any] = {
        "max_abs_error": max(errors) if errors else None,
        "error_limit": shown.error.get("limit"),
        "error_reference": shown.error.get("ref"),
        "top1_agreement": shown.error.get("top1_agreement"),
        "first_ms": _median([r.first_ms for r in records]),
        "compile_s": _median([r.compile_s for r in records]),
        "block_wall_s": _median([r.extra.get("block_wall_s") for r in records]),
        "harness_s": _median([_overhead(r) for r in records]),
        "unstable_blocks": sum(r.status == "unstable" for r in records),
        "threads": shown.extra.get("threads"),
        "true_backend": shown.extra.get("true_backend"),
        "details": shown.extra.get("details", {}),
        "options": shown.extra.get("options", {}),
    }
    if shown.cell.metric == "latency":
        extra |= _energy(records)
    if shown.cell.metric == "profile":
        extra["profile"] = shown.extra.get("profile")
    if shown.cell.metric == "memory":
        extra |= {
            k: _median([r.extra.get(k) for r in records])
            for k in ("idle_mib", "prepared_mib", "above_idle_mib")
        }
    return extra


def _energy(records: Sequence[BlockRecord]) -> dict[str, Any]:
    """Millijoules of an inference, median over measured blocks, or why the system shows none."""
    found = [r.extra["energy"] for r in records if r.status == "measured" and "energy" in r.extra]
    value = _median([e.get("value") for e in found])
    reason = next((e["reason"] for e in found if e.get("value") is None and "reason" in e), "")
    return {"energy_mj": value, **({"energy_reason": reason} if value is None and reason else {})}


def _latency_extra(blocks: list[list[float]]) -> dict[str, Any]:
    """Percentiles where the data support them, and the paper's protocol: the average of 50 runs of one process."""
    extra: dict[str, Any] = {}
    for p in (0.5, 0.9, 0.99):
        found = percentile(blocks, p)
        extra[f"p{round(100 * p)}_ms"] = found.value
        if found.value is None:
            extra[f"p{round(100 * p)}_reason"] = found.reason
    full = next((b for b in blocks if len(b) >= PAPER_RUNS), None)
    extra["paper_protocol_ms"] = statistics.fmean(full[:PAPER_RUNS]) if full else None
    return extra


def _overhead(record: BlockRecord) -> float | None:
    """Seconds of a block that were the harness's own: everything but compile, warm-up and samples."""
    wall = record.extra.get("block_wall_s")
    if wall is None or not record.samples_ms or record.cell.metric != "latency":
        return None
    timed = (sum(record.warmup_ms) + sum(record.samples_ms) + (record.first_ms or 0.0)) / 1e3
    return max(0.0, float(wall) - timed - (record.compile_s or 0.0))


def _median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.median(known) if known else None
