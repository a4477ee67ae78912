"""From the records of two sides to one verdict per cell. Pure: no measuring, no I/O."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.cells import group
from bench.records import BlockRecord
from bench.stats.adjacent import split, turn_difference
from bench.stats.median_interval import median_interval
from bench.stats.multiple import holm
from bench.stats.paired import ALPHA, MARGIN, Comparison, judge_differences, log_ratios
from bench.stats.power import pairs_needed
from bench.store.index import judge as judge_gates
from bench.store.key import comparability, difference

VERDICTS = (
    *("regressed", "improved", "unchanged", "inconclusive", "unstable-device"),
    *("no-baseline", "incomparable", "failed", "not-run"),
)
PASSING = ("improved", "unchanged")
# Metrics of which less is better: times, memory, misses. Others (accuracy, the largest batch) are not judged here.
LESS_IS_BETTER = ("latency", "versus", "memory", "profile", "cache", "microbench")
# Those whose blocks compare every output with the reference.
CHECKED = ("latency", "versus", "memory", "profile")
# More than this share of disturbed pairs says that the device, not the code, was measured.
DISTURBED = 0.5
# Failures that say something about the machine's quiet, not about the block's truth.
QUIET_GATES = ("load-by-others", "clocks", "speed-probe", "temperature", "throttling", "free-memory")


@dataclass(frozen=True)
class CellVerdict:
    """One cell of a comparison. ``ratio`` is B/A (above 1: B is slower); times in the metric's unit.

    ``mde``: smallest slow-down that this comparison would have found with 90 % power. ``p_holm``: p-value of
    "slower by more than the margin", adjusted over all cells. ``repeated``: pairs that were measured again,
    ``disturbed``: those in which the machine was not quiet even then; ``note`` says so in words.
    """

    device: str
    backend: str
    model: str
    precision: str
    metric: str
    verdict: str
    reason: str = ""
    note: str = ""
    a: float | None = None
    b: float | None = None
    ratio: float | None = None
    lo: float | None = None
    hi: float | None = None
    mde: float | None = None
    p_holm: float | None = None
    pairs: int = 0
    disturbed: int = 0
    repeated: int = 0
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


def quick_pairs(cells: int, alpha: float = ALPHA) -> int:
    """Pairs of a quick look: two more than the fewest that can prove anything, so that one bad pair spoils nothing."""
    return pairs_needed(alpha / max(1, cells)) + 2


def disturbed(record: BlockRecord) -> bool:
    """Whether the machine was not quiet in this block. The gates say so, never the times."""
    if record.status == "unstable":
        return True
    return any(g.status == "failed" and g.name in QUIET_GATES for g in judge_gates(record))


def _broken(record: BlockRecord) -> str:
    """Why a block condemns its side whatever the others say: it crashed, or what it did cannot be believed."""
    if record.error.get("ok") is False:
        return str(record.error.get("reason") or "output differs from the reference")
    if record.status == "failed":
        return record.reason or "failed without a reason"
    for gate in judge_gates(record):
        if gate.status == "failed" and gate.decides and gate.name not in QUIET_GATES:
            return f"{gate.name}: {gate.detail}"
    return ""


def _failed(a: Sequence[BlockRecord], b: Sequence[BlockRecord]) -> str:
    """Why the cell failed ('' where it did not): one bad block of either side is enough, also one measured again."""
    for side, records in (("B", b), ("A", a)):
        bad = [why for r in records if (why := _broken(r))]
        if bad:
            many = f", {len(bad)} of {len(records)} blocks" if len(records) > 1 else ""
            return f"side {side}{many}: {bad[0]}"
    return ""


def _without_measurement(a: Sequence[BlockRecord], b: Sequence[BlockRecord]) -> tuple[str, str] | None:
    """(verdict, reason) where one side has nothing, or not in every block something, to compare."""

    def bad(records: Sequence[BlockRecord]) -> str | None:
        without = [r for r in records if r.status not in ("measured", "unstable") or not r.samples_ms]
        if not without:
            return None if records else "no block"
        return f"{without[0].status}: {without[0].reason}"

    why_a, why_b = bad(a), bad(b)
    if why_b is not None:
        return "not-run", (f"side B {why_b}" if why_a is None else f"neither side was measured: {why_b}")
    if why_a is not None:
        return "no-baseline", f"side A {why_a}"
    return None


def _incomparable(a: BlockRecord, b: BlockRecord, run_a: Mapping[str, Any], run_b: Mapping[str, Any]) -> str:
    key_a, inputs_a = comparability(a, run_a)
    key_b, inputs_b = comparability(b, run_b)
    return "" if key_a == key_b else "; ".join(difference(inputs_a, inputs_b))


def _took_turns(record: BlockRecord) -> bool:
    return bool(record.extra.get("turn_lengths"))


def _usable(record: BlockRecord) -> bool:
    """Measured; or disturbed while taking turns: then both sides met the same, and the test stays exact."""
    return record.status == "measured" or _took_turns(record)


def _steady(record: BlockRecord) -> bool:
    return record.status == "measured" or bool(record.extra.get("steady"))


@dataclass(frozen=True)
class _Draft:
    """A verdict before the correction for many cells."""

    verdict: CellVerdict
    comparison: Comparison | None = None


def pairs_of(a: Sequence[BlockRecord], b: Sequence[BlockRecord]) -> list[tuple[BlockRecord, BlockRecord]]:
    """Blocks of equal number, in order. One that was measured again stands twice: the later record counts."""
    left, right = ({r.block: r for r in sorted(side, key=lambda r: r.seq)} for side in (a, b))
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
    if broken := _failed(a, b):
        return _Draft(replace(blank, verdict="failed", reason=broken))
    if key[-1] not in LESS_IS_BETTER:
        why = f"metric {key[-1]} is not one of which less is better: {', '.join(LESS_IS_BETTER)}"
        return _Draft(replace(blank, verdict="incomparable", reason=why))
    missing = _without_measurement(a, b)
    if missing:
        return _Draft(replace(blank, verdict=missing[0], reason=missing[1]))
    differs = _incomparable(a[0], b[0], *runs)
    if differs:
        return _Draft(replace(blank, verdict="incomparable", reason=differs))
    return _compared(blank, a, b)


def _compared(blank: CellVerdict, a: Sequence[BlockRecord], b: Sequence[BlockRecord]) -> _Draft:
    """The draft of two sides that can be compared."""
    pairs = pairs_of(a, b)
    spoiled = sum(disturbed(x) or disturbed(y) for x, y in pairs)
    good = [(x, y) for x, y in pairs if _usable(x) and _usable(y)]
    turned = bool(good) and all(_took_turns(r) for pair in good for r in pair)
    lost = sum(not (_steady(x) and _steady(y)) for x, y in pairs) if turned else spoiled
    blank = replace(blank, pairs=len(good), disturbed=spoiled, repeated=_repeated(a, b))
    blank = replace(blank, note=_note(blank, len(pairs), lost, turned))
    unstable = f"{max(lost, spoiled)} of {len(pairs)} pairs were disturbed or never became steady"
    many = lost > DISTURBED * len(pairs)
    if not good or (many and not turned):
        return _Draft(replace(blank, verdict="unstable-device", reason=unstable))
    left = [statistics.median(x.samples_ms) for x, _ in good]
    right = [statistics.median(y.samples_ms) for _, y in good]
    blank = replace(blank, a=statistics.median(left), b=statistics.median(right))
    unchecked = sum(r.error.get("ok") is not True for r in (*a, *b)) if blank.metric in CHECKED else 0
    if not blank.interleaved:
        apart = _apart(blank, left, right)
        return _Draft(_without_passing(apart, unchecked))
    result = judge_differences([difference_of(x, y) for x, y in good], blank.margin, blank.alpha)
    found = {name: getattr(result, name) for name in ("verdict", "ratio", "lo", "hi", "mde")}
    drafted = replace(blank, **found)
    if many and drafted.verdict != "regressed":
        # Turns make the test exact on any machine, so a slow-down is one; but "as fast as before" is said of a
        # steady state, and most pairs never had one.
        return _Draft(replace(drafted, verdict="unstable-device", reason=unstable))
    checked = _without_passing(drafted, unchecked)
    return _Draft(checked, result if checked is drafted else None)


def _repeated(*sides: Sequence[BlockRecord]) -> int:
    return max(len(side) - len({r.block for r in side}) for side in sides)


def _without_passing(found: CellVerdict, unchecked: int) -> CellVerdict:
    """Nothing passes of which nobody has seen that its answers are right."""
    if not unchecked or found.verdict not in PASSING:
        return found
    why = f"the outputs of {unchecked} blocks were not compared with the reference"
    return replace(found, verdict="inconclusive", reason=why)


def _note(found: CellVerdict, pairs: int, lost: int, turned: bool) -> str:
    """What the machine did to the pairs, in words ('' where it was quiet)."""
    words = []
    if found.repeated:
        words.append(f"{found.repeated} disturbed pairs were measured again")
    if found.disturbed:
        still = "stayed" if found.repeated else "were"
        count = ", and count: both sides of a pair met the same" if turned else ""
        words.append(f"{found.disturbed} of {pairs} pairs {still} disturbed{count}")
    if lost and turned:
        words.append(f"{lost} of them never became steady")
    return "; ".join(words)


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
    ratio = statistics.median(right) / statistics.median(left)
    # Each median lies in its interval with half of the allowed error, so the ratio lies in the quotient's.
    level = 1 - blank.alpha / 2
    ends = [median_interval(side, level) for side in (left, right)]
    if ends[0] is None or ends[1] is None:
        why = f"fewer blocks than an interval of their median needs at {level:.1%}: {len(left)} of each side"
        return replace(blank, verdict="inconclusive", reason=why, ratio=ratio)
    lo, hi = ends[1][1] / ends[0][2], ends[1][2] / ends[0][1]
    same = 1 / (1 + blank.margin) < lo and hi < 1 + blank.margin
    why = "the runs were not interleaved, drift between them is inside this number; compare the revisions"
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
