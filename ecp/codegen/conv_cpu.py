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
from math import ceil, prod

import numpy as np

from ecp.codegen.contraction import Contraction
from ecp.codegen.conv_cut import Cut, Geometry, Source, cut, find_source
from ecp.codegen.core.kernel import Kernel, Launch, global_id
from ecp.codegen.core.statements import For, Form, Text
from ecp.codegen.depthwise_cpu import depthwise
from ecp.codegen.epilogue_cpu import Epilogue
from ecp.codegen.hints import DISTANCE, PREFETCH
from ecp.codegen.matmul_cpu import emit_matmul
from ecp.codegen.packing import packed_buffer
from ecp.codegen.probe import AddressProbe
from ecp.codegen.reader import Env, Reader, forward, lane
from ecp.codegen.register_tile import RegisterTile
from ecp.codegen.schedule import Schedule
from ecp.codegen.winograd_cpu import winograd
from ecp.index.expr import Var, var
from ecp.index.maps import delinearize
from ecp.ir.graph import Node


def emit_conv(env: Env, schedule: Schedule, node: Node, c: Contraction) -> Launch:
    """Code of a ``conv`` launch; convolutions that cannot be read in place become gathered products."""
    apart = depthwise(env, schedule, c)
    if apart is not None:
        return apart
    source = find_source(env, c) if c.n >= 8 else None
    if source is not None:
        geometry = Geometry(env, c)
        fewer = winograd(env, schedule, c, source, geometry)
        if fewer is not None:
            return fewer
        tiles = cut(c, schedule, geometry, source)
        if tiles is not None:
            return _Windows(env, schedule, c, source, geometry, tiles).emit()
    return emit_matmul(env, schedule, node, c)


