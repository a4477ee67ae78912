"""The audit as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter

from bench import escape
from reports.audit.base import MEANING, Audited


def counts(rows: list[Audited]) -> Counter[str]:
    """How many claims got which verdict, in the verdicts' own order."""
    found = Counter(str(r.outcome.verdict) for r in rows)
    return Counter({str(v): found[v] for v in MEANING if found[v]})


def value_text(value: float) -> str:
    """A recomputed value for people: whole numbers as such, else at most three decimals."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def markdown(rows: list[Audited]) -> str:
    """One row a claim."""
    head = ["# Claims audit", "", f"{len(rows)} claims recomputed from the published numbers: "]
    head[-1] += ", ".join(f"{n} {v}" for v, n in counts(rows).items()) + "."
    head += ["", "| Claim | Place | Recomputed | Verdict | Because |", "| --- | --- | --- | --- | --- |"]
    for r in rows:
        values = "; ".join(f"{k}: {value_text(v)}" for k, v in r.outcome.values.items())
        says, place, values, because = map(
            escape.markdown, (r.claim.says, r.claim.place, values, r.outcome.because)
        )
        head.append(f"| {says} | {place} | {values} | **{r.outcome.verdict}** | {because} |")
    head += ["", *(f"- **{v}**: {text}" for v, text in MEANING.items()), ""]
    return "\n".join(head)


def csv_text(rows: list[Audited]) -> str:
    """One row per recomputed value."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["id", "place", "says", "formula", "name", "value", "verdict", "because", "rests_on"])
    for r in rows:
        for name, value in r.outcome.values.items():
            c = r.claim
            row = [c.id, c.place, c.says, c.formula, name, repr(value), str(r.outcome.verdict)]
            writer.writerow(escape.csv_row([*row, r.outcome.because, " ".join(r.rests_on)]))
    return stream.getvalue()


def json_text(rows: list[Audited]) -> str:
    """A list of objects, one per claim."""
    return json.dumps([r.as_row() for r in rows], indent=1) + "\n"
