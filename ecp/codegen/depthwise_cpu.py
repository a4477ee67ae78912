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
from ecp.codegen.conv_cut import Geometry, Source, find_source
from ecp.codegen.kernel import Kernel, Launch
from ecp.codegen.reader import Env, Reader, forward, lane
from ecp.codegen.schedule import Schedule
from ecp.index.expr import Expr, var

# Work-items worth handing out; outputs of a row that share what they load; what a block costs beside its outputs.
ITEMS = 32
BLOCK = range(4, 9)
OVERHEAD = 1


def depthwise(env: Env, s: Schedule, c: Contraction) -> Launch | None:
    """Code of a convolution with one input and one output channel a group, read channels last; None of any other."""
    shape = env.graph.types[c.anchor.inputs[0]].shape
    alone = len(shape) == 4 and c.n == 1 and c.anchor.attrs["group"] == shape[1] > 1
    source = find_source(env, c) if alone else None
    vec = s.vec
    while vec > shape[1]:
        vec //= 2
    if source is None or source.channel != 1 or vec < 4:
        return None
    return _Depthwise(env, s, c, source, vec).emit()


@dataclass(frozen=True)
class _Block:
    """``repeat`` blocks of ``count`` outputs of a row, the first of them at ``start``; ``columns`` inside the image."""

    start: int
    count: int
    repeat: int
    columns: tuple[int, ...]


class _Depthwise:
    def __init__(self, env: Env, s: Schedule, c: Contraction, source: Source, vec: int):
        self.env, self.c, self.source, self.vec = env, c, source, vec
        self.g, self.kernel = Geometry(env, c), Kernel("conv", s.attributes)
        self.channels = self.g.shape[1]
        self.vectors = ceil(self.channels / vec)
        # Channels that fill no vector are done by one that begins earlier, in the same work-item as its neighbour.
        whole = self.channels % vec == 0
        images, high = self.g.out[0], self.g.out[2]
        self.groups = min(self.vectors if whole else max(1, self.vectors // 2), max(1, ceil(ITEMS / images)))
        self.rows = max(1, ceil(high * images * self.groups / ITEMS))
        self.strips = ceil(high / self.rows)

    def emit(self) -> Launch:
        """The launch."""
        c, g, k = self.c, self.g, self.kernel
        k.emit("const int item = get_global_id(0);")
        k.emit(f"const int group = item % {self.groups}, image = item / {self.groups * self.strips};")
        k.emit(f"const int strip = item / {self.groups} % {self.strips};")
        last = f"{self.vectors}*(group + 1)/{self.groups}"
        with k.block(f"for (int v = {self.vectors}*group/{self.groups}; v < {last}; ++v)"):
            if self.channels % self.vec:
                k.emit(f"const int c = min(v*{self.vec}, {self.channels - self.vec});")
            else:
                k.emit(f"const int c = v*{self.vec};")
            self._filters()
            rows = f"int y = strip*{self.rows}; y < min((strip + 1)*{self.rows}, {g.out[2]}); ++y"
            with k.block(f"for ({rows})"):
                self._row()
        k.flops = c.flops
        return k.finish((self.groups * self.strips * g.out[0], 1, 1), (1, 1, 1))

    def _filters(self) -> None:
        """Names ``w``, the filters of these channels, which lie as [position][channel]."""
        c, g, k = self.c, self.g, self.kernel
        assert c.weights is not None
        taps = c.weights.reshape(self.channels, prod(g.window)).T
        buffer = self.env.constant_buffer(f"{c.weights_key}@depthwise", np.ascontiguousarray(taps))
        self.filters = buffer.dtype
        pointer = k.argument(buffer.name, buffer.dtype)
        k.emit(f"const __global {_ctype(buffer.dtype)}* w = {pointer} + c;")
        bias = Reader(self.env, k, self.vec).read(c.bias, [self._channel()]) if c.bias else "0.0f"
        k.emit(f"const float{self.vec} bias = {bias};")

    def _channel(self) -> Expr:
        return var("c", self.channels - self.vec + 1) + lane(self.vec)

    def _row(self) -> None:
        """One row of outputs; ``low`` to ``high`` are the kernel rows inside the image."""
        g, k, s = self.g, self.kernel, self.source
        window, dilation, pad = g.window[0], g.dilations[0], g.pads[0]
        k.emit(f"const int top = y*{g.strides[0]} - {pad};")
        k.emit(f"const int low = max(0, (-top + {dilation - 1}) / {dilation});")
        k.emit(f"const int high = min({window}, ({g.shape[2]} - top + {dilation - 1}) / {dilation});")
        pointer = k.argument(s.buffer, s.dtype)
        place = f"{s.base} + image*{s.image} + top*{s.row} + c"
        k.emit(f"const __global {_ctype(s.dtype)}* from = {pointer} + ({place});")
        for block in _blocks(g):
            loop = f"for (int b = 0; b < {block.repeat}; ++b)" if block.repeat > 1 else ""
            with k.block(loop):
                k.emit(f"const int x0 = {block.start}{f' + b*{block.count}' if loop else ''};")
                self._block(block)

    def _block(self, block: _Block) -> None:
        """Sums of a block of outputs, then their epilogues."""
        g, k, s = self.g, self.kernel, self.source
        sums = ", ".join(f"s{i} = bias" for i in range(block.count))
        k.emit(f"float{self.vec} {sums};")
        with k.block("for (int ky = low; ky < high; ++ky)"):
            k.emit(
                f"const int at = ky*{g.dilations[0] * s.row} + (x0*{g.strides[1]} - {g.pads[1]})*{s.pixel};"
            )
            for kx in range(g.window[1]):
                place = f"w + (ky*{g.window[1]} + {kx})*{self.channels}"
                k.emit(f"const float{self.vec} w{kx} = {_load(self.filters, self.vec)}(0, {place});")
            for column in block.columns:
                uses = list(_uses(g, block.count, column))
                if uses:
                    load = f"{_load(s.dtype, self.vec)}(0, from + at + {column * s.pixel})"
                    k.emit(f"const float{self.vec} in{column} = {load};")
                for i, kx in uses:
                    k.emit(f"s{i} = fma(in{column}, w{kx}, s{i});")
        k.emit(f"float acc[{block.count * self.vec}] __attribute__((aligned(64)));")
        for i in range(block.count):
            k.emit(f"vstore{self.vec}(s{i}, {i}, acc);")
        with k.block(f"for (int i = 0; i < {block.count}; ++i)"):
            self._epilogue()

    def _epilogue(self) -> None:
        c, g, k = self.c, self.g, self.kernel
        reader = Reader(self.env, k, self.vec)
        k.emit("const int x = x0 + i;")
        name = k.define(reader.ctype(c.anchor.output), f"vload{self.vec}(i, acc)")
        coords = [var("image", g.out[0]), self._channel(), var("y", g.out[2]), var("x", g.out[3])]
        result, at = forward(reader, c.tail, c.anchor.output, name, coords)
        reader.store(c.value, at, result)


def _ctype(dtype: str) -> str:
    return {"float32": "float", "float16": "half"}[dtype]


def _load(dtype: str, vec: int) -> str:
    return {"float32": f"vload{vec}", "float16": f"vload_half{vec}"}[dtype]


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
