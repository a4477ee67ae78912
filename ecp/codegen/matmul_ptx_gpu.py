"""Products on NVIDIA GPUs: chunks of both operands arrive in local memory by asynchronous copies, several ahead.

Two ways to multiply: fp32 multiply-adds from registers, as ``matmul_local_gpu`` does (the default precision never
uses reduced precision silently), or tensor cores where storage is half (``matmul_mma_gpu``). A that is no run of
elements in memory (images read channels first, gathers) goes through registers instead.
"""

from __future__ import annotations

from math import ceil, prod

from ecp.codegen.contraction import Contraction
from ecp.codegen.core.kernel import Launch
from ecp.codegen.matmul_local_gpu import LocalProduct
from ecp.codegen.ptx_gpu import COPY, PointerReader, plain
from ecp.codegen.reader import Env, lane
from ecp.codegen.schedule import Schedule
from ecp.codegen.tiling_gpu import LocalTile, async_tile
from ecp.index.expr import Expr, var


class AsyncProduct(LocalProduct):
    """fp32 products; ``stages`` chunks are in local memory, all but the one in use on their way."""

    size = 4  # bytes of an element in local memory

    def __init__(
        self, env: Env, schedule: Schedule, family: str, c: Contraction, tile: LocalTile | None = None
    ):
        batch = prod(c.batch)
        t = tile or async_tile(c.m, c.n, c.k, batch, c.norm is not None, schedule)
        super().__init__(env, schedule, family, c, t)
        self.stages = t.stages(schedule.local_bytes)
        self._choose_source()

    def _choose_source(self) -> None:
        """A by asynchronous copies where it is plain; a folded normalisation is applied where it is used."""
        c, run = self.c, 16 // self.size
        self.run = run
        allowed = c.norm is None or (self.unscaled and self.size == 4)
        self.copied = allowed and c.k_shape[-1] % run == 0 and plain(self.env, run, self._address_of)
        if self.copied:
            self.width = run

    def _address_of(self, reader: PointerReader) -> str:
        c = self.c
        if c.norm is not None:
            reader.redirect = {c.norm.output: c.norm.inputs[0]}
        row = var("row", c.m)
        return c.read_a(
            reader, self.batch, row, var("step", c.k // reader.width) * reader.width + lane(reader.width)
        )

    @property
    def stage_bytes(self) -> int:
        """Bytes of one chunk of both operands."""
        return self.t.stage_floats * 4

    @property
    def local_bytes(self) -> int:
        """Local memory of the launch."""
        sums = self.t.sums(self.s.local_bytes) * self.rows * self.columns * 4
        return max(self.stages * self.stage_bytes, sums)

    @property
    def pitch_a(self) -> int:
        """Bytes from row to row of A."""
        return (self.t.chunk * self.size) + 16

    @property
    def pitch_b(self) -> int:
        """Bytes from k to k of B."""
        return self.columns * self.size

    def emit(self) -> Launch:
        """The launch."""
        k = self.kernel
        k.helper("ecp_copy16", COPY)
        self.begin()
        k.local_array("float4", mem=ceil(self.local_bytes / 16), aligned=128)
        k.emit("const uint base = (uint)(size_t)mem;")
        self._coordinates()
        self._declare()
        if self.copied:
            self._first_chunks()
        if self.c.norm is not None:
            self.statistics()
        if not self.copied:
            self._first_chunks()
        self._clear()
        with k.loop("kt", self.chunks):
            self._turn()
        k.emit("ECP_WAIT(0);")
        k.barrier()
        self._meet()
        self._epilogue()
        k.flops = self.c.flops
        return k.finish(*self.sizes())

    def _turn(self) -> None:
        """Chunk ``kt`` is multiplied, another asked for."""
        k, s = self.kernel, self.stages
        k.emit(f"ECP_WAIT({s - 2});")
        k.barrier()
        k.emit(f"const int next = kt + {s - 1};")
        with k.when(f"next < {self.chunks}"):
            self._ask("next")
        k.emit("ECP_COMMIT();")
        with k.scope():
            k.emit(f"const int side = kt%{s};")
            self._multiply()
        if not self.copied:
            with k.when(f"next < {self.chunks}"):
                self._put_a("next")

    def _coordinates(self) -> None:
        t = self.t
        self.kernel.emit(f"const int set = lid/{t.wx * t.wy}, tx = lid%{t.wx}, ty = lid/{t.wx}%{t.wy};")

    def _clear(self) -> None:
        t, k = self.t, self.kernel
        k.emit(f"float4 acc[{t.mr}][{t.nr}];")
        self._each_sum("acc[i][v] = 0.0f;")
        if self.c.norm is not None and self.copied:
            k.emit(f"float scale[{t.mr}], shift[{t.mr}];")
            with k.loop("i", t.mr, unroll=t.mr):
                k.emit(f"scale[i] = rstds[ty + i*{t.wy}]; shift[i] = -means[ty + i*{t.wy}]*scale[i];")

    def _declare(self) -> None:
        """How the chunks divide among the work-items, and where this group's panel of weights begins."""
        t, k, c = self.t, self.kernel, self.c
        assert c.weights is not None
        self.steps = t.chunk // self.width
        self.count_a = t.rows * self.steps
        self.runs_b = self.columns // self.run
        self.count_b = t.chunk * self.runs_b
        self.each_a, self.each_b = ceil(self.count_a / t.items), ceil(self.count_b / t.items)
        name, dtype = self.packed(self.columns, t.chunk)
        pointer = k.argument(name, dtype)
        panel = f"(batch*{self.panels} + column)" if prod(c.batch) > 1 else "column"
        panel_bytes = self.chunks * t.chunk * self.columns * self.size
        k.emit(f"const __global uchar* b = (const __global uchar*){pointer} + (size_t){panel}*{panel_bytes};")
        if not self.copied:
            k.emit(f"float{self.width if self.width > 1 else ''} ra[{self.each_a}];")

    def _first_chunks(self) -> None:
        k = self.kernel
        for s in range(self.stages - 1):
            if s < self.chunks:
                with k.scope():
                    self._ask(str(s))
                    if not self.copied:
                        self._put_a(str(s))
            k.emit("ECP_COMMIT();")

    def _ask(self, chunk: str) -> None:
        """Copies of both operands' chunk begin, or A's loads into registers."""
        c, t, k = self.c, self.t, self.kernel
        k.emit(f"const uint to = base + (uint)(({chunk})%{self.stages})*{self.stage_bytes}u;")
        with self._share(self.each_b, self.count_b):
            k.emit(f"const int e = lid + j*{t.items};")
            at = (
                "e*16"
                if self.pitch_b == self.columns * self.size
                else f"e/{self.runs_b}*{self.pitch_b} + e%{self.runs_b}*16"
            )
            from_ = f"b + (size_t)(({chunk})*{self.count_b} + e)*16"
            k.emit(f"ecp_copy16(to + {t.rows * self.pitch_a}u + {at}, {from_}, 16);")
        with self._share(self.each_a, self.count_a):
            self._place_a()
            k.emit(f"const int step = ({chunk})*{self.steps} + q;")
            row = self.row("row", "i")
            partial = c.k % t.chunk != 0
            if self.copied:
                self._copy_a(row, partial)
                return
            if partial:
                k.emit("ra[j] = 0.0f;")
            with k.when(f"step < {c.k // self.width}" if partial else ""):
                k.emit(f"ra[j] = {self.read_a(row, 'step', 'means[i]', 'rstds[i]')};")

    def _copy_a(self, row: Expr, partial: bool) -> None:
        """One asynchronous copy; nothing is read, and zeros arrive, outside the operand."""
        c, k = self.c, self.kernel
        reader = PointerReader(self.env, k, self.width)
        if c.norm is not None:
            reader.redirect = {c.norm.output: c.norm.inputs[0]}
        if partial:
            k.emit(f"const int last = min(step, {c.k // self.width - 1});")
        address = c.read_a(reader, self.batch, row, self.step("last" if partial else "step"))
        tests = ([f"step < {c.k // self.width}"] if partial else []) + (
            [reader.inside] if reader.inside else []
        )
        size = f"({' && '.join(tests)}) ? 16 : 0" if tests else "16"
        k.emit(f"ecp_copy16(to + i*{self.pitch_a} + q*16, {address}, {size});")

    def _put_a(self, chunk: str) -> None:
        """Registers to local memory, for an A that cannot be copied."""
        k = self.kernel
        k.emit(f"__local uchar* ta = (__local uchar*)mem + (({chunk})%{self.stages})*{self.stage_bytes};")
        with self._share(self.each_a, self.count_a):
            self._place_a()
            at = f"ta + i*{self.pitch_a} + q*{self.width * self.size}"
            k.emit(self._down(at, "ra[j]"))

    def _down(self, at: str, text: str) -> str:
        ctype = "float4" if self.width > 1 else "float"
        return f"*(__local {ctype}*)({at}) = {text};"

    def _multiply(self) -> None:
        """The chunk in local memory, 4 steps along k at a time."""
        t, k = self.t, self.kernel
        k.emit(f"const __local float4* ta = mem + side*{self.stage_bytes // 16};")
        k.emit(f"const __local float4* tb = ta + {t.rows * self.pitch_a // 16};")
        fold = self.c.norm is not None and self.copied
        self._inner(f"x[i] = {'fma({}, (float4)(scale[i]), (float4)(shift[i]))' if fold else '{}'};")
