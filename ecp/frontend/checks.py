"""What ONNX says about a node before anything is made of it: arity, attributes, types and shapes, by its own schemas.

ONNX Runtime refuses a model by the same rules, so a file that it refuses is refused here in the same words, and no
converter meets attributes of a wrong type or length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ecp.ir.graph import Type

# Constants up to this size may be shapes, axes or sizes, which inference looks at.
_SMALL = 1024


def check_node(
    node: onnx.NodeProto,
    opsets: Mapping[str, int],
    types: Sequence[Type | None],
    constants: Sequence[np.ndarray | None],
) -> None:
    """Raise ValueError where the node breaks the schema of its operator; nothing for operators without one.

    ``types`` and ``constants`` are those of the node's inputs, None where absent or not constant.
    """
    domain = "" if node.domain == "ai.onnx" else node.domain
    version = opsets.get(node.domain, opsets.get(domain, opsets.get("ai.onnx", 0) if not domain else 0))
    schema = _schema(node.op_type, version, domain)
    if schema is None:
        return
    if any(a.type in (a.GRAPH, a.GRAPHS) for a in node.attribute):
        return  # the nodes of the branch that is taken are checked one by one
    _check_form(node, version, domain)
    _check_types(schema, types)
    _check_shapes(schema, node, opsets, types, constants)


@lru_cache(maxsize=1024)
def _schema(operator: str, version: int, domain: str) -> Any:
    try:
        return onnx.defs.get_schema(operator, version, domain)
    except onnx.defs.SchemaError:
        return None


@lru_cache(maxsize=64)
def _context(version: int, domain: str) -> Any:
    context = onnx.checker.C.CheckerContext()
    context.ir_version = onnx.IR_VERSION
    context.opset_imports = {domain: version}
    return context


def _check_form(node: onnx.NodeProto, version: int, domain: str) -> None:
    """Arity, and names and types of attributes."""
    if len({a.name for a in node.attribute}) != len(node.attribute):
        raise ValueError("an attribute is given twice")
    try:
        onnx.checker.check_node(node, _context(version, domain))
    except onnx.checker.ValidationError as error:
        raise ValueError(str(error).split("==> Context")[0]) from None


def _check_types(schema: Any, types: Sequence[Type | None]) -> None:
    """Element types that the operator takes, and equal ones where its schema has one variable for them."""
    bound: dict[str, str] = {}
    for index, given in enumerate(types):
        if given is None or not schema.inputs:
            continue
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        name = _element(given.dtype)
        if formal.types and name not in formal.types:
            raise ValueError(
                f"input {index} ({formal.name}) is {given.dtype}, which the operator does not take"
            )
        many = formal.option == onnx.defs.OpSchema.FormalParameterOption.Variadic
        if many and not formal.is_homogeneous:
            continue
        if bound.setdefault(formal.type_str, name) != name:
            raise ValueError(f"input {index} ({formal.name}) is {given.dtype}, another input is not")


@lru_cache(maxsize=32)
def _element(dtype: str) -> str:
    names = {"float16": "float16", "float32": "float", "float64": "double"}
    return f"tensor({names.get(dtype, dtype)})"


def _check_shapes(
    schema: Any,
    node: onnx.NodeProto,
    opsets: Mapping[str, int],
    types: Sequence[Type | None],
    constants: Sequence[np.ndarray | None],
) -> None:
    """ONNX's own shape inference, with the values of small constants."""
    known, data = {}, {}
    for name, given, array in zip(node.input, types, constants):
        if not name or given is None:
            continue
        known[name] = _proto(given)
        # Of a Range the importer knows the length itself; inference takes no limits of shape [1], which files have.
        if array is not None and array.size <= _SMALL and array.ndim <= 1 and node.op_type != "Range":
            data[name] = numpy_helper.from_array(np.array(array), name)
    imports = [helper.make_opsetid(d, v) for d, v in opsets.items()]
    try:
        onnx.shape_inference.infer_node_outputs(schema, node, known, data, opset_imports=imports)
    except onnx.shape_inference.InferenceError as error:
        shown = ", ".join(f"{t.dtype}{list(t.shape)}" if t else "none" for t in types)
        words = str(error).replace("[ShapeInferenceError] ", "").replace("[TypeInferenceError] ", "")
        raise ValueError(f"{words} (inputs {shown})") from None


@lru_cache(maxsize=4096)
def _proto(given: Type) -> onnx.TypeProto:
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(np.dtype(given.dtype)), given.shape)
