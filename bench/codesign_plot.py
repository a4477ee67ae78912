"""The picture of a co-design sweep: latency over core ratio, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.codesign_report import Family, front, interval


def plot(families: Sequence[Family], budget: float | None, accuracy: dict[str, float], path: Path) -> None:
    """Left: the measured curve with its fit, band and budget. Right: latency against accuracy (or MACs)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (curve, pareto) = pyplot.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for index, family in enumerate(families):
        _curve(curve, family, f"C{index % 10}")
    if budget is not None:
        curve.axhline(budget, color="0.3", linestyle="--", label=f"budget {budget:g} ms")
    curve.set(xlabel="core ratio", ylabel="latency (ms)", title="measured, and the fitted curve")
    _front(pareto, families, budget, accuracy)
    for axis in (curve, pareto):
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _curve(axis: Any, family: Family, colour: str) -> None:
    points = sorted(family.points, key=lambda q: q.variant.ratio)
    ratios = [p.variant.ratio for p in points]
    medians = np.array([p.median for p in points])
    errors = np.abs(np.array([interval(p.rounds) or (p.median, p.median) for p in points]).T - medians)
    axis.errorbar(ratios, medians, errors, fmt="o", color=colour, markersize=4, label=family.name)
    if family.curve is not None:
        grid = np.linspace(min(ratios), max(ratios), 60)
        band = np.array([family.curve.interval(r) for r in grid])
        axis.plot(grid, [family.curve.at(r) for r in grid], color=colour)
        axis.fill_between(grid, band[:, 0], band[:, 1], color=colour, alpha=0.2)
    dense = points[-1]
    scaled = [dense.median * p.variant.macs / dense.variant.macs for p in points]
    axis.plot(ratios, scaled, ":", color=colour, label=f"{family.name}: if latency followed MACs")


def _front(axis: Any, families: Sequence[Family], budget: float | None, accuracy: dict[str, float]) -> None:
    """Every variant, those that no other beats joined by a line and named by their ratio."""
    best, quality = front(families, accuracy)
    by_accuracy = quality.startswith("measured")
    joined = []
    for index, family in enumerate(families):
        for p in family.points:
            if by_accuracy and p.variant.name not in accuracy:
                continue
            y = accuracy[p.variant.name] if by_accuracy else p.variant.macs / 1e9
            on_front = p.variant.name in best
            face = f"C{index % 10}" if on_front else "none"
            axis.scatter(p.median, y, s=30, facecolor=face, edgecolor=f"C{index % 10}", zorder=3)
            if on_front:
                joined.append((p.median, y))
                axis.annotate(
                    f"{p.variant.ratio:g}", (p.median, y), (4, -9), textcoords="offset points", fontsize=7
                )
    joined.sort()
    axis.plot([x for x, _ in joined], [y for _, y in joined], color="0.4", linewidth=1, label="Pareto front")
    if budget is not None:
        axis.axvline(budget, color="0.3", linestyle="--", label=f"budget {budget:g} ms")
    title = "filled: no variant is faster and better; numbers: core ratio"
    axis.set(xlabel="latency (ms)", ylabel=quality, title=title)
