"""Published against measured: one verdict per cell, by rules that a reader can check.

1. Nothing measured: ``not measured``, with the command that would measure it.
2. Same conditions (device, precision, data set) and the whole interval within the tolerance: ``reproduced``.
3. Otherwise the direction decides: is this cell above or below its reference cell (the same column's baseline row,
   or ours in the same row), as in the paper? Yes: ``direction reproduced``; no: ``differs``; intervals that
   overlap: ``not resolved``.
4. Other conditions and no reference cell: ``not comparable``.
5. What 2 and 3 say needs evidence that can carry it. A number that is simulated, from other data or another network
   than the paper's, of an untuned framework, of two copies of one network, or without an interval (too few samples)
   has the verdict of that name instead, whatever 2 and 3 would have said; the reference cell counts as well.
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
    UNRESOLVED = "not resolved"
    SIMULATED = "simulated"
    PROXY = "proxy data"
    UNTUNED = "untuned framework"
    SAME_NETWORK = "same network"
    FEW = "too few samples"
    NOT_COMPARABLE = "not comparable"
    NOT_MEASURED = "not measured"


SYMBOL = {
    Match.REPRODUCED: "=",
    Match.DIRECTION: "~",
    Match.DIFFERS: "!",
    Match.UNRESOLVED: "?",
    Match.SIMULATED: "s",
    Match.PROXY: "p",
    Match.UNTUNED: "u",
    Match.SAME_NETWORK: "2",
    Match.FEW: "n",
    Match.NOT_COMPARABLE: "/",
    Match.NOT_MEASURED: "-",
}
MEANING = {
    Match.REPRODUCED: "measured under the paper's conditions, the whole interval within the tolerance",
    Match.DIRECTION: "on the same side of its reference cell as in the paper, not within the tolerance",
    Match.DIFFERS: "it lies on the other side of its reference cell, or outside the tolerance where it has none",
    Match.UNRESOLVED: "the intervals overlap: neither the paper's direction nor the other one is shown",
    Match.SIMULATED: "the number, or its reference, comes from a simulator and not from the device",
    Match.PROXY: "measured on other data, another network or other weights than the paper's",
    Match.UNTUNED: "the framework ran without the search that the paper's authors would have given it",
    Match.SAME_NETWORK: "both cells are copies of one network, so no direction between them means anything",
    Match.FEW: "too few samples for an interval (under six blocks, or one seed), so nothing is excluded",
    Match.NOT_COMPARABLE: "measured under other conditions, and no reference cell gives a direction",
    Match.NOT_MEASURED: "no record; the command that would measure it stands in the table's data",
}
# Relative tolerance per metric; accuracies (unit %) are compared in points.
TOLERANCE = {"latency": 0.10, "memory": 0.10, "profile": 0.10, "cache": 0.25, "macs": 0.005, "params": 0.005}
# Counts have no noise: besides the tolerance only the rounding of the printed digits is forgiven.
COUNTED = ("macs", "params")
ACCURACY_POINTS = 0.5
# Verdicts that take the place of "reproduced", "direction reproduced" and "differs".
CLAIMS = (Match.REPRODUCED, Match.DIRECTION, Match.DIFFERS, Match.UNRESOLVED)
# And those that take it: a number stands beside the published one and shows nothing about it.
WEAK = (Match.UNRESOLVED, Match.SIMULATED, Match.PROXY, Match.UNTUNED, Match.SAME_NETWORK, Match.FEW)
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
    """The cell that a direction is taken against: its name, published value, measured interval (None: none), and what
    keeps it from carrying a verdict."""

    name: str
    published: float
    measured: tuple[float, float] | None
    caveat: Match | None = None


def judge(
    published: float,
    measured: tuple[float, float] | None,
    metric: str,
    unlike: list[str],
    reference: Reference | None,
    command: str = "",
    rounding: float = 0.0,
    caveat: Match | None = None,
) -> Judged:
    """The verdict for one cell. ``unlike`` names the conditions that are not the paper's; empty: all equal.
    ``rounding``: half a unit in the last printed digit. ``caveat``: what keeps the number from carrying a claim."""
    claimed = _claim(published, measured, metric, unlike, reference, command, rounding)
    if claimed.match not in CLAIMS:
        return claimed
    weak = caveat
    if weak is None and reference is not None and claimed.match != Match.REPRODUCED:
        weak = reference.caveat
    if weak is None:
        return claimed
    return Judged(weak, f"{MEANING[weak]}; taken at face value: {claimed.match} ({claimed.why})")


def _claim(
    published: float,
    measured: tuple[float, float] | None,
    metric: str,
    unlike: list[str],
    reference: Reference | None,
    command: str,
    rounding: float,
) -> Judged:
    if measured is None:
        return Judged(Match.NOT_MEASURED, f"run: {command}" if command else "no record")
    if not unlike and all(within(published, end, metric, rounding) for end in measured):
        return Judged(Match.REPRODUCED, "within the tolerance")
    other = f"other conditions: {', '.join(unlike)}" if unlike else "outside the tolerance"
    if reference is None or reference.measured is None:
        missing = f"; {reference.name} is not measured in the same run" if reference else ""
        return Judged(Match.NOT_COMPARABLE if unlike else Match.DIFFERS, other + missing)
    want = (published > reference.published) - (published < reference.published)
    got = side(measured, reference.measured)
    words = {1: "above", -1: "below", 0: "level with"}
    sentence = f"{words[want]} {reference.name} in the paper, {words[got]} it here ({other})"
    if got == 0 and want != 0:
        return Judged(Match.UNRESOLVED, sentence)
    return Judged(Match.DIRECTION if want == got else Match.DIFFERS, sentence)
