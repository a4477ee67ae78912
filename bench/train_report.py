"""Tables, cells and picture of a study of fine-tunings, always rebuilt from its ``arms.jsonl``.

Arms of one seed saw the same images in the same order, so they are compared in pairs: the difference to the
dense control is taken seed by seed, its interval is Student's t over seeds, and the part of it that comes from
the finite test set is given beside it (a bootstrap over test images).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from bench import escape
from ecp.errors import UsageError

DENSE, GRAD_CAM = "dense", "grad-cam"
_DRAWS = 2000


@dataclass(frozen=True)
class Row:
    """One data set, core choice and ratio over its seeds; differences in points of top-1, dense to this.

    ``core`` is the choice's name in the study, ``method`` how the set was made (they differ for a set from a file).
    """

    dataset: str
    core: str
    method: str
    ratio: float
    seeds: tuple[int, ...]
    top1: tuple[float, ...]
    mean: float
    deviation: float
    difference: float | None
    interval: tuple[float, float] | None
    image_error: float | None


def read_arms(folder: Path) -> list[dict[str, Any]]:
    """The arms of a study; :class:`UsageError` if the file is missing or damaged."""
    try:
        lines = (folder / "arms.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / 'arms.jsonl'}: not the record of a study ({error})") from error


def _hits(arm: dict[str, Any]) -> np.ndarray:
    from ecp.model.training.study import unpack_hits

    return unpack_hits(arm)


def _paired(
    ours: list[dict[str, Any]], dense: dict[int, dict[str, Any]]
) -> tuple[float, tuple[float, float] | None, float]:
    """Mean difference in points, its 95 % t interval over seeds (None of one seed), 1.96 standard errors of images."""
    pairs = [(arm, dense[arm["seed"]]) for arm in ours if arm["seed"] in dense]
    differences = np.array([a["top1"] - d["top1"] for a, d in pairs])
    centre = float(differences.mean())
    interval = None
    if len(pairs) > 1:
        half = float(stats.t.ppf(0.975, len(pairs) - 1) * differences.std(ddof=1) / np.sqrt(len(pairs)))
        interval = centre - half, centre + half
    per_image = np.mean([_hits(a).astype(float) - _hits(d) for a, d in pairs], axis=0)
    images = 1.96 * 100 * per_image.std(ddof=1) / np.sqrt(len(per_image))
    return centre, interval, float(images)


def rows(arms: Iterable[dict[str, Any]]) -> list[Row]:
    """Arms grouped, dense first, then by core choice and falling ratio."""
    groups: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for arm in arms:
        groups.setdefault((arm["dataset"], arm["core"], arm["ratio"]), []).append(arm)
    result = []
    for (dataset, core, ratio), some in groups.items():
        dense = {arm["seed"]: arm for arm in groups.get((dataset, DENSE, 1.0), [])}
        values = [arm["top1"] for arm in some]
        difference, interval, images = None, None, None
        if core != DENSE and any(arm["seed"] in dense for arm in some):
            difference, interval, images = _paired(some, dense)
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
        method = str(some[0].get("method", core))
        seeds, mean = tuple(arm["seed"] for arm in some), float(np.mean(values))
        result.append(
            Row(
                dataset,
                core,
                method,
                ratio,
                seeds,
                tuple(values),
                mean,
                deviation,
                difference,
                interval,
                images,
            )
        )
    return sorted(result, key=lambda r: (r.dataset, r.core != DENSE, r.core, -r.ratio))


def table(found: list[Row]) -> str:
    """The rows as a Markdown table."""
    head = (
        "| data | core choice | ratio | seeds | top-1 % (mean ± sd) | difference to dense, points "
        "(95 % over seeds) | ± test images |\n| --- | --- | --- | --- | --- | --- | --- |\n"
    )
    lines = []
    for r in found:
        spread = "" if np.isnan(r.deviation) else f" ± {r.deviation:.2f}"
        if r.difference is None or r.image_error is None:
            change, images = "", ""
        else:
            bounds = f" [{r.interval[0]:+.2f}, {r.interval[1]:+.2f}]" if r.interval else " (one seed)"
            change, images = f"{r.difference:+.2f}{bounds}", f"{r.image_error:.2f}"
        lines.append(
            f"| {escape.markdown(r.dataset)} | {escape.markdown(r.core)} | {r.ratio:g} | {len(r.seeds)} "
            f"| {r.mean:.2f}{spread} | {change} | {images} |"
        )
    return head + "\n".join(lines) + "\n"


def cells(found: list[Row], study: dict[str, Any], model: str) -> list[dict[str, Any]]:
    """The rows as ``--json`` cells, metric ``accuracy``; ``ci`` is the t interval of the mean over seeds.

    ``model`` is given in timm's spelling or the registry's; cells have the registry's. The study's Grad-CAM set is the
    usual core choice, as in the paper, also if it came from a file; every other choice is a variant.
    """
    name = re.sub(r"_patch\d+.*$", "", model)
    asked = (study.get("config") or {}).get("model") or {}
    by_grad_cam = [r.core for r in found if r.method == GRAD_CAM]
    usual = {DENSE, min(by_grad_cam, key=lambda core: (core != GRAD_CAM, core), default=GRAD_CAM)}
    result = []
    for r in found:
        half = 0.0
        if len(r.seeds) > 1:
            half = float(stats.t.ppf(0.975, len(r.seeds) - 1) * r.deviation / np.sqrt(len(r.seeds)))
        result.append(
            {
                "device": study["gpu"],
                "backend": "torch",
                "backend_version": study["torch"],
                "model": name if r.core == DENSE else f"ecp_{name}@{r.ratio:g}",
                "model_sha256": "",
                "precision": "bf16",
                "metric": "accuracy",
                "status": "measured",
                "value": r.mean,
                "unit": "%",
                "ci": [r.mean - half, r.mean + half] if half else None,
                "blocks": [[v] for v in r.top1],
                "source": "labels",
                "reason": "",
                "variant": "" if r.core in usual else f"core by {r.core}",
                "extra": {
                    "dataset": r.dataset,
                    "core_choice": r.core,
                    "core_method": r.method,
                    "epochs": study.get("epochs"),
                    "weights": asked.get("weights"),
                    "image": asked.get("image"),
                    "seeds": list(r.seeds),
                    "difference_to_dense": r.difference,
                    "difference_interval": list(r.interval) if r.interval else None,
                    "interval": "Student's t over seeds",
                },
            }
        )
    return result


def plot(found: list[Row], path: Path) -> None:
    """Top-1 over core ratio, one panel per data set, one line per core choice, dense as a band."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = sorted({r.dataset for r in found})
    figure, axes = pyplot.subplots(
        1, len(names), figsize=(5 * len(names), 4), layout="constrained", squeeze=False
    )
    for axis, name in zip(axes[0], names):
        mine = [r for r in found if r.dataset == name]
        for dense in (r for r in mine if r.core == DENSE):
            axis.axhspan(min(dense.top1), max(dense.top1), color="0.85")
            axis.axhline(dense.mean, color="0.3", label=f"dense (ratio 1.0), {len(dense.seeds)} seeds")
        for mark, core in zip("osD^v", sorted({r.core for r in mine} - {DENSE})):
            line = sorted((r for r in mine if r.core == core), key=lambda r: r.ratio)
            axis.plot(
                [r.ratio for r in line], [r.mean for r in line], "-", marker=mark, label=f"cores: {core}"
            )
            for r in line:
                axis.vlines(r.ratio, min(r.top1), max(r.top1), color="0.4", linewidth=1)
        axis.set(title=name, xlabel="core ratio", ylabel="top-1 (%), bars: range over seeds")
        axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14))
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def curves(arms: list[dict[str, Any]], path: Path) -> None:
    """Training loss of every arm over its schedule, coloured by core ratio, one panel per data set."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = sorted({a["dataset"] for a in arms})
    figure, axes = pyplot.subplots(
        1, len(names), figsize=(5 * len(names), 3.6), layout="constrained", squeeze=False
    )
    colours = pyplot.get_cmap("viridis")
    for axis, name in zip(axes[0], names):
        labelled: set[float] = set()
        for arm in sorted((a for a in arms if a["dataset"] == name), key=lambda a: a["ratio"]):
            label = None if arm["ratio"] in labelled else f"{arm['ratio']:g}"
            labelled.add(arm["ratio"])
            steps = np.linspace(0, arm["steps"], len(arm["loss"]))
            axis.plot(steps, arm["loss"], color=colours(arm["ratio"]), linewidth=0.8, label=label)
        axis.set(title=name, xlabel="step", ylabel="training loss")
        axis.legend(title="core ratio", fontsize=7)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def write(folder: Path, model: str) -> list[Row]:
    """Rebuild ``table.md``, ``cells.json``, ``accuracy.png`` and ``curves.png`` of a study's folder."""
    arms = read_arms(folder)
    study = json.loads((folder / "study.jsonl").read_text().splitlines()[0])
    found = rows(arms)
    (folder / "table.md").write_text(table(found))
    made = json.dumps(cells(found, study, model), indent=1, allow_nan=False)
    (folder / "cells.json").write_text(made + "\n")
    plot(found, folder / "accuracy.png")
    curves(arms, folder / "curves.png")
    return found
