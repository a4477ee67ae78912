"""Rotations and reorderings written as Concat of Slices of one tensor become one Gather (Swin's roll)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ecp.ir.graph import Graph
from ecp.passes.rewrite import drop_dead


def concat_of_slices(graph: Graph) -> Graph:
    """Concat(Slice(x), Slice(x), ...) along one axis -> Gather(x, indices)."""
    made, nodes = graph.producers(), []
    for node in graph.nodes:
        parts = [made.get(i) for i in node.inputs] if node.op == "Concat" else []
        if not parts or not all(p is not None and p.op == "Slice" for p in parts):
            nodes.append(node)
            continue
        slices = [p for p in parts if p is not None]
        source, axis = slices[0].inputs[0], node.attrs["axis"]
        shape = graph.types[source].shape
        whole = all(
            s.inputs[0] == source
            and all(
                i == axis
                or (s.attrs["starts"][i] == 0 and s.attrs["steps"][i] == 1 and s.attrs["shape"][i] == n)
                for i, n in enumerate(shape)
            )
            for s in slices
        )
        if not whole:
            nodes.append(node)
            continue
        runs = [
            s.attrs["starts"][axis] + s.attrs["steps"][axis] * np.arange(s.attrs["shape"][axis])
            for s in slices
        ]
        attrs = {"axis": axis, "indices": np.concatenate(runs).astype(np.int64)}
        nodes.append(replace(node, op="Gather", inputs=(source,), attrs=attrs))
    return drop_dead(graph, nodes)
