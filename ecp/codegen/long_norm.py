"""Normalisation of long rows on CPU devices: group normalisation of a whole map, instance normalisation of batch 1.

Every work-item computes the statistics of the row for itself and normalises its share. That reads the row once
more per core than two launches would, which costs less than the gap between launches as long as a row stays in L2.
The row is read in the order of memory, whatever its layout: a sum does not care.
"""

from __future__ import annotations

from math import prod

from ecp.codegen.core.kernel import C_STORAGE, Kernel, Launch, global_id
from ecp.codegen.map import pick_width, storage_order
from ecp.codegen.reader import Env, Reader, lane
from ecp.codegen.schedule import Schedule
from ecp.index.expr import Expr, var
from ecp.index.maps import broadcast, delinearize
from ecp.ir.graph import Graph, Node
from ecp.passes.storage import Storage

# Rows shorter than this are a work-item's own business; more rows than this occupy all cores by themselves.
SHORTEST = 4096
MOST_ROWS = 8
# Each work-item reads a whole row for its statistics, so more of them gain little.
MOST_WORKERS = 8

# Blocks of 1024 stay in L1 for their second pass; merging mean and square sum of blocks does not cancel.
STATISTICS = """float2 ecp_statistics_NAME(const __global TYPE* x, int count) {
  float mean = 0.0f, square = 0.0f;
  for (int at = 0; at < count; at += 1024) {
    const __global TYPE* p = x + at;
    const int n = min(1024, count - at);
    float16 a = (float16)(0.0f), b = a, c = a, d = a;
    float rest = 0.0f;
    int i = 0;
    for (; i + 64 <= n; i += 64) { a += LOAD(0, p + i); b += LOAD(0, p + i + 16); c += LOAD(0, p + i + 32); d += LOAD(0, p + i + 48); }
    for (; i < n; ++i) rest += ONE;
    a += b; c += d; a += c;
    const float m = (rest + SUM) / n;
    a = (float16)(0.0f); b = a; c = a; d = a; rest = 0.0f;
    for (i = 0; i + 64 <= n; i += 64) {
      const float16 s = LOAD(0, p + i) - m, t = LOAD(0, p + i + 16) - m, u = LOAD(0, p + i + 32) - m, v = LOAD(0, p + i + 48) - m;
      a = fma(s, s, a); b = fma(t, t, b); c = fma(u, u, c); d = fma(v, v, d);
    }
    for (; i < n; ++i) { const float s = ONE - m; rest = fma(s, s, rest); }
    a += b; c += d; a += c;
    const float delta = m - mean, part = (float)n / (float)(at + n);
    mean += delta * part;
    square += rest + SUM + delta * delta * (float)at * part;
  }
  return (float2)(mean, square / count);
}
"""  # noqa: E501


def emit_long_norm(env: Env, schedule: Schedule, node: Node, anchor: Node) -> Launch | None:
    """Code of a LayerNormalization over few long rows; None where rows are short, many or not dense in memory."""
    full = env.graph.types[anchor.output].shape
    axis = anchor.attrs["axis"]
    rows, count = prod(full[:axis]), prod(full[axis:])
    body: Graph = node.attrs["body"]
    value = body.outputs[0]
    shape = env.graph.types[value].shape
    order = storage_order(env.storage[value].view, shape)
    source = _dense_rows(env, anchor.inputs[0], rows, count)
    if source is None or count < SHORTEST or rows > MOST_ROWS or prod(shape) != rows * count:
        return None
    if rows > 1 and (shape[0] != rows or order[0] != 0):
        return None
    dtype = env.buffers[source.buffer].dtype
    kernel = Kernel("reduce", schedule.attributes)
    kind = C_STORAGE[dtype]
    text = STATISTICS.replace("NAME", kind).replace("TYPE", kind)
    text = text.replace("SUM", " + ".join(f"a.s{i:x}" for i in range(16)))
    text = text.replace("LOAD", "vload16" if kind == "float" else "vload_half16")
    text = text.replace("ONE", "p[i]" if kind == "float" else "vload_half(i, p)")
    helper = kernel.helper(f"ecp_statistics_{kind}", text)
    width = pick_width(
        env, [v for n in body.nodes for v in (*n.inputs, *n.outputs)], shape[order[-1]], schedule.vec
    )
    total = count // width
    workers = min(schedule.workers, MOST_WORKERS)
    share = -(-total // workers)
    data = kernel.argument(source.buffer, dtype)
    kernel.declare("const int", item=global_id())
    with kernel.loop("row", rows):
        start = f"{data} + {source.view.offset} + row*{count}"
        kernel.emit(f"const float2 found = {helper}({start}, {count});")
        kernel.emit("const float mean = found.x;")
        kernel.emit(f"const float rstd = 1.0f / sqrt(found.y + {float(anchor.attrs['epsilon'])!r}f);")
        with kernel.loop("q", f"min((item + 1)*{share}, {total})", first=f"item*{share}"):
            coords = _coordinates(shape, order, rows, width)
            reader = _Normalised(env, kernel, width, anchor)
            reader.store(value, coords, reader.compute(env.made[value], value, coords))
    kernel.flops = 5 * rows * count
    return kernel.finish((workers,), (1,))


def _coordinates(shape: tuple[int, ...], order: list[int], rows: int, width: int) -> list[Expr]:
    """Coordinates of vector ``q`` of row ``row``, walking in the order of memory."""
    axes = order[1:] if rows > 1 else order
    extents = [shape[i] for i in axes]
    extents[-1] //= width
    steps = delinearize(var("q", prod(extents)), extents)
    coords: list[Expr] = [var("row", rows)] * len(shape)
    for position, axis in enumerate(axes):
        coords[axis] = steps[position]
    coords[order[-1]] = steps[-1] * width + lane(width)
    return coords


def _dense_rows(env: Env, value: str, rows: int, count: int) -> Storage | None:
    """Storage of float rows that lie one after the other, each without gaps; None where they do not."""
    while value not in env.storage:
        made = env.made.get(value)
        if made is None or made.op not in ("Reshape", "Identity"):
            return None
        value = made.inputs[0]
    storage = env.storage[value]
    view, shape = storage.view, env.graph.types[value].shape
    low, high = view.bounds
    if env.buffers[storage.buffer].dtype not in ("float32", "float16") or not view.injective:
        return None
    if env.graph.types[value].dtype not in ("float32", "float16"):
        return None
    if low != view.offset or high - low + 1 != prod(shape):
        return None
    if rows > 1 and (shape[0] != rows or [(d.radix, d.stride) for d in view.axes[0]] != [(rows, count)]):
        return None
    return storage


class _Normalised(Reader):
    """A reader to whom the normalisation is element-wise: its statistics are known."""

    def __init__(self, env: Env, kernel: Kernel, width: int, anchor: Node):
        super().__init__(env, kernel, width)
        self.anchor = anchor

    def compute(self, node: Node, value: str, coords: list[Expr]) -> str:
        """C expression of an element, the normalisation included."""
        if node is not self.anchor:
            return super().compute(node, value, coords)
        types = self.env.graph.types
        text = f"({self.read(node.inputs[0], coords)} - mean) * rstd"
        for operand, op in zip(node.inputs[1:], "*+"):
            if operand:
                at = broadcast(coords[len(coords) - len(types[operand].shape) :], types[operand].shape)
                text = f"({text}) {op} {self.read(operand, at)}"
        return text
