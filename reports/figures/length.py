"""Latency against the number of tokens: full attention beside core-periphery attention at several core ratios."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from ecp.model.macs import SHAPES, total_macs
from reports.figures import style
from reports.figures.base import Figure, Missing
from reports.measured import Measured, Store
from reports.model_names import base_name, core_ratio, image_size
from reports.versus import METRIC

SIZES = (224, 384, 512)
RATIOS = (0.1, 0.3, 0.5, 0.8)
MOST_PANELS = 3
LEAST_LENGTHS = 3
Row = dict[str, Any]


def command(device: str) -> str:
    """What measures the whole figure."""
    dense = [f"vit_base@{s}".removesuffix("@224") for s in SIZES]
    pruned = [f"ecp_vit_base@{r:g}@{s}".removesuffix("@224") for s in SIZES for r in RATIOS]
    return (
        f"nox -s latency -- --device {device} --backends ecp,onnxruntime --models {','.join(dense + pruned)}"
    )


def against_length(store: Store, device: str, precision: str) -> Figure | Missing:
    """Latency over tokens per framework, and below it what core-periphery attention saves of the dense latency."""
    want = {"device": device, "precision": precision, "metric": "latency", "variant": ""}
    cells = [c for c in store.cells if c.ok and all(getattr(c, k) == v for k, v in want.items())]
    every = [r for c in cells if (r := _row(c))]
    panels = _panels(every)
    name = "Latency against sequence length"
    if not panels:
        why = f"no run measured a model at {LEAST_LENGTHS} sequence lengths, with full and core-periphery attention"
        return Missing("length", name, why, command(device))
    rows = [r for some in panels.values() for r in some]

    def draw(canvas: Canvas) -> None:
        axes = canvas.subplots(2, len(panels), squeeze=False, sharex=True, sharey="row", height_ratios=[3, 2])
        for k, ((base, backend), some) in enumerate(panels.items()):
            _latencies(axes[0][k], some)
            _relative(axes[1][k], some)
            axes[0][k].set_title(f"{backend}, {base}")
        axes[0][0].set_ylabel("latency, ms")
        axes[1][0].set_ylabel("relative to dense")
        handles, labels = axes[0][0].get_legend_handles_labels()
        more, names = axes[1][0].get_legend_handles_labels()
        canvas.legend(handles + more, labels + names, loc="outside lower center", ncols=6, fontsize=7.5)

    return Figure(
        "length",
        name,
        f"Measured on {device}, {precision}, batch 1. Above: latency; below: latency of core-periphery attention "
        "divided by that of full attention at the same length. Dotted: the same quotient of counted MACs.",
        "Lines of latency over sequence length for full and core-periphery attention, and their quotient.",
        rows,
        draw,
        (6.8, 4.6),
        "speed",
    )


def taking_turns(store: Store, device: str, precision: str) -> Figure | Missing:
    """The same question from ratios of contenders that took turns: each point is one run's, so runs may be joined."""
    cells = store.find(device=device, precision=precision, metric=METRIC)
    rows = [r for c in cells if (r := _turn(c))]
    name = "What core-periphery attention saves as the image grows"
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda r: (-r["core_ratio"], r["tokens"])):
        groups.setdefault(f"{row['backend']}, {row['network']}", []).append(row)
    groups = {k: v for k, v in groups.items() if len({r["tokens"] for r in v}) >= LEAST_LENGTHS}
    if not groups:
        pruned = ",".join(f"ecp_vit_small@{r:g}" for r in RATIOS)
        command = f"nox -s versus -- --device {device} --backends ecp --models vit_small,{pruned}"
        why = f"full and core-periphery attention took turns at fewer than {LEAST_LENGTHS} image sizes"
        return Missing("length-turns", name, why, f"{command} (and the same with @384 and @512)")
    shown = [r for some in groups.values() for r in some]

    def draw(canvas: Canvas) -> None:
        axes = canvas.subplots(1, len(groups), squeeze=False, sharey=True)[0]
        for axis, (title, some) in zip(axes, groups.items()):
            _relative(axis, some, names=True)
            _intervals(axis, some)
            axis.set_title(title)
        axes[0].set_ylabel("time relative to full attention")
        handles, labels = axes[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=7.5)

    return Figure(
        "length-turns",
        name,
        f"Time of core-periphery attention divided by time of full attention on {device}, {precision}, batch 1; both "
        "took turns in the same processes. Bars: 95 % intervals, side by side. Dotted: the quotient of counted MACs.",
        "Lines of relative time over sequence length, one per core ratio, falling as the image grows.",
        shown,
        draw,
        (6.8, 3.6),
        "speed",
    )


def _intervals(axis: Axes, rows: list[Row]) -> None:
    """A bar per point, side by side; one that reaches 1 cannot be told from full attention."""
    wide = 0.006 * max(r["tokens"] for r in rows)
    for k, (ratio, some) in enumerate(_series(rows).items()):
        mine = [r for r in some if r["low"] is not None]
        xs = [r["tokens"] + (k - 1) * wide for r in mine]
        face = _look(ratio)["color"]
        axis.vlines(xs, [r["low"] for r in mine], [r["high"] for r in mine], color=face, lw=2.5, alpha=0.4)


