"""Matrix products and convolutions as one shape: ``out[batch, m, n] = sum_k a[batch, m, k] * b[batch, k, n]``.

A convolution is a product whose rows are output pixels and whose reduction runs over kernel positions and
input channels (kernel positions outermost, so that channels-last inputs are read in long runs).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from ecp.codegen.probe import AddressProbe
from ecp.codegen.reader import Env, Reader
from ecp.index.expr import Expr, Var, var
from ecp.index.maps import broadcast, delinearize
from ecp.ir.graph import Graph, Node
from ecp.passes.rewrite import is_elementwise, is_view

Reads = Callable[[Reader, list[Expr], Expr, Expr], str]


@dataclass
class Contraction:
    """``read_a(reader, batch, m, k)`` gives C text; ``weights`` is [batch, K, N] when b is constant.

    ``k_shape``: extents of the reduction, outer to inner; vectors run along the innermost. ``sweep``: rows that
    follow each other read neighbouring memory at the same k (patches of a channels-first image).
    ``norm``: (LayerNormalization node) applied to the rows of a, ``source`` being its input.
    """

    anchor: Node
    tail: list[Node]
    value: str
    batch: tuple[int, ...]
    m: int
    n: int
    k: int
    read_a: Reads
    place: Callable[[list[Expr], Expr, Expr], list[Expr]]
    weights: np.ndarray | None = None
    weights_key: str = ""
    read_b: Reads | None = None
    bias: str = ""
    norm: Node | None = None
    a_value: str = ""
    k_shape: tuple[int, ...] = ()
    sweep: bool = False

    @property
    def flops(self) -> int:
        """Two per multiply-add."""
        return 2 * prod(self.batch) * self.m * self.n * self.k


def contraction(env: Env, node: Node) -> Contraction:
    """The product or convolution of a fused launch."""
    body: Graph = node.attrs["body"]
    index = next(i for i, n in enumerate(body.nodes) if n.op in ("MatMul", "Conv"))
    anchor = body.nodes[index]
    tail = [n for n in body.nodes[index + 1 :] if is_elementwise(n) or is_view(n)]
    value = body.outputs[0]
    if anchor.op == "Conv":
        return _conv(env, anchor, tail, value)
    norm = next((n for n in body.nodes[:index] if n.op == "LayerNormalization"), None)
    return _matmul(env, anchor, tail, value, norm)


def _matmul(env: Env, anchor: Node, tail: list[Node], value: str, norm: Node | None) -> Contraction:
    graph = env.graph
    a, b = anchor.inputs
    sa, sb = graph.types[a].shape, graph.types[b].shape
    a_vector, b_vector = len(sa) == 1, len(sb) == 1
    sa = (1, *sa) if a_vector else sa
    sb = (*sb, 1) if b_vector else sb
    constant = b in graph.constants and len(sb) == 2
    batch = () if constant else np.broadcast_shapes(sa[:-2], sb[:-2])
    rows = sa[:-1] if constant else (sa[-2],)

    def coords_a(outer: list[Expr], m: Expr, k: Expr) -> list[Expr]:
        head = delinearize(m, rows) if constant else [*broadcast(outer, sa[:-2]), m]
        return [k] if a_vector else [*head, k]

    def read_a(reader: Reader, outer: list[Expr], m: Expr, k: Expr) -> str:
        return reader.read(a, coords_a(outer, m, k))

    def read_b(reader: Reader, outer: list[Expr], k: Expr, n: Expr) -> str:
        return reader.read(b, [k] if b_vector else [*broadcast(outer, sb[:-2]), k, n])

    def place(outer: list[Expr], m: Expr, n: Expr) -> list[Expr]:
        head = delinearize(m, rows) if constant else [*outer, m]
        if a_vector:
            head = head[:-1]
        return head if b_vector else [*head, n]

    weights = graph.constants[b].reshape(1, sb[0], sb[1]) if constant else None
    return Contraction(
        anchor, tail, value, tuple(batch), prod(rows), sb[-1], sa[-1], read_a, place, weights, b, read_b, "", norm, a,
        (sa[-1],),
    )  # fmt: skip


def _channels_last(env: Env, x: str, shape: tuple[int, ...]) -> bool:
    """True where channels that follow each other do so in memory: as stored, or behind views (maps of tokens)."""
    names = [Var(f"d{i}", 0, extent - 1) for i, extent in enumerate(shape)]
    found = AddressProbe(env).address(lambda r: r.read(x, [var(n.name, n.hi + 1) for n in names]))
    if found is None or shape[1] == 1:
        return found is not None
    channel = names[1]
    rest = found[1] - Expr(((channel, 1),))
    return found[1].coefficient(channel) == 1 and not rest.depends_on(channel)


def _conv(env: Env, anchor: Node, tail: list[Node], value: str) -> Contraction:
    graph, attrs = env.graph, anchor.attrs
    x, w = anchor.inputs[:2]
    shape, kernel = graph.types[x].shape, graph.types[w].shape
    out = graph.types[anchor.output].shape
    groups, rank = attrs["group"], len(shape) - 2
    per_in, per_out = kernel[1], kernel[0] // groups
    rows = (out[0], *out[2:])
    window = kernel[2:]
    # Channels-last inputs are read in runs of channels, channels-first inputs in runs of a kernel row.
    last = _channels_last(env, x, shape)
    reduce_shape = (*window, per_in) if last else (per_in, *window)

    def split_k(k: Expr) -> tuple[list[Expr], Expr]:
        parts = delinearize(k, reduce_shape)
        return (parts[:-1], parts[-1]) if last else (parts[1:], parts[0])

    def read_a(reader: Reader, outer: list[Expr], m: Expr, k: Expr) -> str:
        n, *position = delinearize(m, rows)
        tap, channel = split_k(k)
        spatial = [
            o * s - p + t * d
            for o, s, p, t, d in zip(position, attrs["strides"], attrs["pads"], tap, attrs["dilations"])
        ]
        group = outer[0] if outer else 0
        return reader.guarded(x, [n, channel + group * per_in if outer else channel, *spatial], shape, 0.0)

    def read_b(reader: Reader, outer: list[Expr], k: Expr, n: Expr) -> str:
        tap, channel = split_k(k)
        first = outer[0] * per_out + n if outer else n
        return reader.read(w, [first, channel, *tap])

    def place(outer: list[Expr], m: Expr, n: Expr) -> list[Expr]:
        image, *position = delinearize(m, rows)
        return [image, outer[0] * per_out + n if outer else n, *position]

    weights = None
    if w in graph.constants:
        packed = graph.constants[w].reshape(groups, per_out, per_in, *window)
        order = (0, *range(3, 3 + rank), 2, 1) if last else (0, 2, *range(3, 3 + rank), 1)
        weights = packed.transpose(order).reshape(groups, prod(reduce_shape), per_out)
    bias = anchor.inputs[2] if len(anchor.inputs) > 2 else ""
    batch = (groups,) if groups > 1 else ()
    return Contraction(
        anchor, tail, value, batch, prod(rows), per_out, prod(reduce_shape), read_a, place, weights, w, read_b,
        bias, None, x, reduce_shape, not last,
    )  # fmt: skip
