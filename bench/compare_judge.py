"""From the records of two sides to one verdict per cell. Pure: no measuring, no I/O."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bench.cells import group
from bench.records import BlockRecord
from bench.stats.adjacent import split, turn_difference
from bench.stats.multiple import holm
from bench.stats.paired import ALPHA, MARGIN, Comparison, judge_differences, log_ratios
from bench.stats.power import pairs_needed
from bench.store.index import judge as judge_gates
from bench.store.key import comparability, difference

VERDICTS = (
    *("regressed", "improved", "unchanged", "inconclusive", "unstable-device"),
    *("no-baseline", "incomparable", "failed", "not-run"),
)
# More than this share of disturbed pairs says that the device, not the code, was measured.
DISTURBED = 0.5
# Failures that say something about the machine's quiet, not about the block's truth.
QUIET_GATES = ("load-by-others", "clocks", "speed-probe", "temperature", "throttling", "free-memory")


@dataclass(frozen=True)
class CellVerdict:
    """One cell of a comparison. ``ratio`` is B/A (above 1: B is slower); times in the metric's unit.

    ``mde``: smallest slow-down that this comparison would have found with 90 % power. ``p_holm``: p-value of
    "slower by more than the margin", adjusted over all cells. ``disturbed``: pairs in which the machine was
    not quiet.
    """

    device: str
    backend: str
    model: str
    precision: str
    metric: str
    verdict: str
    reason: str = ""
    a: float | None = None
    b: float | None = None
    ratio: float | None = None
    lo: float | None = None
    hi: float | None = None
    mde: float | None = None
    p_holm: float | None = None
    pairs: int = 0
    disturbed: int = 0
    margin: float = MARGIN
    alpha: float = ALPHA
    interleaved: bool = True

    @property
    def name(self) -> str:
        """Model, backend and precision in one word, as JUnit and Markdown show it."""
        return f"{self.model}/{self.backend}/{self.precision}/{self.metric}@{self.device}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; an infinite bound becomes null."""
        data = asdict(self)
        for key, value in data.items():
            if isinstance(value, float) and not math.isfinite(value):
                data[key] = None
        return data


def default_pairs(cells: int, alpha: float = ALPHA) -> int:
    """Pairs so that even the strictest step of Holm over ``cells`` cells can be reached, at least 10."""
    return max(10, pairs_needed(alpha / max(1, cells)) + 3)


def _disturbed(record: BlockRecord) -> bool:
    if record.status == "unstable":
        return True
    return any(g.status == "failed" and g.name in QUIET_GATES for g in judge_gates(record))


def _broken(record: BlockRecord) -> str:
    """Why a measured block cannot be believed at all ('' where it can)."""
    for gate in judge_gates(record):
        if gate.status == "failed" and gate.decides and gate.name not in QUIET_GATES:
            return f"{gate.name}: {gate.detail}"
    return ""


def _without_measurement(a: Sequence[BlockRecord], b: Sequence[BlockRecord]) -> tuple[str, str] | None:
    """(verdict, reason) where one side has nothing to compare."""

    def bad(records: Sequence[BlockRecord]) -> str | None:
        if any(r.status in ("measured", "unstable") for r in records):
            return None
        return f"{records[0].status}: {records[0].reason}" if records else "no block"

    why_a, why_b = bad(a), bad(b)
    if why_b is not None:
        ran = any(r.status == "failed" for r in b)
        if ran and why_a is None:
            return "failed", f"side B {why_b}"
        if why_a is not None:
            return ("failed" if ran else "not-run"), f"neither side was measured: {why_b}"
        return "not-run", f"side B {why_b}"
    if why_a is not None:
        return "no-baseline", f"side A {why_a}"
    return None


def _one_that_ran(records: Sequence[BlockRecord]) -> BlockRecord:
    return next(r for r in records if r.status in ("measured", "unstable"))


def _incomparable(a: BlockRecord, b: BlockRecord, run_a: Mapping[str, Any], run_b: Mapping[str, Any]) -> str:
    key_a, inputs_a = comparability(a, run_a)
    key_b, inputs_b = comparability(b, run_b)
    return "" if key_a == key_b else "; ".join(difference(inputs_a, inputs_b))


def _took_turns(record: BlockRecord) -> bool:
    return bool(record.extra.get("turn_lengths"))


def _usable(record: BlockRecord) -> bool:
    """Measured; or disturbed by others while taking turns: then both sides met the same, and the test stays exact."""
    if record.status == "measured":
        return True
    return record.status == "unstable" and _took_turns(record) and bool(record.extra.get("steady"))


@dataclass(frozen=True)
class _Draft:
    """A verdict before the correction for many cells."""

    verdict: CellVerdict
    comparison: Comparison | None = None


def _pairs(a: Sequence[BlockRecord], b: Sequence[BlockRecord]) -> list[tuple[BlockRecord, BlockRecord]]:
    # A block that was measured again stands twice: the later record counts.
    left, right = ({r.block: r for r in side} for side in (a, b))
    return [(left[n], right[n]) for n in sorted(left.keys() & right.keys())]


