"""What every attention kernel shares: the segments of a launch and how their values are read and written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf, prod

from ecp.codegen.core.kernel import Kernel
from ecp.codegen.probe import AddressProbe
from ecp.codegen.reader import Env, Reader, forward
from ecp.index.expr import Expr, Var, var, wrap
from ecp.index.maps import broadcast, delinearize
from ecp.ir.graph import Graph, Node
from ecp.passes.rewrite import is_view


@dataclass
class Segment:
    """One attention: product of scores, element-wise chain, softmax, product with values, epilogue."""

    scores: Node
    chain: list[Node]
    softmax: Node
    product: Node
    tail: list[Node]
    value: str
    batch: tuple[int, ...]
    queries: int
    keys: int
    dim: int
    dim_v: int


def segments(env: Env, body: Graph) -> list[Segment]:
    """The attentions in a fused body, in order."""
    found: list[Segment] = []
    nodes = list(body.nodes)
    while nodes:
        at = next(i for i, n in enumerate(nodes) if n.op == "Softmax")
        product = next(i for i, n in enumerate(nodes) if i > at and n.op == "MatMul")
        end = product + 1
        reach = {nodes[product].output}
        while end < len(nodes) and any(i in reach for i in nodes[end].inputs):
            reach.add(nodes[end].output)
            end += 1
        part, nodes = nodes[:end], nodes[end:]
        scores, softmax, last = part[0], part[at], part[product]
        q, k = (env.graph.types[i].shape for i in scores.inputs)
        v = env.graph.types[last.inputs[1]].shape
        shape = env.graph.types[scores.output].shape
        value = next(o for o in body.outputs if o in reach)
        found.append(
            Segment(
                scores,
                part[1:at],
                softmax,
                last,
                part[product + 1 :],
                value,
                shape[:-2],
                q[-2],
                k[-1],
                q[-1],
                v[-1],
            )
        )
    return found


class Values:
    """Coordinates of one segment's operands for the work-item variable ``head``."""

    def __init__(self, env: Env, part: Segment):
        self.env, self.p = env, part
        self.batch = delinearize(var("head", prod(part.batch)), part.batch)
        constants = env.graph.constants
        self.short_chain = all(
            is_view(n) or all(i in constants and constants[i].size == 1 for i in n.inputs[1:])
            for n in part.chain
        )

    def scale(self) -> float | None:
        """The positive factor of a chain that does nothing but scale (1 of an empty one); None of any other."""
        factor = 1.0
        for node in self.p.chain:
            if is_view(node):
                continue
            constant = self.env.graph.constants.get(node.inputs[-1])
            if node.op not in ("Mul", "Div") or constant is None or constant.size != 1:
                return None
            value = float(constant.reshape(()))
            if not 0.0 < value < inf:
                return None
            factor *= value if node.op == "Mul" else 1.0 / value
        return factor

    def head(self, value: str) -> list[Expr]:
        """Leading coordinates of an operand of the scores."""
        return broadcast(self.batch, self.env.graph.types[value].shape[:-2])

    def outer(self) -> list[Expr]:
        """Leading coordinates of the product with the values."""
        lead = self.env.graph.types[self.p.product.output].shape[:-2]
        return self.batch if lead == self.p.batch else delinearize(var("head", prod(lead)), lead)

    def chained(self, reader: Reader, text: str, query: Expr, key: Expr) -> str:
        """The score after its element-wise chain."""
        return forward(reader, self.p.chain, self.p.scores.output, text, [*self.batch, query, key])[0]

    def finish(self, reader: Reader, text: str, coords: list[Expr]) -> None:
        """Epilogue and store of an element (or vector) of the output."""
        result, at = forward(reader, self.p.tail, self.p.product.output, text, coords)
        reader.store(self.p.value, at, result)


@contextmanager
def own_blocks(kernel: Kernel, first: int, count: int, several: bool) -> Iterator[None]:
    """Code of the segment whose blocks are ``count`` from ``first``, of ``several``; ``block`` counts from there."""
    test = f"block < {first + count}" if several else ""
    with kernel.otherwise(test) if several and first else kernel.when(test):
        if first:
            kernel.emit(f"block -= {first};")
        yield


def scalar_stream(
    env: Env, kernel: Kernel, name: str, read: Callable[[Reader, Expr], str], extent: int
) -> Callable[[str], str]:
    """Scalars ``read(i)`` for a loop variable: a pointer with a constant stride where the address allows it."""
    probe = AddressProbe(env)
    loop = Var("stream", 0, extent - 1)
    found = probe.address(lambda r: read(r, Expr(((loop, 1),)) if extent > 1 else wrap(0)))
    if found is not None:
        buffer, address = found
        stride = address.coefficient(loop)
        base = address.substitute({loop: 0})
        if address == base + (Expr(((loop, 1),)) * stride if extent > 1 else 0):
            b = env.buffers[buffer]
            pointer = kernel.argument(buffer, b.dtype)
            at = Reader(env, kernel).index(base)
            if b.dtype == "float32":
                kernel.emit(f"const __global float* {name} = {pointer} + {at};")
                return lambda i: f"{name}[{i}*{stride}]" if stride != 1 else f"{name}[{i}]"
            if b.dtype == "float16":
                kernel.emit(f"const __global half* {name} = {pointer} + {at};")
                return lambda i: f"vload_half({i}*{stride}, {name})"

    def computed(i: str) -> str:
        return read(Reader(env, kernel), var(i, extent))

    return computed
