"""Accuracy against core ratio: Table 3 as curves beside what was measured here."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure as Canvas

from reports import numbers
from reports.figures import style
from reports.figures.base import Figure
from reports.measured import Measured, Store
from reports.model_names import base_name, core_ratio
from reports.profiles import percent


def table3(store: Store) -> Figure:
    """Accuracy against core ratio: published curves, and measured ones where there are any."""
    table = numbers.table("t3")
    rows: list[dict[str, Any]] = [
        {"model": r.id, "ratio": float(c.id), "top1": table.values[r.id, c.id].value, "source": "published"}
        | {"dataset": "imagenet"}
        for r in table.rows
        for c in table.columns
    ]
    cells = [
        c for c in store.latest.values() if c.metric in ("accuracy", "train") and c.ok and "vit" in c.model
    ]
    rows += [_accuracy_row(c) for c in cells]
    measured = [r for r in rows if r["source"] == "measured"]

    def draw(canvas: Canvas) -> None:
        panels = canvas.subplots(1, 2 if measured else 1, squeeze=False)[0]
        _curves(panels[0], [r for r in rows if r["source"] == "published"], "published (ImageNet-1K)")
        if measured:
            _curves(panels[1], measured, "measured here")

    networks = ", ".join(dict.fromkeys(r["model"].removeprefix("ecp_") for r in measured))
    shown = f" of {networks}, on the data sets in the legend; bars: intervals over seeds" if measured else ""
    return Figure(
        "table3-curve",
        "Table 3 as a curve: accuracy against core ratio",
        f"Left: the paper's Table 3. Right, where there is one: accuracies measured here{shown}. Ratio 1.0 is full "
        "attention.",
        "Lines of accuracy over core ratio, rising from 0.1 to 1.0.",
        rows,
        draw,
        (6.8, 4.4 if measured else 3.4),
        "paper",
    )


def _accuracy_row(cell: Measured) -> dict[str, Any]:
    ratio = core_ratio(cell.model)
    return {
        "model": "ecp_" + base_name(cell.model).removeprefix("ecp_"),
        "ratio": 1.0 if ratio is None else ratio,
        "top1": percent(cell),
        "source": "measured",
        "dataset": cell.dataset,
        "choice": cell.variant,
        "low": cell.ci[0] if cell.ci else None,
        "high": cell.ci[1] if cell.ci else None,
        "run": cell.run,
    }


def _curves(axis: Any, rows: list[dict[str, Any]], title: str) -> None:
    """Colour by network and data set, mark and dash by core choice."""
    series = list(dict.fromkeys((r["model"], r["dataset"], r.get("choice", "")) for r in rows))
    kinds = list(dict.fromkeys((model, data) for model, data, _ in series))
    choices = list(dict.fromkeys(choice for *_, choice in series))
    one_network = len({model for model, _, _ in series}) == 1
    for model, data, choice in series:
        same = (r for r in rows if (r["model"], r["dataset"], r.get("choice", "")) == (model, data, choice))
        mine = sorted(same, key=lambda r: r["ratio"])
        parts = (
            "" if one_network else model.removeprefix("ecp_"),
            data if data != "imagenet" else "",
            choice or ("core by grad-cam" if len(choices) > 1 else ""),
        )
        k = kinds.index((model, data))
        face = style.CYCLE[k % len(style.CYCLE)]
        marks = k if len(choices) == 1 else choices.index(choice)
        axis.plot(
            [r["ratio"] for r in mine],
            [r["top1"] for r in mine],
            color=face,
            marker=style.MARKERS[marks % len(style.MARKERS)],
            linestyle="--" if choice else "-",
            label=", ".join(filter(None, parts)),
        )
        spread = [r for r in mine if r.get("low") is not None]
        axis.vlines(
            [r["ratio"] for r in spread], [r["low"] for r in spread], [r["high"] for r in spread], color=face
        )
    axis.set_title(title)
    axis.set_xlabel("core ratio")
    axis.set_ylabel("top-1, %")
    axis.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.16), fontsize=7)
