"""Rows of a CPU product brought into a private buffer: gathered through views, converted from half, normalised."""

from __future__ import annotations

from contextlib import ExitStack
from math import ceil

from ecp.codegen.contraction import Contraction
from ecp.codegen.core.kernel import Kernel
from ecp.codegen.core.statements import Form
from ecp.codegen.map import FLOATS
from ecp.codegen.reader import Env, Reader, lane
from ecp.codegen.shuffles import horizontal
from ecp.codegen.tiling_cpu import Tiling
from ecp.index.expr import Expr, var, wrap
from ecp.index.maps import broadcast, linearize


def row_of_tile(kernel: Kernel, c: Contraction, t: Tiling, name: str, offset: int | str) -> Expr:
    """Index of a row of ``tile``, clamped so that the last tile reads inside the operand."""
    if c.m == 1:
        return wrap(0)
    kernel.emit(f"const int {name} = min(tile*{t.mr} + {offset}, {c.m - 1});")
    return var(name, c.m)


def chunk_start(c: Contraction, t: Tiling) -> Expr:
    """First k of the current piece of the reduction."""
    return var("chunk", t.chunks) * (c.k // t.chunks)


class PackedRows:
    """The rows of one block of tiles in ``packed``; in scope are ``block``, its first tile ``base``, and ``chunk``."""

    def __init__(self, env: Env, kernel: Kernel, c: Contraction, t: Tiling, batch: list[Expr]):
        self.env, self.kernel, self.c, self.t, self.batch = env, kernel, c, t, batch
        self.pitch = -(-(c.k // t.chunks) // 16) * 16

    def declare(self) -> None:
        """The buffer, and which block it holds."""
        size = self.t.tiles * self.t.mr * self.pitch
        self.kernel.emit(f"float packed[{size}] __attribute__((aligned(64)));")
        self.kernel.emit("int have = -1;")

    def bring(self) -> None:
        """Bring the rows of the whole block into the private buffer, unless they are there already."""
        t, k = self.t, self.kernel
        with k.when("have != block" if t.chunks == 1 else ""):
            k.emit("have = block;")
            if self.c.sweep:
                self._sweep_rows()
            else:
                with k.loop("tile", f"min(base + {t.tiles}, {ceil(self.c.m / t.mr)})", first="base"):
                    self.of_tile()
                    self._pack_rows()

    def of_tile(self) -> None:
        """Point ``rows`` at the tile's."""
        pitch = self.t.mr * self.pitch
        self.kernel.emit(f"float* rows = packed + (tile - base)*{pitch};")

    def _pack_rows(self) -> None:
        c, t, k = self.c, self.t, self.kernel
        pitch = self.pitch
        with k.loop("i", t.mr):
            row = row_of_tile(self.kernel, self.c, self.t, "row", "i")
            self._copy_row(row, self._pack_width(), pitch)
            if c.norm is not None:
                self._normalise(pitch)

    def _pack_width(self) -> int:
        c = self.c
        if self.env.graph.types[c.a_value].dtype not in FLOATS:
            return 1
        width = 16
        inner = self._piece_shape()[-1]
        while width > 1 and inner % width:
            width //= 2
        return width if width >= 4 else 1

    def _copy_row(self, row: Expr, width: int, pitch: int) -> None:
        c, k = self.c, self.kernel
        reader = Reader(self.env, k, width)
        if c.norm is not None:
            # Read the normalisation's input instead: its output never exists in memory.
            reader.known = {}
            reader.redirect = {c.norm.output: c.norm.inputs[0]}
        with ExitStack() as loops:
            at = self._k_loops(loops, width)
            self._copy_step(reader, row, at, width, f"rows + i*{pitch}")

    def _k_loops(self, loops: ExitStack, width: int) -> Expr:
        """Open loops over one piece of the reduction in steps of ``width``; the first k of a step."""
        k, shape = self.kernel, self._piece_shape()
        steps = []
        for d, extent in enumerate(shape):
            count = extent // width if d == len(shape) - 1 else extent
            # Unrolling these loops would only make the build slower.
            loops.enter_context(k.loop(f"k{d}", count, unroll=1))
            steps.append(var(f"k{d}", count) * (width if d == len(shape) - 1 else 1))
        return linearize(steps, shape)

    def _sweep_rows(self) -> None:
        """Pack with the rows innermost: consecutive patches lie beside each other in the image's rows."""
        c, t, k = self.c, self.t, self.kernel
        width = self._pack_width()
        reader = Reader(self.env, k, width)
        rows = t.tiles * t.mr
        with ExitStack() as loops:
            at = self._k_loops(loops, width)
            loops.enter_context(k.loop("i", rows))
            k.emit(f"const int row = min(block*{rows} + i, {c.m - 1});")
            row = var("row", c.m)
            self._copy_step(reader, row, at, width, f"packed + i*{self.pitch}")

    def _piece_shape(self) -> tuple[int, ...]:
        """Extents of one piece of the reduction."""
        return (self.c.k_shape[0] // self.t.chunks, *self.c.k_shape[1:])

    def _copy_step(self, reader: Reader, row: Expr, at: Expr, width: int, base: str) -> None:
        full = at + chunk_start(self.c, self.t)
        text = self.c.read_a(reader, self.batch, row, full + lane(width) if width > 1 else full)
        where = f"{base} + {reader.index(at)}"
        self.kernel.emit(f"vstore{width}({text}, 0, {where});" if width > 1 else f"({where})[0] = {text};")

    def _normalise(self, pitch: int) -> None:
        """Two-pass statistics and normalisation of the packed row, in fp32."""
        c, k = self.c, self.kernel
        assert c.norm is not None
        width = 16
        while c.k % width:
            width //= 2
        f = f"float{width}" if width > 1 else "float"
        load = f"vload{width}(s, x)" if width > 1 else "x[s]"
        steps = c.k // width
        k.emit(f"float* x = rows + i*{pitch};")
        k.emit(f"{f} v = 0.0f;")
        k.each("s", steps, f"v += {load};")
        k.emit(f"const float mean = {horizontal(k, 'v', width, '+')} / {c.k}.0f;")
        k.emit("v = 0.0f;")
        k.each("s", steps, f"const {f} d = {load} - mean; v = fma(d, d, v);", form=Form.BRACES)
        variance = f"{horizontal(k, 'v', width, '+')} / {c.k}.0f"
        k.emit(f"const float rstd = 1.0f / sqrt({variance} + {float(c.norm.attrs['epsilon'])!r}f);")
        reader = Reader(self.env, k, width)
        with k.loop("s", steps):
            at = var("s", steps) * width + (lane(width) if width > 1 else 0)
            text = f"({load} - mean) * rstd"
            for i, op in ((1, "*"), (2, "+")):
                if len(c.norm.inputs) > i and c.norm.inputs[i]:
                    own = broadcast([at], self.env.graph.types[c.norm.inputs[i]].shape)
                    text = f"({text}) {op} {reader.read(c.norm.inputs[i], own)}"
            k.emit(f"vstore{width}({text}, s, x);" if width > 1 else f"x[s] = {text};")
