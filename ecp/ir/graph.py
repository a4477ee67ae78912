"""The graph: values in SSA form, nodes in topological order, constants beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Type:
    """Static type of a value. ``dtype`` is a numpy dtype name; ``shape`` has no unknown dimension."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the value stored densely."""
        return self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Node:
    """One operator. ``inputs`` may hold ``""`` for an absent optional input. Attributes are plain Python values.

    ``sources``: names of the ONNX nodes that this node came from, for ``explain`` and the profiler.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    sources: tuple[str, ...] = ()

    @property
    def output(self) -> str:
        """The single output; an error where there are several."""
        (name,) = self.outputs
        return name


@dataclass(frozen=True)
class Graph:
    """Immutable by convention: a pass returns a new graph and never edits the old one.

    ``types`` covers every value: inputs, constants and node outputs.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, np.ndarray]
    types: Mapping[str, Type]
    name: str = ""

    def with_nodes(
        self,
        nodes: Iterable[Node],
        *,
        constants: Mapping[str, np.ndarray] | None = None,
        types: Mapping[str, Type] | None = None,
        outputs: tuple[str, ...] | None = None,
    ) -> Graph:
        """A copy with other nodes; values that nothing reads any more are dropped from the tables."""
        kept = tuple(nodes)
        outs = self.outputs if outputs is None else outputs
        consts = self.constants if constants is None else constants
        table = self.types if types is None else types
        used = {i for n in kept for i in n.inputs if i} | set(outs)
        made = {o for n in kept for o in n.outputs} | set(self.inputs)
        live = {k: v for k, v in consts.items() if k in used}
        return replace(
            self,
            nodes=kept,
            outputs=outs,
            constants=live,
            types={k: t for k, t in table.items() if k in made or k in live},
        )

    def producers(self) -> dict[str, Node]:
        """Value name -> the node that makes it (inputs and constants have none)."""
        return {o: n for n in self.nodes for o in n.outputs if o}

    def consumers(self) -> dict[str, list[Node]]:
        """Value name -> nodes that read it, once per node, in order."""
        table: dict[str, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(i for i in node.inputs if i):
                table.setdefault(value, []).append(node)
        return table
