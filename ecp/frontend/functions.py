"""ONNX operators that are defined by other operators: their bodies, ready to be converted in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx


def function_body(
    node: onnx.NodeProto, opsets: Mapping[str, int], input_types: Sequence[onnx.TypeProto]
) -> onnx.FunctionProto | None:
    """The function that ONNX defines the operator by, None where it has none."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    version = opsets.get(node.domain, opsets.get(domain, 0))
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, version, domain)
    except onnx.defs.SchemaError:
        return None
    if schema.has_function:
        data = schema.get_function_with_opset_version(_best(schema.function_opset_versions, version))
    elif schema.has_context_dependent_function:
        best = _best(schema.context_dependent_function_opset_versions, version)
        types = [t.SerializeToString() for t in input_types]
        data = schema.get_context_dependent_function_with_opset_version(best, node.SerializeToString(), types)
    else:
        return None
    body = onnx.FunctionProto()
    body.ParseFromString(data)
    named = {a.name for a in body.attribute_proto}
    defaults = [
        a.default_value for n, a in schema.attributes.items() if n not in named and a.default_value.name
    ]
    body.attribute_proto.extend(defaults)
    return body


def has_function(node: onnx.NodeProto, opsets: Mapping[str, int]) -> bool:
    """Whether ONNX defines the operator by others."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        schema: Any = onnx.defs.get_schema(
            node.op_type, opsets.get(node.domain, opsets.get(domain, 0)), domain
        )
    except onnx.defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


def _best(versions: Sequence[int], wanted: int) -> int:
    return max((v for v in versions if v <= wanted), default=min(versions))


def resolve_references(
    body: onnx.FunctionProto, node: onnx.NodeProto, absent: set[str]
) -> list[onnx.NodeProto]:
    """The body's nodes with attribute references replaced by the caller's values, absent inputs blanked."""
    given = {a.name: a for a in (*body.attribute_proto, *node.attribute)}
    result = []
    for inner in body.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(inner)
        del copy.attribute[:]
        for attribute in inner.attribute:
            if not attribute.ref_attr_name:
                copy.attribute.append(attribute)
            elif attribute.ref_attr_name in given:
                filled = copy.attribute.add()
                filled.CopyFrom(given[attribute.ref_attr_name])
                filled.name = attribute.name
        for i, name in enumerate(copy.input):
            if name in absent:
                copy.input[i] = ""
        result.append(copy)
    return result
