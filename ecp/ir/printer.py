"""The graph as text: one line per value, stable, for goldens, diffs and ``explain``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecp.ir.graph import Graph, Type

_SHORT = {"float32": "f32", "float16": "f16", "float64": "f64", "int64": "i64", "int32": "i32"}
_MAX_INDICES = 8


def type_text(type_: Type) -> str:
    """Such as ``f32[1,197,768]``."""
    return f"{_SHORT.get(type_.dtype, type_.dtype)}[{','.join(map(str, type_.shape))}]"


def attr_text(value: Any) -> str:
    """An attribute; long arrays are cut to shape and ends."""
    if isinstance(value, np.ndarray):
        flat = value.reshape(-1).tolist()
        if len(flat) > _MAX_INDICES:
            return f"<{value.dtype}{list(value.shape)} {flat[0]}..{flat[-1]}>"
        return str(value.tolist())
    if isinstance(value, tuple):
        return "[" + ",".join(map(attr_text, value)) + "]"
    return repr(value) if isinstance(value, str) else str(value)


def to_text(graph: Graph) -> str:
    """The whole graph: inputs, constants that nodes read (type only), nodes, outputs."""
    lines = [f"graph {graph.name}"]
    lines += [f"input %{i}: {type_text(graph.types[i])}" for i in graph.inputs]
    lines += [f"const %{c}: {type_text(graph.types[c])}" for c in graph.constants]
    lines += _nodes(graph)
    lines += [f"output %{o}" for o in graph.outputs]
    return "\n".join(lines) + "\n"


def _nodes(graph: Graph) -> list[str]:
    """A line a node; what a fused one computes follows it, indented."""
    lines = []
    for node in graph.nodes:
        outs = ", ".join(f"%{o}: {type_text(graph.types[o])}" for o in node.outputs)
        args = ", ".join(f"%{i}" if i else "-" for i in node.inputs)
        attrs = ", ".join(f"{k}={attr_text(v)}" for k, v in sorted(node.attrs.items()) if k != "body")
        lines.append(f"{outs} = {node.op}({args}){' {' + attrs + '}' if attrs else ''}")
        if "body" in node.attrs:
            lines += [f"  {line}" for line in _nodes(node.attrs["body"])]
    return lines
