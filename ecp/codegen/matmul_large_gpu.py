"""Large products on tensor cores (half storage, compute capability 9.0): one work-group a multiprocessor.

As ``matmul_mma_gpu``, for products that keep every multiprocessor busy. What differs is what a multiprocessor must
not wait for: tiles are as large as registers and local memory allow and divide the result evenly among the
multiprocessors, so that copies and reads of local memory stay behind the multiplications; source addresses are
computed once; a warp reads the operands of its next step while it multiplies; the epilogue reads what it adds
several rows ahead. A LayerNormalization before the product has a launch of its own (:mod:`.unfuse_norm`): here every
column of tiles would repeat it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil, prod

import numpy as np

from ecp.codegen.contraction import Contraction
from ecp.codegen.core.kernel import group_id
from ecp.codegen.core.statements import Form, If, Statement, Text
from ecp.codegen.matmul_mma_gpu import TensorProduct
from ecp.codegen.planes_gpu import runs
from ecp.codegen.reader import Env, Reader, lane
from ecp.codegen.reader_gpu import TensorReader
from ecp.codegen.schedule import Schedule
from ecp.codegen.tiling_gpu import TensorTile
from ecp.index.expr import Expr, Var, var
from ecp.passes.storage import Buffer

# Multiply-adds from which a product is large.
LARGE = 1 << 29
# Local memory of a work-group that has a multiprocessor to itself.
LOCAL_BYTES = 220 << 10
# Raise the other's flag when everything this work-group wrote is seen, take down one's own when it is raised.
SWAP = """void ecp_swap(__global uint* theirs, __global uint* ours) {
  uint v;
  asm volatile("st.release.gpu.global.u32 [%0],1;" :: "l"(theirs) : "memory");
  do { asm volatile("ld.acquire.gpu.global.u32 %0,[%1];" : "=r"(v) : "l"(ours) : "memory"); } while (v == 0);
  asm volatile("st.relaxed.gpu.global.u32 [%0],0;" :: "l"(ours) : "memory");
}
"""
# Floats between the rows of sums in local memory, against bank conflicts.
PAD = 8


@dataclass(frozen=True)
class LargeTile(TensorTile):
    """``split`` work-groups share a tile: each multiplies its part of k, then finishes its part of the rows."""

    split: int = 1


def large(env: Env, s: Schedule, c: Contraction) -> bool:
    """True where :class:`LargeProduct` computes ``c`` (or would, were its normalisation apart)."""
    if not (s.ptx >= 9 and s.local and env.half) or c.weights is None or prod(c.batch) > 1:
        return False
    if c.m * c.n * c.k < LARGE or c.n % 8 or c.k % 64 or c.k != c.k_shape[-1]:
        return False
    return next(_tiles(c.m, c.n, c.k, s.groups), None) is not None


def fits_large(env: Env, s: Schedule, c: Contraction) -> bool:
    """True where, besides, A is read in runs that follow each other along k."""
    return large(env, s, c) and c.norm is None and _linear(env, c) is not None


def _linear(env: Env, c: Contraction) -> tuple[str, Expr] | None:
    """(buffer, address of A at k = 0) where the address grows with k alone, else None."""
    found = runs(env, c)
    if found is None:
        return None
    buffer, at = found
    step = Var("step", 0, c.k // 8 - 1)
    start = at.substitute({step: 0})
    return (buffer, start) if at == start + Expr(((step, 1),)) * 8 and start.hi < 1 << 30 else None


class LargeProduct(TensorProduct):
    """One work-group a multiprocessor; ``c`` satisfies :func:`fits_large`."""

    def __init__(
        self, env: Env, schedule: Schedule, family: str, c: Contraction, tile: LargeTile | None = None
    ):
        t = tile or large_tile(c.m, c.n, c.k, schedule.groups)
        super().__init__(env, schedule, family, c, t)
        self.tile: LargeTile = t
        self.stages = stages(t)
        self.all_chunks, self.chunks = self.chunks, self.chunks // t.split

    def begin(self) -> None:
        """Where this work-group and work-item are."""
        super().begin()
        if self.tile.split > 1:
            self.kernel.declare("const int", part=group_id(2))

    def sizes(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """(global, local) size."""
        (columns, blocks, _), local = super().sizes()
        return (columns, blocks, self.tile.split), local

    @property
    def local_bytes(self) -> int:
        """Local memory of the launch."""
        return max(self.stages * self.stage_bytes, sum_bytes(self.tile))

    def _declare(self) -> None:
        k, c = self.kernel, self.c
        self.chunks, part = self.all_chunks, self.chunks  # a panel of weights holds all of k
        super()._declare()
        self.chunks = part
        found = _linear(self.env, c)
        assert found is not None
        buffer, start = found
        pointer = k.argument(buffer, self.env.buffers[buffer].dtype)
        own = ""
        if self.tile.split > 1:
            k.emit(f"b += (uint)part*{part * self.count_b * 16}u;")
            own = f" + (uint)part*{part * self.t.chunk * 2}u"
        k.emit(f"const __global uchar* a = (const __global uchar*){pointer}{own};")
        k.emit(f"uint from[{self.each_a}];")
        reader = Reader(self.env, k)
        with self._share(self.each_a, self.count_a):
            self._place_a()
            self.row("row", "i")
            k.emit(f"from[j] = (uint)({reader.index(start)} + q*8)*2u;")

    def _ask(self, chunk: str) -> None:
        """Copies of both operands' chunk begin."""
        self._sources(chunk)
        self.kernel.add(*self._pieces("16"))

    def _sources(self, chunk: str) -> None:
        t, k = self.t, self.kernel
        k.emit(f"const uint to = base + (uint)(({chunk})%{self.stages})*{self.stage_bytes}u;")
        k.emit(f"const __global uchar* b_ = b + (uint)(({chunk})*{self.count_b} + lid)*16u;")
        k.emit(f"const __global uchar* a_ = a + (uint)({chunk})*{2 * t.chunk}u;")

    def _pieces(self, size: str) -> list[Statement]:
        """Statements, each of which begins a copy of 16 bytes by every work-item (``size`` 0: writes zeros)."""
        t = self.t
        found: list[Statement] = []
        for name, count, per, pitch, begin in (
            ("b", self.count_b, self.runs_b, self.pitch_b, t.rows * self.pitch_a),
            ("a", self.count_a, self.steps, self.pitch_a, 0),
        ):
            for j in range(ceil(count / t.items)):
                if t.items % per == 0:
                    row, q = f"(lid/{per} + {j * t.items // per})", f"lid%{per}"
                else:
                    row, q = f"((lid + {j * t.items})/{per})", f"(lid + {j * t.items})%{per}"
                source = f"b_ + {j * 16 * t.items}" if name == "b" else f"a_ + from[{j}]"
                copy = Text((f"ecp_copy16(to + {begin}u + {row}*{pitch} + ({q})*16, {source}, {size});",))
                left = count - j * t.items
                found.append(copy if left >= t.items else If(f"lid < {left}", (copy,), form=Form.LINE))
        return found

    def _turn(self) -> None:
        """Chunk ``kt`` is multiplied, 16 steps along k at a time; the next step's operands are read before.

        The copies of a later chunk are spread over the steps: begun all at once they would stand before the reads of
        local memory in the queue of the load unit, which accepts them at the speed of L2.
        """
        t, k = self.tile, self.kernel
        k.emit(f"ECP_WAIT({self.stages - 2});")
        k.barrier()
        k.emit(f"const int next = kt + {self.stages - 1};")
        k.emit(f"const uint size = next < {self.chunks} ? 16 : 0;")
        self._sources("next")
        k.emit(f"const uint ta = base + (uint)(kt%{self.stages})*{self.stage_bytes}u;")
        k.emit(
            f"const uint a0 = ta + (wm*{16 * t.mf} + (lane & 15))*{self.pitch_a} + (lane >> 4)*16 + set*{2 * t.kb};"
        )
        k.emit(
            f"const uint b0 = ta + {t.rows * self.pitch_a}u + ((lane & 7) + ((lane >> 3) & 1)*8 + set*{t.kb})"
            f"*{self.pitch_b} + (wn*{8 * t.nf} + (lane >> 4)*8)*2;"
        )
        k.emit(f"uint af[2][{t.mf}][4], bf[2][{t.nf}][2];")
        pieces, steps = self._pieces("size"), t.kb // 16
        self._operands(0)
        for kk in range(steps):
            if kk + 1 < steps:
                self._operands(kk + 1)
            k.add(*pieces[kk * len(pieces) // steps : (kk + 1) * len(pieces) // steps])
            with k.loop("i", t.mf, unroll=t.mf):
                step = f"ECP_MMA(acc[i*{t.nf} + j], af[{kk % 2}][i], bf[{kk % 2}][j]);"
                k.each("j", t.nf, step, unroll=t.nf)
        k.emit("ECP_COMMIT();")

    def _operands(self, kk: int) -> None:
        t, k, side = self.tile, self.kernel, kk % 2
        a = f"ECP_LDM4(af[{side}][i], a0 + i*{16 * self.pitch_a} + {kk * 32});"
        k.each("i", t.mf, a, unroll=t.mf)
        b = f"ECP_LDM4T(bf[{side}][2*j], bf[{side}][2*j + 1], b0 + j*32 + {kk * 16 * self.pitch_b});"
        k.each("j", t.nf // 2, b, unroll=t.nf // 2)

    def _meet(self) -> None:
        """Every warp puts its sums down: a lane has columns 2t, 2t+1 of rows g and g+8."""
        t, k, pitch = self.tile, self.kernel, self.tile.columns + PAD
        k.emit(
            f"__local float* sums = (__local float*)mem + (set*{t.rows} + wm*{16 * t.mf} + (lane >> 2))*{pitch}"
            f" + wn*{8 * t.nf} + (lane & 3)*2;"
        )
        with k.loop("i", t.mf, unroll=t.mf), k.loop("j", t.nf, unroll=t.nf):
            for first, row in ((0, 0), (2, 8)):
                pair = f"(float2)(acc[i*{t.nf} + j][{first}], acc[i*{t.nf} + j][{first + 1}])"
                k.emit(f"*(__local float2*)(sums + i*{16 * pitch} + j*8 + {row * pitch}) = {pair};")
        k.barrier()

    def _epilogue(self) -> None:
        """Bias, activation, residual and store, 8 columns a work-item; reads run ahead of the guarded store."""
        k, t = self.kernel, self.tile
        first = ""
        if t.split > 1:
            self._exchange()
            first = f"part*{t.rows // t.split} + "
        with self._places():
            k.emit(f"const int i = {first}e/{t.columns // 8}, q = e%{t.columns // 8};")
            self._finish_eight()

    @contextmanager
    def _places(self) -> Iterator[None]:
        """A loop over this work-item's part of the rows that the work-group finishes: ``e``."""
        k, t = self.kernel, self.tile
        count = t.rows // t.split * (t.columns // 8)
        each = ceil(count / t.items)
        guard = f"lid + j*{t.items} < {count}" if count % t.items else ""
        with k.loop("j", each, guard=guard, unroll=4 if each % 4 == 0 else 3):
            k.emit(f"const int e = lid + j*{t.items};")
            yield

    def _sum(self) -> str:
        """The sums of row ``i``, columns ``8*q``, of all sets of warps."""
        t, pitch = self.tile, self.tile.columns + PAD
        self.kernel.emit(
            f"const __local float4* s = (const __local float4*)((__local float*)mem + i*{pitch} + q*8);"
        )
        plane = t.rows * pitch // 4
        low, high = (" + ".join(f"s[{p * plane + h}]" for p in range(t.wk)) for h in (0, 1))
        return f"(float8)({low}, {high})"

    def _exchange(self) -> None:
        """The two work-groups of a tile swap the halves of their sums that the other one finishes.

        Both are resident, since there is at most one work-group a multiprocessor. A flag is raised by one of them and
        taken down by the other, so that all are down between launches.
        """
        k, t, c = self.kernel, self.tile, self.c
        count = t.rows // 2 * t.columns
        tiles = t.groups(c.m, c.n, 1)
        sums, flags = f"{c.value}@sums", f"{c.value}@flags"
        self.env.buffers[sums] = Buffer(sums, 2 * tiles * count, "float32", "arena")
        self.env.buffers[flags] = Buffer(flags, 2 * tiles, "uint32", "static", np.zeros(2 * tiles, np.uint32))
        k.emit(f"const int pair = (block*{self.panels} + column)*2;")
        k.emit(
            f"__global float* theirs = {k.argument(sums, 'float32', write=True)} + (pair + 1 - part)*{count};"
        )
        k.emit(
            f"const __global float* ours = {k.argument(sums, 'float32', write=True)} + (pair + part)*{count};"
        )
        k.emit(f"__global uint* flag = {k.argument(flags, 'uint32', write=True)} + pair;")
        with self._places():
            k.emit(f"const int i = (1 - part)*{t.rows // 2} + e/{t.columns // 8}, q = e%{t.columns // 8};")
            k.emit(f"*((__global float8*)theirs + e) = {self._sum()};")
        k.helper("ecp_swap", SWAP)
        k.barrier()
        k.do_when("lid == 0", "ecp_swap(flag + 1 - part, flag + part);")
        k.barrier()

    def _finish_eight(self) -> None:
        k, t, c = self.kernel, self.tile, self.c
        tests = [f"block*{t.rows} + i < {c.m}"] if c.m % t.rows else []
        line = f"min(block*{t.rows} + i, {c.m - 1})" if tests else f"block*{t.rows} + i"
        k.emit(f"const int line = {line};")
        vec = f"column*{t.columns // 8} + q"
        if c.n % t.columns:
            tests.append(f"{vec} < {c.n // 8}")
            vec = f"min({vec}, {c.n // 8 - 1})"
        k.emit(f"const int vec = {vec};")
        k.emit(
            f"const float8 sum = {self._sum()}{' + *((const __global float8*)ours + e)' if t.split > 1 else ''};"
        )
        reader = TensorReader(self.env, k, 8)
        result, at = self.finished(reader, "sum", var("line", c.m), var("vec", c.n // 8) * 8 + lane(8))
        with k.when(f"{' && '.join(tests)}" if tests else ""):
            reader.store(c.value, at, result)


def sum_bytes(t: TensorTile) -> int:
    """Local bytes of the sums of all sets."""
    return t.wk * t.rows * (t.columns + PAD) * 4


def stages(t: TensorTile) -> int:
    """Chunks in local memory at once."""
    return min(4, LOCAL_BYTES // t.stage_bytes)


def _tiles(m: int, n: int, k: int, groups: int) -> Iterator[LargeTile]:
    for warps in product((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 4)):
        count = prod(warps)
        if not 4 <= count <= 12 or count % 4:
            continue
        # Registers: 255 a lane where there are at most 8 warps, 168 with 12; 4 a fragment are sums.
        most = 32 if count <= 8 else 24
        for mf, nf, kb, split in product((1, 2, 3, 4), (2, 4, 6, 8), (16, 32, 64), (1, 2)):
            t = LargeTile(mf, nf, *warps, kb, split)
            whole = k % (t.chunk * split) == 0 and t.chunk % 64 == 0
            fits = mf * nf <= most and stages(t) >= 3 and sum_bytes(t) <= LOCAL_BYTES
            paired = split == 1 or (t.groups(m, n, 1) * split <= groups and k >= 4 * split * t.chunk)
            if whole and fits and paired and t.rows < 2 * m and t.columns < 2 * n:
                yield t


@lru_cache(maxsize=4096)
def large_tile(m: int, n: int, k: int, groups: int) -> LargeTile:
    """The cheapest tile on ``groups`` multiprocessors."""
    return min(_tiles(m, n, k, groups), key=lambda t: large_clocks(t, m, n, k, groups))


def large_clocks(t: LargeTile, m: int, n: int, k: int, groups: int) -> float:
    """Clocks of the busiest multiprocessor: rounds of tiles that nothing overlaps.

    A chunk takes as long as the slowest of: products (8.3 clocks each, four at once), reads of local memory (4 clocks
    a fragment of 512 bytes) with the writes of copies, L2 (24 bytes a clock). Fitted to five tiles of an H200.
    """
    warps, steps, results = t.items // 32, t.kb // 16, t.rows * t.columns
    multiply = warps / 4 * steps * t.mf * t.nf * 8.3
    local = warps * steps * (t.mf + t.nf / 2) * 4 + (t.rows + t.columns) * t.chunk * 2 / 128
    memory = (t.rows + t.columns) * t.chunk * 2 / 24
    once = max(multiply, local, memory) + 0.15 * multiply + 60
    tail = 4500 + 0.25 * results + 0.3 * (t.wk - 1) * results + (3000 + 0.2 * results if t.split > 1 else 0)
    return ceil(t.groups(m, n, 1) * t.split / groups) * (k / t.chunk / t.split * once + tail)
