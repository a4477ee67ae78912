"""Figures of measured speed: latency by framework, where the time goes, ablation."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure as Canvas

from reports import profiles
from reports.aggregate import is_ablation
from reports.audit import vit_math
from reports.figures import style
from reports.figures.base import Figure, Missing
from reports.measured import Measured, Store


def by_model(cells: list[Measured]) -> dict[str, list[Measured]]:
    """Cells grouped by model, smallest latency first among models and within each."""
    groups: dict[str, list[Measured]] = {}
    for cell in cells:
        groups.setdefault(cell.model, []).append(cell)
    for some in groups.values():
        some.sort(key=lambda c: c.value or 0)
    return dict(sorted(groups.items(), key=lambda item: item[1][0].value or 0))


def latency(store: Store, device: str, precision: str) -> Figure | Missing:
    """Latency of every framework on every model, with intervals."""
    cells = [c for c in store.find(device=device, precision=precision, metric="latency") if c.ok]
    name = f"Latency on {device}, {precision}"
    if not cells:
        return Missing("latency", name, "no latency was recorded", f"nox -s latency -- --device {device}")
    # Other sizes and ratios have a figure of their own (length).
    cells = [c for c in cells if "@" not in c.model] or cells
    groups = by_model(cells)
    rows = [
        {
            "model": model,
            "backend": c.backend,
            "latency_ms": c.value,
            "low": c.ci[0] if c.ci else None,
            "high": c.ci[1] if c.ci else None,
            "blocks": len(c.blocks),
            "run": c.run,
        }
        for model, some in groups.items()
        for c in some
    ]

    backends = sorted({c.backend for c in cells}, key=lambda b: (style.rank(b), b))
    # A line for each framework that a model has, so that none hides another; an empty one between models.
    place: dict[tuple[str, str], int] = {}
    for number, (model, some) in enumerate(groups.items()):
        for cell in sorted(some, key=lambda c: backends.index(c.backend)):
            place[model, cell.backend] = len(place) + number
    lines = len(place) + len(groups)

    def draw(canvas: Canvas) -> None:
        axis = canvas.add_subplot()
        for backend in backends:
            hollow = style.is_open(backend, backends)
            mine = [(place[c.model, backend], c) for c in cells if c.backend == backend]
            axis.hlines(
                [y for y, _ in mine],
                [(c.ci or (c.value or 0,))[0] for _, c in mine],
                [(c.ci or (c.value or 0,))[-1] for _, c in mine],
                color=style.colour(backend),
                linewidth=2.5,
                alpha=0.4,
            )
            axis.scatter(
                [c.value or 0 for _, c in mine],
                [y for y, _ in mine],
                s=style.size(backend, hollow),
                facecolors=style.PAPER if hollow else style.colour(backend),
                marker=style.marker(backend),
                edgecolors=style.colour(backend) if hollow else style.PAPER,
                linewidths=1.3 if hollow else 0.6,
                zorder=3,
                label=backend,
            )
        middle = [sum(ys := [place[m, c.backend] for c in some]) / len(ys) for m, some in groups.items()]
        axis.set_yticks(middle, list(groups))
        axis.set_ylim(lines - 0.5, -1)
        axis.grid(axis="y", visible=False)
        for model in list(groups)[1:]:
            axis.axhline(
                min(place[model, c.backend] for c in groups[model]) - 1, color=style.GRID, linewidth=0.6
            )
        axis.set_xscale("log")
        style.label_log_axis(axis)
        axis.set_xlabel("latency, ms (log scale; left is faster)")
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=6, handletextpad=0.1, columnspacing=1.2)

    fastest = {m: some[0].backend for m, some in groups.items()}
    wins = sum(b.startswith("ecp") for b in fastest.values())
    return Figure(
        "latency",
        name,
        "Median of block medians, batch 1; bars are exact 95 % intervals over blocks (none under six). A "
        "framework keeps its colour and mark everywhere.",
        f"Dot plot of latency per model and framework; ecp is fastest on {wins} of {len(groups)} models.",
        rows,
        draw,
        (6.8, 0.13 * lines + 1.2),
        "speed",
    )


def breakdown(store: Store, device: str, precision: str) -> Figure | Missing:
    """Layout work against computation, per model and framework, from profiles."""
    rows: list[dict[str, Any]] = []
    for cell in store.find(device=device, precision=precision, metric="profile"):
        split = profiles.split(cell)
        if split is None:
            continue
        total = split.total_ms
        rows.append(
            {
                "model": cell.model,
                "backend": cell.backend,
                "layout_ms": split.layout_ms,
                "compute_ms": split.compute_ms,
                "layout_share_percent": 100 * split.layout_ms / total if total else 0.0,
                "source": cell.source,
                "run": cell.run,
            }
        )
    name = "Layout transformation against computation"
    if not rows:
        command = f"nox -s profile -- --device {device} --models vit_base --backends ecp,mnn"
        return Missing("breakdown", name, f"no profile on {device} at {precision}", command)
    rows.sort(key=lambda r: (r["model"], r["layout_ms"] + r["compute_ms"]))

    def draw(canvas: Canvas) -> None:
        axis = canvas.add_subplot()
        ys = list(range(len(rows)))
        axis.barh(ys, [r["compute_ms"] for r in rows], color=style.BLUE, label="computation")
        axis.barh(
            ys,
            [r["layout_ms"] for r in rows],
            left=[r["compute_ms"] for r in rows],
            color=style.ORANGE,
            hatch="//",
            label="layout transformation",
        )
        longest = max(r["layout_ms"] + r["compute_ms"] for r in rows)
        for y, r in enumerate(rows):
            end = r["layout_ms"] + r["compute_ms"]
            axis.text(end + longest * 0.01, y, f"{r['layout_share_percent']:.1f} %", va="center", fontsize=7)
        axis.set_yticks(ys, [f"{r['model']}, {r['backend']}" for r in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xlim(0, longest * 1.1)
        axis.grid(axis="y", visible=False)
        axis.set_xlabel("ms per inference")
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)

    return Figure(
        "breakdown",
        name,
        "What Table 1 splits: the latency of a plain pass, divided by the shares of a profiled pass. The number is "
        "the share of layout transformation.",
        "Stacked bars of computation and layout time per model and framework.",
        rows,
        draw,
        (6.8, 0.3 * len(rows) + 1.2),
        "speed",
    )


def ablation(store: Store, device: str, precision: str) -> Figure | Missing:
    """What each pass of the compiler is worth: latency with it turned off, relative to all on."""
    # A latency says more than a profile's plain passes: where both were measured, the latency counts.
    found = [r for c in store.latest.values() if (r := _ablation_row(store, c, device, precision))]
    best = {(r["model"], r["off"]): r for r in sorted(found, key=lambda r: str(r["metric"]), reverse=True)}
    rows = [r for r in found if best[r["model"], r["off"]] is r]
    name = "Ablation: each pass turned off"
    if not rows:
        command = f"nox -s profile -- --device {device} --models vit_tiny --ablate"
        return Missing("ablation", name, f"no ablation was recorded on {device} at {precision}", command)
    models = list(dict.fromkeys(r["model"] for r in rows))
    kinds = list(dict.fromkeys(r["off"] for r in rows))

    def draw(canvas: Canvas) -> None:
        axis = canvas.add_subplot()
        height = 0.8 / len(models)
        for k, model in enumerate(models):
            mine = {r["off"]: r for r in rows if r["model"] == model}
            some = [(i, mine[o]) for i, o in enumerate(kinds) if o in mine]
            bars = axis.barh(
                [i + (k - (len(models) - 1) / 2) * height for i, _ in some],
                [r["slower_by"] for _, r in some],
                height * 0.9,
                color=style.CYCLE[k % len(style.CYCLE)],
                hatch=style.HATCHES[k % len(style.HATCHES)],
                label=model,
                xerr=[
                    [max(0.0, r["slower_by"] - r["low"]) for _, r in some],
                    [max(0.0, r["high"] - r["slower_by"]) for _, r in some],
                ],
                error_kw={"elinewidth": 0.8, "ecolor": style.INK},
            )
            axis.bar_label(bars, [f"{r['slower_by']:.2f}x" for _, r in some], padding=2, fontsize=7)
        axis.axvline(1.0, color=style.INK, linewidth=0.8)
        axis.set_yticks(range(len(kinds)), [f"without {o}" for o in kinds])
        axis.set_ylim(len(kinds) - 0.4, -0.6)
        axis.grid(axis="y", visible=False)
        axis.set_xlabel("latency relative to all passes on")
        axis.legend(loc="lower right")

    return Figure(
        "ablation",
        name,
        f"ecp on {device}, {precision}: latency with one pass turned off, divided by latency with all of them; "
        f"whiskers: the quotient's range over both intervals.{_two_runs(rows)}",
        "Bars above one show how much slower the compiled model is without each pass.",
        rows,
        draw,
        (6.8, 0.42 * len(kinds) * max(1, len(models) / 2) + 1.2),
        "compiler",
    )


def _two_runs(rows: list[dict[str, Any]]) -> str:
    """A warning where a quotient's two sides were measured in different runs."""
    apart = sum(r["run"] != r["all_on_run"] for r in rows)
    return (
        f" {apart} of {len(rows)} compare two runs: what the machine did between them is inside."
        if apart
        else ""
    )


