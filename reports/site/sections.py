"""The pages' contents: from the builder's shared parts to one call of a template each."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from reports import numbers, versus
from reports.audit import render as audit_render
from reports.audit.base import MEANING as AUDIT_MEANING
from reports.measured import Measured, slug
from reports.series import all_series
from reports.site import extras, notes, pages, shape
from reports.speeds import speed_summary
from reports.tables import render
from reports.tables.find import is_ours
from reports.verdicts import ACCURACY_POINTS, COUNTED, MEANING, TOLERANCE, Match

if TYPE_CHECKING:
    from reports.site.build import Builder

ACCURACY_TABLES = ("t2", "t3", "t4", "t5")
# Figures of the first page; those of times alone stand on the pages of their devices.
LEAD = ("versus-", "length-turns-", "table3-curve")


def meanings() -> list[tuple[str, str]]:
    """Verdicts on numbers with their explanations."""
    return [(str(m), MEANING[m]) for m in Match]


def tolerance() -> str:
    """The tolerances as a sentence."""
    parts = [f"{metric} {100 * t:g} %" for metric, t in TOLERANCE.items()]
    counts = f"for {' and '.join(COUNTED)} also the rounding of the printed digits"
    return ", ".join([*parts, f"accuracy {ACCURACY_POINTS} points", counts])


def overview(b: Builder) -> None:
    """The first page."""
    total = sum(1 for _ in numbers.everything())
    counts: Counter[str] = Counter()
    for table in b.tables:
        if table.device in ("", b.pairs[0][0] if b.pairs else ""):
            counts.update(table.counts)
    audit_counts = audit_render.counts(b.audited)
    summary = speed_summary(b.store)
    plain = [r for r in summary if "@" not in r["model"]]
    faster = sum(r["verdict"] == "faster" for r in summary)
    tiles = [
        {"value": total, "label": "published numbers held as data"},
        {
            "value": f"{audit_counts['holds']} of {len(b.audited)}",
            "label": "audited claims hold as published",
        },
        {"value": counts["reproduced"], "label": "table cells reproduced"},
        {"value": counts["direction reproduced"], "label": "table cells with the paper's direction"},
        {"value": counts["differs"], "label": "table cells that differ"},
        {"value": counts["not measured"], "label": "table cells not measured"},
    ]
    if summary:
        tiles.insert(2, {"value": f"{faster} of {len(summary)}", "label": "cases where ecp is fastest"})
    turns = [r for r in b.turns if r["ratio"] and is_ours(r["first"])]
    if turns:
        ahead = sum(r["verdict"] == "faster" for r in turns)
        label = "pairs that took turns in which ecp is faster"
        tiles.insert(2, {"value": f"{ahead} of {len(turns)}", "label": label})
    lead = [f for kind in LEAD for f in b.figures if f.id.startswith(kind)]
    if b.turns:
        b.data("data/versus.csv", versus_csv(b.turns))
    b.page(
        "index.html",
        "index.html",
        "index.html",
        title="Overview",
        tiles=tiles,
        summary=plain or summary,
        other_summary=[r for r in summary if "@" in r["model"]] if plain else [],
        lead=lead,
        turns=[r for r in b.turns if r["told_by"] == "backend"],
        model_turns=[r for r in b.turns if r["told_by"] == "model"],
        tables=b.shaped,
        audit_counts=audit_counts,
        audit_total=len(b.audited),
        gaps=b.gaps_everywhere(),
    )


def versus_csv(rows: list[dict[str, Any]]) -> str:
    """The table of ratios as CSV, without what only a page needs."""
    fields = tuple(k for k in rows[0] if not k.endswith("_file"))
    return render.to_csv([{k: str(r[k]) for k in fields} for r in rows], fields)


def published(b: Builder) -> None:
    """Tables 1-7 and the other published numbers."""
    by_place: dict[str, list[dict[str, Any]]] = {}
    for table, shaped in zip(b.tables, b.shaped):
        name = (
            "Accuracy, parameters and MACs" if table.paper.id in ACCURACY_TABLES else f"On {shaped['where']}"
        )
        by_place.setdefault(name, []).append(shaped)
    values = list(numbers.everything())
    fields = ("id", "printed", "value", "unit", "what", "place", "conditions")
    rows = [{f: str(getattr(p, f)) for f in fields} for p in values]
    b.data("data/published.csv", render.to_csv(rows, fields))
    b.page(
        "published.html",
        "published.html",
        "published.html",
        title="Published against measured",
        tables=b.shaped,
        groups=[{"id": slug(k), "name": k, "tables": v} for k, v in by_place.items()],
        meanings=meanings(),
        loose=[*numbers.loose("figures"), *numbers.loose("text")],
        drawn=numbers.drawn_only(),
        total=len(values),
    )


def audit(b: Builder) -> None:
    """The claims audit, also as data."""
    b.data("data/audit.csv", audit_render.csv_text(b.audited))
    b.data("data/audit.json", audit_render.json_text(b.audited))
    b.data("data/audit.md", audit_render.markdown(b.audited))
    b.page(
        "audit.html",
        "audit.html",
        "audit.html",
        title="Claims audit",
        rows=[r.as_row() for r in b.audited],
        counts=audit_render.counts(b.audited),
        meanings=[(str(k), v) for k, v in AUDIT_MEANING.items()],
        externals=numbers.externals(),
    )


def devices(b: Builder) -> None:
    """A page per device and their list."""
    rows = []
    # "NVIDIA H200", as a training names it, and "nvidia-h200" would be one file: the name of devices.yaml counts.
    names = {slug(d): d for d in sorted(b.store.names("device", lambda c: bool(c.device)))}
    for name, device in names.items():
        cells = [c for c in b.store.find() if slug(c.device) == name]
        metrics = ", ".join(dict.fromkeys(c.metric for c in cells))
        counted = len({c.model for c in cells}), len({c.backend for c in cells})
        rows.append({"href": f"{name}.html", "name": device, "cells": [metrics, *counted]})
        b.page(
            f"devices/{name}.html",
            "device.html",
            "devices/index.html",
            title=device,
            device=device,
            facts=pages.device_facts(b.store, device),
            turns=[r for r in b.turns if r["device"] == device],
            grids=[*pages.grids(b.store, device), *extras.grids(b.store, device)],
            figures=[f for f in b.figures if f.where.startswith(f"{device}, ")],
            gaps=[g for where, some in b.gaps.items() if where.startswith(f"{device}, ") for g in some],
        )
    b.page(
        "devices/index.html",
        "list.html",
        "devices/index.html",
        title="Devices",
        lead="What was measured on. Numbers of two devices are never mixed.",
        headers=["Device", "Metrics", "Models", "Backends"],
        rows=rows,
    )


def models(b: Builder) -> None:
    """A page per model and their list."""
    rows = []
    for model in sorted(b.store.names("model", lambda c: bool(shape.model_file(c.model)))):
        cells = b.store.find(model=model)
        name = slug(model)
        best = min((c.value for c in cells if c.metric == "latency" and c.ok and c.value), default=None)
        shown = f"{render.number(best)} ms" if best else ""
        backends = ", ".join(sorted({c.backend for c in cells if c.backend}))
        rows.append({"href": f"{name}.html", "name": model, "cells": [shown, backends]})
        views = pages.profile_views(b.store, model)
        for view in views:
            fields = tuple(shape.columns(view["rows"]))
            text = render.to_csv([{k: str(v) for k, v in r.items()} for r in view["rows"]], fields)
            b.data(f"data/{view['file']}.csv", text)
        counted = [*extras.kernels(b.store, model), *extras.misses(b.store, model)]
        for table in counted:
            text = render.to_csv(
                [dict(zip(table["columns"], r)) for r in table["rows"]], tuple(table["columns"])
            )
            b.data(f"data/{table['file']}.csv", text)
        b.page(
            f"models/{name}.html",
            "model.html",
            "models/index.html",
            title=model,
            model=model,
            facts=pages.model_facts(b.store, model),
            cells=[shape.cell_row(c) | {"anchor": f"c{i}-{c.slug}"} for i, c in enumerate(cells)],
            reports=pages.compile_reports(b.store, model),
            profiles=views,
            counted=counted,
        )
    b.page(
        "models/index.html",
        "list.html",
        "models/index.html",
        title="Models",
        lead="Each model is one ONNX file; every framework gets the same bytes.",
        headers=["Model", "Best latency on any device", "Backends"],
        rows=rows,
    )


def runs(b: Builder) -> None:
    """A page per run, its raw samples as data, and their list."""
    rows = []
    for run in reversed(b.store.runs):
        name = slug(run.id)
        metrics = ", ".join(dict.fromkeys(c.metric for c in run.cells))
        devices = ", ".join(dict.fromkeys(c.device for c in run.cells if c.device))
        rows.append(
            {"href": f"{name}.html", "name": run.id, "cells": [run.date, devices, metrics, len(run.cells)]}
        )
        b.data(
            f"data/{name}.json", json.dumps([cell_json(c, raw=True) for c in run.cells], indent=None) + "\n"
        )
        b.page(
            f"runs/{name}.html",
            "run.html",
            "runs/index.html",
            title=run.id,
            run=run.id,
            file=name,
            facts=pages.run_facts(run),
            findings=run.findings,
            notes=notes.text(run),
            pictures=notes.pictures(run, b.out / "pictures"),
            printed=notes.printed(run),
            turns=shape.bout_rows(versus.bouts(run.cells)),
            cells=pages.run_cells(run),
            validity=pages.validity(run),
            environment=pages.environment_facts(run),
        )
    b.page(
        "runs/index.html",
        "list.html",
        "runs/index.html",
        title="Runs",
        lead="Every run with its raw samples, environment and validity readings, newest first.",
        headers=["Run", "Date", "Device", "Metrics", "Cells"],
        rows=rows,
    )


def history(b: Builder) -> None:
    """Series over the runs."""
    series = all_series(b.store)
    fields = ("series", "run", "date", "value", "unit", "change_point")
    rows = []
    for s in series:
        changed = {p.run.id for p, _ in s.changes}
        for p in s.points:
            label = "/".join(filter(None, s.cell.key))
            row = (label, p.run.id, p.run.date, repr(p.value), p.cell.unit, str(p.run.id in changed).lower())
            rows.append(dict(zip(fields, row)))
    b.data("data/history.csv", render.to_csv(rows, fields))
    b.page("history.html", "history.html", "history.html", title="History", rows=pages.history_rows(series))


def figures(b: Builder) -> None:
    """All figures."""
    b.page(
        "figures.html",
        "figures.html",
        "figures.html",
        title="Figures",
        figures=b.figures,
        gaps=b.built.missing,
    )


def method(b: Builder) -> None:
    """How a number gets onto the pages."""
    b.page(
        "method.html",
        "method.html",
        "method.html",
        title="Method",
        meanings=meanings(),
        audit_meanings=[(str(k), v) for k, v in AUDIT_MEANING.items()],
        tolerance=tolerance(),
    )


def newest_cells(b: Builder) -> None:
    """The newest cells, without samples, as one JSON file."""
    cells = [cell_json(c, raw=False) for c in b.store.latest.values()]
    b.data("data/cells.json", json.dumps(cells, indent=1) + "\n")


def cell_json(cell: Measured, raw: bool) -> dict[str, Any]:
    """A measured cell as JSON, in the harness's field names; ``raw`` with every sample."""
    skip = {"records", "extra"} | (set() if raw else {"blocks"})
    data = {k: v for k, v in asdict(replace(cell, records=(), extra={})).items() if k not in skip}
    if raw and cell.metric == versus.METRIC:
        # The blocks are ratios; these are the times that they were made of.
        data["samples_ms"] = [r.samples_ms for r in cell.records]
    keep = (
        "max_abs_error",
        "first_ms",
        "compile_s",
        "threads",
        "true_backend",
        "dataset",
        "p90_ms",
        "paper_protocol_ms",
        "median_ms",
        "leader",
        "level_with",
    )
    return data | {"extra": {k: cell.extra[k] for k in keep if cell.extra.get(k) is not None}}
