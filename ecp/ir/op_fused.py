"""``Fused``: a group of operators that becomes one launch. Its meaning is its body, a graph of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecp.ir.graph import Graph, Type
from ecp.ir.opinfo import KEY, MANY_TO_MANY, Attrs, OpInfo


def _infer(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    body: Graph = attrs["body"]
    for name, given in zip(body.inputs, types):
        if body.types[name] != given:
            raise ValueError(f"body input {name!r} is {body.types[name]}, given {given}")
    return tuple(body.types[o] for o in body.outputs)


def _evaluate(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    # Imported here: the interpreter evaluates through the op table that this row is part of.
    from ecp.ir.interp import evaluate

    body: Graph = attrs["body"]
    values: dict[str, np.ndarray] = dict(zip(body.inputs, args))
    for node in body.nodes:
        values.update(zip(node.outputs, evaluate(node, values)))
    return tuple(values[o] for o in body.outputs)


TABLE: list[OpInfo] = [
    OpInfo("Fused", KEY, MANY_TO_MANY, True, True, (0, 1 << 16), ("kind", "body", "reason"), _infer, _evaluate,
           "made by the fuse pass: kind names the kernel family, body is a Graph"),
]  # fmt: skip
