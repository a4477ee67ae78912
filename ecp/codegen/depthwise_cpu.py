"""Depthwise convolutions on CPU devices: a vector holds neighbouring channels, each with a filter of its own.

A block of up to eight outputs along a row is summed in registers, so that an input element loaded once serves every
kernel column that meets it. Which columns of a block lie outside the image is known when the code is written: blocks
at the border have code of their own, the others share a loop. Rows outside are left out of the loop over kernel
rows. A work-item stays with its channels down its rows, whose windows overlap: what it reads stays in its L1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from ecp.codegen.contraction import Contraction
from ecp.codegen.conv_cut import Geometry
from ecp.codegen.core.kernel import C_STORAGE, Kernel, Launch, global_id
from ecp.codegen.probe import AddressProbe
from ecp.codegen.reader import Env, Reader, forward, lane
from ecp.codegen.schedule import Schedule
from ecp.index.expr import Expr, Var, var

# Work-items worth handing out; outputs of a row that share what they load; what a block costs beside its outputs.
ITEMS = 32
BLOCK = range(4, 9)
OVERHEAD = 1
LOADS = {"float32": "vload", "float16": "vload_half"}


def depthwise(env: Env, s: Schedule, c: Contraction) -> Launch | None:
    """Code of a convolution with one input channel a group whose channels lie in vectors; None of any other."""
    shape = env.graph.types[c.anchor.inputs[0]].shape
    if len(shape) != 4 or c.weights is None or c.anchor.attrs["group"] != shape[1] or shape[1] == 1:
        return None
    vec = s.vec
    while vec >= 4:
        found = _find_input(env, c, vec)
        if found is not None:
            return _Depthwise(env, s, c, found, vec).emit()
        vec //= 2
    return None


@dataclass(frozen=True)
class _Input:
    """Channels of a vector of pixel (n, y, x) begin at ``place + n*image + y*row + x*pixel`` of ``buffer``."""

    buffer: str
    dtype: str
    place: Expr
    image: int
    row: int
    pixel: int


def _channel(channels: int, vec: int) -> Expr:
    """First channel of a vector. Channels that fill none are done by one that begins earlier."""
    return var("c", channels - vec + 1) if channels % vec else var("v", channels // vec) * vec


def _find_input(env: Env, c: Contraction, vec: int) -> _Input | None:
    """Where vectors of ``vec`` output channels find theirs; None where no vector load brings them.

    The channels need not be one run: those of the heads of a token map are taken head by head.
    """
    x = c.anchor.inputs[0]
    images, channels, height, width = env.graph.types[x].shape
    if vec % c.n or vec // c.n < 2 or channels * c.n < vec or (c.n > 1 and channels * c.n % vec):
        return None
    probe = AddressProbe(env, vec // c.n)
    n, y, across = Var("n", 0, images - 1), Var("y", 0, height - 1), Var("x", 0, width - 1)
    first = _channel(channels, vec // c.n)
    coords = [var("n", images), first + lane(vec // c.n), var("y", height), var("x", width)]
    found = probe.address(lambda r: r.read(x, coords))
    if found is None or env.buffers[found[0]].dtype not in LOADS or found[1].coefficient(probe.lane) != 1:
        return None
    buffer, address = found
    image, row, pixel = (address.coefficient(v) for v in (n, y, across))
    place = address - coords[0] * image - coords[2] * row - coords[3] * pixel - lane(vec // c.n)
    if any(place.depends_on(v) for v in (n, y, across, probe.lane)):
        return None
    return _Input(buffer, env.buffers[buffer].dtype, place, image, row, pixel)


@dataclass(frozen=True)
class _Block:
    """``repeat`` blocks of ``count`` outputs of a row, the first of them at ``start``; ``columns`` inside the image."""

    start: int
    count: int
    repeat: int
    columns: tuple[int, ...]


class _Depthwise:
    def __init__(self, env: Env, s: Schedule, c: Contraction, source: _Input, vec: int):
        self.env, self.c, self.source, self.vec = env, c, source, vec
        self.g, self.kernel = Geometry(env, c), Kernel("conv", s.attributes)
        self.channels = self.g.out[1]
        self.vectors = ceil(self.channels / vec)
        # A vector that begins earlier is done in the same work-item as the one whose channels it repeats.
        apart = self.vectors if self.channels % vec == 0 else max(1, self.vectors // 2)
        images, high = self.g.out[0], self.g.out[2]
        self.groups = min(apart, max(1, ceil(ITEMS / images)))
        self.rows = max(1, ceil(high * images * self.groups / ITEMS))
        self.strips = ceil(high / self.rows)

    def emit(self) -> Launch:
        """The launch."""
        c, g, k = self.c, self.g, self.kernel
        k.declare("const int", item=global_id())
        k.emit(f"const int group = item % {self.groups}, image = item / {self.groups * self.strips};")
        k.emit(f"const int strip = item / {self.groups} % {self.strips};")
        last = f"{self.vectors}*(group + 1)/{self.groups}"
        with k.loop("v", last, first=f"{self.vectors}*group/{self.groups}"):
            if self.channels % self.vec:
                k.emit(f"const int c = min(v*{self.vec}, {self.channels - self.vec});")
            self._filters()
            bottom = f"min((strip + 1)*{self.rows}, {g.out[2]})"
            with k.loop("y", bottom, first=f"strip*{self.rows}"):
                self._row()
        k.flops = c.flops
        return k.finish((self.groups * self.strips * g.out[0], 1, 1), (1, 1, 1))

    def _filters(self) -> None:
        """Names ``w``, the filters of these channels, which lie as [position][channel]."""
        c, g, k = self.c, self.g, self.kernel
        assert c.weights is not None
        taps = c.weights.reshape(-1, prod(g.window), c.n).transpose(1, 0, 2)
        buffer = self.env.constant_buffer(f"{c.weights_key}@depthwise", np.ascontiguousarray(taps))
        self.filters = buffer.dtype
        pointer, reader = k.argument(buffer.name, buffer.dtype), Reader(self.env, k, self.vec)
        first = reader.index(_channel(self.channels, self.vec))
        k.emit(f"const __global {C_STORAGE[buffer.dtype]}* w = {pointer} + {first};")
        bias = reader.read(c.bias, [self._channels()]) if c.bias else "0.0f"
        k.emit(f"const float{self.vec} bias = {bias};")

    def _channels(self) -> Expr:
        return _channel(self.channels, self.vec) + lane(self.vec)

    def _row(self) -> None:
        """One row of outputs; ``low`` to ``high`` are the kernel rows inside the image."""
        g, k, s = self.g, self.kernel, self.source
        window, dilation, pad = g.window[0], g.dilations[0], g.pads[0]
        k.emit(f"const int top = y*{g.strides[0]} - {pad};")
        k.emit(f"const int low = max(0, (-top + {dilation - 1}) / {dilation});")
        k.emit(f"const int high = min({window}, ({g.shape[2]} - top + {dilation - 1}) / {dilation});")
        pointer = k.argument(s.buffer, s.dtype)
        place = f"{Reader(self.env, k).index(s.place)} + image*{s.image} + top*{s.row}"
        k.emit(f"const __global {C_STORAGE[s.dtype]}* from = {pointer} + ({place});")
        for block in _blocks(g):
            several = block.repeat > 1
            with k.loop("b", block.repeat) if several else k.scope():
                k.emit(f"const int x0 = {block.start}{f' + b*{block.count}' if several else ''};")
                self._block(block)

    def _block(self, block: _Block) -> None:
        """Sums of a block of outputs, then their epilogues."""
        g, k, s = self.g, self.kernel, self.source
        sums = ", ".join(f"s{i} = bias" for i in range(block.count))
        k.emit(f"float{self.vec} {sums};")
        with k.loop("ky", "high", first="low"):
            k.emit(
                f"const int at = ky*{g.dilations[0] * s.row} + (x0*{g.strides[1]} - {g.pads[1]})*{s.pixel};"
            )
            for kx in range(g.window[1]):
                place = f"w + (ky*{g.window[1]} + {kx})*{self.channels}"
                k.emit(f"const float{self.vec} w{kx} = {LOADS[self.filters]}{self.vec}(0, {place});")
            for column in block.columns:
                uses = list(_uses(g, block.count, column))
                if uses:
                    k.emit(f"const float{self.vec} in{column} = {self._input(column)};")
                for i, kx in uses:
                    k.emit(f"s{i} = fma(in{column}, w{kx}, s{i});")
        k.emit(f"float acc[{block.count * self.vec}] __attribute__((aligned(64)));")
        for i in range(block.count):
            k.emit(f"vstore{self.vec}(s{i}, {i}, acc);")
        with k.loop("i", block.count):
            self._epilogue()

    def _input(self, column: int) -> str:
        """A vector of input channels, each as often as it has output channels."""
        s, copies = self.source, self.c.n
        load = f"{LOADS[s.dtype]}{self.vec // copies}(0, from + at + {column * s.pixel})"
        return load if copies == 1 else f"{load}.s{''.join(f'{i // copies:x}' for i in range(self.vec))}"

    def _epilogue(self) -> None:
        c, g, k = self.c, self.g, self.kernel
        reader = Reader(self.env, k, self.vec)
        k.emit("const int x = x0 + i;")
        name = k.define(reader.ctype(c.anchor.output), f"vload{self.vec}(i, acc)")
        coords = [var("image", g.out[0]), self._channels(), var("y", g.out[2]), var("x", g.out[3])]
        result, at = forward(reader, c.tail, c.anchor.output, name, coords)
        reader.store(c.value, at, result)


def _uses(g: Geometry, count: int, column: int) -> Iterator[tuple[int, int]]:
    """(output of the block, kernel column) that meet at an input column of the block."""
    for i in range(count):
        offset = column - i * g.strides[1]
        kx = offset // g.dilations[1]
        if offset % g.dilations[1] == 0 and 0 <= kx < g.window[1]:
            yield i, kx


def _blocks(g: Geometry) -> list[_Block]:
    """The blocks of a row, left to right; neighbours with the same code as one."""
    wide, width, stride = g.out[3], g.shape[3], g.strides[1]
    size = min(BLOCK, key=lambda n: (ceil(wide / n) * (min(n, wide) + OVERHEAD), -n))
    found: list[_Block] = []
    for start in range(0, wide, size):
        count = min(size, wide - start)
        left, span = start * stride - g.pads[1], (count - 1) * stride + (g.window[1] - 1) * g.dilations[1] + 1
        columns = tuple(j for j in range(span) if 0 <= left + j < width)
        before = found[-1] if found else None
        if before and (before.count, before.columns) == (count, columns):
            found[-1] = _Block(before.start, count, before.repeat + 1, columns)
        else:
            found.append(_Block(start, count, 1, columns))
    return found