class _Windows:
    def __init__(self, env: Env, schedule: Schedule, c: Contraction, source: Source, g: Geometry, t: Cut):
        self.env, self.s, self.c, self.source, self.g, self.cut = env, schedule, c, source, g, t
        self.kernel = Kernel("conv", schedule.attributes)
        self.panels, self.groups = ceil(c.n / t.width), prod(c.batch)
        self.tile = RegisterTile(self.kernel, t.mr, t.nr, t.vec)
        # Pixels of a 1x1 convolution that are as far apart everywhere need no rows and columns.
        (high, wide), one = g.shape[2:], g.window == (1, 1) and g.strides == (1, 1) and g.inside
        follow = source.row == wide * source.pixel and (g.out[0] == 1 or source.image == high * source.row)
        self.rows_follow = one and follow and not t.strip

    def emit(self) -> Launch:
        """The launch."""
        c, t, k = self.c, self.cut, self.kernel
        k.declare("const int", item=global_id())
        k.emit(f"const int block = item % {t.blocks};")
        k.emit(f"const int column = item / {t.blocks} % {t.columns};")
        if self.groups > 1:
            k.emit(f"const int batch = item / {t.blocks * t.columns};")
        self.batch = delinearize(var("batch", self.groups), c.batch) if c.batch else []
        self._range()
        if t.strip:
            self._copy_strip()
        last = f"min((column + 1)*{t.panels}, {self.panels})"
        panels = k.loop("panel", last, first=f"column*{t.panels}")
        with panels, k.loop("at", "count", step=t.mr):
            self._tile()
        k.flops = c.flops
        return k.finish((t.blocks * t.columns * self.groups, 1, 1), (1, 1, 1))

    def _range(self) -> None:
        """Names ``first`` and ``count``: the output pixels of this work-item."""
        t, k = self.cut, self.kernel
        if not t.strip:
            k.emit(f"const int first = block*{t.tiles * t.mr};")
            k.emit(f"const int count = min({t.tiles * t.mr}, {self.c.m} - first);")
            return
        high, wide = self.g.out[2:]
        per_image = ceil(high / t.strip)
        k.emit(f"const int top = block % {per_image} * {t.strip};")
        k.emit(f"const int first = (block / {per_image} * {high} + top) * {wide};")
        k.emit(f"const int count = min({t.strip}, {high} - top) * {wide};")

    def _copy_strip(self) -> None:
        """Input rows of this work-item, with the border as zeros, in a private buffer."""
        k, s, g = self.kernel, self.source, self.g
        channels, high, wide = g.strip_shape(self.cut.strip)
        (height, width), (pad_y, pad_x) = g.shape[2:], g.pads[:2]
        image = f"block / {ceil(g.out[2] / self.cut.strip)}"
        data = k.argument(s.buffer, s.dtype)
        inner = min(width, wide - pad_x)
        load, one = (
            ("vload16", "from[x]") if s.dtype == "float32" else ("vload_half16", "vload_half(x, from)")
        )
        ctype = "float" if s.dtype == "float32" else "half"
        k.emit(f"float strip[{channels * high * wide}] __attribute__((aligned(64)));")
        with k.loop("r", channels * high):
            k.emit(f"float* to = strip + r*{wide};")
            k.each("x", wide // 16, "vstore16((float16)(0.0f), x, to);")
            k.emit(f"const int y = top*{g.strides[0]} - {pad_y} + r % {high};")
            with k.when(f"(uint)y < {height}u"):
                offset = f"{s.base} + {image} * {s.image} + r / {high} * {s.channel} + y*{s.row}"
                k.emit(f"const __global {ctype}* from = {data} + ({offset});")
                k.emit("int x = 0;")
                copy = Text((f"vstore16({load}(0, from + x), 0, to + {pad_x} + x);",))
                k.add(For("x", "", f"x + 16 <= {inner}", 16, (copy,), form=Form.LINE))
                k.each("x", inner, f"to[{pad_x} + x] = {one};", first="")

    def _tile(self) -> None:
        t, k = self.cut, self.kernel
        self._pixels()
        self.tile.clear()
        self._weights()
        if self.s.prefetch:
            k.helper("prefetch", PREFETCH)
            self._ask_tail()
        if t.ahead:
            # Weights come from beyond L2 with the first tile only; the others do not pay for asking.
            with k.when(f"{'tile' if t.ahead == 'panels' else 'at'} == 0"):
                self._reduce(self._ask(t.nr, t.width))
            with k.otherwise():
                self._reduce(self._ask(ceil(self.rate / t.vec), self.rate) if self.rate else "")
        else:
            self._reduce("")
        self._epilogue()

    def _reduce(self, ask: str) -> None:
        """All runs of a tile; ``ask`` is done once a step."""
        t, k, run = self.cut, self.kernel, self.g.run
        step = 1 if self.g.last else self.g.dilations[1]
        with ExitStack() as loops:
            self._runs(loops)
            with k.loop("kk", run, unroll=True if run <= 8 else self.s.unroll):
                if t.input:
                    k.emit(f"PREFETCH(a0 + {t.mr * self.g.per_in} + kk*{t.mr});")
                if ask:
                    k.emit(ask)
                self.tile.weights(self.load_b)
                self.tile.multiply(lambda i: f"a{i}[kk*{step}]")
            if self._run_loops():
                k.emit(f"b += {run * t.width};")

    def _run_loops(self) -> list[tuple[str, int]]:
        """Loops around the run, outermost first: (name, extent)."""
        high, wide = self.g.window
        loops = [("ky", high), ("kx", wide)] if self.g.last else [("kc", self.g.per_in), ("ky", high)]
        return [(name, n) for name, n in loops if n > 1]

    def _pitches(self) -> tuple[int, int, int, int]:
        """(image, channel, row, pixel) strides of what the pointers point into."""
        s = self.source
        if not self.cut.strip:
            return s.image, s.channel, s.row, s.pixel
        _, high, wide = self.g.strip_shape(self.cut.strip)
        return 0, high * wide, wide, 1

    def _pixels(self) -> None:
        """Top left input element of every pixel of the tile: its place (y, x) and its address."""
        k, s, g = self.kernel, self.source, self.g
        high, wide = g.out[2:]
        strip = bool(self.cut.strip)
        py, px = (0, 0) if strip else g.pads[:2]
        image, _, row, pixel = self._pitches()
        for i in range(self.cut.mr):
            local = f"min(at + {i}, count - 1)" if i else "at"
            k.emit(f"const int pix{i} = {local if strip else f'first + {local}'};")
            if self.rows_follow:
                k.emit(f"const int o{i} = {s.base} + pix{i}*{pixel}{self._of_group()};")
                continue
            y = f"pix{i} / {wide}" if strip or g.out[0] == 1 else f"pix{i} / {wide} % {high}"
            k.emit(f"const int y{i} = {y} * {g.strides[0]} - {py};")
            k.emit(f"const int x{i}_ = pix{i} % {wide} * {g.strides[1]} - {px};")
            start = "" if strip else f"{s.base} + pix{i} / {high * wide} * {image} + "
            k.emit(f"const int o{i} = {start}y{i}*{row} + x{i}_*{pixel}{self._of_group()};")

    def _of_group(self) -> str:
        """Where the channels of a group begin."""
        return f" + batch*{self.g.per_in * self.source.channel}" if self.groups > 1 else ""

    def _weights(self) -> None:
        """Names ``b``, this panel's weights, and ``ahead``, what to ask for while they are used."""
        c, t, k = self.c, self.cut, self.kernel
        assert c.weights is not None
        key = f"{c.weights_key}@packed{t.width}{c.anchor.op}"
        b = packed_buffer(self.env, key, c.weights, t.width)
        panel = f"(batch*{self.panels} + panel)" if self.groups > 1 else "panel"
        pointer, ctype = k.argument(key, b.dtype), "half" if b.dtype == "float16" else "float"
        k.emit(f"const __global {ctype}* b = {pointer} + {panel}*{c.k * t.width};")
        self.load_b = f"vload_half{t.vec}" if ctype == "half" else f"vload{t.vec}"
        self.rate = 0
        if t.ahead == "weights":
            k.emit(f"const __global {ctype}* ahead = b + {DISTANCE};")
        elif t.ahead == "panels":
            # The first tile of a panel asks for its own weights, every other for its share of the next panel.
            self.rate = ceil(t.width / (ceil(c.m / t.mr) - 1))
            k.emit(f"const int tile = block*{t.tiles} + at / {t.mr};")
            next_slice = f"{c.k * t.width} + (tile - 1)*{self.rate * c.k}"
            k.emit(f"const __global {ctype}* ahead = b + (tile == 0 ? {DISTANCE} : {next_slice});")

    def _ask(self, count: int, rate: int) -> str:
        """Ask for ``count`` vectors of weights and move on by ``rate`` elements."""
        return " ".join(f"PREFETCH(ahead + {v * self.cut.vec});" for v in range(count)) + f" ahead += {rate};"

    def _ask_tail(self) -> None:
        """Ask for the operands of the epilogue that are as large as the output: they are needed last."""
        c, t, k = self.c, self.cut, self.kernel
        if c.n < t.vec:
            return
        probe = AddressProbe(self.env, t.vec)
        m, within = Var("m", 0, c.m - 1), probe.lane
        # Whole panels: the last one may end before this vector does, and no address lies there.
        panel = var("panel", max(1, c.n // t.width))
        coords = c.place(self.batch, var("m", c.m), panel * t.width + lane(t.vec))
        forward(probe, c.tail, c.anchor.output, "0", coords)
        for buffer, address in probe.found:
            dtype = self.env.buffers[buffer].dtype
            if dtype != "float32" or not address.depends_on(m) or address.coefficient(within) != 1:
                continue
            with k.loop("i", f"min({t.mr}, count - at)"):
                k.emit("const int m = first + at + i;")
                at = Reader(self.env, k).index(address.substitute({within: 0}))
                k.emit(f"const __global float* q = {k.argument(buffer, dtype)} + ({at});")
                k.emit(" ".join(f"PREFETCH(q + {v * t.vec});" for v in range(t.nr)))

    def _runs(self, loops: ExitStack) -> None:
        """Open the loops around a run and point every pixel at its first element."""
        t, k, g = self.cut, self.kernel, self.g
        names = [name for name, _ in self._run_loops()]
        for name, extent in self._run_loops():
            loops.enter_context(k.loop(name, extent, unroll=1))
        _, channel, row, pixel = self._pitches()
        (dy, dx) = g.dilations
        pitch = {"kc": channel, "ky": dy * row, "kx": dx * pixel}
        k.emit(f"const int step = {' + '.join(f'{name}*{pitch[name]}' for name in names) or '0'};")
        if t.strip:
            for i in range(t.mr):
                k.emit(f"const float* a{i} = strip + o{i} + step;")
            return
        data = k.argument(self.source.buffer, self.source.dtype)
        if g.inside:
            for i in range(t.mr):
                k.emit(f"const __global float* a{i} = {data} + o{i} + step;")
            return
        zeros = self.env.constant_buffer(f"zeros@{g.run}", np.zeros(g.run, np.float32))
        outside = k.argument(zeros.name, zeros.dtype)
        ky, kx = (f" + {n}*{d}" if n in names else "" for n, d in (("ky", dy), ("kx", dx)))
        for i in range(t.mr):
            test = f"(uint)(y{i}{ky}) < {g.shape[2]}u && (uint)(x{i}_{kx}) < {g.shape[3]}u"
            k.emit(f"const __global float* a{i} = {test} ? {data} + (o{i} + step) : {outside};")

    def _epilogue(self) -> None:
        """Sums into ``acc``, then row by row :class:`~ecp.codegen.epilogue_cpu.Epilogue`."""
        c, t, k = self.c, self.cut, self.kernel
        k.emit(f"float acc[{t.mr * t.width}] __attribute__((aligned(64)));")
        self.tile.store("acc")
        with k.loop("i", f"min({t.mr}, count - at)"):
            k.emit("const int m = first + at + i;")
            m = var("m", c.m)
            Epilogue(self.env, k, c, self.batch, t.nr, t.vec).row(m)
