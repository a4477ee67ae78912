"""The campaign of :mod:`bench.regress_proof` in words and a table. Formatting and counting only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench.stats.wilson import wilson

Row = Mapping[str, Any]
DECIDED = ("regressed", "improved", "unchanged", "inconclusive")
# What the gate promises about a planted slow-down of each size (others are only shown).
FOUND_FROM, NOT_CLAIMED_UP_TO = 0.045, 0.015


def percent(ratio: float | None) -> str:
    """``+5.1 %`` for 1.051."""
    return "not known" if ratio is None else f"{100 * (ratio - 1):+.1f} %"


def holds(rows: Sequence[Row]) -> bool:
    """No A/A alarm rate above one in ten, every large plant found, no small one claimed."""
    alike = [r for r in rows if r["kind"] == "aa" and r["verdict"] in DECIDED]
    alarms = sum(r["verdict"] in ("regressed", "improved") for r in alike)
    if alike and alarms > 0.1 * len(alike):
        return False
    for row in (r for r in rows if r["kind"] == "gate"):
        claimed = row["verdict"] == "regressed"
        if (row["target"] >= FOUND_FROM and not claimed) or (row["target"] <= NOT_CLAIMED_UP_TO and claimed):
            return False
    return True


def _of(rows: Sequence[Row], kind: str, target: float | None) -> list[Row]:
    return [r for r in rows if r["kind"] == kind and r["target"] == target]


def _verdicts(rows: Sequence[Row]) -> str:
    names = [r["verdict"] for r in rows]
    return ", ".join(f"{names.count(n)} {n}" for n in dict.fromkeys(names))


def render(rows: Sequence[Row], base: str, model: str, device: str) -> str:
    """Markdown: A/A first, then one line per planted size."""
    alike = _of(rows, "aa", 0.0)
    lines = [f"# What the gate is worth: {model} on {device}, revision {base[:10]}", ""]
    judged = [r for r in alike if r["verdict"] in DECIDED]
    if judged:
        alarms = sum(r["verdict"] in ("regressed", "improved") for r in judged)
        low, high = wilson(alarms, len(judged))
        largest = max(abs(r["ratio"] - 1) for r in judged)
        rest = f"; {len(alike) - len(judged)} could not be judged" if len(alike) > len(judged) else ""
        lines += [
            f"A/A: {alarms} false alarms in {len(judged)} comparisons of {judged[0]['pairs']} pairs (95 % interval of "
            f"the rate {low:.0%} to {high:.0%}){rest}; largest difference between equal codes {100 * largest:.1f} %; "
            f"verdicts: {_verdicts(alike)}.",
            "",
        ]
    lines += [
        "| planted | true size (99 % bounds, pairs) | gate's comparisons | verdicts | estimates | would have found |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for target in dict.fromkeys(r["target"] for r in rows if r["kind"] == "gate"):
        found = _of(rows, "gate", target)
        sizes = _of(rows, "size", target)
        known = [r for r in sizes if r["ratio"]]
        size = (
            f"{percent(known[0]['ratio'])} ({percent(known[0]['lo'])} to {percent(known[0]['hi'])}, "
            f"{known[0]['pairs']})"
            if known
            else "not known"
        )
        detectable = [r["mde"] for r in found if r["mde"] is not None]
        lines.append(
            f"| {100 * target:g} % | {size} | {len(found)} of {found[0]['pairs']} pairs | {_verdicts(found)} | "
            f"{', '.join(percent(r['ratio']) for r in found)} | "
            f"{f'{100 * median(detectable):.1f} %' if detectable else 'not known'} |"
        )
    walls = [s for r in rows for s in r["pair_wall_s"]]
    if walls:
        lines += [
            "",
            f"One pair took {median(walls):.1f} s (median of {len(walls)}), {sum(walls) / 60:.0f} min in all.",
        ]
    margin = {r["margin"] for r in rows}
    lines += [
        "",
        f"Margin {', '.join(f'{m:.0%}' for m in sorted(margin))}; the raw differences are in campaign.jsonl.",
    ]
    return "\n".join(lines) + "\n"