def _turn(cell: Measured) -> Row | None:
    """One ratio, dense over core-periphery, turned over; None for another pair, or for two different images."""
    if (
        not cell.ok
        or not cell.value
        or core_ratio(cell.model) is None
        or core_ratio(cell.against) is not None
    ):
        return None
    same = base_name(cell.model).removeprefix("ecp_") == base_name(cell.against)
    row = _row(cell)
    if row is None or not same or image_size(cell.model) != image_size(cell.against):
        return None
    ends = {"low": 1 / cell.ci[1], "high": 1 / cell.ci[0]} if cell.ci else {"low": None, "high": None}
    return {k: v for k, v in row.items() if k != "latency_ms"} | {"relative": 1 / cell.value} | ends


def _row(cell: Measured) -> Row | None:
    """One point; None for a network without a ViT/16's tokens."""
    base, ratio = base_name(cell.model).removeprefix("ecp_"), core_ratio(cell.model)
    side = image_size(cell.model)
    if base not in SHAPES or side % 16 or "@b" in cell.model:
        return None
    shape = replace(SHAPES[base], image=side)
    return {
        "network": base,
        "backend": cell.backend,
        "tokens": shape.tokens,
        "core_ratio": 1.0 if ratio is None else ratio,
        "latency_ms": cell.value,
        "low": cell.ci[0] if cell.ci else None,
        "high": cell.ci[1] if cell.ci else None,
        "macs_relative": total_macs(shape, 1.0 if ratio is None else ratio) / total_macs(shape),
        "model": cell.model,
        "run": cell.run,
    }


def _panels(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """(network, framework) pairs with enough lengths of both kinds, this project's first; each sorted by length.

    A panel is the newest run that has enough: quotients of two runs would compare two different minutes.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["network"], row["backend"], row["run"]), []).append(row)
    kept = {k[:2]: full for k, v in groups.items() if _enough(full := _with_dense(v))}
    order = sorted(kept, key=lambda k: (k[1] != "ecp", -len(kept[k]), list(SHAPES).index(k[0]), k[1]))
    return {k: kept[k] for k in order[:MOST_PANELS]}


def _enough(rows: list[Row]) -> bool:
    dense, pruned = (
        {r["tokens"] for r in rows if (r["core_ratio"] == 1.0) is full} for full in (True, False)
    )
    return len(dense) >= LEAST_LENGTHS and bool(pruned & dense)


def _with_dense(rows: list[Row]) -> list[Row]:
    dense = {r["tokens"]: r["latency_ms"] for r in rows if r["core_ratio"] == 1.0}
    found = [
        r | {"relative": r["latency_ms"] / dense[r["tokens"]] if r["tokens"] in dense else None} for r in rows
    ]
    return sorted(found, key=lambda r: (-r["core_ratio"], r["tokens"]))


def _series(rows: list[Row]) -> dict[float, list[Row]]:
    found: dict[float, list[Row]] = {}
    for row in rows:
        found.setdefault(row["core_ratio"], []).append(row)
    return found


def _look(ratio: float) -> Mapping[str, Any]:
    """Colour and mark belong to the ratio, in every panel."""
    if ratio == 1.0:
        return {"color": style.INK, "marker": "o", "linestyle": "-"}
    k = RATIOS.index(ratio) if ratio in RATIOS else len(RATIOS)
    return {"color": style.CYCLE[k], "marker": style.MARKERS[k + 1], "linestyle": "--"}


def _latencies(axis: Axes, rows: list[Row]) -> None:
    for ratio, mine in _series(rows).items():
        label = "full attention" if ratio == 1.0 else f"CP {ratio:g}"
        axis.plot([r["tokens"] for r in mine], [r["latency_ms"] for r in mine], label=label, **_look(ratio))
        spread = [r for r in mine if r["low"] is not None]
        axis.vlines(
            [r["tokens"] for r in spread],
            [r["low"] for r in spread],
            [r["high"] for r in spread],
            color=_look(ratio)["color"],
            linewidth=1,
        )
    axis.set_yscale("log")
    style.label_log_axis(axis, "y")


def _relative(axis: Axes, rows: list[Row], names: bool = False) -> None:
    axis.axhline(1.0, color=style.INK, linewidth=0.8)
    first = True
    for ratio, some in _series(rows).items():
        mine = [r for r in some if ratio != 1.0 and r["relative"] is not None]
        xs = [r["tokens"] for r in mine]
        if not mine:
            continue
        axis.plot(xs, [r["relative"] for r in mine], label=f"CP {ratio:g}" if names else None, **_look(ratio))
        label = "by MACs" if first else None
        axis.plot(
            xs, [r["macs_relative"] for r in mine], color=_look(ratio)["color"], ls=":", lw=1, label=label
        )
        first = False
    axis.set_xticks(sorted({r["tokens"] for r in rows}))
    axis.set_xlabel("tokens N")
