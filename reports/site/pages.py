"""What the pages about devices, models, runs and history show."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from bench.stats.changepoints import potts
from reports import costs, profiles
from reports.figures.roofline import peaks
from reports.measured import Measured, Run, Store, slug
from reports.model_names import core_ratio, image_size
from reports.series import Series
from reports.site import spark
from reports.site.shape import cell_row, interval, model_file, plain
from reports.speeds import value_of
from reports.tables.render import number

LONGEST = 15
GRID_METRICS = {"latency": "Latency", "memory": "Peak memory"}


def device_facts(store: Store, device: str) -> list[tuple[str, str]]:
    """What the runs wrote about a device, newest first."""
    facts: dict[str, str] = {}
    for run in reversed(store.runs):
        if not any(c.device == device for c in run.cells):
            continue
        told = run.info.get("device")
        if isinstance(told, Mapping):
            facts.setdefault("Reached as", str(told.get("detail", "")))
            facts.setdefault("Class", str(told.get("device_class", "")))
        labels = (
            ("cpu_model", "Processor"),
            ("cpu", "Processor"),
            ("cpus", "Processors"),
            ("system", "System"),
        )
        for name, label in labels:
            said = run.environment.get(name)
            # A reading with provenance; a processor is a reading of several facts.
            said = said.get("value") if isinstance(said, Mapping) else said
            said = said.get("model") if isinstance(said, Mapping) else said
            if said:
                facts.setdefault(label, str(said))
    cells = store.find(device=device)
    true = list(dict.fromkeys(str(c.extra["true_backend"]) for c in cells if c.extra.get("true_backend")))
    if true:
        facts["Ran through"] = "; ".join(true)
    roof = peaks(store, device)
    if roof:
        facts["Measured roof"] = f"{roof[0]:.0f} GFLOP/s multiply-add, {roof[1]:.1f} GB/s copy"
    runs = [r.id for r in store.runs if any(c.device == device for c in r.cells)]
    facts["Runs"] = ", ".join(runs)
    return [(k, v) for k, v in facts.items() if v]


def grids(store: Store, device: str) -> list[dict[str, Any]]:
    """Models x backends, one grid per metric and precision."""
    found = []
    for metric, label in GRID_METRICS.items():
        for precision in dict.fromkeys(c.precision for c in store.find(device=device, metric=metric)):
            cells = store.find(device=device, metric=metric, precision=precision)
            backends = sorted({c.backend for c in cells}, key=lambda b: (not b.startswith("ecp"), b))
            unit = next((c.unit for c in cells if c.unit), "")
            rows = [
                _grid_row(m, [c for c in cells if c.model == m], backends)
                for m in dict.fromkeys(c.model for c in cells)
            ]
            rows.sort(key=lambda r: r["order"])
            found.append(
                {
                    "id": f"{metric}-{precision}",
                    "title": f"{label}, {precision}",
                    "caption": f"{unit}; below each value its 95 % interval, or why there is none. Bold: best.",
                    "backends": backends,
                    "rows": rows,
                }
            )
    return found


def _grid_row(model: str, cells: list[Measured], backends: list[str]) -> dict[str, Any]:
    best = min((value_of(c) for c in cells if c.ok), default=None)
    by = {c.backend: c for c in cells}
    shown = []
    for backend in backends:
        cell = by.get(backend)
        if cell is None:
            shown.append({"text": "", "sub": "", "best": False, "sort": ""})
        elif cell.ok:
            text = number(cell.value)
            shown.append(
                {"text": text, "sub": interval(cell.ci), "best": cell.value == best, "sort": cell.value}
            )
        else:
            shown.append({"text": cell.status, "sub": cell.reason[:90], "best": False, "sort": ""})
    return {
        "model": model,
        "note": "",
        "file": slug(model),
        "cells": shown,
        "order": best if best is not None else float("inf"),
    }


def model_facts(store: Store, model: str) -> list[tuple[str, str]]:
    """Size and input of a model."""
    facts = []
    info = store.model_info(model)
    cost = costs.of(model, store)
    if cost:
        facts += [("Parameters", f"{cost.params_m:.2f} M"), ("MACs", f"{cost.macs_g:.3f} G, {cost.source}")]
    ratio = core_ratio(model)
    facts.append(("Attention", "full" if ratio is None else f"core-periphery, core ratio {ratio:g}"))
    facts.append(
        (
            "Input",
            f"{image_size(model)} x {image_size(model)} pixels" if ":" not in model else "as in the file",
        )
    )
    if info.get("weights"):
        facts.append(("Weights", str(info["weights"])))
    hashes = {c.model_sha256 for c in store.find(model=model) if c.model_sha256}
    facts += [("ONNX file", f"SHA-256 {h}") for h in sorted(hashes)]
    return facts


def compile_reports(store: Store, model: str) -> list[dict[str, Any]]:
    """What ecp reported when it compiled the model, per device and precision."""
    found = []
    for cell in store.find(model=model, backend="ecp", metric="latency"):
        details = cell.extra.get("details")
        if not isinstance(details, Mapping) or "launches" not in details:
            continue
        labels = (
            ("imported_nodes", "operators in the file"),
            ("transformative_nodes", "of them move data only"),
            ("eliminated", "of those eliminated"),
            ("launches", "launches per inference"),
            ("layout_launches", "launches that only move data"),
        )
        tiles = [{"value": details[k], "label": label} for k, label in labels if details.get(k) is not None]
        if details.get("arena_bytes"):
            tiles.append(
                {"value": f"{details['arena_bytes'] / 2**20:.1f} MiB", "label": "for intermediate results"}
            )
        if details.get("naive_bytes"):
            tiles.append(
                {"value": f"{details['naive_bytes'] / 2**20:.1f} MiB", "label": "without sharing memory"}
            )
        left = [(str(m[0]), str(m[1])) for m in details.get("materialized") or [] if len(m) >= 2]
        where = f"{cell.device}, {cell.precision}"
        found.append({"id": slug(f"compiler-{where}"), "where": where, "tiles": tiles, "materialized": left})
    return found


def profile_views(store: Store, model: str) -> list[dict[str, Any]]:
    """Time by kind and the longest operators, per profiled backend."""
    return [v for cell in store.find(model=model, metric="profile") if (v := _profile_view(cell))]


def _profile_view(cell: Measured) -> dict[str, Any] | None:
    split = profiles.split(cell)
    if split is None or not split.total_ms:
        return None
    hooks = "" if split.overhead is None else f" (which took {100 * split.overhead:+.0f} % in time)"
    rows = [dict(r) for r in (profiles.launches(cell) or profiles.heaviest(cell))]
    most = max(split.classes.values(), default=1.0) or 1.0
    return {
        "id": cell.slug,
        "file": cell.slug + "-" + slug(cell.device),
        "where": f"{cell.backend} on {cell.device}, {cell.precision}",
        "note": f"{number(split.total_ms)} ms of a plain pass, divided by the shares of a profiled one{hooks}. "
        "Orange: moves data only.",
        "rows": rows,
        "kinds": [
            {
                "name": k,
                "ms": number(ms),
                "share": f"{100 * ms / split.total_ms:.1f}",
                "width": round(120 * ms / most),
                "layout": k == profiles.LAYOUT,
            }
            for k, ms in sorted(split.classes.items(), key=lambda item: -item[1])
        ],
        "longest": [_longest(r) for r in sorted(rows, key=lambda r: -_ms(r))[:LONGEST]],
    }


def _ms(row: Mapping[str, Any]) -> float:
    return float(row.get("ms", row.get("hooked_ms", 0.0)))


def _longest(row: Mapping[str, Any]) -> dict[str, str]:
    nodes = row.get("nodes")
    text = ", ".join(map(str, nodes)) if isinstance(nodes, list | tuple) else ""
    count = f"{row['count']} times" if "count" in row else ""
    return {
        "name": str(row.get("name", row.get("op", ""))),
        "kind": str(row.get("family", row.get("class", ""))),
        "ms": number(_ms(row)),
        "nodes": count + (text if len(text) <= 160 else text[:157] + "…"),
    }


def run_facts(run: Run) -> list[tuple[str, str]]:
    """What a run was."""
    info = run.info
    command = info.get("command")
    facts = [
        ("Run", str(info.get("run_id", run.id))),
        ("Date", run.date),
        ("Command", " ".join(map(str, command)) if isinstance(command, list) else ""),
        ("State", str(info.get("state", ""))),
        ("Blocks", str(len(run.records)) if run.records else ""),
        ("Cells", str(len(run.cells))),
    ]
    return [(k, v) for k, v in facts if v]


def environment_facts(run: Run) -> list[tuple[str, str]]:
    """The environment, flattened; readings with provenance show value and source."""
    facts = []
    for name, value in run.environment.items():
        if isinstance(value, Mapping) and "value" in value:
            source = f" ({value['source']})" if value.get("source") else ""
            facts.append((name, f"{plain(value['value'])}{source}"))
        elif value is not None:
            facts.append((name, plain(value)))
    return facts


def validity(run: Run) -> list[dict[str, Any]]:
    """Numeric readings before and after the blocks: lowest, median, highest; unreadable ones are counted."""
    readings: dict[str, list[float]] = {}
    missing: dict[str, int] = {}
    for record in run.records:
        for state in (record.env_before, record.env_after):
            for name, value in _flat(state):
                if value is None:
                    missing[name] = missing.get(name, 0) + 1
                elif name != "unix_time":
                    readings.setdefault(name, []).append(value)
    rows = [
        {
            "name": name,
            "low": f"{min(v):.6g}",
            "middle": f"{median(v):.6g}",
            "high": f"{max(v):.6g}",
            "count": len(v),
        }
        for name, v in readings.items()
    ]
    unknown = [n for n in missing if n not in readings]
    return rows + [
        {"name": n, "low": "unknown", "middle": "unknown", "high": "unknown", "count": 0} for n in unknown
    ]


def _flat(state: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float | None]]:
    found: list[tuple[str, float | None]] = []
    for name, value in state.items():
        label = f"{prefix}{name}"
        if isinstance(value, Mapping):
            if "value" in value:
                value = value["value"]
            else:
                found += _flat(value, f"{label}.")
                continue
        if isinstance(value, bool):
            continue
        if value is None or isinstance(value, int | float):
            found.append((label, value if value is None else float(value)))
    return found


def run_cells(run: Run) -> list[dict[str, Any]]:
    """The cells of one run, anchors unique."""
    return [cell_row(c) | {"anchor": f"c{i}-{c.slug}"} for i, c in enumerate(run.cells)]


def history_rows(series: list[Series]) -> list[dict[str, Any]]:
    """Series for the history page, largest change first."""
    rows = []
    for s in series:
        cell = s.cell
        pieces = [(p.start, p.stop, p.level) for p in potts(s.values)]
        rows.append(
            {
                "model": cell.model,
                "model_file": model_file(cell.model),
                "backend": cell.backend,
                "precision": cell.precision,
                "metric": cell.metric,
                "device": cell.device,
                "variant": cell.variant,
                "count": len(s.points),
                "first": number(s.values[0]),
                "last": number(s.values[-1]),
                "unit": cell.unit,
                "change": f"{100 * s.change:+.1f} %",
                "sort": s.change,
                "spark": spark.course(s.values, pieces),
                "steps": [
                    {"run": p.run.id, "file": slug(p.run.id), "text": f"{100 * (ratio - 1):+.1f} %"}
                    for p, ratio in s.changes
                ],
                "none": s.why_none,
            }
        )
    return sorted(rows, key=lambda r: -abs(r["sort"]))
