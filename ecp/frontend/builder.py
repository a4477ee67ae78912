"""Emit IR nodes one by one, typed as they come; a node whose inputs are all constant is evaluated instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from ecp.frontend.limits import check_constant, check_shape
from ecp.ir.graph import Graph, Node, Type
from ecp.ir.infer import infer_node, type_of
from ecp.ir.interp import evaluate


class Builder:
    """A graph under construction. Values are named by the caller's hint, made unique."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Node] = []
        self.types: dict[str, Type] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: list[str] = []
        self._counts: dict[str, int] = {}
        self._node_names: set[str] = set()
        self._copies: dict[str, int] = {}
        self._public: set[str] = set()
        self._moved: dict[str, str] = {}
        #: Values made since the last clear, so that a converter's results can take their ONNX names.
        self.fresh: set[str] = set()

    def unique(self, hint: str) -> str:
        """An unused value name."""
        name = hint or "value"
        while name in self.types:
            copies = self._counts[hint] = self._counts.get(hint, 0) + 1
            name = f"{hint or 'value'}.{copies}"
        self.fresh.add(name)
        return name

    def add_input(self, name: str, type_: Type) -> None:
        """Declare a graph input."""
        check_shape(type_.shape, f"input {name!r}")
        self.inputs.append(name)
        self.types[name] = type_

    def constant(self, array: Any, hint: str = "const") -> str:
        """Add a constant and return its value name."""
        value = np.asarray(array)
        name = self.unique(hint)
        self.constants[name] = value
        self.types[name] = type_of(value)
        return name

    def emit(
        self,
        op: str,
        inputs: Sequence[str],
        attrs: Mapping[str, Any],
        *,
        hint: str,
        source: str,
        outputs: int = 1,
    ) -> tuple[str, ...]:
        """Add a node (or fold it) and return its output names. ValueError where it is ill typed."""
        names: list[str] = []
        for _ in range(outputs):
            names.append(self.unique(hint))
            self.types[names[-1]] = Type(())
        node = Node(op, tuple(inputs), tuple(names), dict(attrs), self._node_name(source), (source,))
        types = infer_node(node, self.types)
        for made in types:
            check_shape(made.shape)
        self.types.update(zip(names, types))
        if all(not i or i in self.constants for i in inputs):
            for made in types:
                check_constant(made.shape, made.dtype)
            for name, array in zip(names, evaluate(node, self.constants)):
                self.constants[name] = array
                self.types[name] = type_of(array)
        else:
            self.nodes.append(node)
        return tuple(names)

    def _node_name(self, source: str) -> str:
        name = source
        while name in self._node_names:
            copies = self._copies[source] = self._copies.get(source, 0) + 1
            name = f"{source}.{copies}"
        self._node_names.add(name)
        return name

    def rename(self, old: str, new: str, since: int) -> bool:
        """Give a value made by the nodes from position ``since`` on a final name; False where taken."""
        if new in self.types:
            return False
        self.types[new] = self.types.pop(old)
        if old in self.constants:
            self.constants[new] = self.constants.pop(old)
        for i in range(since, len(self.nodes)):
            n = self.nodes[i]
            if old in n.inputs or old in n.outputs:
                swap = tuple(tuple(new if v == old else v for v in vs) for vs in (n.inputs, n.outputs))
                self.nodes[i] = Node(n.op, swap[0], swap[1], n.attrs, n.name, n.sources)
        return True

    def finish(self, outputs: Sequence[tuple[str, str]]) -> Graph:
        """The graph with (value, output name) pairs as outputs; unreachable nodes are dropped."""
        final = [self._output(value, name) for value, name in outputs]
        needed = set(final)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(node.inputs)
        types = {**self.types, **{k: type_of(v) for k, v in self.constants.items()}}
        graph = Graph((), tuple(self.inputs), tuple(final), self.constants, types, self.name)
        return graph.with_nodes(reversed(kept))

    def _output(self, value: str, name: str) -> str:
        """Name a value as output; an Identity where it is an input, a constant or an output already."""
        value = self._moved.get(value, value)
        if value != name and name in self.types:  # an inner value happens to bear the output's name
            self._move(name, self._fresh_inner(name))
            value = self._moved.get(value, value)
        fixed = value in self.inputs or value in self.constants or value in self._public
        if value == name or not fixed:
            self._move(value, name)
        else:
            self.types[name] = self.types[value]
            self.nodes.append(Node("Identity", (value,), (name,), {}, self._node_name(f"output.{name}"), ()))
        self._public.add(name)
        return name

    def _fresh_inner(self, name: str) -> str:
        return next(n for n in (f"{name}.inner{i}" for i in count()) if n not in self.types)

    def _move(self, old: str, new: str) -> None:
        if old == new:
            return
        if old in self.inputs:
            raise ValueError(f"input {old!r} and an output of another value have one name")
        self.rename(old, new, 0)
        self._public = {new if v == old else v for v in self._public}
        self._moved = {k: new if v == old else v for k, v in self._moved.items()} | {old: new}
