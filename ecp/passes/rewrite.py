"""Small tools that passes share: value renaming, sorting, following transformative chains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ecp.ir.graph import Graph, Node
from ecp.ir.op_layout import RUNTIME_INDEXED
from ecp.ir.opinfo import ONE_TO_ONE
from ecp.ir.ops import info, is_key, is_transformative

# Nodes walked by a pass that starts over after each rewrite, and the rewrites it makes however large the graph.
WALKED, MIN_REWRITES = 1_000_000, 16

# Operators that keep every element, so that coordinates map both ways.
BIJECTIVE = frozenset({"Reshape", "Transpose", "Identity"})


def keeps_elements(graph: Graph, node: Node) -> bool:
    """True where coordinates map both ways: bijective operators and gathers that permute."""
    if node.op == "Gather":
        indices, extent = node.attrs["indices"], graph.types[node.inputs[0]].shape[node.attrs["axis"]]
        return bool(indices.ndim == 1 and np.array_equal(np.sort(indices), np.arange(extent)))
    return node.op in BIJECTIVE


def rename_inputs(node: Node, table: Mapping[str, str]) -> Node:
    """The node reading renamed values."""
    if not any(i in table for i in node.inputs):
        return node
    return Node(
        node.op,
        tuple(table.get(i, i) for i in node.inputs),
        node.outputs,
        node.attrs,
        node.name,
        node.sources,
    )


def toposort(nodes: Iterable[Node], defined: Iterable[str]) -> list[Node]:
    """Stable topological order: rounds over the list, each taking what is ready; linear in the graph's size."""
    waiting, known = list(nodes), set(defined)
    makes = {o: i for i, n in enumerate(waiting) for o in n.outputs if o not in known}
    before = [{makes[v] for v in n.inputs if v in makes} for n in waiting]
    after: dict[int, list[int]] = {}
    for index, sources in enumerate(before):
        for source in sources:
            after.setdefault(source, []).append(index)
    missing = [len(sources) for sources in before]
    turn = [0] * len(waiting)
    ready = [i for i, count in enumerate(missing) if not count]
    for index in ready:
        for user in after.get(index, ()):
            # What stands after its source in the list is reached in the same round.
            turn[user] = max(turn[user], turn[index] + (user < index))
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    if len(ready) != len(waiting):
        raise ValueError("the graph has a cycle")
    return [waiting[i] for i in sorted(ready, key=lambda i: (turn[i], i))]


def scalar(graph: Graph, value: str) -> float | None:
    """The number that a constant holds if it is one number, else None."""
    array = graph.constants.get(value)
    if array is None or array.size == 0:
        return None
    first = array.reshape(-1)[0]
    return float(first) if array.size == 1 or bool(np.all(array == first)) else None


def is_view(node: Node | None) -> bool:
    """True for a transformative operator that reads its data through an index map (not by run-time indices)."""
    return node is not None and is_transformative(node.op) and node.op not in RUNTIME_INDEXED


def is_elementwise(node: Node) -> bool:
    """True for key operators that work element by element."""
    return is_key(node.op) and info(node.op).fusion == ONE_TO_ONE


def readers(
    graph: Graph, users: Mapping[str, Sequence[Node]], value: str, through: Callable[[Node], bool]
) -> list[tuple[str, Node]] | None:
    """(operand, consumer) pairs reached from ``value`` through views that ``through`` accepts.

    None where the value, or a view of it on the way, is an output of the graph. ``users``: ``graph.consumers()``.
    """
    found: list[tuple[str, Node]] = []
    outputs, pending, seen = set(graph.outputs), [value], {value}
    while pending:
        value = pending.pop()
        if value in outputs:
            return None
        for user in users.get(value, []):
            if not (is_view(user) and through(user)):
                found.append((value, user))
                continue
            pending += [o for o in user.outputs if o not in seen]
            seen.update(user.outputs)
    return found


def fresh(graph: Graph, base: str, taken: set[str] | None = None) -> str:
    """A value name that the graph does not use."""
    used = graph.types.keys() | (taken or set())
    name, i = base, 0
    while name in used:
        i += 1
        name = f"{base}_{i}"
    return name


def rewrites(graph: Graph) -> int:
    """How many single rewrites a pass may make that walks the whole graph for each of them.

    Thousands for a network of thousands of nodes, and still some seconds for one of a hundred thousand.
    """
    return max(MIN_REWRITES, WALKED // max(1, len(graph.nodes)))


def drop_dead(graph: Graph, nodes: Sequence[Node]) -> Graph:
    """Keep what the outputs need."""
    needed, kept = set(graph.outputs), []
    for node in reversed(nodes):
        if any(o in needed for o in node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    return graph.with_nodes(kept[::-1])
