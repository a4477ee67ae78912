"""Element-wise launches and copies: every output element is an expression of input elements."""

from __future__ import annotations

from math import prod

from ecp.codegen.core.kernel import Kernel, Launch, global_id
from ecp.codegen.reader import Env, Reader, lane
from ecp.codegen.schedule import Schedule
from ecp.index.expr import Expr, var
from ecp.index.maps import delinearize
from ecp.index.view import View
from ecp.ir.graph import Graph, Node

FLOATS = ("float32", "float16", "bool")


def storage_order(view: View, shape: tuple[int, ...]) -> list[int]:
    """Axes from outermost to innermost in memory."""

    def inner(i: int) -> int:
        return min((abs(d.stride) for d in view.axes[i]), default=1 << 62)

    return sorted(range(len(shape)), key=lambda i: (-inner(i), i) if shape[i] > 1 else (-(1 << 62), i))


def pick_width(env: Env, values: list[str], extent: int, limit: int) -> int:
    """Vector width: the widest that divides the innermost extent; 1 where an integer or double takes part."""
    if any(env.graph.types[v].dtype not in FLOATS for v in values if v):
        return 1
    width = limit
    while width > 1 and extent % width:
        width //= 2
    return width if width >= 4 else 1


def emit_map(env: Env, schedule: Schedule, node: Node) -> Launch:
    """Code of a ``map`` or ``copy`` launch."""
    body: Graph = node.attrs["body"]
    value = body.outputs[0]
    shape = env.graph.types[value].shape
    order = storage_order(env.storage[value].view, shape)
    extent = shape[order[-1]] if order else 1
    # Views between the operands and the body are evaluated too: their dtypes are those of the operands.
    width = pick_width(env, [v for n in body.nodes for v in (*n.inputs, *n.outputs)], extent, schedule.vec)
    kernel = Kernel("copy" if node.attrs["kind"] == "copy" else "map", schedule.attributes)
    reader = Reader(env, kernel, width)
    total = prod(shape) // width
    chunk = max(1, -(-total // 64)) if schedule.cpu else 1
    items = -(-total // chunk)
    kernel.declare("const int", item=global_id())
    if chunk > 1:
        with kernel.loop("q", f"min((item+1)*{chunk}, {total})", first=f"item*{chunk}"):
            _element(env, reader, value, order, shape, width, var("q", total))
    else:
        kernel.do_when(f"item >= {total}", "return;")
        _element(env, reader, value, order, shape, width, var("item", total))
    kernel.flops = prod(shape) * sum(1 for n in body.nodes)
    return kernel.finish(*work_size(schedule, items))


def work_size(schedule: Schedule, items: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(global, local) size for ``items`` work-items; kernels guard the padding that whole GPU groups bring."""
    local = 1 if schedule.cpu else max(1, min(64, items))
    return (-(-items // local) * local,), (local,)


def _element(
    env: Env, reader: Reader, value: str, order: list[int], shape: tuple[int, ...], width: int, q: Expr
) -> None:
    extents = [shape[i] for i in order]
    if width > 1:
        extents[-1] //= width
    steps = delinearize(q, extents)
    coords: list[Expr] = list(steps)
    for position, axis in enumerate(order):
        coords[axis] = steps[position]
    if width > 1:
        coords[order[-1]] = steps[-1] * width + lane(width)
    # The value has storage, so reading it would load it: evaluate its producer instead.
    made = env.made[value]
    reader.store(value, coords, reader.compute(made, value, coords))
