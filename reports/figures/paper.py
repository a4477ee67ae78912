"""The paper's own figures, redrawn: Figure 1, Figure 4 and Figure 7."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle

from ecp.model.graph import CorePeripheryGraph, centre_first
from reports import costs, numbers
from reports.figures import style
from reports.figures.base import Figure, Missing
from reports.measured import Measured, Store
from reports.tables.find import FRAMEWORKS, is_ours

ON_GRAPH = 24  # nodes of the drawn graphs: enough to see the structure, few enough to see the edges
RATIOS = (0.1, 0.3, 0.5, 1.0)


def figure1(store: Store, device: str, precision: str) -> Figure | Missing:
    """Accuracy (published) against latency (measured), circle area by MACs."""
    rows = [r for a in numbers.figure1_accuracies() for r in _figure1_rows(store, device, precision, a)]
    here = [r for r in rows if r["where"] == device]
    name = "Figure 1: accuracy, latency and MACs"
    if not here:
        command = (
            f"nox -s latency -- --device {device} --models vit_tiny,vit_small,vit_base,ecp_vit_tiny,swin_tiny"
        )
        return Missing("figure1", name, f"no latency of its models on {device} at {precision}", command)

    def draw(canvas: Canvas) -> None:
        axis = canvas.add_subplot()
        for group, face in (("measured", style.RED), ("other", style.BLUE)):
            some = [r for r in here if (r["backend"].startswith("ecp")) == (group == "measured")]
            _circles(axis, some, face, "o" if group == "measured" else "s")
        published = [r for r in rows if r["where"] != device]
        axis.scatter(
            [r["latency_ms"] for r in published],
            [r["top1"] for r in published],
            marker="x",
            s=24,
            color=style.GREY,
            linewidths=1,
            label="published on the OnePlus 11 (Table 7)",
        )
        axis.set_xscale("log")
        style.label_log_axis(axis)
        axis.set_xlabel(f"latency on {device} ({precision}), ms; log scale")
        axis.set_ylabel("top-1 on ImageNet, % (published)")
        handles = [
            axis.scatter([], [], s=50, color=style.RED, alpha=0.6, marker="o", label="ecp"),
            axis.scatter(
                [], [], s=50, color=style.BLUE, alpha=0.6, marker="s", label="fastest other framework"
            ),
            axis.scatter(
                [], [], s=24, color=style.GREY, marker="x", linewidths=1, label="published, OnePlus 11"
            ),
        ]
        axis.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3)
        axis.margins(y=0.08)
        left, right = axis.get_xlim()
        axis.set_xlim(
            left / (right / left) ** 0.14, right
        )  # room for the names, which stand left of their marks
        canvas.draw_without_rendering()  # the layout is final from here on
        _names(axis, here)

    return Figure(
        "figure1",
        name,
        f"Accuracies are published ones (the paper's where it prints them, else each model's own paper); latencies "
        f"are measured on {device}, {precision}. Mark area grows with MACs. Crosses are Table 7's: the paper's "
        "framework for ecp_vit, MNN for vit.",
        f"Scatter plot of published accuracy against measured latency for {len({r['model'] for r in here})} models.",
        rows,
        draw,
        (6.8, 4.2),
        "paper",
    )


def _figure1_rows(
    store: Store, device: str, precision: str, accuracy: dict[str, Any]
) -> list[dict[str, Any]]:
    model = accuracy["model"]
    cost = costs.of(model, store)
    base = {
        "model": model,
        "top1": accuracy["top1"],
        "accuracy_source": accuracy["source"],
        "macs_g": round(cost.macs_g, 3) if cost else None,
    }
    cells = [c for c in store.find(device=device, precision=precision, model=model, metric="latency") if c.ok]
    ours = [c for c in cells if c.backend in FRAMEWORKS["ecp"]]
    others = sorted((c for c in cells if not is_ours(c.backend)), key=lambda c: c.value or 0)
    rows = [
        base | {"where": device, "backend": c.backend, "latency_ms": c.value, "run": c.run}
        for c in (*ours[:1], *others[:1])
    ]
    column = "ours" if model.startswith("ecp_") else "mnn"
    published = numbers.table("t7").values.get((model, column))
    if published:
        rows.append(
            base | {"where": "oneplus11 (published)", "backend": column, "latency_ms": published.value}
        )
    return rows


def _area(row: dict[str, Any]) -> float:
    return float(18 * (row["macs_g"] or 1) + 12)


def _circles(axis: Any, rows: list[dict[str, Any]], face: str, marker: str) -> None:
    axis.scatter(
        [r["latency_ms"] for r in rows],
        [r["top1"] for r in rows],
        s=[_area(r) for r in rows],
        color=face,
        alpha=0.6,
        linewidths=0.8,
        edgecolors=style.INK,
        marker=marker,
    )


def _names(axis: Any, rows: list[dict[str, Any]]) -> None:
    """The model's name left of its leftmost mark; from the top down, a name that would touch another moves down."""
    placed: list[tuple[float, float, float]] = []
    for model in sorted({r["model"] for r in rows}, key=lambda m: -_of(rows, m)["top1"]):
        row = _of(rows, model)
        where = (row["latency_ms"], row["top1"])
        x, y = axis.transData.transform(where) * 72 / axis.figure.dpi  # points, as text is measured in
        end = x - math.sqrt(_area(row)) / 2 - 2
        start, height = end - 4.2 * len(model), y
        for other_start, other_end, other in placed:
            if start < other_end and other_start < end and abs(height - other) < 8:
                height = other - 8
        placed.append((start, end, height))
        shift = (end - x, height - y)
        axis.annotate(model, where, shift, textcoords="offset points", fontsize=7, ha="right", va="center")


