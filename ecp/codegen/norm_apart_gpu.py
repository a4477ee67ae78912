"""A LayerNormalization before a large product has a launch of its own: every column of tiles would repeat it."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from ecp.codegen.contraction import Contraction
from ecp.codegen.map import FLOATS
from ecp.codegen.matmul_large_gpu import fits_large, large
from ecp.codegen.matmul_wgmma_gpu import fits_wgmma, shaped
from ecp.codegen.planes_gpu import in_planes, rows
from ecp.codegen.reader import Env
from ecp.codegen.schedule import Schedule
from ecp.index.view import View
from ecp.ir.graph import Graph, Node
from ecp.passes.storage import Buffer, Storage


def _stored(env: Env, value: str, buffer: str, view: View) -> Env:
    return replace(env, storage={**env.storage, value: Storage(buffer, view)})


def norm_apart(env: Env, s: Schedule, node: Node, c: Contraction) -> tuple[Env, Node, Node] | None:
    """(environment, normalisation, product) where a folded normalisation is better computed once; else None."""
    if c.norm is None or not large(env, s, c):
        return None
    value = c.norm.output
    types = env.graph.types
    if any(types[i].dtype not in FLOATS for i in c.norm.inputs if i) or not isinstance(env.storage, dict):
        return None
    body: Graph = node.attrs["body"]
    buffer, dense = f"{value}@normalised", View.dense(types[value].shape)
    env.buffers[buffer] = Buffer(buffer, prod(types[value].shape), "float16", "arena")
    product = replace(c, norm=None)
    stored = _stored(env, value, buffer, dense)
    if shaped(env, s, product) and rows(stored, product) == buffer:
        view = in_planes(dense, c.m, c.k)
        stored = stored if view is None else _stored(env, value, buffer, view)
    norm = replace(body, nodes=(c.norm,), outputs=(value,), inputs=tuple(i for i in c.norm.inputs if i))
    rest = replace(body, nodes=tuple(n for n in body.nodes if n is not c.norm))
    if not (fits_wgmma(stored, s, product) or fits_large(stored, s, product)):
        del env.buffers[buffer]
        return None
    return (
        stored,
        replace(node, attrs={**node.attrs, "kind": "reduce", "body": norm}, outputs=(value,)),
        replace(node, attrs={**node.attrs, "body": rest}),
    )
