"""The history as a table and as JSON: index, query, find change points, optionally confirm them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from sqlalchemy import Engine

from bench.console import terminal
from bench.names import check_name
from bench.plain import plain_table
from bench.regress_output import write
from bench.stats.changepoints import steps
from bench.stats.paired import MARGIN
from bench.store.engine import open_store, store_url, told
from bench.store.index import index_results, rebuild
from bench.store.key import difference
from bench.store.query import Filter, Point, SeriesId, comparability_inputs, counts, names, series
from ecp.errors import UsageError

COLUMNS = {"models": "model", "backends": "backend", "devices": "device", "precisions": "precision"}


@dataclass(frozen=True)
class Change:
    """A change point: ``ratio`` new level over old, between two neighbouring measured points."""

    ratio: float
    before: Point
    after: Point

    @property
    def command(self) -> str | None:
        """How to confirm it; None where a commit is unknown or both points are of one commit."""
        a, b = self.before.git_commit, self.after.git_commit
        return f"python -m bench compare {a[:12]} {b[:12]}" if a and b and a != b else None


def changes(points: Sequence[Point]) -> list[Change]:
    """Change points of at least the default margin in one series, oldest first."""
    measured = [(p, v) for p in points if (v := p.value()) is not None]
    found = steps([value for _, value in measured], minimum=MARGIN)
    return [Change(ratio, measured[i - 1][0], measured[i][0]) for i, ratio in found]


def check_filter(engine: Engine, wanted: Filter) -> None:
    """Unknown names are an error with the nearest known ones, not an empty table."""
    if not counts(engine)["blocks"]:
        raise UsageError("nothing is recorded yet; measure first, for example `python -m bench latency`")
    check_name("metric", wanted.metrics[0], names(engine, "metric"))
    for attribute, column in COLUMNS.items():
        for name in getattr(wanted, attribute):
            check_name(column, name, names(engine, column))


def show_history(
    wanted: Filter,
    roots: Sequence[Path],
    store: str | None,
    rebuild_first: bool,
    confirm: bool,
    json_path: Path | None,
) -> int:
    """Index ``roots``, print every series that matches; the exit code (1 where a confirmation regressed)."""
    console = terminal(stderr=json_path is not None and str(json_path) == "-")
    missing = [root for root in roots if not root.is_dir()]
    if missing:
        raise UsageError(f"{missing[0]} is not a folder of runs; measure first, or name one with --out")
    engine = open_store(store or store_url(roots[0]), rebuild=rebuild_first)
    try:
        with told(engine):
            return _show(engine, wanted, roots, rebuild_first, confirm, json_path, console)
    finally:
        engine.dispose()


def _show(
    engine: Engine,
    wanted: Filter,
    roots: Sequence[Path],
    rebuild_first: bool,
    confirm: bool,
    json_path: Path | None,
    console: Console,
) -> int:
    done = (rebuild if rebuild_first else index_results)(engine, roots)
    for finding in done.findings:
        console.print(f"note: {finding}", markup=False, highlight=False, soft_wrap=True)
    check_filter(engine, wanted)
    table = series(engine, wanted)
    found = {identity: changes(points) for identity, points in table.items()}
    _print(engine, table, found, console)
    size = counts(engine)
    console.print(
        f"{size['blocks']} blocks of {size['runs']} runs in {size['series']} comparable series "
        f"({done.runs} runs indexed now, {done.unchanged} unchanged, {done.duplicates} duplicate records)",
        highlight=False,
        soft_wrap=True,
    )
    write(json_path, json.dumps(_to_json(table, found), indent=1, allow_nan=False) + "\n", "--json")
    return _confirm(found, roots[0], console) if confirm else 0


def _print(
    engine: Engine, table: dict[SeriesId, list[Point]], found: dict[SeriesId, list[Change]], console: Console
) -> None:
    groups = sorted({(i.device, i.precision, i.metric) for i in table})
    for device, precision, metric in groups:
        mine = [i for i in table if (i.device, i.precision, i.metric) == (device, precision, metric)]
        mine.sort(key=lambda i: (i.model, i.backend, i.key))
        unit = next((p.unit for i in mine for p in table[i] if p.unit), "")
        numbers = ("runs", f"newest {unit}", "95 % interval", "since first", "steps")
        shown = plain_table(f"{metric} on {device}, {precision}", ("model", "backend"), numbers)
        previous = ""
        for identity in mine:
            row = _row(identity, table[identity], found[identity], _label(identity, mine))
            shown.add_row(row[0] if identity.model != previous else "", *row[1:])
            previous = identity.model
        console.print(shown)
        for line in _apart(engine, mine):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for identity, steps_found in found.items():
        for change in steps_found:
            commits = f"{(change.before.git_commit or '?')[:10]} -> {(change.after.git_commit or '?')[:10]}"
            how = f"; confirm: {change.command}" if change.command else "; same commit: the machine changed"
            console.print(
                f"{identity.model} on {identity.backend}: {change.ratio - 1:+.1%} at {change.after.run_id} "
                f"({commits}){how}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def _alike(identity: SeriesId, others: Sequence[SeriesId]) -> list[SeriesId]:
    return [o for o in others if (o.model, o.backend) == (identity.model, identity.backend)]


def _label(identity: SeriesId, others: Sequence[SeriesId]) -> str:
    """The backend; with the beginning of the comparability key where nothing else tells two series apart."""
    return identity.backend + (f" #{identity.key[:4]}" if len(_alike(identity, others)) > 1 else "")


def _apart(engine: Engine, identities: Sequence[SeriesId]) -> list[str]:
    """One sentence for every pair of series of one model and backend: why they may not be compared."""
    inputs = comparability_inputs(engine, [i.key for i in identities if len(_alike(i, identities)) > 1])
    lines = []
    for identity in identities:
        first = _alike(identity, identities)[0]
        if first is not identity:
            why = "; ".join(difference(inputs[first.key], inputs[identity.key]))
            lines.append(
                f"{identity.model} on {identity.backend}: #{first.key[:4]} and #{identity.key[:4]}: {why}"
            )
    return lines


def _row(identity: SeriesId, points: Sequence[Point], found: Sequence[Change], label: str) -> list[str]:
    head = [identity.model, label]
    measured = [(p, v) for p in points if (v := p.value()) is not None]
    if not measured:
        statuses = sorted({s for p in points for s in p.statuses})
        return [*head, str(len(points)), "", ", ".join(statuses), "", ""]
    newest, value = measured[-1]
    first = measured[0][1]
    since = f"{value / first - 1:+.1%}" if len(measured) > 1 else ""
    ends, blocks = newest.interval(), len(newest.medians)
    interval = " - ".join(map(_number, ends)) if ends else f"{blocks} block{'s' * (blocks > 1)}"
    steps_found = str(len(found)) if found else ""
    return [*head, str(len(points)), _number(value), interval, since, steps_found]


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}"


def _point_json(point: Point) -> dict[str, Any]:
    ends = point.interval()
    return {
        "run_id": point.run_id,
        "started_utc": point.started_utc,
        "git_commit": point.git_commit,
        "backend_version": point.backend_version,
        "unit": point.unit,
        "value": point.value(),
        "ci": list(ends) if ends else None,
        "block_medians": point.medians,
        "statuses": point.statuses,
        "reasons": point.reasons,
    }


def _to_json(table: dict[SeriesId, list[Point]], found: dict[SeriesId, list[Change]]) -> list[dict[str, Any]]:
    return [
        {
            **identity.__dict__,
            "points": [_point_json(p) for p in points],
            "changes": [
                {"ratio": c.ratio, "before": c.before.run_id, "after": c.after.run_id, "confirm": c.command}
                for c in found[identity]
            ],
        }
        for identity, points in table.items()
    ]


def _confirm(found: dict[SeriesId, list[Change]], out: Path, console: Console) -> int:
    from bench.compare_report import compare_and_show
    from bench.options import RunOptions

    code = 0
    for identity, steps_found in found.items():
        for change in steps_found:
            a, b = change.before.git_commit, change.after.git_commit
            if change.command is None or a is None or b is None:
                continue
            console.print(f"confirming: {change.command}", markup=False, highlight=False)
            options = RunOptions(
                device=identity.device,
                models=identity.model,
                backends=identity.backend,
                precision=identity.precision,
                out=out,
            )
            verdict = compare_and_show(a, b, options, None, None, {}, purpose="confirm")
            code = max(code, verdict)
    return code
