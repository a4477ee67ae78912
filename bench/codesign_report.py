"""What co-design found, for people: text, picture and cells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.codesign_fit import Curve, HoldOut, pareto
from bench.codesign_sweep import Measured
from bench.escape import line
from bench.names import check_name
from bench.stats.median_interval import blocks_interval
from ecp.errors import UsageError
from ecp.model.macs import SHAPES, VitShape, attention_share, total_macs

SHARE_SIZES = (224, 384, 512, 768, 1024)


@dataclass(frozen=True)
class Family:
    """One curve: the variants that differ in core ratio only, and the choice within the budget."""

    name: str
    shape: VitShape
    points: list[Measured]
    curve: Curve | None
    hold_out: HoldOut | None
    choice: float | None


def read_accuracy(paths: Sequence[Path], dataset: str | None = None) -> dict[str, float]:
    """Measured top-1 by model name out of files of ``--json`` cells (metric accuracy or train).

    Only the usual core choice (cells without a variant), and of one data set: :class:`UsageError` where the files hold
    several and ``dataset`` does not say which.
    """
    found: dict[str, dict[str, float]] = {}
    for path in paths:
        try:
            data = json.loads(path.read_text())
            for c in data["cells"] if isinstance(data, dict) else data:
                usual = c["metric"] in ("accuracy", "train") and not c.get("variant")
                if usual and c["status"] == "measured":
                    of = str((c.get("extra") or {}).get("dataset", ""))
                    found.setdefault(of, {})[c["model"]] = float(c["value"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"--accuracy {path}: not a file of cells ({error})") from error
    if dataset is not None:
        return found[check_name("data set in --accuracy", dataset, found)]
    if len(found) > 1:
        known = ", ".join(f"'{name}'" for name in sorted(found))
        raise UsageError(f"--accuracy holds several data sets: choose one with --dataset ({known})")
    return next(iter(found.values()), {})


def front(families: Sequence[Family], accuracy: dict[str, float]) -> tuple[list[str], str]:
    """The Pareto front over all variants and what its quality axis is: accuracy where known, else MACs."""
    points = {p.variant.name: p for family in families for p in family.points}
    known = {name: (p.median, accuracy[name]) for name, p in points.items() if name in accuracy}
    if len(known) > 1:
        return pareto(known), "measured top-1 (%)"
    return pareto(
        {n: (p.median, p.variant.macs / 1e9) for n, p in points.items()}
    ), "GMACs (no accuracy known)"


def text(families: Sequence[Family], budget: float | None, accuracy: dict[str, float]) -> str:
    """The report as plain text."""
    lines = []
    best, axis = front(families, accuracy)
    for family in families:
        lines.append(f"{line(family.name)}: {family.shape.tokens} tokens")
        lines.append("  ratio  measured ms [95 %]         fitted ms   GMACs   compile s  top-1 %")
        for p in sorted(family.points, key=lambda q: q.variant.ratio):
            lines.append(_row(p, family.curve, accuracy, p.variant.name in best))
        if family.hold_out is not None:
            h = family.hold_out
            lines.append(
                f"  hold-out: fitted on {len(h.fitted)} ratios, error on the other {len(h.held)}: "
                f"mean {h.mean:.2f} %, worst {h.worst:.2f} %"
            )
        if budget is not None:
            lines.append("  " + _choice(family, budget))
        dense = max(family.points, key=lambda q: q.variant.ratio)
        if dense.device_ms and dense.attention_ms is not None:
            share = 100 * dense.attention_ms / dense.device_ms
            lines.append(
                f"  attention launches at ratio {dense.variant.ratio:g}: {share:.1f} % of device time"
            )
        elif dense.device_ms:
            lines.append(
                "  attention's share of device time is not known: it is part of a larger launch here"
            )
        lines.append("")
    lines.append(f"* on the Pareto front of latency and {axis}")
    lines += ["", *_shares({f.name.split("@")[0].split(" ")[0] for f in families})]
    return "\n".join(lines)


def _row(point: Measured, curve: Curve | None, accuracy: dict[str, float], best: bool) -> str:
    ends = interval(point.rounds)
    shown = f"[{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "[few rounds]"
    ratio = point.variant.ratio
    fitted = "" if curve is None else f"{curve.at(ratio):9.2f}"
    top1 = f"{accuracy[point.variant.name]:.2f}" if point.variant.name in accuracy else "-"
    mark = "*" if best else " "
    return (
        f"  {ratio:5.2f}{mark} {point.median:9.2f} {shown}".ljust(36)
        + f"{fitted:>9}  {point.variant.macs / 1e9:7.3f}  {point.compile_s:8.1f}   {top1}"
    )


def interval(rounds: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the median over rounds, in ms; None under six rounds."""
    return blocks_interval([[r] for r in rounds])


