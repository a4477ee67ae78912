"""Invariants of the IR. A pass that breaks one is wrong; run after every pass in tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ecp.errors import VerifyError
from ecp.ir.graph import Graph, Node, Type
from ecp.ir.infer import infer_node, type_of


def verify(graph: Graph) -> None:
    """Raise :class:`VerifyError` unless the graph is well formed.

    Checked: single assignment, topological order, every value typed, types equal to those inferred again,
    constants of their declared type, node names unique, outputs defined; and the same of every fused operator's body,
    which reads all that the operator is given and nothing else.
    """
    defined: set[str] = set()
    for name in graph.inputs:
        _define(name, defined, "input")
        if name not in graph.types:
            raise VerifyError(f"input {name!r} has no type")
    for name, array in graph.constants.items():
        _define(name, defined, "constant")
        if graph.types.get(name) != type_of(array):
            raise VerifyError(f"constant {name!r} is {type_of(array)}, declared {graph.types.get(name)}")
    _verify_nodes(graph.nodes, graph.types, defined)
    for name in graph.outputs:
        if name not in defined:
            raise VerifyError(f"output {name!r} is never defined")


def same_ports(before: Graph, after: Graph) -> None:
    """Raise :class:`VerifyError` unless both graphs have the same inputs and outputs, of the same types."""
    for what, old, new in (("input", before.inputs, after.inputs), ("output", before.outputs, after.outputs)):
        if old != new:
            raise VerifyError(f"the {what}s were {', '.join(old)}, and are now {', '.join(new)}")
        for name in old:
            if before.types[name] != after.types[name]:
                raise VerifyError(f"{what} {name!r} was {before.types[name]}, and is now {after.types[name]}")


def _verify_nodes(nodes: Sequence[Node], types: Mapping[str, Type], defined: set[str]) -> None:
    """``defined``: what may be read before the first node; grows by what the nodes make."""
    names: set[str] = set()
    for node in nodes:
        if node.name and node.name in names:
            raise VerifyError(f"two nodes are named {node.name!r}")
        names.add(node.name)
        _verify_node(types, node, defined)


def _define(name: str, defined: set[str], what: str) -> None:
    if not name:
        raise VerifyError(f"{what} without a name")
    if name in defined:
        raise VerifyError(f"value {name!r} is defined twice")
    defined.add(name)


def _verify_node(types: Mapping[str, Type], node: Node, defined: set[str]) -> None:
    where = f"node {node.name or node.outputs!r} ({node.op})"
    for value in node.inputs:
        if value and value not in defined:
            raise VerifyError(f"{where} reads {value!r} before it is defined")
    if node.op == "Fused" and "body" in node.attrs:
        try:
            _verify_body(node)
        except VerifyError as error:
            raise VerifyError(f"in {where}: {error}") from error
    try:
        inferred = infer_node(node, types)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise VerifyError(f"{where}: {error}") from error
    if len(inferred) != len(node.outputs):
        raise VerifyError(f"{where} has {len(node.outputs)} outputs, not {len(inferred)}")
    for value, expected in zip(node.outputs, inferred):
        _define(value, defined, f"output of {where}")
        if types.get(value) != expected:
            raise VerifyError(f"{where}: {value!r} is {expected}, declared {types.get(value)}")


def _verify_body(fused: Node) -> None:
    body: Graph = fused.attrs["body"]
    if body.inputs != fused.inputs or body.outputs != fused.outputs:
        raise VerifyError(
            f"the body maps {body.inputs} to {body.outputs}, the operator {fused.inputs} to {fused.outputs}"
        )
    defined = set(body.inputs)
    _verify_nodes(body.nodes, body.types, defined)
    for name in body.outputs:
        if name not in defined:
            raise VerifyError(f"output {name!r} of the body is never defined")
    read = {i for n in body.nodes for i in n.inputs}
    for name in body.inputs:
        if name not in read:
            raise VerifyError(f"{name!r} is given and never read")