def _ablation_row(store: Store, cell: Measured, device: str, precision: str) -> dict[str, Any] | None:
    if (cell.device, cell.precision) != (device, precision) or cell.status != "measured":
        return None
    if cell.backend != "ecp" or not is_ablation(cell.variant):
        return None
    same = {"device": device, "precision": precision, "model": cell.model, "backend": cell.backend}
    full = [
        c
        for where in (store.alone(cell.run), store)
        for c in where.find(metric=cell.metric, **same)
        if c.status == "measured"
    ]
    with_all = profiles.latency_ms(full[0]) if full else None
    without = profiles.latency_ms(cell)
    if not with_all or not without:
        return None
    off = cell.variant.replace("=off", "").split()
    (a, b), (c, d) = profiles.latency_range(cell), profiles.latency_range(full[0])
    ends = (a / d, b / c)
    return {
        "model": cell.model,
        "off": off[0] if len(off) == 1 else "all of them",
        "latency_ms": without,
        "all_on_ms": with_all,
        "slower_by": without / with_all,
        "low": ends[0],
        "high": ends[1],
        "metric": cell.metric,
        "run": cell.run,
        "all_on_run": full[0].run,
    }


def macs_by_ratio() -> Figure:
    """How many MACs core-periphery attention removes: counted, for every ratio."""
    rows: list[dict[str, Any]] = [
        {
            "size": size,
            "ratio": i / 50,
            "macs_g": vit_math.macs(size, i / 50),
            "saved_percent": 100 * (1 - vit_math.macs(size, i / 50) / vit_math.macs(size)),
        }
        for size in vit_math.WIDTH
        for i in range(51)
    ]

    def draw(canvas: Canvas) -> None:
        axis = canvas.add_subplot()
        for size, face, dash in zip(vit_math.WIDTH, (style.GREEN, style.BLUE, style.RED), ("-", "--", ":")):
            mine = [r for r in rows if r["size"] == size]
            axis.plot(
                [r["ratio"] for r in mine],
                [r["saved_percent"] for r in mine],
                color=face,
                linestyle=dash,
                label=f"ViT-{size.title()}",
            )
        axis.axvline(0.8, color=style.MUTED, linewidth=0.8)
        axis.text(0.79, 12, "the paper's latencies", ha="right", fontsize=7.5)
        axis.set_xlabel("core ratio")
        axis.set_ylabel("MACs removed, %")
        axis.legend()

    return Figure(
        "macs",
        "What core-periphery attention can save at 224 px",
        "Counted from the architecture (197 tokens). At the ratio of Table 7 it is 0.56 % (Tiny) to 0.16 % (Base); "
        "the table's latencies fall by 14 % to 7 %.",
        "Three falling curves: savings vanish as the core ratio approaches one.",
        rows,
        draw,
        (6.8, 3.0),
        "paper",
    )
