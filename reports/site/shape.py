"""Small shapes that several pages share: numbers as text, cells as rows, tables, figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import versus
from reports.audit.base import Verdict
from reports.figures.base import Figure
from reports.measured import Measured, slug
from reports.site import spark
from reports.tables.build import RebuiltTable, TableCell
from reports.tables.render import number, title
from reports.verdicts import SYMBOL, Match
from reports.versus import Bout

TONES: dict[str, str] = {
    Match.REPRODUCED: "ok",
    Match.DIRECTION: "half",
    Match.DIFFERS: "bad",
    Match.UNRESOLVED: "warn",
    Match.SIMULATED: "warn",
    Match.PROXY: "warn",
    Match.UNTUNED: "warn",
    Match.SAME_NETWORK: "warn",
    Match.FEW: "warn",
    Match.NOT_COMPARABLE: "warn",
    Match.NOT_MEASURED: "none",
    Verdict.HOLDS: "ok",
    Verdict.FALSE: "bad",
    Verdict.CONFLICT: "bad",
    Verdict.DEPENDS: "warn",
    Verdict.MIXES: "warn",
    Verdict.UNSUPPORTED: "warn",
    "measured": "ok",
    "unsupported": "none",
    "unavailable": "none",
    "not-run": "none",
    "failed": "bad",
    "unstable": "warn",
    "faster": "ok",
    "slower": "bad",
    "level": "half",
    "too few blocks": "none",
}


def tone(verdict: str) -> str:
    """CSS class of a verdict or status; its word always stands beside it."""
    return TONES.get(verdict, "none")


def symbol(verdict: str) -> str:
    """The verdict's sign in narrow cells."""
    return {str(k): v for k, v in SYMBOL.items()}.get(verdict, "")


def plain(value: Any) -> str:
    """A value of a data table as text."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every key that occurs, in order of appearance."""
    return list(dict.fromkeys(k for row in rows for k in row))


def interval(ci: tuple[float, float] | None) -> str:
    """``low – high``, or nothing where the two look alike."""
    if ci is None or number(ci[0]) == number(ci[1]):
        return ""
    return f"{number(ci[0])} – {number(ci[1])}"


@dataclass(frozen=True)
class DrawnFigure:
    """A figure with its inline drawing."""

    id: str
    title: str
    caption: str
    rows: list[Mapping[str, Any]]
    svg: str
    group: str
    where: str


def drawn(figure: Figure, svg: str, where: str) -> DrawnFigure:
    """For a template."""
    return DrawnFigure(figure.id, figure.title, figure.caption, list(figure.rows), svg, figure.group, where)


# What the value of a metric is, where its name does not say so.
SAID = {
    "profile": "profile: time of layout work",
    "roofline": "roofline: share of the roof's speed",
    "limits": "limits: largest batch",
    "cache": "cache: L1 miss rate",
    "train": "accuracy after training",
}


def model_file(model: str) -> str:
    """The model's page without its ending; empty for a microbenchmark (``peak:fma``), which is no model."""
    return "" if model.startswith("peak:") else slug(model)


def cell_row(cell: Measured) -> dict[str, Any]:
    """One measured cell for a table of cells."""
    error = cell.extra.get("max_abs_error")
    said = f"versus: time of {cell.against} / time of this" if cell.against else cell.metric
    return {
        "anchor": cell.slug,
        "metric": SAID.get(cell.metric, said),
        "device": cell.device or "any",
        "device_file": slug(cell.device),
        "model": cell.model,
        "model_file": model_file(cell.model),
        "backend": cell.backend,
        "version": cell.backend_version,
        "precision": cell.precision,
        "variant": ", ".join(filter(None, (cell.dataset, cell.variant))),
        "value": number(cell.value),
        "unit": cell.unit if cell.value is not None else "",
        "sort": "" if cell.value is None else cell.value,
        "interval": interval(cell.ci),
        "blocks": len(cell.blocks),
        "error": f"{error:.1e}" if isinstance(error, int | float) else "",
        "spark": spark.samples(cell.blocks),
        "status": cell.status,
        "reason": cell.reason,
    }


def bout_rows(some: Sequence[Bout]) -> list[dict[str, Any]]:
    """One row per pair that took turns, for the table of ratios and its CSV file."""
    return [
        {
            "device": bout.device,
            "device_file": slug(bout.device),
            "precision": bout.precision,
            "shared": bout.shared,
            "told_by": bout.told_by,
            "model_file": model_file(cell.model if bout.told_by == "model" else bout.shared),
            "first": bout.first,
            "other": bout.name(cell),
            "first_ms": number(bout.first_ms),
            "other_ms": number(cell.extra.get("median_ms")) if cell.ok else "",
            "ratio": f"{cell.value:.3f}" if cell.value is not None else "",
            "low": f"{cell.ci[0]:.3f}" if cell.ci else "",
            "high": f"{cell.ci[1]:.3f}" if cell.ci else "",
            "blocks": len(cell.blocks) or "",
            "unsteady_blocks": cell.extra.get("unsteady_blocks", ""),
            "verdict": versus.verdict(cell),
            "reason": cell.reason,
            "leader": bout.leader,
            "run": bout.run,
            "run_file": slug(bout.run),
        }
        for bout in some
        for cell in bout.others
    ]


def rebuilt(table: RebuiltTable) -> dict[str, Any]:
    """A rebuilt paper table for its template."""
    further = list(table.further)
    rows = []
    for row in table.paper.rows:
        cells = [_pair(c) for c in table.row_cells(row)]
        for backend in further:
            found = table.further[backend][row.id]
            cells.append(
                {
                    "published": "",
                    "value": number(found.value),
                    "interval": interval(found.interval),
                    "status": found.status,
                    "verdict": "",
                    "backend": "",
                }
            )
        rows.append({"header": row.header, "cells": cells})
    return {
        "anchor": slug(table.id),
        "file": slug(table.id),
        "title": title(table),
        "short": table.paper.place.partition(" (")[0],
        "where": f"{table.device}, {table.precision}" if table.device else "any device",
        "headers": [c.header for c in table.paper.columns],
        "further": further,
        "rows": rows,
        "counts": ordered(table.counts),
        "total": sum(table.counts.values()),
        "notes": table.notes,
        "reasons": [_reason(c) for c in table.cells.values() if c.judged],
    }


def ordered(counts: Counter[str]) -> dict[str, int]:
    """Verdict counts in the order in which verdicts are explained, without zeros."""
    return {str(m): counts[str(m)] for m in Match if counts[str(m)]}


def _pair(cell: TableCell) -> dict[str, Any]:
    asked = cell.column.conditions.get("backend")
    found = cell.found
    return {
        "published": cell.published.printed if cell.published else "–",
        "value": number(found.value) if found.interval else "",
        "interval": interval(found.interval),
        "verdict": str(cell.judged.match) if cell.judged else "",
        "status": found.status if found.status != "measured" else "",
        # Named only where it is not the column's own: the reader must see mnn-opencl for MNN.
        "backend": found.backend if found.backend != asked and found.interval else "",
    }


def _reason(cell: TableCell) -> dict[str, Any]:
    assert cell.judged and cell.published
    why = cell.judged.why
    if cell.found.reason:
        why = f"{cell.found.status}: {cell.found.reason}; {why}"
    return {
        "row": cell.row.header,
        "column": cell.column.header,
        "published": cell.published.printed,
        "value": number(cell.found.value) if cell.found.interval else "",
        "verdict": str(cell.judged.match),
        "why": why,
    }
