"""Products through local memory: a work-group owns a tile of the result, a work-item ``mr`` x ``4*nr`` of it.

A is gathered through its view, converted and normalised on its way into registers while the chunk before it
is multiplied, then put down in local memory; so is B, whose constant panels are contiguous. Two chunks take
turns, so that one barrier a chunk is enough. The sums of the ``wk`` sets of work-items meet in local memory,
from where the epilogue stores whole runs of columns.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from math import ceil, prod

from ecp.codegen.contraction import Contraction
from ecp.codegen.core.kernel import Kernel, Launch
from ecp.codegen.core.statements import Form
from ecp.codegen.product_gpu import Product
from ecp.codegen.reader import Env
from ecp.codegen.schedule import Schedule
from ecp.codegen.tiling_gpu import LocalTile, local_tile
from ecp.index.expr import var


class LocalProduct(Product):
    """Code of one launch; the steps along k are ``kt``, a chunk each."""

    def __init__(
        self, env: Env, schedule: Schedule, family: str, c: Contraction, tile: LocalTile | None = None
    ):
        batch = prod(c.batch)
        t = tile or local_tile(c.m, c.n, c.k, batch, c.norm is not None, schedule)
        self.t = t
        kernel = Kernel(family, f"__attribute__((reqd_work_group_size({t.items},1,1)))")
        super().__init__(env, schedule, c, kernel, (t.rows, t.columns, t.items))
        self.chunks = ceil(c.k / t.chunk)
        self.pitch = t.chunk + 4

    def emit(self) -> Launch:
        """The launch."""
        k, t = self.kernel, self.t
        self.begin()
        k.local_array("float4", mem=ceil(t.local_floats(self.s.local_bytes) / 4))
        k.emit(f"const int set = lid/{t.wx * t.wy}, tx = lid%{t.wx}, ty = lid/{t.wx}%{t.wy};")
        if self.c.norm is not None:
            self.statistics()
        k.emit(f"float4 acc[{t.mr}][{t.nr}];")
        self._each_sum("acc[i][v] = 0.0f;")
        self._declare()
        with k.scope():
            self._bring("0")
            self._put("0")
        k.barrier()
        with k.loop("kt", self.chunks):
            with k.when(f"kt + 1 < {self.chunks}"):
                self._bring("kt + 1")
            with k.scope():
                self._multiply()
            with k.when(f"kt + 1 < {self.chunks}"):
                self._put("(kt + 1) & 1")
            k.barrier()
        self._meet()
        self._epilogue()
        k.flops = self.c.flops
        return k.finish(*self.sizes())

    def _each_sum(self, line: str) -> None:
        k, t = self.kernel, self.t
        with k.loop("i", t.mr, unroll=t.mr):
            k.each("v", t.nr, line, form=Form.BRACES, unroll=t.nr)

    def _declare(self) -> None:
        """Registers of the chunk under way, and where constant weights begin."""
        t, k, c, w = self.t, self.kernel, self.c, self.width
        self.steps = t.chunk // w
        self.count_a, self.count_b = t.rows * self.steps, t.chunk * t.vectors
        self.each_a, self.each_b = ceil(self.count_a / t.items), ceil(self.count_b / t.items)
        k.emit(f"float{w if w > 1 else ''} ra[{self.each_a}]; float4 rb[{self.each_b}];")
        if c.weights is None:
            return
        name, dtype = self.packed(t.columns, t.chunk)
        pointer = k.argument(name, dtype)
        panel = f"(batch*{self.panels} + column)" if prod(c.batch) > 1 else "column"
        self.half_b = dtype == "float16"
        ctype = "half" if self.half_b else "float4"
        size = self.chunks * t.chunk * t.vectors * (4 if self.half_b else 1)
        k.emit(f"const __global {ctype}* b = (const __global {ctype}*){pointer} + {panel}*{size};")

    def _share(self, each: int, count: int) -> AbstractContextManager[None]:
        """A loop over this work-item's part of ``count`` elements: ``e``, unrolled into registers ``j``."""
        k, items = self.kernel, self.t.items
        guard = f"lid + j*{items} < {count}" if count % items else ""
        return k.loop("j", each, guard=guard, unroll=each)

    def _place_a(self) -> None:
        """Row ``i`` and step ``q`` of element ``j``; neighbours take what is next to each other in memory."""
        t, k = self.t, self.kernel
        if self.c.sweep and self.width == 1:
            k.emit(f"const int e = lid + j*{t.items}, i = e%{t.rows}, q = e/{t.rows};")
        elif t.items % self.steps == 0:
            k.emit(f"const int i = lid/{self.steps} + j*{t.items // self.steps}, q = lid%{self.steps};")
        else:
            k.emit(f"const int e = lid + j*{t.items}, i = e/{self.steps}, q = e%{self.steps};")

    def _bring(self, kt: str) -> None:
        """Memory to registers: chunk ``kt`` of both operands."""
        c, t, k = self.c, self.t, self.kernel
        with self._share(self.each_a, self.count_a):
            self._place_a()
            k.emit(f"const int step = ({kt})*{self.steps} + q;")
            row = self.row("row", "i")
            partial = c.k % t.chunk != 0
            if partial:
                k.emit("ra[j] = 0.0f;")
            with k.when(f"step < {c.k // self.width}" if partial else ""):
                k.emit(f"ra[j] = {self.read_a(row, 'step', 'means[i]', 'rstds[i]')};")
        with self._share(self.each_b, self.count_b):
            if c.weights is not None:
                at = f"({kt})*{self.count_b} + lid + j*{t.items}"
                k.emit(f"rb[j] = {k.load_halves(4, at, 'b') if self.half_b else f'b[{at}]'};")
                return
            k.emit(
                f"const int e = lid + j*{t.items}, v = e%{t.vectors}, kb = ({kt})*{t.chunk} + e/{t.vectors};"
            )
            k.emit("rb[j] = 0.0f;")
            with k.when(f"kb < {c.k}" if c.k % t.chunk else ""):
                k.emit(f"rb[j] = {self.read_b(var('kb', c.k), f'column*{t.vectors} + v')};")

    def _put(self, side: str) -> None:
        """Registers to local memory."""
        t, k = self.t, self.kernel
        k.emit(f"__local float4* ta = mem + ({side})*{t.stage_floats // 4};")
        with self._share(self.each_a, self.count_a):
            self._place_a()
            if self.width > 1:
                k.emit(f"ta[i*{self.pitch // 4} + q] = ra[j];")
            else:
                k.emit(f"((__local float*)ta)[i*{self.pitch} + q] = ra[j];")
        k.emit(f"__local float4* tb = ta + {t.rows * self.pitch // 4};")
        with self._share(self.each_b, self.count_b):
            k.emit(f"tb[lid + j*{t.items}] = rb[j];")

    def _multiply(self) -> None:
        """The chunk in local memory, 4 steps along k at a time."""
        t, k = self.t, self.kernel
        k.emit(f"const __local float4* ta = mem + (kt & 1)*{t.stage_floats // 4};")
        k.emit(f"const __local float4* tb = ta + {t.rows * self.pitch // 4};")
        self._inner("x[i] = {};")

    def _inner(self, load: str) -> None:
        """Multiply what ``ta`` and ``tb`` point to; ``load`` says what becomes of an element of A."""
        t, k = self.t, self.kernel
        with k.loop("kk", t.kb // 4, unroll=max(1, min(t.kb, 16) // 4)):
            k.emit(f"float4 x[{t.mr}];")
            element = f"ta[(ty + i*{t.wy})*{self.pitch // 4} + set*{t.kb // 4} + kk]"
            k.each("i", t.mr, load.format(element), unroll=t.mr)
            for j in range(4):
                with k.scope():
                    at = f"(set*{t.kb} + kk*4 + {j})*{t.vectors} + tx"
                    names = [f"y{v}" for v in range(t.nr)]
                    loads = [f"{y} = tb[{at} + {v * t.wx}]" for v, y in enumerate(names)]
                    k.emit(f"const float4 {', '.join(loads)};")
                    sums = [
                        f"acc[i][{v}] = fma((float4)(x[i].s{j}), {y}, acc[i][{v}]);"
                        for v, y in enumerate(names)
                    ]
                    k.each("i", t.mr, " ".join(sums), form=Form.BRACES, unroll=t.mr)

    def _meet(self) -> None:
        """Partial sums of the sets: halved until they fit local memory, then all put down there."""
        k, t = self.kernel, self.t
        live, size = t.sums(self.s.local_bytes), t.rows * t.vectors
        place = f"(ty + i*{t.wy})*{t.vectors} + tx + v*{t.wx}"
        sets = t.wk
        while sets > live:
            sets //= 2
            with k.when(f"set >= {sets} && set < {2 * sets}"):
                self._each_sum(f"mem[(set - {sets})*{size} + {place}] = acc[i][v];")
            k.barrier()
            with k.when(f"set < {sets}"):
                self._each_sum(f"acc[i][v] += mem[set*{size} + {place}];")
            k.barrier()
        with k.when(f"set < {live}" if live < t.wk else ""):
            self._each_sum(f"mem[set*{size} + {place}] = acc[i][v];")
        k.barrier()

    def _epilogue(self) -> None:
        """Bias, activation, residual and store: neighbours take neighbouring columns."""
        k, t = self.kernel, self.t
        live, size = t.sums(self.s.local_bytes), t.rows * t.vectors
        with k.loop("e", size, first="lid", step=t.items, unroll=2):
            k.emit(
                f"const int line = block*{t.rows} + e/{t.vectors}, vec = column*{t.vectors} + e%{t.vectors};"
            )
            parts = [f"mem[e + {p * size}]" if p else "mem[e]" for p in range(live)]
            k.emit(f"const float4 sum = {' + '.join(parts)};")
            self.store_vector("sum", "line", "vec")
