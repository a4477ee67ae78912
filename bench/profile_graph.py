"""What the ONNX graph itself tells a profile: intermediate bytes and which matrix products are attention's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.profile_classes import GraphFacts

FREE_OPS = frozenset(("Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten"))
LAYOUT_OPS = FREE_OPS | {"Transpose", "Slice", "Split", "Concat", "Expand", "Gather", "Pad", "Tile"}
"""Layout operators; the free ones among them need no new memory, because the bytes stay in order."""

MB = 1e6


def graph_facts(onnx_path: Path) -> tuple[GraphFacts, dict[str, Any]]:
    """(facts for the classes, memory columns).

    ``intermediate_mb``: bytes / 1e6 of every computed tensor but the outputs, each counted once, as if every
    node wrote its result; ``intermediate_written_mb`` without the results of nodes that can be views
    (:data:`FREE_OPS`); ``layout_nodes``: number of layout operators that read a computed tensor.
    """
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(str(onnx_path)), data_prop=True)
    graph = model.graph
    constant = _constants(graph)
    sizes = {v.name: size for v in [*graph.value_info, *graph.output] if (size := _nbytes(v)) is not None}
    unknown = [o for n in graph.node for o in n.output if o and o not in constant and o not in sizes]
    if unknown:
        sizes |= _sizes_by_running(model, unknown)
    finals = {o.name for o in graph.output}
    every = written = 0
    layout, matmuls = 0, set()
    for node in graph.node:
        computed = [i for i in node.input if i and i not in constant]
        if node.output[0] in constant:
            continue
        size = sum(sizes[o] for o in node.output if o and o not in finals)
        every += size
        written += 0 if node.op_type in FREE_OPS else size
        layout += node.op_type in LAYOUT_OPS
        if node.op_type == "MatMul" and len(computed) == 2:
            matmuls |= {node.name, *node.output}
    memory = {
        "intermediate_mb": round(every / MB, 3),
        "intermediate_written_mb": round(written / MB, 3),
        "onnx_nodes": len(graph.node),
        "layout_nodes": layout,
    }
    return GraphFacts(frozenset(matmuls)), memory


def _constants(graph: Any) -> set[str]:
    """Names whose values do not depend on an input: weights, Constant nodes, and what is computed from them."""
    known = {i.name for i in graph.initializer}
    for node in graph.node:
        # A Shape of a tensor with a fixed shape is known before the model runs.
        if node.op_type in ("Constant", "Shape") or all(not i or i in known for i in node.input):
            known |= set(node.output)
    return known


def _nbytes(value: Any) -> int | None:
    """Bytes of a value whose shape is known, else None."""
    import onnx

    tensor = value.type.tensor_type
    dims = [d.dim_value for d in tensor.shape.dim]
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape") or any(d <= 0 for d in dims):
        return None
    return int(np.prod(dims, dtype=np.int64)) * int(
        np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).itemsize
    )


def _sizes_by_running(model: Any, names: list[str]) -> dict[str, int]:
    """Bytes of values that shape inference cannot tell (a Reshape by computed numbers): one run with zeros."""
    import onnx
    import onnxruntime

    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(asked.SerializeToString(), options, ["CPUExecutionProvider"])
    weights = {i.name for i in model.graph.initializer}
    feeds = {
        v.name: np.zeros(
            [d.dim_value for d in v.type.tensor_type.shape.dim],
            onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type),
        )
        for v in model.graph.input
        if v.name not in weights
    }
    return {name: array.nbytes for name, array in zip(names, session.run(names, feeds), strict=True)}
