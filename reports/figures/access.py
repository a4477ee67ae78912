"""What eliminating layout operators changes: addresses read with and without it, and the plan in numbers.

The addresses come from the compiler's own index algebra (``ecp.index``): the layout chain between the QKV
projection and attention of a ViT, followed digit by digit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice, product
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from ecp.index.view import View
from reports.figures import style
from reports.figures.base import Figure, Missing
from reports.measured import Store

TOKENS, HEADS, WIDTH = 197, 3, 64  # ViT-Tiny
READS = 640
FLOAT_BYTES = 4


def attention_views() -> dict[str, View]:
    """Views of Q, K transposed and V in the dense [197, 3 x heads x 64] output of the QKV projection."""
    qkv = View.dense((TOKENS, 3 * HEADS * WIDTH)).reshape((TOKENS, 3, HEADS, WIDTH))
    assert qkv is not None
    parts = qkv.permute((1, 2, 0, 3))
    views = {}
    for index, name in enumerate(("Q", "K", "V")):
        part = parts.slice((index, 0, 0, 0), (1, 1, 1, 1), (1, HEADS, TOKENS, WIDTH))
        assert part is not None
        views[name] = View(part.axes[1:], part.offset)
    views["K transposed"] = views["K"].permute((0, 2, 1))
    return views


def addresses(view: View, count: int) -> list[int]:
    """Flat elements that ``count`` consecutive work-items read in row-major order of the view."""
    found = []
    for coords in islice(product(*(range(n) for n in view.shape)), count):
        flat = view.offset
        for axis, c in zip(view.axes, coords):
            for digit in reversed(axis):
                flat += (c % digit.radix) * digit.stride
                c //= digit.radix
        found.append(flat)
    return found


def _runs(some: list[int]) -> tuple[list[float], list[float]]:
    """Work-items and addresses in KiB, with a break (NaN) wherever the step changes: few points, short files."""
    xs, ys = [0.0], [some[0] * FLOAT_BYTES / 1024]
    step = some[1] - some[0]
    for i in range(1, len(some)):
        if some[i] - some[i - 1] != step:
            xs += [i - 1.0, math.nan]
            ys += [some[i - 1] * FLOAT_BYTES / 1024, math.nan]
            xs.append(float(i))
            ys.append(some[i] * FLOAT_BYTES / 1024)
    return [*xs, len(some) - 1.0], [*ys, some[-1] * FLOAT_BYTES / 1024]


def access() -> Figure:
    """Bytes read by consecutive work-items: a Transpose run as a launch, against attention through views."""
    views = attention_views()
    # With elimination the attention kernel walks K row by row of a key: 64 contiguous values through the view.
    panels = {
        "Transpose launch reads …": addresses(views["K transposed"], READS),
        "… and writes a copy": list(range(READS)),
        "eliminated: read in place": addresses(views["K"], READS),
    }
    rows: list[dict[str, Any]] = [
        {"panel": name, "work_item": i, "byte": a * FLOAT_BYTES}
        for name, some in panels.items()
        for i, a in enumerate(some)
    ]

    def draw(canvas: Canvas) -> None:
        axes = canvas.subplots(1, 3, sharex=True)
        for axis, (name, some), face in zip(axes, panels.items(), (style.RED, style.RED, style.BLUE)):
            xs, ys = _runs(some)
            axis.plot(xs, ys, color=face, linewidth=2, solid_capstyle="butt")
            axis.set_title(name)
            axis.set_ylim(0, max(some) * FLOAT_BYTES / 1024 * 1.25)
            axis.set_xlabel("work-item, in order")
            step = abs(some[1] - some[0]) * FLOAT_BYTES
            axis.text(
                0.03, 0.96, f"next address: {step} bytes on", transform=axis.transAxes, va="top", fontsize=7.5
            )
        axes[0].set_ylabel("address, KiB from the start")

    tensor = TOKENS * HEADS * WIDTH * FLOAT_BYTES
    return Figure(
        "data-access",
        "Figures 5 and 6: data access with and without elimination",
        "Addresses of K in ViT-Tiny, from the compiler's index algebra. Run as operators, splitting and transposing "
        f"Q, K and V reads and writes {6 * tensor / 1024:.0f} KiB per block before attention starts, and K's "
        "transpose jumps a whole token (2304 bytes) between neighbouring work-items. Eliminated, attention reads "
        "the projection's output in place, 64 contiguous values at a time, and the copies do not exist.",
        "Three scatter plots: scattered reads and a dense write with a transpose launch, short dense runs without it.",
        rows,
        draw,
        (6.8, 2.8),
        "compiler",
    )


def plan(store: Store, device: str, precision: str) -> Figure | Missing:
    """Nodes imported, layout operators among them, and launches left, per model."""
    rows: list[dict[str, Any]] = []
    for cell in store.find(device=device, precision=precision, backend="ecp", metric="latency"):
        details = cell.extra.get("details") or {}
        if cell.ok and "launches" in details:
            keys = (
                "imported_nodes",
                "transformative_nodes",
                "eliminated",
                "launches",
                "layout_launches",
                "arena_bytes",
                "naive_bytes",
            )
            rows.append({"model": cell.model} | {k: details.get(k) for k in keys} | {"run": cell.run})
    name = "What the compiler removed"
    if not rows:
        command = f"nox -s latency -- --device {device} --backends ecp"
        return Missing("plan", name, f"no compile report of ecp on {device} at {precision}", command)

    # Each core-periphery network under its dense twin; other sizes and ratios are the same plan again.
    rows = [r for r in rows if "@" not in r["model"]] or rows
    rows.sort(key=lambda r: (r["model"].removeprefix("ecp_"), r["model"]))

    def draw(canvas: Canvas) -> None:
        left, right = canvas.subplots(1, 2, width_ratios=(3, 2), sharey=True)
        _bars(
            left,
            [
                ("operators in the file", style.GREY, [r["imported_nodes"] or 0 for r in rows]),
                ("of them layout only", style.ORANGE, [r["transformative_nodes"] or 0 for r in rows]),
                ("launches left", style.RED, [r["launches"] or 0 for r in rows]),
            ],
            "{:.0f}",
        )
        _bars(
            right,
            [
                ("a buffer per value", style.GREY, [(r["naive_bytes"] or 0) / 2**20 for r in rows]),
                ("planned", style.BLUE, [(r["arena_bytes"] or 0) / 2**20 for r in rows]),
            ],
            "{:.3g}",
        )
        left.set_yticks(range(len(rows)), [r["model"] for r in rows])
        left.set_ylim(len(rows) - 0.5, -0.5)
        left.set_xlabel("count")
        right.set_xlabel("intermediate results, MiB")

    layout = sum(r["layout_launches"] or 0 for r in rows)
    moving = f"{layout} of which only move data" if layout else "none of which only moves data"
    return Figure(
        "plan",
        name,
        f"From ecp's compile reports on {device}, {precision}: operators of the ONNX file, those that only move data, "
        f"and the launches that remain, {moving}. Right: memory for intermediate results.",
        "Bars per model: hundreds of operators become a few dozen launches.",
        rows,
        draw,
        (6.8, 0.55 * len(rows) + 1.2),
        "compiler",
    )


def _bars(axis: Axes, series: Sequence[tuple[str, str, Sequence[float]]], text: str) -> None:
    """Grouped horizontal bars, each with its value; a legend above."""
    height = 0.84 / len(series)
    for k, (label, face, values) in enumerate(series):
        ys = [y + (k - (len(series) - 1) / 2) * height for y in range(len(values))]
        drawn = axis.barh(ys, values, height * 0.92, color=face, label=label)
        axis.bar_label(drawn, [text.format(v) for v in values], fontsize=6.5, padding=2)
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.12)
    axis.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        fontsize=7,
        ncols=3,
        handlelength=1,
        handletextpad=0.4,
        columnspacing=0.9,
    )
