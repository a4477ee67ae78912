"""Invariants of the IR. A pass that breaks one is wrong; run after every pass in tests."""

from __future__ import annotations

from ecp.errors import VerifyError
from ecp.ir.graph import Graph, Node
from ecp.ir.infer import infer_node, type_of


def verify(graph: Graph) -> None:
    """Raise :class:`VerifyError` unless the graph is well formed.

    Checked: single assignment, topological order, every value typed, types equal to those inferred again,
    constants of their declared type, node names unique, outputs defined.
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
    names: set[str] = set()
    for node in graph.nodes:
        if node.name and node.name in names:
            raise VerifyError(f"two nodes are named {node.name!r}")
        names.add(node.name)
        _verify_node(graph, node, defined)
    for name in graph.outputs:
        if name not in defined:
            raise VerifyError(f"output {name!r} is never defined")


def _define(name: str, defined: set[str], what: str) -> None:
    if not name:
        raise VerifyError(f"{what} without a name")
    if name in defined:
        raise VerifyError(f"value {name!r} is defined twice")
    defined.add(name)


def _verify_node(graph: Graph, node: Node, defined: set[str]) -> None:
    where = f"node {node.name or node.outputs!r} ({node.op})"
    for value in node.inputs:
        if value and value not in defined:
            raise VerifyError(f"{where} reads {value!r} before it is defined")
    try:
        inferred = infer_node(node, graph.types)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise VerifyError(f"{where}: {error}") from error
    if len(inferred) != len(node.outputs):
        raise VerifyError(f"{where} has {len(node.outputs)} outputs, not {len(inferred)}")
    for value, expected in zip(node.outputs, inferred):
        _define(value, defined, f"output of {where}")
        if graph.types.get(value) != expected:
            raise VerifyError(f"{where}: {value!r} is {expected}, declared {graph.types.get(value)}")
