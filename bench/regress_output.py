"""Verdicts for people and machines: table, JSON, JUnit XML, Markdown comment. Formatting only."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

from rich.table import Table
from rich.text import Text

from bench import escape
from bench.compare_judge import PASSING, VERDICTS, CellVerdict
from bench.metrics import UNITS
from bench.plain import plain_table
from ecp.errors import UsageError

COLOURS = {"regressed": "red", "failed": "red", "improved": "green", "unchanged": "green"}
FAILING = ("regressed", "failed")


def exit_code(verdicts: Sequence[CellVerdict], ci: bool = False) -> int:
    """1 where anything regressed or failed (``ci``: was not shown to be fine), or nothing was compared; else 0."""
    if not verdicts:
        return 1
    return int(any(v.verdict in FAILING or (ci and v.verdict not in PASSING) for v in verdicts))


def _percent(ratio: float | None) -> str:
    return "" if ratio is None or not math.isfinite(ratio) else f"{ratio - 1.0:+.1%}"


def _interval(v: CellVerdict) -> str:
    if v.lo is None or v.hi is None:
        return ""
    low = _percent(v.lo) if v.lo > 0 else "-inf"
    return f"{low} .. {_percent(v.hi) or '+inf'}"


def _time(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value < 10 else f"{value:.2f}"


def _columns(v: CellVerdict) -> list[str]:
    mde = "" if v.mde is None else f"{v.mde:.1%}"
    return [v.model, v.backend, v.precision, _time(v.a), _time(v.b), _percent(v.ratio), _interval(v), mde]


def _heading(verdicts: Sequence[CellVerdict]) -> list[str]:
    unit = UNITS.get(verdicts[0].metric, "") if verdicts else ""
    return [
        *("model", "backend", "precision", f"A [{unit}]", f"B [{unit}]"),
        *("B against A", "99 % bounds", "would have found"),
    ]


LEGEND = (
    "B to A: change of the time and its 99 % bounds; finds: smallest slow-down that so many pairs would have found\n"
    "with 90 % power."
)


def table(verdicts: Sequence[CellVerdict], title: str, wide: bool = False) -> Table:
    """For the terminal; see :data:`LEGEND`. ``wide`` adds the times of both sides."""
    precisions = ", ".join(dict.fromkeys(v.precision for v in verdicts))
    pairs = ", ".join(map(str, sorted({v.pairs for v in verdicts})))
    shown = plain_table(f"{title}, {precisions}, {pairs} pairs", ("model", "backend"), ())
    unit = UNITS.get(verdicts[0].metric, "") if verdicts else ""
    times = (f"A {unit}", f"B {unit}") if wide else ()
    for heading in (*times, "B to A", "99 % bounds", "finds"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("verdict", no_wrap=True)
    for v in verdicts:
        colour = COLOURS.get(v.verdict, "yellow")
        model, backend, _, a, b, *numbers = _columns(v)
        shown.add_row(model, backend, *((a, b) if wide else ()), *numbers, Text(v.verdict, style=colour))
    return shown


def summary(verdicts: Sequence[CellVerdict]) -> str:
    """``2 unchanged, 1 regressed``."""
    counted = {name: sum(v.verdict == name for v in verdicts) for name in VERDICTS}
    return ", ".join(f"{n} {name}" for name, n in counted.items() if n) or "nothing compared"


def markdown(verdicts: Sequence[CellVerdict], title: str) -> str:
    """A comment for a pull request: the result first, then the table, then the reasons."""
    margin = verdicts[0].margin if verdicts else 0.0
    lines = [f"### {escape.markdown(title)}", "", f"**{summary(verdicts)}** (margin {margin:.1%})", ""]
    heading = [*_heading(verdicts), "pairs", "verdict"]
    lines += ["| " + " | ".join(heading) + " |", "|" + " --- |" * len(heading)]
    for v in verdicts:
        row = [
            *map(escape.markdown, _columns(v)),
            str(v.pairs),
            f"**{v.verdict}**" if v.verdict in FAILING else v.verdict,
        ]
        lines.append("| " + " | ".join(row) + " |")
    reasons = [
        f"- {escape.markdown_code(v.name)}: {escape.markdown(said)}" for v in verdicts if (said := _said(v))
    ]
    if reasons:
        lines += ["", *reasons]
    return "\n".join(lines) + "\n"


def _said(v: CellVerdict) -> str:
    return "; ".join(filter(None, (v.reason, v.note)))


def junit(verdicts: Sequence[CellVerdict], title: str, ci: bool = False) -> bytes:
    """JUnit XML: a regression is a failure, a cell that failed an error, an unproven one skipped, by ``ci`` failed."""
    unproven = [v for v in verdicts if v.verdict not in (*PASSING, *FAILING)]
    failures = [v for v in verdicts if v.verdict == "regressed" or (ci and v in unproven)]
    errors = [v for v in verdicts if v.verdict == "failed"]
    counts = {"tests": len(verdicts), "failures": len(failures), "errors": len(errors)}
    suite = Xml.Element("testsuite", {"name": escape.xml(title), **{k: str(n) for k, n in counts.items()}})
    for v in verdicts:
        names = {"classname": f"regress.{v.metric}", "name": v.name}
        case = Xml.SubElement(suite, "testcase", {k: escape.xml(text) for k, text in names.items()})
        message = f"{v.verdict}: {_said(v) or f'{_percent(v.ratio)} {_interval(v)}'}"
        if v in errors:
            Xml.SubElement(case, "error", {"message": escape.xml(message)})
        elif v in failures:
            Xml.SubElement(case, "failure", {"message": escape.xml(message)})
        elif v in unproven:
            Xml.SubElement(case, "skipped", {"message": escape.xml(message)})
        Xml.SubElement(case, "system-out").text = escape.xml(json.dumps(v.to_dict()))
    root = Xml.Element("testsuites")
    root.append(suite)
    Xml.indent(root)
    text: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def write(path: Path | None, content: str | bytes, option: str) -> None:
    """Write a report; ``-`` is standard output. Raises :class:`UsageError` where the file cannot be written."""
    if path is None:
        return
    text = content.decode() if isinstance(content, bytes) else content
    if str(path) == "-":
        print(text, end="" if text.endswith("\n") else "\n")
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise UsageError(
            f"{option} {path}: {error.strerror or error}; the measurements themselves are kept"
        ) from error


def as_json(verdicts: Sequence[CellVerdict], facts: dict[str, Any]) -> str:
    """Facts of the comparison (sides, margin, runs) and one object per cell."""
    return json.dumps({**facts, "cells": [v.to_dict() for v in verdicts]}, indent=1, allow_nan=False) + "\n"
