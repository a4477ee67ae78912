"""Who is faster and by how much: ratios of contenders that took turns."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from reports.figures import style
from reports.figures.base import Figure, Missing
from reports.measured import Store
from reports.versus import METRIC, Bout, bouts

Row = dict[str, Any]


def versus(store: Store, device: str, precision: str) -> Figure | Missing:
    """Time of the first contender over each other's, with its interval, per model: left of the line it is faster."""
    name = f"Who is faster, taking turns: {device}, {precision}"
    found = bouts(store.find(device=device, precision=precision, metric=METRIC))
    rows = [r for bout in found for r in _rows(bout)]
    if not rows:
        command = f"nox -s versus -- --device {device} --backends ecp,onnxruntime,openvino"
        return Missing("versus", name, f"nothing took turns on {device} at {precision}", command)
    lines = list(dict.fromkeys(r["line"] for r in rows))

    def draw(canvas: Canvas) -> None:
        axis = canvas.add_subplot()
        _dots(axis, rows, lines)
        axis.axvline(1.0, color=style.INK, linewidth=0.9, zorder=1)
        axis.set_yticks(range(len(lines)), lines)
        axis.set_ylim(len(lines) - 0.5, -0.5)
        axis.grid(axis="y", visible=False)
        for i in range(1, len(lines)):
            axis.axhline(i - 0.5, color=style.GRID, linewidth=0.6)
        axis.set_xlabel("time of the first / time of the other (left of 1 the first is faster)")
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, handletextpad=0.1, columnspacing=1.2)

    ahead = sum(r["high"] is not None and r["high"] < 1 for r in rows)
    peers = max(sum(r["line"] == line for r in rows) for line in lines)
    return Figure(
        "versus",
        name,
        "All contenders of a line were loaded at once and took turns of a tenth of a second. Dot: median over blocks "
        "(fresh processes) of their ratio; bar: the exact 95 % interval of that median. No bar: under six blocks.",
        f"Dot plot of {len(rows)} ratios of times; in {ahead} the first contender is faster beyond its interval.",
        rows,
        draw,
        (6.8, max(0.34, 0.16 * peers) * len(lines) + 1.3),
        "speed",
    )


def _rows(bout: Bout) -> list[Row]:
    found = []
    for cell in bout.others:
        if cell.value is None:
            continue
        other = bout.name(cell)
        alone = f"{bout.first} / {other}, {bout.shared}"
        found.append(
            {
                "line": bout.shared if bout.told_by == "backend" else alone,
                "pair": f"{bout.first} / {other}"
                if bout.told_by == "backend"
                else f"models on {bout.shared}",
                "first": bout.first,
                "other": other,
                "ratio": cell.value,
                "low": cell.ci[0] if cell.ci else None,
                "high": cell.ci[1] if cell.ci else None,
                "blocks": len(cell.blocks),
                "first_ms": bout.first_ms,
                "other_ms": cell.extra.get("median_ms"),
                "run": cell.run,
            }
        )
    return found


def _dots(axis: Axes, rows: list[Row], lines: list[str]) -> None:
    """One mark and colour per pair, those of the contender that is not the first; side by side within a line."""
    pairs = list(dict.fromkeys(r["pair"] for r in rows))
    # Models of one backend have a line each: nothing to stand beside.
    beside = [p for p in pairs if not p.startswith("models on ")]
    step = 0.7 / max(1, len(beside))
    others = [next(r["other"] for r in rows if r["pair"] == p) for p in pairs]
    for pair, other in zip(pairs, others, strict=True):
        shift = (beside.index(pair) - (len(beside) - 1) / 2) * step if pair in beside else 0.0
        mine = [(lines.index(r["line"]) + shift, r) for r in rows if r["pair"] == pair]
        face = style.colour(other) if pair in beside else style.INK
        hollow = pair in beside and style.is_open(other, others)
        barred = [(y, r) for y, r in mine if r["low"] is not None]
        axis.hlines(
            [y for y, _ in barred],
            [r["low"] for _, r in barred],
            [r["high"] for _, r in barred],
            color=face,
            linewidth=2.5,
            alpha=0.4,
        )
        axis.scatter(
            [r["ratio"] for _, r in mine],
            [y for y, _ in mine],
            s=style.size(other, hollow) if pair in beside else 30,
            facecolors=style.PAPER if hollow else face,
            marker=style.marker(other) if pair in beside else "o",
            edgecolors=face if hollow else style.PAPER,
            linewidths=1.3 if hollow else 0.6,
            zorder=3,
            label=pair,
        )
