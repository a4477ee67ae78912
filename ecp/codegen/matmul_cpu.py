"""Products and convolutions on CPU devices: workers take register-tile work from a queue.

The work of a launch is cut into units: (block of rows, group of column panels, range of row tiles). One work-item
per compute unit takes units from an atomic counter, its own first, until none is left, so that a core that runs slower
(a busy neighbour, a little core) does less, and operands brought into L2 once serve many units. Rows of A are first
brought into a private buffer where they have to be gathered through a view, converted from half, or normalised; plain
float rows are read in place. The inner loop is mr*nr fused multiply-adds on ``vec`` lanes per k over packed B.
"""

from __future__ import annotations

from contextlib import ExitStack
from math import ceil, prod

from ecp.codegen.contraction import Contraction
from ecp.codegen.core.kernel import Kernel, Launch, global_id
from ecp.codegen.epilogue_cpu import Epilogue
from ecp.codegen.hints import PREFETCH
from ecp.codegen.packing import packed_buffer
from ecp.codegen.probe import AddressProbe
from ecp.codegen.queue import queue, shares
from ecp.codegen.reader import Env, Reader, lane
from ecp.codegen.register_tile import RegisterTile
from ecp.codegen.rows_cpu import PackedRows, chunk_start, row_of_tile
from ecp.codegen.schedule import Schedule
from ecp.codegen.tiling_cpu import row_range, tiling
from ecp.index.expr import Expr, Var, var
from ecp.index.maps import delinearize
from ecp.ir.graph import Node


def emit_matmul(env: Env, schedule: Schedule, node: Node, c: Contraction) -> Launch:
    """Code of a ``matmul`` or ``conv`` launch."""
    return _Product(env, schedule, node.attrs["kind"], c).emit()


