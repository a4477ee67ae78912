"""Published against measured: one verdict per cell, by rules that a reader can check.

1. Nothing measured: ``not measured``, with the command that would measure it.
2. Same conditions (device, precision, data set): within the tolerance ``reproduced``.
3. Otherwise the direction decides: is this cell above or below its reference cell (the same column's
   baseline row,
   or ours in the same row), as in the paper? Yes: ``direction reproduced``; no, or no difference to be seen
   in the
   intervals: ``differs``.
4. Other conditions and no reference cell: ``not comparable``.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from enum import StrEnum

from reports.measured import Measured


class Match(StrEnum):
    """How a measurement stands to the published number."""

    REPRODUCED = "reproduced"
    DIRECTION = "direction reproduced"
    DIFFERS = "differs"
    NOT_COMPARABLE = "not comparable"
    NOT_MEASURED = "not measured"


SYMBOL = {
    Match.REPRODUCED: "=",
    Match.DIRECTION: "~",
    Match.DIFFERS: "!",
    Match.NOT_COMPARABLE: "/",
    Match.NOT_MEASURED: "-",
}
MEANING = {
    Match.REPRODUCED: "measured under the paper's conditions and within the tolerance",
    Match.DIRECTION: "on the same side of its reference cell as in the paper, not within the tolerance",
    Match.DIFFERS: "against its reference cell it lies on the other side, or no difference can be seen",
    Match.NOT_COMPARABLE: "measured under other conditions, and no reference cell gives a direction",
    Match.NOT_MEASURED: "no record; the command that would measure it stands in the table's data",
}
# Relative tolerance per metric; accuracies (unit %) are compared in points.
TOLERANCE = {"latency": 0.10, "memory": 0.10, "profile": 0.10, "cache": 0.25, "macs": 0.005, "params": 0.005}
# Counts have no noise: besides the tolerance only the rounding of the printed digits is forgiven.
COUNTED = ("macs", "params")
ACCURACY_POINTS = 0.5
# What the experimenter sets is no result: equal settings reproduce nothing, so they get no verdict.
SETTINGS = ("resolution",)


@dataclass(frozen=True)
class Judged:
    """A verdict and the sentence behind it."""

    match: Match
    why: str


def within(published: float, measured: float, metric: str, rounding: float = 0.0) -> bool:
    """Whether the two agree within the metric's tolerance; ``rounding``: half a unit in the last printed digit."""
    if metric.startswith("accuracy"):
        return abs(published - measured) <= ACCURACY_POINTS
    slack = rounding if metric in COUNTED else 0.0
    return abs(measured - published) <= TOLERANCE.get(metric, 0.10) * abs(published) + slack


# Metrics whose blocks hold samples in the unit of the value.
RANGED = ("latency", "memory")


def interval(cell: Measured) -> tuple[float, float]:
    """What a direction is judged by: the cell's interval; under six blocks, which have none, the range of their
    medians (a range covers less than it shows, so it is printed nowhere); else the value itself."""
    assert cell.value is not None
    if cell.ci is None and cell.metric in RANGED and cell.blocks:
        medians = [statistics.median(block) for block in cell.blocks]
        return min(medians), max(medians)
    return cell.ci or (cell.value, cell.value)


def side(a: tuple[float, float], b: tuple[float, float]) -> int:
    """+1 if interval ``a`` lies above ``b``, -1 if below, 0 if they overlap."""
    if a[0] > b[1]:
        return 1
    return -1 if a[1] < b[0] else 0


@dataclass(frozen=True)
class Reference:
    """The cell that a direction is taken against: its name, published value and measured interval (None:
    none)."""

    name: str
    published: float
    measured: tuple[float, float] | None


def judge(
    published: float,
    measured: tuple[float, float] | None,
    metric: str,
    unlike: list[str],
    reference: Reference | None,
    command: str = "",
    rounding: float = 0.0,
) -> Judged:
    """The verdict for one cell. ``unlike`` names the conditions that are not the paper's; empty: all
    equal. ``rounding``: half a unit in the last printed digit."""
    if measured is None:
        return Judged(Match.NOT_MEASURED, f"run: {command}" if command else "no record")
    middle = (measured[0] + measured[1]) / 2
    if not unlike and within(published, middle, metric, rounding):
        return Judged(Match.REPRODUCED, "within the tolerance")
    other = f"other conditions: {', '.join(unlike)}" if unlike else "outside the tolerance"
    if reference is None or reference.measured is None:
        missing = f"; {reference.name} is not measured in the same run" if reference else ""
        return Judged(Match.NOT_COMPARABLE if unlike else Match.DIFFERS, other + missing)
    want = (published > reference.published) - (published < reference.published)
    got = side(measured, reference.measured)
    words = {1: "above", -1: "below", 0: "level with"}
    sentence = f"{words[want]} {reference.name} in the paper, {words[got]} it here ({other})"
    return Judged(Match.DIRECTION if want == got else Match.DIFFERS, sentence)
