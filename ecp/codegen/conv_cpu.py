"""Convolutions on CPU devices: windows are read in place, through one pointer per output pixel.

A tile is ``mr`` output pixels by ``nr`` vectors of output channels in registers. Its reduction is cut into runs
of neighbouring input elements (the channels of one kernel position in a channels-last input, one kernel row of a
channels-first image); before a run every pixel gets a pointer to its first element, or to a row of zeros where
the kernel position lies outside the input. So padding, stride and dilation cost nothing inside the loop and
nothing is copied. A padded channels-first image is copied once, with a border of zeros, a few rows a work-item.

Work-items are small and many: the runtime hands them to whichever core is free, because cores differ in speed.
Consecutive work-items share a panel of weights, so that a core finds it in its L2.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from ecp.codegen.contraction import Contraction
from ecp.codegen.kernel import Kernel, Launch
from ecp.codegen.matmul_cpu import emit_matmul
from ecp.codegen.packing import pack_weights
from ecp.codegen.probe import AddressProbe
from ecp.codegen.reader import Env, Reader, forward, lane
from ecp.codegen.schedule import Schedule
from ecp.index.expr import Expr, Var, var, wrap
from ecp.index.maps import delinearize
from ecp.ir.graph import Node

# Time of a register tile of 1 to 4 vectors of channels, relative to its number of multiply-adds.
TILE_COST = {4: 1.0, 3: 1.07, 2: 1.1, 1: 1.3}
# A work-item shorter than this (floating-point operations) costs more to hand out than it balances.
SMALLEST_ITEM = 4e6
ITEMS = 32
STRIP_BYTES = 64 << 10


@dataclass(frozen=True)
class Source:
    """Element (n, c, y, x) of the input lies at ``base + n*image + c*channel + y*row + x*pixel`` of ``buffer``."""

    buffer: str
    dtype: str
    base: int
    image: int
    channel: int
    row: int
    pixel: int


@dataclass(frozen=True)
class Cut:
    """A launch: ``blocks`` x ``columns`` x groups work-items of ``tiles`` x ``panels`` register tiles each.

    ``strip``: output rows whose input a work-item copies; 0 where the input is read in place.
    """

    mr: int
    nr: int
    vec: int
    tiles: int
    blocks: int
    panels: int
    columns: int
    strip: int = 0

    @property
    def width(self) -> int:
        """Output channels of a panel."""
        return self.nr * self.vec


def emit_conv(env: Env, schedule: Schedule, node: Node, c: Contraction) -> Launch:
    """Code of a ``conv`` launch; convolutions that cannot be read in place become gathered products."""
    source = _source(env, c)
    if source is None:
        return emit_matmul(env, schedule, node, c)
    windows = _Windows(env, schedule, c, source)
    return windows.emit() if windows.fits else emit_matmul(env, schedule, node, c)


def _source(env: Env, c: Contraction) -> Source | None:
    """The input as strided memory; None where it is computed, not linear, or not two-dimensional."""
    x = c.anchor.inputs[0]
    shape = env.graph.types[x].shape
    if len(shape) != 4 or c.weights is None or c.n < 8:
        return None
    names = [Var(name, 0, extent - 1) for name, extent in zip(("n", "c", "y", "x"), shape)]
    coords = [var(v.name, v.hi + 1) for v in names]
    found = AddressProbe(env).address(lambda r: r.read(x, coords))
    if found is None:
        return None
    buffer, address = found
    strides = [address.coefficient(v) for v in names]
    linear = wrap(address.const)
    for coord, stride in zip(coords, strides):
        linear = linear + coord * stride
    if address != linear:
        return None
    image, channel, row, pixel = strides
    return Source(buffer, env.buffers[buffer].dtype, address.const, image, channel, row, pixel)


class _Windows:
    """Emits one launch; ``fits`` is False where the input has no runs to read."""

    def __init__(self, env: Env, schedule: Schedule, c: Contraction, source: Source):
        self.env, self.s, self.c, self.source = env, schedule, c, source
        a, types = c.anchor.attrs, env.graph.types
        self.shape, self.out = types[c.anchor.inputs[0]].shape, types[c.anchor.output].shape
        self.window = types[c.anchor.inputs[1]].shape[2:]
        self.strides, self.pads, self.dilations = a["strides"], a["pads"], a["dilations"]
        self.per_in = self.shape[1] // a["group"]
        self.inside = all(
            self.pads[d] == 0 and (self.out[2 + d] - 1) * s + (k - 1) * e < self.shape[2 + d]
            for d, (s, k, e) in enumerate(zip(self.strides, self.window, self.dilations))
        )
        self.last = not c.sweep
        run_stride = source.channel if self.last else source.pixel
        single = (self.per_in if self.last else self.window[1]) == 1
        in_place = source.dtype == "float32" and (self.last or self.inside)
        self.fits = source.dtype in ("float32", "float16") and (run_stride == 1 or single)
        self.fits = self.fits and (in_place or (not self.last and prod(c.batch) == 1))
        self.cut = self._cut(in_place)
        self.fits = self.fits and 4 * self._strip_elements(self.cut.strip) <= 4 * STRIP_BYTES
        self.kernel = Kernel("conv", schedule.attributes)

    def _cut(self, in_place: bool) -> Cut:
        """Register tile and work-items."""
        c, s = self.c, self.s
        vec = s.vec
        while vec > 4 and c.n <= vec // 2:
            vec //= 2
        nr = min(range(1, s.nr + 1), key=lambda n: (ceil(c.n / (n * vec)) * n * TILE_COST.get(n, 1.0), -n))
        most = max(s.mr, min(14, s.mr * s.nr // nr))
        strip = 0 if in_place else self._strip_rows()
        m = strip * self.out[3] if strip else c.m
        # Fewer rows a tile where that leaves fewer of the last tile idle; a tile's fixed cost is a third of a row.
        mr = min(range(min(m, most - 2), min(m, most) + 1), key=lambda r: ceil(m / max(1, r)) * (r + 0.35))
        mr = max(1, mr)
        tiles, panels = ceil(m / mr), ceil(c.n / (nr * vec))
        tile_flops = 2 * mr * nr * vec * c.k
        count = self.out[0] * ceil(self.out[2] / strip) if strip else 1
        item = max(SMALLEST_ITEM, tile_flops * tiles * panels * count * prod(c.batch) / ITEMS)
        if strip:
            return Cut(mr, nr, vec, tiles, count, panels, 1, strip)
        per_item = 1
        if 4 * c.k * c.n <= s.stream_bytes:
            # All weights stay in L2: pass every panel over the rows while these are there.
            per_item = min(panels, max(1, int(item / tile_flops)))
        columns = ceil(panels / per_item)
        per_item = ceil(panels / columns)
        blocks = ceil(tiles / max(1, min(tiles, round(item / (tile_flops * per_item)))))
        per_block = ceil(tiles / blocks)
        return Cut(mr, nr, vec, per_block, ceil(tiles / per_block), per_item, columns)

    def _strip_rows(self) -> int:
        """Output rows whose input fits the copy."""
        rows = min(self.out[2], 8)
        while rows > 1 and 4 * self._strip_elements(rows) > STRIP_BYTES:
            rows -= 1
        return rows

    def _strip_shape(self, rows: int) -> tuple[int, int, int]:
        """(channels, input rows, columns padded to whole vectors) of the copy for ``rows`` output rows."""
        high, wide = (
            (n - 1) * s + (k - 1) * e + 1
            for n, s, k, e in zip((rows, self.out[3]), self.strides, self.window, self.dilations)
        )
        return self.per_in, high, -(-wide // 16) * 16

    def _strip_elements(self, rows: int) -> int:
        return prod(self._strip_shape(rows)) if rows else 0

    def emit(self) -> Launch:
        """The launch."""
        c, t, k = self.c, self.cut, self.kernel
        panels, groups = ceil(c.n / t.width), prod(c.batch)
        k.emit("const int item = get_global_id(0);")
        k.emit(f"const int block = item % {t.blocks};")
        k.emit(f"const int column = item / {t.blocks} % {t.columns};")
        if groups > 1:
            k.emit(f"const int batch = item / {t.blocks * t.columns};")
        self.batch = delinearize(var("batch", groups), c.batch) if c.batch else []
        self._range()
        if t.strip:
            self._copy_strip()
        ahead = f"int panel = column*{t.panels}; panel < min((column + 1)*{t.panels}, {panels}); ++panel"
        with k.block(f"for ({ahead})"), k.block(f"for (int at = 0; at < count; at += {t.mr})"):
            self._tile()
        k.flops = c.flops
        return k.finish((t.blocks * t.columns * groups, 1, 1), (1, 1, 1))

    def _range(self) -> None:
        """Names ``first`` and ``count``: the output pixels of this work-item."""
        t, k = self.cut, self.kernel
        if not t.strip:
            k.emit(f"const int first = block*{t.tiles * t.mr};")
            k.emit(f"const int count = min({t.tiles * t.mr}, {self.c.m} - first);")
            return
        high, wide = self.out[2:]
        per_image = ceil(high / t.strip)
        k.emit(f"const int top = block % {per_image} * {t.strip};")
        k.emit(f"const int first = (block / {per_image} * {high} + top) * {wide};")
        k.emit(f"const int count = min({t.strip}, {high} - top) * {wide};")

    def _copy_strip(self) -> None:
        """Input rows of this work-item, with the border as zeros, in a private buffer."""
        t, k, s = self.cut, self.kernel, self.source
        channels, high, wide = self._strip_shape(t.strip)
        (height, width), (pad_y, pad_x) = self.shape[2:], self.pads[:2]
        per_image = ceil(self.out[2] / t.strip)
        data = k.argument(s.buffer, s.dtype)
        inner = min(width, wide - pad_x)
        load, one = (
            ("vload16", "from[x]") if s.dtype == "float32" else ("vload_half16", "vload_half(x, from)")
        )
        k.emit(f"float strip[{channels * high * wide}] __attribute__((aligned(64)));")
        with k.block(f"for (int r = 0; r < {channels * high}; ++r)"):
            k.emit(f"float* to = strip + r*{wide};")
            k.emit(f"for (int x = 0; x < {wide // 16}; ++x) vstore16((float16)(0.0f), x, to);")
            k.emit(f"const int y = top*{self.strides[0]} - {pad_y} + r % {high};")
            with k.block(f"if ((uint)y < {height}u)"):
                ctype = "float" if s.dtype == "float32" else "half"
                offset = f"{s.base} + block / {per_image} * {s.image} + r / {high} * {s.channel} + y*{s.row}"
                k.emit(f"const __global {ctype}* from = {data} + ({offset});")
                k.emit("int x = 0;")
                k.emit(
                    f"for (; x + 16 <= {inner}; x += 16) vstore16({load}(0, from + x), 0, to + {pad_x} + x);"
                )
                k.emit(f"for (; x < {inner}; ++x) to[{pad_x} + x] = {one};")

    def _tile(self) -> None:
        t, k = self.cut, self.kernel
        f = f"float{t.vec}"
        self._pixels()
        for i in range(t.mr):
            k.emit(f"{f} " + ", ".join(f"c{i}_{v} = 0.0f" for v in range(t.nr)) + ";")
        self._weights()
        with ExitStack() as loops:
            self._runs(loops)
            run = self.per_in if self.last else self.window[1]
            step = 1 if self.last or t.strip else self.source.pixel
            step = 1 if self.last else step * self.dilations[1]
            k.emit("#pragma unroll" if run <= 8 else f"#pragma unroll {self.s.unroll}")
            with k.block(f"for (int kk = 0; kk < {run}; ++kk)"):
                for v in range(t.nr):
                    k.emit(f"const {f} b{v} = {self.load_b}({v}, b + kk*{t.width});")
                for i in range(t.mr):
                    k.emit(f"const {f} x{i} = ({f})(a{i}[kk*{step}]);")
                    k.emit(" ".join(f"c{i}_{v} = fma(x{i}, b{v}, c{i}_{v});" for v in range(t.nr)))
            if self._run_loops():
                k.emit(f"b += {run * t.width};")
        self._epilogue()

    def _run_loops(self) -> list[tuple[str, int]]:
        """Loops around the run, outermost first: (name, extent)."""
        high, wide = self.window
        loops = [("ky", high), ("kx", wide)] if self.last else [("kc", self.per_in), ("ky", high)]
        return [(name, n) for name, n in loops if n > 1]

    def _strides_of(self) -> tuple[int, int, int, int]:
        """(image, channel, row, pixel) strides of what the pointers point into."""
        s = self.source
        if not self.cut.strip:
            return s.image, s.channel, s.row, s.pixel
        _, high, wide = self._strip_shape(self.cut.strip)
        return 0, high * wide, wide, 1

    def _pixels(self) -> None:
        """Top left input element of every pixel of the tile: its place (y, x) where needed, its address."""
        t, k, s = self.cut, self.kernel, self.source
        high, wide = self.out[2:]
        (sy, sx), (py, px) = self.strides, self.pads[:2]
        image, _, row, pixel = self._strides_of()
        strip = bool(t.strip)
        for i in range(t.mr):
            local = f"min(at + {i}, count - 1)" if i else "at"
            k.emit(f"const int pix{i} = {local if strip else f'first + {local}'};")
            y = f"pix{i} / {wide}" if strip or self.out[0] == 1 else f"pix{i} / {wide} % {high}"
            k.emit(f"const int y{i} = {y} * {sy} - {0 if strip else py};")
            k.emit(f"const int x{i}_ = pix{i} % {wide} * {sx} - {0 if strip else px};")
            start = "" if strip else f"{s.base} + pix{i} / {high * wide} * {image} + "
            if not strip and prod(self.c.batch) > 1:
                start += f"batch*{self.per_in * s.channel} + "
            k.emit(f"const int o{i} = {start}y{i}*{row} + x{i}_*{pixel};")

    def _weights(self) -> None:
        c, t, k = self.c, self.cut, self.kernel
        assert c.weights is not None
        key = f"{c.weights_key}@packed{t.width}{c.anchor.op}"
        if key not in self.env.buffers:
            self.env.constant_buffer(key, pack_weights(c.weights, t.width), key)
        b = self.env.buffers[key]
        panel = f"(batch*{ceil(c.n / t.width)} + panel)" if prod(c.batch) > 1 else "panel"
        half = b.dtype == "float16"
        pointer = k.argument(key, b.dtype)
        k.emit(f"const __global {'half' if half else 'float'}* b = {pointer} + {panel}*{c.k * t.width};")
        self.load_b = f"vload_half{t.vec}" if half else f"vload{t.vec}"

    def _runs(self, loops: ExitStack) -> None:
        """Open the loops around a run and point every pixel at its first element."""
        t, k, s = self.cut, self.kernel, self.source
        for name, extent in self._run_loops():
            k.emit("#pragma unroll 1")
            loops.enter_context(k.block(f"for (int {name} = 0; {name} < {extent}; ++{name})"))
        _, channel, row, pixel = self._strides_of()
        (dy, dx), names = self.dilations, dict(self._run_loops())
        terms = {"kc": channel, "ky": dy * row, "kx": dx * pixel}
        step = " + ".join(f"{name}*{terms[name]}" for name in names) or "0"
        k.emit(f"const int step = {step};")
        if t.strip:
            for i in range(t.mr):
                k.emit(f"const float* a{i} = strip + o{i} + step;")
            return
        data = k.argument(s.buffer, s.dtype)
        if self.inside:
            for i in range(t.mr):
                k.emit(f"const __global float* a{i} = {data} + o{i} + step;")
            return
        zeros = self._zeros()
        ky, kx = (f" + {n}*{d}" if n in names else "" for n, d in (("ky", dy), ("kx", dx)))
        for i in range(t.mr):
            test = f"(uint)(y{i}{ky}) < {self.shape[2]}u && (uint)(x{i}_{kx}) < {self.shape[3]}u"
            k.emit(f"const __global float* a{i} = {test} ? {data} + (o{i} + step) : {zeros};")

    def _zeros(self) -> str:
        """A row of zeros as long as a run."""
        key = f"zeros@{self.per_in}"
        buffer = self.env.constant_buffer(key, np.zeros(self.per_in, np.float32))
        return self.kernel.argument(key, buffer.dtype)

    def _epilogue(self) -> None:
        """Bias, activation, residual and store, as a loop over the tile: short code builds fast."""
        c, t, k = self.c, self.cut, self.kernel
        panels = ceil(c.n / t.width)
        k.emit(f"float acc[{t.mr * t.width}] __attribute__((aligned(64)));")
        for i in range(t.mr):
            k.emit(" ".join(f"vstore{t.vec}(c{i}_{v}, {i * t.nr + v}, acc);" for v in range(t.nr)))
        with k.block(f"for (int i = 0; i < min({t.mr}, count - at); ++i)"):
            k.emit("const int m = first + at + i;")
            m = var("m", c.m)
            with k.block(f"for (int v = 0; v < {t.nr}; ++v)"):
                first = var("panel", panels) * t.width + var("v", t.nr) * t.vec
                if c.n % t.width == 0:
                    self._store(m, first)
                elif c.n % t.vec == 0:
                    with k.block(f"if (panel*{t.width} + v*{t.vec} < {c.n})"):
                        self._store(m, first)
                else:
                    self._store_edge(m, first)

    def _store(self, m: Expr, first: Expr) -> None:
        t = self.cut
        text = f"vload{t.vec}(i*{t.nr} + v, acc)"
        self._finish(Reader(self.env, self.kernel, t.vec), text, m, first + lane(t.vec))

    def _store_edge(self, m: Expr, first: Expr) -> None:
        """Columns that may end inside a vector: whole vectors as usual, the rest one by one."""
        c, t, k = self.c, self.cut, self.kernel
        at = Reader(self.env, k).index(first)
        with k.block(f"if ({at} + {t.vec} <= {c.n})"):
            self._store(m, first)
        with k.block("else"), k.block(f"for (int n = {at}; n < {c.n}; ++n)"):
            text = f"acc[(i*{t.nr} + v)*{t.vec} + n - ({at})]"
            self._finish(Reader(self.env, k), text, m, var("n", c.n))

    def _finish(self, reader: Reader, text: str, m: Expr, n: Expr) -> None:
        c = self.c
        coords = c.place(self.batch, m, n)
        if c.bias:
            text = f"{text} + {reader.read(c.bias, [coords[1]])}"
        name = reader.kernel.define(reader.ctype(c.anchor.output), text)
        result, at = forward(reader, c.tail, c.anchor.output, name, coords)
        reader.store(c.value, at, result)