class _Product:
    def __init__(self, env: Env, schedule: Schedule, family: str, c: Contraction):
        self.env, self.s, self.c = env, schedule, c
        self.kernel = Kernel(family, schedule.attributes)
        self.dtype = env.graph.types[c.value].dtype
        self.pack = not self._direct()
        self.t = tiling(c, schedule, self.pack)
        self.kc = c.k // self.t.chunks
        self.tile = RegisterTile(self.kernel, self.t.mr, self.t.nr, self.t.vec)

    def _direct(self) -> bool:
        """True where rows of A can be read in place: float, no normalisation, unit stride in k."""
        c, env = self.c, self.env
        if c.norm is not None or c.anchor.op == "Conv":
            return False
        value = c.a_value
        probe = AddressProbe(env)
        address = probe.address(lambda r: c.read_a(r, self._batch_vars(), var("row", c.m), var("kk", c.k)))
        if address is None or env.buffers[address[0]].dtype != "float32":
            return False
        k = Var("kk", 0, c.k - 1)
        rest = address[1].substitute({k: 0})
        self.a_address = address
        return (
            bool(value) and c.k > 1 and address[1].coefficient(k) == 1 and address[1] - var("kk", c.k) == rest
        )

    def _batch_vars(self) -> list[Expr]:
        return delinearize(var("batch", prod(self.c.batch)), self.c.batch) if self.c.batch else []

    def emit(self) -> Launch:
        """The launch."""
        c, t, k = self.c, self.t, self.kernel
        batch = prod(c.batch)
        queued = self.s.cpu and batch == 1 and t.units > 1
        if batch > 1:
            k.declare("const int", batch=global_id(2))
        self.batch = self._batch_vars()
        self.rows = PackedRows(self.env, k, c, t, self.batch)
        if self.pack:
            self.rows.declare()
        if t.chunks > 1:
            k.emit(f"float sums[{t.range * t.mr * t.panels * t.nr * t.vec}] __attribute__((aligned(64)));")
        workers = min(self.s.workers, t.units)
        if queued:
            with (shares if t.own_rows else queue)(self.env, k, t.units, workers):
                self._unit()
        else:
            k.declare("const int", unit=global_id())
            self._unit()
        k.flops = c.flops
        return k.finish((workers if queued else t.units, 1, max(1, batch)), (1, 1, 1))

    def _unit(self) -> None:
        """One unit: pieces of k outermost, then panels, then row tiles."""
        t, k = self.t, self.kernel
        k.emit(f"const int split = unit % {t.splits}, group = unit / {t.splits} % {t.groups};")
        k.emit(f"const int block = unit / {t.splits * t.groups};")
        total, panels = ceil(self.c.m / t.mr), ceil(self.c.n / (t.nr * t.vec))
        if t.own_rows:
            base, begin, end = row_range(t, "block", "group")
        else:
            base, begin = f"block*{t.tiles}", f"base + split*{t.range}"
            end = f"min(min(begin + {t.range}, base + {t.tiles}), {total})"
        k.emit(f"const int base = {base}, begin = {begin}, end = {end};")
        with k.loop("chunk", t.chunks) if t.chunks > 1 else k.scope():
            if self.pack:
                self.rows.bring()
            last = f"min((group+1)*{t.panels}, {panels})"
            with k.loop("panel", last, first=f"group*{t.panels}"), k.loop("tile", "end", first="begin"):
                if self.pack:
                    self.rows.of_tile()
                else:
                    self._row_pointers()
                self._tile()

    def _row_pointers(self) -> None:
        """Rows that are read in place."""
        buffer, address = self.a_address
        pointer = self.kernel.argument(buffer, "float32")
        kk = Var("kk", 0, self.c.k - 1)
        for i in range(self.t.mr):
            row = row_of_tile(self.kernel, self.c, self.t, f"r{i}", i)
            at = address.substitute({kk: 0, Var("row", 0, self.c.m - 1): row}) + chunk_start(self.c, self.t)
            reader = Reader(self.env, self.kernel)
            self.kernel.emit(f"const __global float* a{i} = {pointer} + {reader.index(at)};")

    def _tile(self) -> None:
        """Accumulate one mr x (nr*vec) tile, then its epilogue."""
        t, k = self.t, self.kernel
        self.tile.clear()
        if t.chunks > 1:
            slot = f"((tile - begin)*{t.panels} + panel - group*{t.panels})*{t.mr * t.nr * t.vec}"
            k.emit(f"float* part = sums + {slot};")
            with k.when("chunk > 0"):
                self.tile.load("part")
        if self.c.weights is not None:
            self._loop_packed()
        else:
            self._loop_views()
        if t.chunks > 1:
            with k.when(f"chunk < {t.chunks - 1}"):
                self.tile.store("part")
                k.emit("continue;")
        self._epilogue()

    def _loop_packed(self) -> None:
        c, t, k = self.c, self.t, self.kernel
        assert c.weights is not None
        width = t.nr * t.vec
        key = f"{c.weights_key}@packed{width}{c.anchor.op}"
        b = packed_buffer(self.env, key, c.weights, width)
        pointer = k.argument(key, b.dtype)
        panels = ceil(c.n / width)
        batch = f"(batch*{panels} + panel)" if prod(c.batch) > 1 else "panel"
        ctype = "half" if b.dtype == "float16" else "float"
        chunk = f" + chunk*{self.kc * width}" if t.chunks > 1 else ""
        k.emit(f"const __global {ctype}* b = {pointer} + {batch}*{c.k * width}{chunk};")
        load = f"vload_half{t.vec}" if b.dtype == "float16" else f"vload{t.vec}"
        step = self.s.unroll if self.s.prefetch and self.kc % self.s.unroll == 0 else 0
        if step:
            size = 2 if ctype == "half" else 4
            lines, each = self._aim_ahead(pointer, batch, step, size), 64 // size
        with ExitStack() as loops:
            first, end = "0", str(self.kc)
            if step:
                loops.enter_context(k.loop("k0", self.kc, step=step, unroll=1))
                k.emit(
                    " ".join(f"PREFETCH(ahead + k0*{lines * each // step}+{each * i});" for i in range(lines))
                )
                first, end = "k0", f"k0 + {step}"
            loops.enter_context(k.loop("kk", end, first=first, unroll=self.s.unroll))
            self.tile.weights(load)
            self.tile.multiply(self._number)

    def _aim_ahead(self, pointer: str, batch: str, step: int, size: int) -> int:
        """Point ``ahead`` at this tile's share of the weights needed next; the cache lines to fetch per step.

        The first pass over a panel outruns memory by far (24 multiply-adds a vector from L3 or DRAM); fetched into
        L2 while the tiles before it are computed, it never waits.
        """
        c, t, k = self.c, self.t, self.kernel
        k.helper("prefetch", PREFETCH)
        width, panels = t.nr * t.vec, ceil(c.n / (t.nr * t.vec))
        total = self.kc * width * size // 64
        lines = min(8, max(1, ceil(total / (t.range * (self.kc // step)))))
        share = lines * (self.kc // step) * 64 // size
        if t.own_rows:
            nearby = f"(unit + 1) % {t.groups}"
        elif t.groups > 1:
            nearby = f"(unit + {min(self.s.workers, t.units)}) / {t.splits} % {t.groups}"
        else:
            nearby = f"min(panel + 1, {panels - 1})"
        after = f"{pointer} + ({batch} - panel + {nearby})*{c.k * width}"
        if t.chunks > 1:
            after = f"(chunk < {t.chunks - 1} ? b + {self.kc * width} : {after})"
        last = total * 64 // size // share
        k.emit(f"const __global {'half' if size == 2 else 'float'}* ahead = b;")
        k.do_when(f"tile - begin < {last}", f"ahead = {after} + (tile - begin)*{share};")
        return lines

    def _loop_views(self) -> None:
        c, t, k = self.c, self.t, self.kernel
        assert c.read_b is not None
        width = t.nr * t.vec
        with k.loop("kk", self.kc):
            for v in range(t.nr):
                first = var("panel", ceil(c.n / width)) * width + v * t.vec
                k.emit(f"const float{t.vec} b{v} = {self._columns(first)};")
            self.tile.multiply(self._number)

    def _columns(self, first: Expr) -> str:
        """``vec`` columns of b from ``first``; columns past the end repeat valid ones and are never stored."""
        c, t, k = self.c, self.t, self.kernel
        assert c.read_b is not None
        kk = var("kk", self.kc) + chunk_start(self.c, self.t)
        if c.n % (t.nr * t.vec) == 0:
            return c.read_b(Reader(self.env, k, t.vec), self.batch, kk, first + lane(t.vec))
        scalar = Reader(self.env, k)
        if c.n % t.vec == 0:
            start = k.define("int", f"min({scalar.index(first)}, {c.n - t.vec})")
            return c.read_b(
                Reader(self.env, k, t.vec), self.batch, kk, var(start, c.n - t.vec + 1) + lane(t.vec)
            )
        parts = []
        for i in range(t.vec):
            at = k.define("int", f"min({scalar.index(first + i)}, {c.n - 1})")
            parts.append(c.read_b(scalar, self.batch, kk, var(at, c.n)))
        return f"(float{t.vec})({', '.join(parts)})"

    def _number(self, i: int) -> str:
        """Element ``kk`` of row ``i`` of the tile."""
        return f"rows[{i * self.rows.pitch} + kk]" if self.pack else f"a{i}[kk]"

    def _epilogue(self) -> None:
        """Sums into ``acc``, then row by row :class:`~ecp.codegen.epilogue_cpu.Epilogue`."""
        c, t, k = self.c, self.t, self.kernel
        k.emit(f"float acc[{t.mr * t.nr * t.vec}] __attribute__((aligned(64)));")
        self.tile.store("acc")
        rows = f"min({t.mr}, {c.m} - tile*{t.mr})" if c.m % t.mr else str(t.mr)
        with k.loop("i", rows):
            k.emit(f"const int m = tile*{t.mr} + i;")
            Epilogue(self.env, k, c, self.batch, t.nr, t.vec).row(var("m", c.m))
