"""Reading what structured metrics keep in ``extra``: profiles, miss rates, data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from reports.measured import Measured

LAYOUT = "layout"


@dataclass(frozen=True)
class Split:
    """Time of one inference spent moving data and computing, and by operator class, in ms of the plain latency.

    ``overhead``: by which share the profiler's hooks slowed the pass (None: unknown).
    """

    layout_ms: float
    compute_ms: float
    classes: Mapping[str, float]
    overhead: float | None = None

    @property
    def total_ms(self) -> float:
        """The plain latency."""
        return self.layout_ms + self.compute_ms


def _profile(cell: Measured) -> Mapping[str, Any]:
    found = cell.extra.get("profile")
    return found if isinstance(found, Mapping) else {}


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def split(cell: Measured) -> Split | None:
    """Layout work against computation; None where the record has no profile."""
    found = _profile(cell)
    layout, compute = _float(found.get("layout_ms")), _float(found.get("compute_ms"))
    if cell.status != "measured" or layout is None or compute is None:
        return None
    classes = found.get("class_ms")
    by_class = {str(k): float(v) for k, v in classes.items()} if isinstance(classes, Mapping) else {}
    return Split(layout, compute, by_class, _float(found.get("hook_overhead")))


def part(cell: Measured, name: str) -> tuple[float, tuple[float, float]] | None:
    """Median over blocks and range of ``layout_ms`` or ``compute_ms``; None where the record has no profile.

    A single block's range is that of its plain passes, taken in the part's proportion.
    """
    found = split(cell)
    if found is None:
        return None
    value = found.layout_ms if name == "layout_ms" else found.compute_ms
    blocks = [r for r in cell.records if r.status == "measured"]
    values = [v for r in blocks if (v := _float((r.extra.get("profile") or {}).get(name))) is not None]
    if len(values) > 1:
        return median(values), (min(values), max(values))
    passes = [float(t) for r in blocks for t in r.extra.get("plain_ms") or []]
    if not passes or not found.total_ms:
        return value, (value, value)
    share = value / found.total_ms
    return value, (share * min(passes), share * max(passes))


def latency_ms(cell: Measured) -> float | None:
    """The plain latency behind a cell: its value, or the median over a profile's blocks of their plain passes."""
    if cell.metric != "profile":
        return cell.value
    return median(blocks) if (blocks := _block_medians(cell)) else _float(_profile(cell).get("latency_ms"))


def _block_medians(cell: Measured) -> list[float]:
    blocks = [r for r in cell.records if r.status == "measured" and r.extra.get("plain_ms")]
    return [median(map(float, r.extra["plain_ms"])) for r in blocks]


def latency_range(cell: Measured) -> tuple[float, float]:
    """The interval of a latency; for a profile the range of its blocks' plain passes."""
    value = latency_ms(cell) or 0.0
    if cell.metric != "profile":
        return cell.ci or (value, value)
    medians = _block_medians(cell) or [value]
    return min(medians), max(medians)


def heaviest(cell: Measured) -> list[Mapping[str, Any]]:
    """Operator types by time: ``op, class, count, hooked_ms``."""
    rows = _profile(cell).get("heaviest")
    return [r for r in rows if isinstance(r, Mapping)] if isinstance(rows, list) else []


def launches(cell: Measured) -> list[Mapping[str, Any]]:
    """Single launches with ``name, family, ms, flops, bytes, nodes``, where the record keeps them."""
    rows = cell.extra.get("launches") or _profile(cell).get("launches") or []
    return [r for r in rows if isinstance(r, Mapping) and "ms" in r] if isinstance(rows, list) else []


def intermediate_mb(cell: Measured) -> float | None:
    """Size of all intermediate results in MB (10^6 bytes), each computed tensor of the graph once."""
    return _float(_profile(cell).get("intermediate_mb"))


def miss_rate(cell: Measured, level: str) -> float | None:
    """Miss rate of a cache level in %, where the record has it."""
    rates = cell.extra.get("miss_rates")
    lowered = {str(k).lower(): v for k, v in rates.items()} if isinstance(rates, Mapping) else {}
    return _float(lowered.get(level.lower()))


def percent(cell: Measured) -> float | None:
    """The cell's accuracy in %, whatever unit it was recorded in."""
    if cell.value is None:
        return None
    return cell.value if cell.unit in ("%", "percent") else 100 * cell.value
