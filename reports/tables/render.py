"""A rebuilt table as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import re

from bench import escape
from reports.tables.build import RebuiltTable, TableCell
from reports.tables.find import Found
from reports.verdicts import MEANING, SYMBOL, Match

CSV_FIELDS = (
    "table",
    "row",
    "column",
    "published_id",
    "published",
    "unit",
    "measured",
    "ci_low",
    "ci_high",
    "measured_unit",
    "source",
    "device",
    "precision",
    "backend",
    "backend_version",
    "run",
    "status",
    "verdict",
    "why",
    "command",
)


def number(value: float | None) -> str:
    """Three significant digits or more, never an exponent: 0.445, 12.3, 1303."""
    if value is None:
        return ""
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3
    return f"{value:.{digits}f}"


def measured_text(found: Found) -> str:
    """``12.3 [12.1, 12.6]``, or the status of a cell that was tried and has no value, or nothing."""
    if found.interval is None:
        return found.status if found.status and found.status != "measured" else ""
    low, high = (found.value, found.value) if found.few else found.interval
    spread = f" [{number(low)}, {number(high)}]" if number(low) != number(high) else ""
    return number(found.value) + spread


def title(table: RebuiltTable) -> str:
    """``Table 7. Latency ...: measured on local, fp32``."""
    name = table.paper.place.partition(" (")[0]
    where = f" (measured on {table.device}, {table.precision})" if table.device else ""
    return f"{name}. {table.paper.title}{where}"


def _markdown_cell(cell: TableCell) -> str:
    published = escape.markdown(cell.published.printed) if cell.published else "-"
    mine = escape.markdown(measured_text(cell.found))
    symbol = SYMBOL[cell.judged.match] if cell.judged else ""
    if not mine:
        return published
    return f"{published} / **{mine}** {symbol}".rstrip()


def markdown(table: RebuiltTable) -> str:
    """Published / **measured** with a verdict's symbol in each cell; the legend and the counts below."""
    further = list(table.further)
    head = ["Model", *(c.header for c in table.paper.columns), *(f"{b} (ms, not in paper)" for b in further)]
    lines = [f"### {escape.markdown(title(table))}", "", "| " + " | ".join(map(escape.markdown, head)) + " |"]
    lines.append("|" + " --- |" * len(head))
    for row in table.paper.rows:
        cells = [_markdown_cell(c) for c in table.row_cells(row)]
        others = [escape.markdown(measured_text(table.further[b][row.id])) for b in further]
        cells += [f"**{text}**" if text else "" for text in others]
        lines.append("| " + " | ".join([escape.markdown(row.header), *cells]) + " |")
    counts = ", ".join(f"{n} {name}" for name, n in table.counts.most_common())
    lines += ["", f"Each cell: published / **measured**. Verdicts: {counts}."]
    lines += ["", *(f"- `{SYMBOL[m]}` {m}: {MEANING[m]}" for m in used(table))]
    lines += [f"\n{note}" for note in table.notes]
    return "\n".join(lines) + "\n"


def legend() -> str:
    """What the verdicts mean, as a Markdown list."""
    return "\n".join(f"- `{SYMBOL[m]}` **{m}**: {MEANING[m]}" for m in Match) + "\n"


def latex(table: RebuiltTable) -> str:
    """A booktabs table; each model takes two lines, published above and measured below."""
    columns = table.paper.columns
    further = list(table.further)
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering\\small",
        f"  \\caption{{{escape.latex(title(table))}. First line published, second line measured.}}",
        f"  \\label{{tab:{re.sub('[^a-z0-9]', '-', table.id.lower())}}}",
        "  \\begin{tabular}{l" + "r" * (len(columns) + len(further)) + "}",
        "    \\toprule",
        "    Model & "
        + " & ".join(escape.latex(h) for h in [*(c.header for c in columns), *further])
        + r" \\",
        "    \\midrule",
    ]
    for row in table.paper.rows:
        cells = table.row_cells(row)
        published = [c.published.printed if c.published else "--" for c in cells] + ["" for _ in further]
        mine = [_latex_measured(c) for c in cells]
        mine += [escape.latex(number(table.further[b][row.id].value)) for b in further]
        lines.append("    " + " & ".join(map(escape.latex, [row.header, *published])) + r" \\")
        if any(mine):
            lines.append("    \\quad measured & " + " & ".join(mine) + r" \\")
    notes = [
        f"\\textsuperscript{{{escape.latex(SYMBOL[m])}}} {escape.latex(f'{m}: {MEANING[m]}')}."
        for m in used(table)
    ]
    foot = f"  \\par\\footnotesize {' '.join(notes)}" if notes else ""
    return "\n".join(
        [*lines, "    \\bottomrule", "  \\end{tabular}", *filter(None, [foot]), "\\end{table}", ""]
    )


def _latex_measured(cell: TableCell) -> str:
    text = escape.latex(number(cell.found.value))
    return (
        f"{text}\\textsuperscript{{{escape.latex(SYMBOL[cell.judged.match])}}}"
        if text and cell.judged
        else text
    )


def used(table: RebuiltTable) -> list[Match]:
    """The verdicts that stand in a table, in the order in which they are explained."""
    return [m for m in Match if table.counts[str(m)] and m != Match.NOT_MEASURED]


def csv_rows(table: RebuiltTable) -> list[dict[str, str]]:
    """One row per cell, the further frameworks included, with everything that a verdict rests on."""
    rows = [_csv_row(table, cell) for cell in table.cells.values()]
    for backend, by_row in table.further.items():
        for row_id, found in by_row.items():
            rows.append(_found_fields(found) | {"table": table.id, "row": row_id, "column": backend})
    return [{f: r.get(f, "") for f in CSV_FIELDS} for r in rows]


def _csv_row(table: RebuiltTable, cell: TableCell) -> dict[str, str]:
    published = cell.published
    return _found_fields(cell.found) | {
        "table": table.id,
        "row": cell.row.id,
        "column": cell.column.id,
        "published_id": published.id if published else "",
        "published": published.printed if published else "",
        "unit": cell.column.unit,
        "device": table.device,
        "precision": table.precision,
        "verdict": str(cell.judged.match) if cell.judged else "",
        "why": cell.judged.why if cell.judged else "",
        "command": cell.command if cell.judged and cell.judged.match == Match.NOT_MEASURED else "",
    }


def _found_fields(found: Found) -> dict[str, str]:
    low, high = (None, None) if found.few or found.interval is None else found.interval
    cell = found.cell
    return {
        "measured": "" if found.value is None else repr(found.value),
        "ci_low": "" if low is None else repr(low),
        "ci_high": "" if high is None else repr(high),
        "measured_unit": found.unit,
        "source": found.source,
        "backend": found.backend,
        "backend_version": cell.backend_version if cell else "",
        "run": cell.run if cell else "",
        "status": found.status,
        "why": found.reason,
    }


def to_csv(rows: list[dict[str, str]], fields: tuple[str, ...] = CSV_FIELDS) -> str:
    """Rows as CSV text with a header line."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(escape.csv_row, rows))
    return stream.getvalue()
