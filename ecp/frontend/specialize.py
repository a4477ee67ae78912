"""Import a model together with one set of inputs: what decides shapes is taken from them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from ecp.errors import UnsupportedOperatorError
from ecp.frontend.onnx import import_onnx
from ecp.ir.graph import Graph

#: Floating inputs up to this size may be parameters (scales, a region of interest); larger ones are data.
_SMALL = 16


def import_with_feeds(
    model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]
) -> tuple[Graph, dict[str, np.ndarray]]:
    """The graph for these feeds, and the feeds that remain inputs of it.

    Dynamic dimensions take their size from the feeds. Where an operator needs the value of an input (axes,
    sizes, pads, k) the integer and small inputs become constants, so the graph holds for these values only.
    """
    dims = {
        dim.dim_param or f"{value.name}[{axis}]": int(feeds[value.name].shape[axis])
        for value in model.graph.input
        if value.name in feeds
        for axis, dim in enumerate(value.type.tensor_type.shape.dim)
        if not dim.HasField("dim_value")
    }
    try:
        return import_onnx(model, dims=dims), dict(feeds)
    except UnsupportedOperatorError as error:
        if "run time" not in str(error):
            raise
    bound = {k: v for k, v in feeds.items() if v.dtype.kind in "iub" or v.size <= _SMALL}
    graph = _bound(model, dims, bound)
    return graph, {k: v for k, v in feeds.items() if k not in bound}


def _bound(model: onnx.ModelProto, dims: dict[str, int], bound: dict[str, np.ndarray]) -> Graph:
    """Dimension names of bound inputs are no longer asked for."""
    free = [v for v in model.graph.input if v.name not in bound]
    needed = {
        d.dim_param or f"{v.name}[{i}]" for v in free for i, d in enumerate(v.type.tensor_type.shape.dim)
    }
    return import_onnx(model, dims={k: n for k, n in dims.items() if k in needed}, bind=bound)
