"""The numpy interpreter: what a graph means. In float64 it is the reference of all numerics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ecp.errors import IndexRangeError, InputError
from ecp.ir.graph import Graph, Node
from ecp.ir.op_layout import OutsideError
from ecp.ir.ops import OPS


def run(graph: Graph, feeds: Mapping[str, np.ndarray], dtype: Any = None) -> dict[str, np.ndarray]:
    """Evaluate the graph.

    ``feeds`` maps each input name to an array of exactly its shape and dtype. ``dtype`` replaces every
    floating type of the graph (constants, inputs, casts), so that ``np.float64`` gives the exact-as-possible
    reference; outputs then have that dtype. Raises :class:`InputError` for feeds that do not fit.
    """
    check_feeds(graph, feeds)
    wanted = None if dtype is None else np.dtype(dtype)
    values: dict[str, np.ndarray] = {k: _as(np.asarray(v), wanted) for k, v in graph.constants.items()}
    values.update({k: _as(np.asarray(feeds[k]), wanted) for k in graph.inputs})
    last_use = {i: n for n, node in enumerate(graph.nodes) for i in node.inputs}
    keep = set(graph.outputs)
    for position, node in enumerate(graph.nodes):
        results = evaluate(node, values, wanted)
        values.update(zip(node.outputs, results))
        for name in dict.fromkeys(node.inputs):
            if name and last_use[name] == position and name not in keep:
                values.pop(name, None)
    return {o: np.ascontiguousarray(values[o]).reshape(values[o].shape) for o in graph.outputs}


def evaluate(
    node: Node, values: Mapping[str, np.ndarray], dtype: np.dtype | None = None
) -> tuple[np.ndarray, ...]:
    """Evaluate one node on the arrays of its inputs. Raises :class:`IndexRangeError` for an index outside its axis."""
    attrs = node.attrs
    if dtype is not None and node.op == "Cast" and np.dtype(attrs["to"]).kind == "f":
        attrs = {"to": dtype.name}
    try:
        # NaN, infinities and what does not fit are values like others: they go on, without a word on stderr.
        with np.errstate(all="ignore"):
            return OPS[node.op].evaluate(attrs, [values[i] if i else None for i in node.inputs])
    except OutsideError as error:
        raise IndexRangeError(label(node), node.inputs[1], error.size, error.value) from None


def label(node: Node) -> str:
    """The name that a user knows a node by: of the ONNX node that it came from."""
    return node.sources[0] if node.sources else node.name


def check_feeds(graph: Graph, feeds: Mapping[str, np.ndarray]) -> None:
    """Raise :class:`InputError` unless the feeds are exactly the inputs, with their shapes and dtypes."""
    for name in feeds:
        if name not in graph.inputs:
            raise InputError(f"the model has no input {name!r}; its inputs are {', '.join(graph.inputs)}")
    for name in graph.inputs:
        if name not in feeds:
            raise InputError(f"input {name!r} is missing; the model's inputs are {', '.join(graph.inputs)}")
        array, expected = np.asarray(feeds[name]), graph.types[name]
        if tuple(array.shape) != expected.shape:
            raise InputError(
                f"input {name!r} has shape {list(array.shape)}, the model wants {list(expected.shape)}"
            )
        if array.dtype.name != expected.dtype:
            raise InputError(f"input {name!r} has dtype {array.dtype.name}, the model wants {expected.dtype}")


def _as(array: np.ndarray, dtype: np.dtype | None) -> np.ndarray:
    return array.astype(dtype, copy=False) if dtype is not None and array.dtype.kind == "f" else array