def _of(rows: list[dict[str, Any]], model: str) -> dict[str, Any]:
    """The fastest row of a model."""
    return min((r for r in rows if r["model"] == model), key=lambda r: float(r["latency_ms"]))


def figure4() -> Figure:
    """Core-periphery graphs and adjacency matrices at four core ratios, from the model's own graph code."""
    graphs = [CorePeripheryGraph.build(ON_GRAPH, r, list(range(ON_GRAPH))) for r in RATIOS]
    full = [CorePeripheryGraph.build(196, r, centre_first((14, 14))) for r in RATIOS]
    rows = [
        {
            "ratio": r,
            "nodes": g.nodes,
            "core_nodes": len(g.core_nodes),
            "edges": int(g.adjacency().sum()),
            "of": g.nodes**2,
            "core_patches_of_196": len(f.core_nodes),
        }
        for r, g, f in zip(RATIOS, graphs, full)
    ]

    def draw(canvas: Canvas) -> None:
        axes = canvas.subplots(2, len(RATIOS))
        for i, (ratio, graph) in enumerate(zip(RATIOS, graphs)):
            _graph(axes[0][i], graph)
            name = "complete graph" if ratio == 1.0 else f"core ratio {ratio}"
            axes[0][i].set_title(name, loc="center")
            _matrix(axes[1][i], graph)
            share = rows[i]["edges"] / rows[i]["of"]
            axes[1][i].set_xlabel(f"{share:.0%} of all pairs kept")

    return Figure(
        "figure4",
        "Figure 4: core-periphery graphs",
        f"Graphs of {ON_GRAPH} nodes (red squares: core, blue circles: periphery) and their adjacency matrices "
        "(black: connected). A core node sees every node, a periphery node sees core nodes only.",
        "Four graphs and four matrices: with a growing core ratio the matrix fills from the core's rows and columns.",
        rows,
        draw,
        (6.8, 3.6),
        "paper",
    )


def _graph(axis: Any, graph: CorePeripheryGraph) -> None:
    core = {int(i) for i in graph.core_nodes}
    adjacency = graph.adjacency()
    turn = 2 * math.pi / graph.nodes
    place = [(math.cos(turn * i), math.sin(turn * i)) for i in range(graph.nodes)]
    ends = [(i, j) for i in range(graph.nodes) for j in range(i) if adjacency[i, j] or adjacency[j, i]]
    # One path for all edges, broken by NaN: a tenth of the size of one path per edge.
    xs = [x for i, j in ends for x in (place[i][0], place[j][0], math.nan)]
    ys = [y for i, j in ends for y in (place[i][1], place[j][1], math.nan)]
    axis.plot(xs, ys, color=style.GREY, linewidth=0.3, alpha=0.6, zorder=1)
    for group, face, marker in ((core, style.RED, "s"), (set(range(graph.nodes)) - core, style.BLUE, "o")):
        axis.scatter(
            [place[i][0] for i in group],
            [place[i][1] for i in group],
            s=16,
            color=face,
            marker=marker,
            zorder=2,
        )
    axis.set_aspect("equal")
    axis.set_axis_off()


