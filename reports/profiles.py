"""Reading what structured metrics keep in ``extra``: profiles, miss rates, data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.measured import Measured

LAYOUT = ("layout", "transform", "transformation", "transformative", "reorder", "copy")


@dataclass(frozen=True)
class Split:
    """Time of one inference spent moving data and computing, in ms, and by class."""

    layout_ms: float
    compute_ms: float
    classes: Mapping[str, float]


def operators(cell: Measured) -> list[dict[str, Any]]:
    """The profile's rows: ``name, op_type, ms, class`` (class may be missing)."""
    rows = cell.extra.get("operators") or cell.extra.get("ops") or cell.extra.get("launches") or []
    return [dict(r) for r in rows if isinstance(r, Mapping) and "ms" in r]


def split(cell: Measured) -> Split | None:
    """Layout work against computation; None where the record has no classes."""
    classes: dict[str, float] = {}
    given = cell.extra.get("classes")
    if isinstance(given, Mapping):
        classes = {str(k): float(v) for k, v in given.items() if isinstance(v, int | float)}
    else:
        for row in operators(cell):
            name = str(row.get("class") or row.get("op_class") or "")
            if name:
                classes[name] = classes.get(name, 0.0) + float(row["ms"])
    if not classes:
        return None
    layout = sum(v for k, v in classes.items() if k.lower().startswith(LAYOUT))
    return Split(layout, sum(classes.values()) - layout, classes)


def intermediate_mb(cell: Measured) -> float | None:
    """Size of all intermediate results in MB (10^6 bytes), where the record has it."""
    value = cell.extra.get("intermediate_bytes")
    return float(value) / 1e6 if isinstance(value, int | float) else None


def miss_rate(cell: Measured, level: str) -> float | None:
    """Miss rate of a cache level in %, where the record has it."""
    rates = cell.extra.get("miss_rates") or cell.extra.get("miss_rate") or {}
    if not isinstance(rates, Mapping):
        return None
    lowered = {str(k).lower(): v for k, v in rates.items()}
    value = lowered.get(level.lower())
    return float(value) if isinstance(value, int | float) else None


def dataset(cell: Measured) -> str:
    """Name of the labelled data set, or an empty string."""
    return str(cell.extra.get("dataset", ""))


def percent(cell: Measured) -> float | None:
    """The cell's accuracy in %, whatever unit it was recorded in."""
    if cell.value is None:
        return None
    return cell.value if cell.unit in ("%", "percent") or cell.value > 1.0 else 100 * cell.value
