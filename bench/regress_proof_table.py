"""The campaign of :mod:`bench.regress_proof` in words and tables. Formatting and counting only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench import escape
from bench.stats.wilson import wilson

Row = Mapping[str, Any]
DECIDED = ("regressed", "improved", "unchanged", "inconclusive")
# What the gate promises about a planted slow-down of each size (others are only shown).
FOUND_FROM, NOT_CLAIMED_UP_TO = 0.045, 0.015


def percent(ratio: float | None) -> str:
    """``+5.1 %`` for 1.051."""
    return "not known" if ratio is None else f"{100 * (ratio - 1):+.1f} %"


def holds(rows: Sequence[Row]) -> bool:
    """With the disturber as without: no A/A alarm rate above one in ten, every large slow-down and every wrong
    output found, no small slow-down claimed."""
    for disturb in {r["disturb"] for r in rows}:
        alike = _judged(rows, disturb)
        if _alarms(alike) > 0.1 * len(alike):
            return False
    for row in rows:
        claimed = row["verdict"] == "regressed"
        if row["kind"] == "wrong" and not caught(row):
            return False
        if row["kind"] == "slow" and (
            (row["target"] >= FOUND_FROM and not claimed) or (row["target"] <= NOT_CLAIMED_UP_TO and claimed)
        ):
            return False
    return True


def caught(row: Row) -> bool:
    """Whether the planted wrong output failed the comparison, and nothing else did."""
    wrong_a, wrong_b = row["wrong_outputs"]
    return bool(row["verdict"] == "failed" and row["exit_code"] == 1 and wrong_b and not wrong_a)


def _of(rows: Sequence[Row], kind: str, disturb: float, target: float = 0.0) -> list[Row]:
    return [r for r in rows if (r["kind"], r["disturb"], r["target"]) == (kind, disturb, target)]


def _judged(rows: Sequence[Row], disturb: float) -> list[Row]:
    return [r for r in _of(rows, "aa", disturb) if r["verdict"] in DECIDED]


def _alarms(rows: Sequence[Row]) -> int:
    return sum(r["verdict"] in ("regressed", "improved") for r in rows)


def _verdicts(rows: Sequence[Row]) -> str:
    names = [r["verdict"] for r in rows]
    return ", ".join(f"{names.count(n)} {escape.markdown(n)}" for n in dict.fromkeys(names))


def _beside(disturb: float, rows: Sequence[Row]) -> str:
    """What ran meanwhile, in words, with what it really used."""
    if not disturb:
        return "none"
    used = [r["disturbed_by"] for r in rows if r["disturb"] == disturb and r["disturbed_by"] is not None]
    return f"{disturb:.0%} of one processor" + (f" (used {median(used):.0%})" if used else "")


def _share(found: int, rows: Sequence[Row]) -> str:
    return f"{found} of {len(rows)}" if rows else "not measured"


def render(rows: Sequence[Row], base: str, model: str, device: str) -> str:
    """Markdown: what was found without and with the disturber, then each kind of comparison in detail."""
    disturbs = sorted({r["disturb"] for r in rows})
    targets = sorted({r["target"] for r in rows if r["kind"] == "slow"})
    heads = [
        "disturber",
        "A/A: false alarms",
        *(f"+{100 * t:g} % found" for t in targets),
        "wrong outputs found",
    ]
    about = escape.markdown(f"{model} on {device}, revision {base[:10]}")
    lines = [f"# What the gate is worth: {about}", "", *_heading(heads)]
    for disturb in disturbs:
        alike, wrong = _judged(rows, disturb), _of(rows, "wrong", disturb)
        slow = [_of(rows, "slow", disturb, t) for t in targets]
        found = [_share(sum(r["verdict"] == "regressed" for r in some), some) for some in slow]
        cells = [
            _beside(disturb, rows),
            _share(_alarms(alike), alike),
            *found,
            _share(sum(map(caught, wrong)), wrong),
        ]
        lines.append(_line(cells))
    lines += ["", *(sentence for d in disturbs for sentence in _alike(rows, d))]
    lines += _heading(["planted", "disturber", "comparisons", "verdicts", "estimates", "would have found"])
    for target in targets:
        lines += [_detail(_of(rows, "slow", d, target), d) for d in disturbs if _of(rows, "slow", d, target)]
    for disturb in disturbs:
        if wrong := _of(rows, "wrong", disturb):
            count = f"{len(wrong)} of up to 10 pairs"
            lines.append(_line(["wrong output", _asked(disturb), count, _verdicts(wrong), "-", "-"]))
    walls = [s for r in rows for s in r["pair_wall_s"]]
    if walls:
        kept = f"{len(walls)} that count, {sum(walls) / 60:.0f} min"
        lines += ["", f"One pair took {median(walls):.1f} s (median of {kept})."]
    margin = ", ".join(f"{m:.0%}" for m in sorted({r["margin"] for r in rows}))
    lines += ["", f"Margin {margin}; the raw differences are in campaign.jsonl."]
    return "\n".join(lines) + "\n"


def _heading(cells: Sequence[str]) -> list[str]:
    return [_line(cells), _line(["---"] * len(cells))]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _asked(disturb: float) -> str:
    return f"{disturb:.0%}" if disturb else "none"


def _alike(rows: Sequence[Row], disturb: float) -> list[str]:
    """The comparisons of equal code in a sentence, as lines of Markdown."""
    everything, judged = _of(rows, "aa", disturb), _judged(rows, disturb)
    if not judged:
        return []
    low, high = wilson(_alarms(judged), len(judged))
    largest = max(abs(r["ratio"] - 1) for r in judged)
    unjudged = len(everything) - len(judged)
    rest = f"; {unjudged} could not be judged" if unjudged else ""
    return [
        f"A/A, disturber {_asked(disturb)}: {_alarms(judged)} false alarms in {len(judged)} comparisons of "
        f"{judged[0]['pairs']} pairs (95 % interval of the rate {low:.0%} to {high:.0%}){rest}; largest difference "
        f"between equal codes {100 * largest:.1f} %; verdicts: {_verdicts(everything)}.",
        "",
    ]


def _detail(found: Sequence[Row], disturb: float) -> str:
    detectable = [r["mde"] for r in found if r["mde"] is not None]
    return _line(
        [
            f"+{100 * found[0]['target']:g} %",
            _asked(disturb),
            f"{len(found)} of {found[0]['pairs']} pairs",
            _verdicts(found),
            ", ".join(percent(r["ratio"]) for r in found),
            f"{100 * median(detectable):.1f} %" if detectable else "not known",
        ]
    )