def _draft(
    key: tuple[str, str, str, str, str],
    a: Sequence[BlockRecord],
    b: Sequence[BlockRecord],
    runs: tuple[Mapping[str, Any], Mapping[str, Any]],
    margin: float,
    alpha: float,
    interleaved: bool,
) -> _Draft:
    blank = CellVerdict(*key, "not-run", margin=margin, alpha=alpha, interleaved=interleaved)
    missing = _without_measurement(a, b)
    if missing:
        return _Draft(replace(blank, verdict=missing[0], reason=missing[1]))
    for side, records in (("A", a), ("B", b)):
        broken = next((w for r in records if r.status == "measured" and (w := _broken(r))), "")
        if broken:
            return _Draft(replace(blank, verdict="failed", reason=f"side {side} {broken}"))
    differs = _incomparable(_one_that_ran(a), _one_that_ran(b), *runs)
    if differs:
        return _Draft(replace(blank, verdict="incomparable", reason=differs))
    pairs = _pairs(a, b)
    disturbed = sum(_disturbed(x) or _disturbed(y) for x, y in pairs)
    good = [(x, y) for x, y in pairs if _usable(x) and _usable(y)]
    blank = replace(blank, pairs=len(good), disturbed=disturbed)
    turned = all(_took_turns(r) for pair in good for r in pair)
    lost = len(pairs) - len(good) if turned else disturbed
    if not good or lost > DISTURBED * len(pairs):
        detail = f"{max(lost, disturbed)} of {len(pairs)} pairs were disturbed or never became steady"
        return _Draft(replace(blank, verdict="unstable-device", reason=detail))
    left = [statistics.median(x.samples_ms) for x, _ in good]
    right = [statistics.median(y.samples_ms) for _, y in good]
    blank = replace(blank, a=statistics.median(left), b=statistics.median(right))
    if not interleaved:
        return _Draft(_apart(blank, left, right))
    result = judge_differences([difference_of(x, y) for x, y in good], margin, alpha)
    found = {name: getattr(result, name) for name in ("verdict", "ratio", "lo", "hi", "mde")}
    return _Draft(replace(blank, **found), result)


def difference_of(a: BlockRecord, b: BlockRecord) -> float:
    """``log(B/A)`` of one pair: turn by turn where the two took turns, else of the blocks' medians."""
    turns = [
        split(r.samples_ms, r.extra["turn_lengths"]) if r.extra.get("turn_lengths") else None for r in (a, b)
    ]
    if turns[0] and turns[1] and len(turns[0]) == len(turns[1]):
        return turn_difference(turns[0], turns[1])
    (found,) = log_ratios([statistics.median(a.samples_ms)], [statistics.median(b.samples_ms)])
    return found


def _apart(blank: CellVerdict, left: Sequence[float], right: Sequence[float]) -> CellVerdict:
    """Two runs of different times: the ratio is shown, but only "unchanged" is ever claimed."""
    rng = np.random.default_rng(0)
    draws = [np.median(rng.choice(np.array(side), size=(4000, len(side))), axis=1) for side in (left, right)]
    lo, hi = (float(v) for v in np.quantile(draws[1] / draws[0], [0.005, 0.995]))
    same = 1 / (1 + blank.margin) < lo and hi < 1 + blank.margin
    why = "the runs were not interleaved, drift between them is inside this number; compare the revisions"
    ratio = float(np.median(right) / np.median(left))
    verdict, reason = ("unchanged", "") if same else ("inconclusive", why)
    return replace(blank, verdict=verdict, reason=reason, ratio=ratio, lo=lo, hi=hi)


def judge(
    a: Sequence[BlockRecord],
    b: Sequence[BlockRecord],
    run_a: Mapping[str, Any],
    run_b: Mapping[str, Any],
    *,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    interleaved: bool = True,
) -> list[CellVerdict]:
    """Verdicts of all cells that either side has; regressions and improvements are Holm-adjusted over them.

    ``interleaved``: blocks with equal numbers were run back to back in random order; otherwise the runs are
    from different times and only ``unchanged`` can be claimed.
    """
    table_a, table_b = group(a), group(b)
    keys = list(dict.fromkeys([*table_a, *table_b]))
    drafts = [
        _draft(k, table_a.get(k, []), table_b.get(k, []), (run_a, run_b), margin, alpha, interleaved)
        for k in keys
    ]
    judged = [d for d in drafts if d.comparison is not None]
    slower = holm([d.comparison.p_regressed for d in judged if d.comparison])
    faster = holm([d.comparison.p_improved for d in judged if d.comparison])
    adjusted = {id(d): (s, f) for d, s, f in zip(judged, slower, faster, strict=True)}
    return [
        _corrected(d.verdict, *adjusted[id(d)], len(judged)) if id(d) in adjusted else d.verdict
        for d in drafts
    ]


def _corrected(found: CellVerdict, slower: float, faster: float, cells: int) -> CellVerdict:
    p = {"regressed": slower, "improved": faster}.get(found.verdict, 0.0)
    if p > found.alpha:
        why = f"not significant after Holm's correction over {cells} cells; use more pairs"
        return replace(found, verdict="inconclusive", reason=why, p_holm=slower)
    reason = ""
    if found.verdict == "inconclusive":
        need = pairs_needed(found.alpha)
        reason = "the interval reaches across the margin; more pairs or a quieter machine decide"
        if found.pairs < need:
            reason = f"fewer than {need} pairs prove nothing at {found.alpha:.0%}"
    return replace(found, reason=reason, p_holm=slower)
