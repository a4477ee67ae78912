"""Launches as a trace that Perfetto (ui.perfetto.dev) and chrome://tracing open: the trace-event format, times in us.

Launches lie end to end, by their device time: what a model's inference is made of, without the gaps between launches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ecp.errors import EcpError


def chrome_trace(runs: Mapping[str, Iterable[Mapping[str, Any]]]) -> dict[str, Any]:
    """One process of the trace for each name in ``runs``.

    A launch has ``name``, ``family``, ``ms``, ``flops``, ``bytes`` and ``nodes`` (names of its ONNX operators);
    achieved GFLOP/s and GB/s are added to what a click on it shows.
    """
    events: list[dict[str, Any]] = []
    for pid, (title, launches) in enumerate(runs.items()):
        events.append({"name": "process_name", "ph": "M", "pid": pid, "tid": 0, "args": {"name": title}})
        at = 0.0
        for launch in launches:
            length, ms = launch["ms"] * 1e3, launch["ms"]
            shown = {"flops": launch["flops"], "bytes": launch["bytes"], "nodes": list(launch["nodes"])}
            if ms > 0:
                shown |= {"GFLOP/s": launch["flops"] / ms / 1e6, "GB/s": launch["bytes"] / ms / 1e6}
            events.append(
                {
                    "name": launch["name"], "cat": launch["family"], "ph": "X", "ts": at, "dur": length, "pid": pid,
                    "tid": 0, "args": shown,
                }
            )  # fmt: skip
            at += length
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def trace_of_cells(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The trace of a profile's cells. Raises :class:`~ecp.errors.EcpError` where no backend gave its launches."""
    runs = {}
    for cell in cells:
        found = (cell.get("extra", {}).get("profile") or {}).get("launches")
        if found:
            label = cell["extra"].get("ablation")
            runs[" ".join(filter(None, (cell["model"], cell["backend"], cell["precision"], label)))] = found
    if not runs:
        raise EcpError("--trace: no cell of this run holds launches (only ecp and ecp-native give them)")
    return chrome_trace(runs)
