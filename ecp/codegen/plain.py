"""Products and convolutions of integers and doubles: a plain loop per output element.

The register-tiled kernels compute in float; these types are rare in vision models, and must be right, not fast.
"""

from __future__ import annotations

from math import prod

from ecp.codegen.contraction import Contraction
from ecp.codegen.core.kernel import Kernel, Launch, global_id
from ecp.codegen.map import FLOATS, work_size
from ecp.codegen.reader import Env, Reader, forward
from ecp.codegen.schedule import Schedule
from ecp.index.expr import var
from ecp.index.maps import delinearize
from ecp.ir.graph import Node


def needs_plain(env: Env, c: Contraction) -> bool:
    """True where an operand or the result is neither float nor half."""
    values = (*(i for i in c.anchor.inputs if i), c.anchor.output)
    return any(env.graph.types[v].dtype not in FLOATS for v in values)


def emit_plain(env: Env, schedule: Schedule, node: Node, c: Contraction) -> Launch:
    """Code of a ``matmul`` or ``conv`` launch; accumulates in the type that the values are computed in."""
    kernel = Kernel(node.attrs["kind"], schedule.attributes)
    reader = Reader(env, kernel)
    total = prod(c.batch) * c.m * c.n
    kernel.declare("const int", item=global_id())
    kernel.do_when(f"item >= {total}", "return;")
    *batch, m, n = delinearize(var("item", total), (*c.batch, c.m, c.n))
    ctype = reader.ctype(c.anchor.output)
    kernel.emit(f"{ctype} acc = 0;")
    assert c.read_b is not None
    with kernel.loop("k", c.k):
        at = var("k", c.k)
        kernel.emit(f"acc += {c.read_a(reader, batch, m, at)} * {c.read_b(reader, batch, at, n)};")
    coords = c.place(batch, m, n)
    if c.bias:
        kernel.emit(f"acc += {reader.read(c.bias, [coords[1]])};")
    result, where = forward(reader, c.tail, c.anchor.output, "acc", coords)
    reader.store(c.value, where, result)
    kernel.flops = c.flops
    return kernel.finish(*work_size(schedule, total))
