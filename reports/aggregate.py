"""From a run's blocks, or from cells that a command wrote as JSON, to measured cells. Nothing here mixes runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench import limits
from bench.cells import group, make_cell
from bench.metrics import SOURCES, UNITS
from bench.plan import Case
from bench.records import STATUSES, BlockRecord
from ecp.options import SWITCHES
from reports import versus
from reports.cell import Measured
from reports.model_names import canonical

SEARCH = "tune-baselines"
USUAL_THREADS = 2


def from_rows(rows: Iterable[Any], run: str) -> Iterable[Measured]:
    """Cells in the form of ``--json``; what does not look like one is left out."""
    for row in rows:
        if not isinstance(row, Mapping) or not {"model", "metric", "status"} <= set(row):
            continue
        ci = row.get("ci")
        value = row.get("value")
        extra = dict(row.get("extra") or {})
        yield Measured(
            device=str(row.get("device", "")),
            backend=str(row.get("backend", "")),
            backend_version=str(row.get("backend_version", "")),
            model=canonical(str(row["model"])),
            model_sha256=str(row.get("model_sha256", "")),
            precision=str(row.get("precision", "")),
            metric=str(row["metric"]),
            variant=str(row.get("variant") or _variant(extra.get("options"), _searched(extra))),
            against=str(row.get("against") or ""),
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
            extra=extra,
        )


def _searched(extra: Mapping[str, Any]) -> int | None:
    """Threads of a cell that ``tune-baselines`` wrote: it alone marks the best of several settings."""
    threads = extra.get("threads")
    return threads if "best" in extra and isinstance(threads, int) else None


def _variant(options: Any, threads: int | None) -> str:
    """The settings that are not the usual ones (``eliminate=off``, ``threads=1``), or an empty string.

    A setting is ``BACKEND.KEY`` as ``--set`` takes it, or a pass of the compiler; other options change nothing.
    """
    texts = []
    for name, value in sorted(options.items()) if isinstance(options, Mapping) else ():
        _, dot, setting = name.partition(".")
        key = setting if dot else name
        if key in SWITCHES:
            texts += [f"{key}=off"] if str(value).lower() in ("false", "0", "off") else []
        elif dot:
            texts.append(f"{key}={value}")
    return " ".join([*texts, *([] if threads is None else [f"threads={threads}"])])


def variant_of(record: BlockRecord, info: Mapping[str, Any] = {}) -> str:
    """A record's unusual settings; ``info`` is its run.json.

    A number of threads that somebody asked for is one of them unless it is what everybody gets. In a search for the
    best setting each is: its cells are there to be compared with one another and stand in no other table.
    """
    request, command = info.get("request"), info.get("command")
    asked = request.get("threads") if isinstance(request, Mapping) else None
    search = isinstance(command, list) and SEARCH in command[:2]
    threads = asked if isinstance(asked, int) and (search or asked != USUAL_THREADS) else None
    return _variant(record.extra.get("options"), threads)


def is_ablation(variant: str) -> bool:
    """Whether a variant is the compiler with passes turned off, and nothing else."""
    return bool(variant) and {t.removesuffix("=off") for t in variant.split()} <= set(SWITCHES)


def is_search(variant: str) -> bool:
    """Whether a variant is a number of threads, and nothing else."""
    return variant.startswith("threads=") and " " not in variant


def aggregate(
    records: Sequence[BlockRecord], run: str, info: Mapping[str, Any] = {}
) -> tuple[list[Measured], list[str]]:
    """Blocks of one cell become one measured cell, by the rules of ``bench``; variants stay apart.

    ``info`` is the run.json beside the records. Also gives a sentence for each thing that could not be read.
    """
    alone = [r for r in records if r.cell.metric != versus.METRIC]
    by_variant: dict[str, list[BlockRecord]] = {}
    for record in alone:
        by_variant.setdefault(variant_of(record, info), []).append(record)
    cells = [
        _one_cell(key, variant, blocks, run, info)
        for variant, some in by_variant.items()
        for key, blocks in group(some).items()
    ]
    turns, findings = _took_turns(records, run, info)
    return cells + turns, findings


def _took_turns(
    records: Sequence[BlockRecord], run: str, info: Mapping[str, Any]
) -> tuple[list[Measured], list[str]]:
    """Ratios of contenders that took turns. One contender's unusual setting is the whole group's."""
    mine = [r for r in records if r.cell.metric == versus.METRIC]
    rows, findings = versus.rows(mine, info)
    cells = []
    for row in rows:
        members = {(m["backend"], m["model"]) for m in rows if m["group"] == row["group"]}
        variants = {
            f"{r.cell.backend} {v}"
            for r in mine
            if (r.cell.backend, r.cell.model) in members and (v := variant_of(r, info))
        }
        own = tuple(
            r
            for r in mine
            if (r.cell.backend, r.cell.model) == (row["backend"], row["model"]) and r.samples_ms
        )
        (cell,) = from_rows([row | {"variant": " ".join(sorted(variants))}], run)
        cells.append(replace(cell, records=own))
    return cells, findings


def _one_cell(
    key: tuple[str, str, str, str, str],
    variant: str,
    blocks: list[BlockRecord],
    run: str,
    info: Mapping[str, Any],
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
    if metric == limits.METRIC:
        return _limit(base, blocks, info)
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


def _limit(base: Measured, tries: list[BlockRecord], info: Mapping[str, Any]) -> Measured:
    """Largest batch that ran; the blocks are tries of growing batch, the last of which may have failed.

    A climb that was stopped in between has no value, by the rule of ``bench.limits``.
    """
    rows: list[dict[str, Any]] = [{"status": t.status, "batch": int(t.extra.get("batch", 0))} for t in tries]
    ran = [r["batch"] for r in rows if r["status"] == "measured" and r["batch"]]
    failed = next((t for t in tries if t.status != "measured"), None)
    first = {"batch": failed.extra.get("batch"), "reason": failed.reason} if failed else None
    peaks = [t.extra["peak_mib"] for t in tries if t.status == "measured" and "peak_mib" in t.extra]
    extra = {**base.extra, "first_failure": first, "peak_mib": peaks[-1] if peaks else None}
    request = info.get("request")
    most = request.get("max_batch") if isinstance(request, Mapping) else None
    base = replace(base, unit="batch", source="wall", extra=extra)
    if isinstance(most, int) and not limits.finished(rows, most):
        return replace(base, status="not-run", reason=limits.OVER)
    if not ran:
        return replace(base, reason=failed.reason if failed else base.reason)
    return replace(base, status="measured", reason="", value=float(max(ran)))
