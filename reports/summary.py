"""The one-page summary: what reproduces, what differs, what is not measured and why."""

from __future__ import annotations

from collections import Counter, defaultdict

from bench import escape
from reports.audit import audit_all
from reports.audit.render import counts
from reports.measured import Store
from reports.speeds import speed_summary
from reports.tables.build import TableCell, every
from reports.tables.render import number
from reports.verdicts import WEAK, Match
from reports.versus import METRIC, bouts, ratio_text, verdict

MOST_COMMANDS = 12


def markdown(store: Store, device: str | None = None) -> str:
    """The page as Markdown."""
    tables = list(every(store, device))
    total: Counter[str] = Counter()
    lines = ["# What holds, what differs, what is missing", ""]
    by_match: dict[Match, list[tuple[str, TableCell]]] = defaultdict(list)
    for table in tables:
        total.update(table.counts)
        where = f", {table.device} {table.precision}" if table.device else ""
        name = table.paper.place.partition(" (")[0] + where
        for cell in table.cells.values():
            if cell.judged:
                by_match[cell.judged.match].append((name, cell))
    said = ", ".join(f"{total[str(m)]} {m}" for m in Match if total[str(m)])
    lines.append(f"{sum(total.values())} published table cells: {said}. Below: published -> measured.")
    audited = audit_all()
    lines.append(
        f"\n{len(audited)} claims audited: " + ", ".join(f"{n} {v}" for v, n in counts(audited).items()) + "."
    )
    lines += _speed(store, device)
    lines += _turns(store, device)
    lines += _cells("Reproduced", by_match[Match.REPRODUCED])
    lines += _cells("Direction reproduced", by_match[Match.DIRECTION])
    lines += _cells("Differs", by_match[Match.DIFFERS])
    for weak in WEAK:
        lines += _by_table(f"No verdict: {weak}", by_match[weak])
    lines += _cells("Measured, but not comparable", by_match[Match.NOT_COMPARABLE])
    lines += _missing(by_match[Match.NOT_MEASURED])
    return "\n".join(lines) + "\n"


def _speed(store: Store, device: str | None) -> list[str]:
    """One line per device and precision: each model's factor over the fastest other framework."""
    rows = [r for r in speed_summary(store) if device in (None, r["device"])]
    if not rows:
        return []
    lines = ["", "## Speed of ecp", ""]
    lines += ["Time of the fastest other framework over ecp's; above 1 ecp is faster.", ""]
    for place in dict.fromkeys((r["device"], r["precision"]) for r in rows):
        mine = [r for r in rows if (r["device"], r["precision"]) == place]
        faster = sum(r["verdict"] == "faster" for r in mine)
        each = [
            f"{r['model']} {r['ratio']}" + ("" if r["verdict"] == "faster" else f" ({r['verdict']})")
            for r in mine
        ]
        said = f"{', '.join(place)}: faster on {faster} of {len(mine)}: {', '.join(each)}"
        lines.append(f"- {escape.markdown(said)}")
    return lines


def _turns(store: Store, device: str | None) -> list[str]:
    """One line per group that took turns."""
    found = [b for b in bouts(store.find(metric=METRIC)) if device in (None, b.device)]
    if not found:
        return []
    lines = ["", "## Taking turns", ""]
    lines += ["Time of the first over time of the other; below 1 the first is faster.", ""]
    for bout in found:
        pairs = []
        for cell in bout.others:
            why = f": {cell.reason}" if cell.reason else ""
            pairs.append(f"{bout.first} / {bout.name(cell)} {ratio_text(cell)} {verdict(cell)}{why}")
        leader = f"; fastest of all: {bout.leader}" if bout.leader else ""
        lines.append("- " + escape.markdown(f"{bout.title}: {'; '.join(pairs)}{leader}"))
    return lines


def _cells(title: str, cells: list[tuple[str, TableCell]]) -> list[str]:
    """One line per row of a table; the sentence behind each verdict stands in the table's CSV file."""
    if not cells:
        return []
    lines = ["", f"## {title} ({len(cells)})", ""]
    rows: dict[str, list[str]] = defaultdict(list)
    for name, cell in cells:
        assert cell.published
        numbers = f"{cell.published.printed} -> {number(cell.found.value)}"
        rows[f"{name}, {cell.row.header}"].append(f"{cell.column.header} {numbers}")
    return lines + ["- " + escape.markdown(f"{row}: {'; '.join(some)}") for row, some in rows.items()]


def _by_table(title: str, cells: list[tuple[str, TableCell]]) -> list[str]:
    """How many cells of each table have a verdict that claims nothing."""
    if not cells:
        return []
    tables = Counter(name for name, _ in cells)
    said = "; ".join(f"{name}: {n}" for name, n in tables.items())
    return ["", f"## {title} ({len(cells)})", "", f"- {said}"]


def _missing(cells: list[tuple[str, TableCell]]) -> list[str]:
    """Grouped by reason: what was tried and refused first, then what no run has tried."""
    if not cells:
        return []
    refused: dict[str, list[str]] = defaultdict(list)
    untried: dict[str, list[str]] = defaultdict(list)
    for name, cell in cells:
        label = f"{name}, {cell.row.header}, {cell.column.header}"
        if cell.found.reason:
            refused[f"{cell.found.status}: {cell.found.reason}"].append(label)
        else:
            untried[cell.command].append(label)
    lines = ["", f"## Not measured ({len(cells)})", ""]
    lines += [
        f"- {escape.markdown(f'{reason} ({len(some)} cells: {some[0]}')}{', …' if some[1:] else ''})"
        for reason, some in refused.items()
    ]
    commands = sorted(untried.items(), key=lambda item: -len(item[1]))
    for command, some in commands[:MOST_COMMANDS]:
        more = f" and {len(some) - 1} more" if some[1:] else ""
        told = escape.markdown_code(command)
        lines.append(f"- no run yet: {told} ({escape.markdown(some[0])}{more})")
    if commands[MOST_COMMANDS:]:
        left = sum(len(s) for _, s in commands[MOST_COMMANDS:])
        lines.append(f"- and {left} cells more; every one stands with its command in the tables' CSV files")
    return lines