def _choice(family: Family, budget: float) -> str:
    if family.curve is None:
        return "no curve (too few ratios), so no choice"
    if family.choice is None:
        low = family.curve.interval(1 / family.shape.patches)[0]
        return f"no core ratio meets {budget:g} ms: even one core patch needs at least {low:.2f} ms"
    few = interval(family.points[0].rounds) is None
    bounds = () if few else family.curve.interval(family.choice)
    shown = f" [{bounds[0]:.2f}, {bounds[1]:.2f}]" if bounds else ""
    core = round(family.choice * family.shape.patches)
    return (
        f"largest core ratio within {budget:g} ms: {family.choice:.3f} ({core} of {family.shape.patches} patches), "
        f"predicted {family.curve.at(family.choice):.2f} ms{shown}"
    )


def _shares(bases: set[str]) -> list[str]:
    """When core-periphery can pay at all: the share of attention in the MACs as the image grows."""
    lines = ["MACs in attention, and MACs saved by a core ratio, as the image grows (patch 16):"]
    lines.append("  model      pixels  tokens  attention   saved at .8    .5     .1")
    for base in sorted(bases & SHAPES.keys()):
        for size in SHARE_SIZES:
            shape = replace(SHAPES[base], image=size)
            whole = total_macs(shape)
            saved = [100 * (1 - total_macs(shape, r) / whole) for r in (0.8, 0.5, 0.1)]
            lines.append(
                f"  {base:<10} {size:5d}  {shape.tokens:6d}  {100 * attention_share(shape):7.1f} %  "
                f"{saved[0]:8.2f} % {saved[1]:6.2f} {saved[2]:6.2f}"
            )
    return lines


def cells(
    families: Sequence[Family], device: str, version: str, precision: str, budget: float | None
) -> list[Any]:
    """One ``--json`` cell per variant, metric ``codesign``: median ms with interval and the curve's prediction."""
    result = []
    for family in families:
        for p in family.points:
            curve, ratio = family.curve, p.variant.ratio
            held = family.hold_out
            extra = {
                "family": family.name,
                "core_ratio": ratio,
                "macs": p.variant.macs,
                "compile_s": p.compile_s,
                "predicted_ms": None if curve is None else curve.at(ratio),
                "predicted_ci": None
                if curve is None or interval(p.rounds) is None
                else curve.interval(ratio),
                "hold_out_mean_percent": None if held is None else held.mean,
                "hold_out_worst_percent": None if held is None else held.worst,
                "budget_ms": budget,
                "largest_ratio_within_budget": family.choice,
                "attention_device_ms": p.attention_ms,
                "device_ms": p.device_ms,
                "weights": "synthesized (seed 0)",
            }
            result.append(
                {
                    "device": device,
                    "backend": "ecp",
                    "backend_version": version,
                    "model": p.variant.name,
                    "model_sha256": "",
                    "precision": precision,
                    "metric": "codesign",
                    "status": "measured",
                    "value": p.median,
                    "unit": "ms",
                    "ci": interval(p.rounds),
                    "blocks": [p.rounds],
                    "source": "wall",
                    "reason": "",
                    "extra": extra,
                }
            )
    return result
