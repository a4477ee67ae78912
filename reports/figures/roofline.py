"""Roofline: every launch of the compiled models by arithmetic intensity and achieved speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure as Canvas

from reports import profiles
from reports.figures import style
from reports.figures.base import Figure, Missing
from reports.measured import Store


def kernels(store: Store, device: str, precision: str) -> list[dict[str, Any]]:
    """Launches with flops, bytes and time: one row each."""
    rows = []
    for cell in store.find(device=device, precision=precision, backend="ecp", metric="profile"):
        for op in profiles.launches(cell):
            flops, moved, ms = (float(op.get(k) or 0) for k in ("flops", "bytes", "ms"))
            if flops > 0 and moved > 0 and ms > 0:
                rows.append(
                    {
                        "model": cell.model,
                        "launch": op.get("name", ""),
                        "family": op.get("family", ""),
                        "ms": ms,
                        "flops": flops,
                        "bytes": moved,
                        "flops_per_byte": flops / moved,
                        "gflops": flops / ms / 1e6,
                        "gbytes_per_s": moved / ms / 1e6,
                        "run": cell.run,
                    }
                )
    return rows


def peaks(store: Store, device: str) -> tuple[float, float] | None:
    """(GFLOP/s, GB/s) that the device's own microbenchmark reached, or None."""
    found: dict[str, float] = {}
    for cell in store.find(device=device, metric="roofline"):
        peak = cell.extra.get("peaks")
        data = peak if isinstance(peak, Mapping) else cell.extra
        for ours, theirs in (
            ("gflops", ("gflops", "peak_gflops")),
            ("gbytes", ("gbytes_per_s", "gb_s", "peak_gbytes_per_s")),
        ):
            for key in theirs:
                if isinstance(data.get(key), int | float):
                    found[ours] = float(data[key])
        if cell.unit.lower() == "gflop/s" and cell.value:
            found["gflops"] = max(found.get("gflops", 0.0), cell.value)
        if cell.unit.lower() == "gb/s" and cell.value:
            found["gbytes"] = max(found.get("gbytes", 0.0), cell.value)
    return (found["gflops"], found["gbytes"]) if len(found) == 2 else None


def roofline(store: Store, device: str, precision: str) -> Figure | Missing:
    """Achieved GFLOP/s against flops per byte, with the measured roof where there is one."""
    rows = kernels(store, device, precision)
    name = "Roofline of every launch"
    if not rows:
        command = f"nox -s profile -- --device {device} --models vit_tiny --backends ecp"
        return Missing(
            "roofline", name, f"no ecp profile with flops and bytes on {device} at {precision}", command
        )
    roof = peaks(store, device)
    families = list(dict.fromkeys(r["family"] for r in rows))

    def draw(canvas: Canvas) -> None:
        axis = canvas.add_subplot()
        for k, family in enumerate(families):
            mine = [r for r in rows if r["family"] == family]
            total = sum(r["ms"] for r in mine)
            axis.scatter(
                [r["flops_per_byte"] for r in mine],
                [r["gflops"] for r in mine],
                s=[10 + 60 * r["ms"] / max(x["ms"] for x in rows) for r in mine],
                color=style.CYCLE[k % len(style.CYCLE)],
                marker=style.MARKERS[k % len(style.MARKERS)],
                alpha=0.7,
                linewidths=0,
                label=f"{family} ({total:.2f} ms)",
            )
        if roof:
            lows = sorted([min(r["flops_per_byte"] for r in rows) / 2, roof[0] / roof[1]])
            xs = [lows[0], roof[0] / roof[1], max(max(r["flops_per_byte"] for r in rows) * 2, lows[1] * 2)]
            axis.plot(xs, [min(roof[0], x * roof[1]) for x in xs], color=style.INK, linewidth=1)
            axis.text(xs[-1], roof[0] * 1.05, f"{roof[0]:.0f} GFLOP/s", ha="right", fontsize=7.5)
            axis.text(xs[0], xs[0] * roof[1] * 2.2, f"{roof[1]:.0f} GB/s", fontsize=7.5)
        axis.set_xscale("log")
        axis.set_yscale("log")
        style.label_log_axis(axis, "x")
        style.label_log_axis(axis, "y")
        axis.set_xlabel("flops per byte moved")
        axis.set_ylabel("GFLOP/s")
        axis.legend(fontsize=7, loc="lower right")

    said = (
        "the line is the device's measured roof"
        if roof
        else "the device's roof was not measured (nox -s roofline)"
    )
    return Figure(
        "roofline",
        name,
        f"Launches of ecp on {device}, {precision}, device-event times; size by time; {said}. Flops and bytes are "
        "counted from the plan.",
        f"Scatter plot of {len(rows)} launches by arithmetic intensity and speed.",
        rows,
        draw,
        (6.8, 4.0),
        "compiler",
    )
