"""Further tables of the device and model pages: limits, settings tried, kernels against the roof, cache misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports import profiles
from reports.aggregate import is_search
from reports.measured import Measured, Store, slug
from reports.site.shape import interval
from reports.tables.render import number

LEVELS = ("L1", "L2", "L3")


def grids(store: Store, device: str) -> list[dict[str, Any]]:
    """Tables of a device in the form of ``pages.grids``: largest batches, and every setting that was tried."""
    return [*_limits(store, device), *_settings(store, device)]


def _grid(
    name: str, title: str, caption: str, columns: Sequence[str], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    return {"id": name, "title": title, "caption": caption, "backends": list(columns), "rows": rows}


def _row(
    model: str, note: str, cells: Mapping[str, Measured], columns: Sequence[str], best: float | None
) -> dict[str, Any]:
    shown = [_shown(cells.get(c), best) for c in columns]
    return {"model": model, "note": note, "file": slug(model), "cells": shown}


def _shown(cell: Measured | None, best: float | None) -> dict[str, Any]:
    if cell is None:
        return {"text": "", "sub": "", "best": False, "sort": ""}
    if not cell.ok:
        return {"text": cell.status, "sub": cell.reason[:90], "best": False, "sort": ""}
    if cell.metric == "limits":
        text, sub = f"{cell.value:.0f}", _ended(cell)
    else:
        text, sub = number(cell.value), interval(cell.ci)
    return {"text": text, "sub": sub, "best": cell.value == best, "sort": cell.value}


def _ended(cell: Measured) -> str:
    """Why there is no larger batch."""
    first = cell.extra.get("first_failure")
    if not isinstance(first, Mapping):
        return "largest asked"
    return f"{first.get('batch')}: {first.get('reason')}"[:90]


def _limits(store: Store, device: str) -> list[dict[str, Any]]:
    found = []
    for precision in dict.fromkeys(c.precision for c in store.find(device=device, metric="limits")):
        cells = store.find(device=device, metric="limits", precision=precision)
        columns = sorted({c.backend for c in cells}, key=lambda b: (not b.startswith("ecp"), b))
        rows = []
        for model in dict.fromkeys(c.model for c in cells):
            mine = {c.backend: c for c in cells if c.model == model}
            best = max((c.value for c in mine.values() if c.value is not None), default=None)
            rows.append(_row(model, "", mine, columns, best))
        caption = (
            "Largest of the batches 1, 2, 4, ... that ran; below it what ended the climb. "
            "Every try is a process with limits of time and memory."
        )
        found.append(_grid(f"limits-{precision}", f"Largest batch, {precision}", caption, columns, rows))
    return found


def _settings(store: Store, device: str) -> list[dict[str, Any]]:
    cells = [
        c
        for c in store.latest.values()
        if c.device == device and c.metric == "latency" and is_search(c.variant)
    ]
    if not cells:
        return []
    columns = sorted({c.variant for c in cells}, key=lambda v: int(v.removeprefix("threads=")))
    rows = []
    for model, backend, precision in dict.fromkeys((c.model, c.backend, c.precision) for c in cells):
        mine = {
            c.variant: c for c in cells if (c.model, c.backend, c.precision) == (model, backend, precision)
        }
        best = min((c.value for c in mine.values() if c.value is not None), default=None)
        rows.append(_row(model, f"{backend}, {precision}", mine, columns, best))
    caption = (
        "ms; below each value its 95 % interval. Bold: best of the row. Each setting was a run of its own, one after "
        "the other: on a machine that changes its speed small differences say nothing."
    )
    return [_grid("settings", "Settings tried for each framework", caption, columns, rows)]


def kernels(store: Store, model: str) -> list[dict[str, Any]]:
    """Each kernel of a model against the device's roof, as ``bench roofline`` measured both."""
    found = []
    for cell in store.find(model=model, metric="roofline"):
        rows = [r for r in cell.extra.get("kernels") or [] if isinstance(r, Mapping)]
        if not rows:
            continue
        found.append(
            {
                "id": f"roof-{slug(cell.device)}-{cell.precision}",
                "file": f"{cell.slug}-{slug(cell.device)}",
                "title": f"Kernels against the roof, {cell.device}, {cell.precision}",
                "note": f"The roof alone would take {number(cell.value)} % of the launches' time.",
                "columns": ["Kernel", "Launches", "ms", "GFLOP/s", "GB/s", "Share of the roof, %"],
                "rows": [
                    [
                        str(r.get("kernel", "")),
                        str(r.get("launches", "")),
                        *(number(_of(r, k)) for k in ("ms", "gflops", "gbs")),
                        number(100 * (_of(r, "of_roofline") or 0.0)),
                    ]
                    for r in rows
                ],
            }
        )
    return found


def misses(store: Store, model: str) -> list[dict[str, Any]]:
    """Miss rates of each cache level, of the whole model and of its kernels, with their source."""
    found = []
    for cell in store.find(model=model, metric="cache"):
        total = [profiles.miss_rate(cell, level) for level in LEVELS]
        if not cell.ok or not any(v is not None for v in total):
            continue
        inside = cell.extra.get("kernels")
        parts = inside.items() if isinstance(inside, Mapping) else ()
        geometry = cell.extra.get("geometry")
        caches = f", caches of {geometry.get('of')}" if isinstance(geometry, Mapping) else ""
        simulated = " simulated, not counted by a processor" if "sim" in cell.source else ""
        found.append(
            {
                "id": f"cache-{slug(cell.device)}-{cell.precision}",
                "file": f"{cell.slug}-{slug(cell.device)}",
                "title": f"Cache misses, {cell.backend} on {cell.device}, {cell.precision}",
                "note": f"Source: {cell.source}{simulated}{caches}. A rate is the share of the references that reach a "
                "level and miss there.",
                "columns": ["Kernel", "Launches", *(f"{level} misses, %" for level in LEVELS)],
                "rows": [
                    ["all", str((cell.extra.get("counts") or {}).get("launches", "")), *map(number, total)],
                    *([name, str(k.get("launches", "")), *_rates(k)] for name, k in parts),
                ],
            }
        )
    return found


def _rates(kernel: Mapping[str, Any]) -> list[str]:
    rates = kernel.get("miss_rates")
    return [number(_of(rates, level)) if isinstance(rates, Mapping) else "" for level in LEVELS]


def _of(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else None
