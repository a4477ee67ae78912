"""A LayerNormalization before a large product has a launch of its own: every column of tiles would repeat it."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ecp.codegen.contraction import Contraction, contraction
from ecp.codegen.map import FLOATS
from ecp.codegen.matmul_large_gpu import fits_large, large
from ecp.codegen.matmul_wgmma_gpu import fits_wgmma, shaped
from ecp.codegen.planes_gpu import in_planes, rows
from ecp.codegen.reader import Env
from ecp.codegen.schedule import Schedule
from ecp.index.view import View
from ecp.ir.graph import Graph, Node, Type
from ecp.passes.storage import Buffer, Placement, Storage


def unfuse_norms(placed: Placement, env: Env, s: Schedule) -> Placement:
    """``placed`` with the folded normalisations of large products as fused operators of their own.

    Products that read one normalisation share it, where it is stored as all of them can read it.
    """
    edit = _Edit(env, s)
    nodes = [n for node in placed.graph.nodes for n in edit.of(node)]
    graph = replace(placed.graph, nodes=tuple(nodes), types={**placed.graph.types, **edit.types})
    return replace(placed, graph=graph, storage=dict(edit.env.storage), buffers=edit.env.buffers)


class _Edit:
    """The environment as it grows by stored normalisations."""

    def __init__(self, env: Env, s: Schedule):
        self.env = replace(env, storage=dict(env.storage), buffers=dict(env.buffers))
        self.s = s
        self.types = dict[str, Type]()

    def of(self, node: Node) -> list[Node]:
        """What becomes of a node: itself, or a normalisation (where there is none yet) and the product."""
        if node.op != "Fused" or node.attrs["kind"] != "matmul":
            return [node]
        c = contraction(self.env, node)
        if c.norm is None or not large(self.env, self.s, c):
            return [node]
        types = self.env.graph.types
        if any(types[i].dtype not in FLOATS for i in c.norm.inputs if i):
            return [node]
        known = c.norm.output in self.types
        stored, product = self.env if known else self._with_norm(c), replace(c, norm=None)
        if not (fits_wgmma(stored, self.s, product) or fits_large(stored, self.s, product)):
            return [node]
        self.env = stored
        self.types[c.norm.output] = types[c.norm.output]
        return [_product(node, c.norm)] if known else [_norm(node, c.norm), _product(node, c.norm)]

    def _with_norm(self, c: Contraction) -> Env:
        """The environment in which the normalisation is stored: K-blocked where the product reads it so."""
        assert c.norm is not None
        value, product = c.norm.output, replace(c, norm=None)
        shape = self.env.graph.types[value].shape
        buffer, dense = f"{value}@normalised", View.dense(shape)
        buffers = {**self.env.buffers, buffer: Buffer(buffer, prod(shape), "float16", "arena")}
        stored = _stored(replace(self.env, buffers=buffers), value, buffer, dense)
        if shaped(self.env, self.s, product) and rows(stored, product) == buffer:
            view = in_planes(dense, c.m, c.k)
            return stored if view is None else _stored(stored, value, buffer, view)
        return stored


def _stored(env: Env, value: str, buffer: str, view: View) -> Env:
    return replace(env, storage={**env.storage, value: Storage(buffer, view)})


def _norm(node: Node, norm: Node) -> Node:
    inputs = tuple(dict.fromkeys(i for i in norm.inputs if i))
    body: Graph = replace(node.attrs["body"], nodes=(norm,), outputs=(norm.output,), inputs=inputs)
    attrs = {**node.attrs, "kind": "reduce", "body": body}
    return replace(node, attrs=attrs, inputs=inputs, outputs=(norm.output,), name=f"reduce:{norm.output}")


def _product(node: Node, norm: Node) -> Node:
    nodes = tuple(n for n in node.attrs["body"].nodes if n is not norm)
    made = {o for n in nodes for o in n.outputs}
    inputs = tuple(dict.fromkeys(i for n in nodes for i in n.inputs if i and i not in made))
    body = replace(node.attrs["body"], nodes=nodes, inputs=inputs)
    return replace(node, attrs={**node.attrs, "body": body}, inputs=inputs)