def _matrix(axis: Any, graph: CorePeripheryGraph) -> None:
    """The adjacency matrix, core nodes first: full rows and columns of the core (as two rectangles)."""
    core, nodes = len(graph.core_nodes), graph.nodes
    assert graph.adjacency()[:core].all() and graph.adjacency()[:, :core].all()
    assert not graph.adjacency()[core:, core:].any()
    axis.add_patch(Rectangle((0, 0), nodes, core, color=style.INK, linewidth=0))
    axis.add_patch(Rectangle((0, 0), core, nodes, color=style.INK, linewidth=0))
    axis.set_xlim(0, nodes)
    axis.set_ylim(nodes, 0)
    axis.set_aspect("equal")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)
    axis.spines[:].set_visible(True)


def figure7(store: Store, device: str, precision: str) -> Figure | Missing:
    """Speedup over MNN per model, as bars; both sides of a quotient are from one run."""
    models = ("vit_base", "vit_small", "vit_tiny", "ecp_vit_base", "ecp_vit_small", "ecp_vit_tiny")
    name = "Figure 7: speedup over MNN"
    rows = [r for m in models for r in _speedups(store, device, precision, m)]
    if not any(r["backend"] == "ecp" for r in rows):
        command = f"nox -s latency -- --device {device} --models {','.join(models)} --backends ecp,mnn"
        return Missing("figure7", name, f"no model with both ecp and MNN on {device} at {precision}", command)
    backends = sorted({r["backend"] for r in rows}, key=lambda b: (b != "mnn", style.rank(b), b))

    def draw(canvas: Canvas) -> None:
        axis = canvas.add_subplot()
        width = 0.8 / len(backends)
        present = [m for m in models if any(r["model"] == m for r in rows)]
        for k, backend in enumerate(backends):
            mine = {r["model"]: r for r in rows if r["backend"] == backend}
            xs = [i + (k - (len(backends) - 1) / 2) * width for i, m in enumerate(present) if m in mine]
            some = [mine[m] for m in present if m in mine]
            axis.bar(
                xs,
                [r["speedup"] for r in some],
                width * 0.92,
                color=style.colour(backend),
                alpha=0.5 if style.is_open(backend, backends) else 1.0,
                hatch=style.hatch(backend),
                label=backend,
                yerr=[
                    [max(0.0, r["speedup"] - r["low"]) for r in some],
                    [max(0.0, r["high"] - r["speedup"]) for r in some],
                ],
                error_kw={"elinewidth": 0.8, "ecolor": style.INK},
            )
        axis.axhline(1.0, color=style.INK, linewidth=0.8)
        axis.set_xticks(range(len(present)), present)
        axis.grid(axis="x", visible=False)
        axis.set_ylabel("speedup over MNN")
        axis.legend(ncols=min(5, len(backends)), loc="upper left", bbox_to_anchor=(0, 1.12))

    return Figure(
        "figure7",
        name,
        f"Latency of MNN divided by latency of each framework on {device}, {precision}; whiskers: the ratio's range "
        "over both 95 % intervals. The paper draws its bars (Xiaomi 6) without numbers.",
        "Grouped bars of speedups over MNN per model and framework.",
        rows,
        draw,
        (6.8, 3.4),
        "paper",
    )


def _speedups(store: Store, device: str, precision: str, model: str) -> list[dict[str, Any]]:
    cells = {
        c.backend: c
        for c in store.find(device=device, precision=precision, model=model, metric="latency")
        if c.ok
    }
    base = next((cells[b] for b in FRAMEWORKS["mnn"] if b in cells), None)
    if base is None:
        return []
    beside = store.alone(base.run).find(device=device, precision=precision, model=model, metric="latency")
    return [_speedup_row(model, base, c) for c in beside if c.ok]


def _speedup_row(model: str, base: Measured, cell: Measured) -> dict[str, Any]:
    (base_low, base_high), (low, high) = (c.ci or (c.value or 0, c.value or 0) for c in (base, cell))
    same = cell.backend == base.backend
    return {
        "model": model,
        "backend": "mnn" if same else cell.backend,
        "baseline": base.backend,
        "speedup": (base.value or 0) / (cell.value or 1),
        "low": 1.0 if same else base_low / high,
        "high": 1.0 if same else base_high / low,
        "run": cell.run,
    }
