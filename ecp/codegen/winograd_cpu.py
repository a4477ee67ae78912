"""3x3 convolutions on CPU devices by Winograd's F(2x2, 3x3): 16 multiplications for 4 outputs instead of 36.

A tile is 2x2 output pixels and the 4x4 input pixels under them. Its input is transformed to 16 values a channel,
each of which is multiplied by its own matrix of transformed weights, and the 16 sums are transformed back to 4
outputs. The transforms of input and output only add and subtract, so that a result is off by about twice what the
direct sum is (an infinite input gives NaN where that gives infinity).
Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), equations 7 to 13.

A work-item takes a block of tiles and some panels of output channels. It transforms ``mr`` tiles for a panel into
private memory, multiplies them there, 16 times the register tile of :mod:`ecp.codegen.conv_cpu`, and finishes them:
nothing but the output goes back to memory. Weights of a panel (16 matrices) stay in the L2 of the core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

import numpy as np

from ecp.codegen.contraction import Contraction
from ecp.codegen.conv_cut import Geometry, Source, fewest_idle, work_items
from ecp.codegen.core.kernel import Kernel, Launch, global_id
from ecp.codegen.epilogue_cpu import Epilogue
from ecp.codegen.hints import DISTANCE, PREFETCH
from ecp.codegen.packing import pack_weights
from ecp.codegen.reader import Env
from ecp.codegen.register_tile import RegisterTile
from ecp.codegen.schedule import Schedule
from ecp.index.expr import var
from ecp.ir.mapped import release
from ecp.passes.storage import Buffer

# Rows of G: weights g of a kernel row become (g0, (g0 + g1 + g2)/2, (g0 - g1 + g2)/2, g2).
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
# Fewer tiles than this read the weights, 16/9 of the direct ones, for too little work (7x7 maps).
FEWEST = 32
# Weights of a panel of this size share an L2 of 2 MB with the tiles.
PANEL_BYTES = 5 << 18
# Floats between the rows of transformed input, against rows that fall on the same lines of L1.
PAD = 16


@dataclass(frozen=True)
class Cut:
    """Register tile of ``mr`` Winograd tiles by ``nr`` vectors; ``blocks`` x ``columns`` work-items of ``tiles``
    Winograd tiles (a multiple of ``mr``) and ``panels`` panels each.
    """

    mr: int
    nr: int
    tiles: int
    blocks: int
    panels: int
    columns: int


def winograd(env: Env, s: Schedule, c: Contraction, source: Source, g: Geometry) -> Launch | None:
    """Code of a convolution; None where it is no 3x3 one of whole vectors of channels, or has too few pixels."""
    plain = g.window == (3, 3) and g.strides == g.dilations == (1, 1) and not c.batch
    vectors = g.per_in % s.vec == 0 and c.n % s.vec == 0 and source.channel == 1
    exact = g.last and source.dtype == "float32" and not env.half
    if not (plain and vectors and exact):
        return None
    high, wide = (ceil(n / 2) for n in g.out[2:])
    count = g.out[0] * high * wide
    if count < FEWEST or 4 * count > 1.3 * c.m:
        return None
    return _Winograd(env, s, c, source, g).emit()


def _cut(c: Contraction, s: Schedule, channels: int, count: int) -> Cut:
    nr = min(s.nr, ceil(c.n / s.vec))
    while nr > 1 and 64 * channels * nr * s.vec > PANEL_BYTES:
        nr -= 1
    most = min(s.mr * s.nr // nr, 2 * s.mr)
    mr = fewest_idle(count, range(most - 2, most + 1))
    panels, flops = ceil(c.n / (nr * s.vec)), 32 * mr * nr * s.vec * channels
    stay = 64 * channels * c.n <= s.stream_bytes
    tiles, blocks, each, columns = work_items(ceil(count / mr), panels, flops, stay)
    return Cut(mr, nr, tiles * mr, blocks, each, columns)


class _Winograd:
    def __init__(self, env: Env, s: Schedule, c: Contraction, source: Source, g: Geometry):
        self.env, self.s, self.c, self.source, self.g = env, s, c, source, g
        self.high, self.wide = (ceil(n / 2) for n in g.out[2:])
        self.count = g.out[0] * self.high * self.wide
        self.cut = _cut(c, s, g.per_in, self.count)
        self.kernel = Kernel("conv", s.attributes)
        self.tile = RegisterTile(self.kernel, self.cut.mr, self.cut.nr, s.vec)
        self.width = self.tile.width
        self.panels = ceil(c.n / self.width)
        self.pitch = g.per_in + PAD

    def emit(self) -> Launch:
        """The launch."""
        t, k = self.cut, self.kernel
        k.declare("const int", item=global_id())
        k.emit(f"const int block = item % {t.blocks}, column = item / {t.blocks};")
        k.emit(f"const int first = block*{t.tiles}, count = min({t.tiles}, {self.count} - first);")
        for name, size in (
            ("input", 16 * t.mr * self.pitch),
            ("sums", 16 * t.mr * self.width),
            ("acc", 4 * self.width),
        ):
            k.emit(f"float {name}[{size}] __attribute__((aligned(64)));")
        last = f"min((column + 1)*{t.panels}, {self.panels})"
        panels = k.loop("panel", last, first=f"column*{t.panels}")
        with panels, k.loop("at", "count", step=t.mr):
            with k.loop("i", t.mr):
                self._place()
                self._input()
            self._multiply()
            with k.loop("t", f"min({t.mr}, count - at)"):
                self._output()
        k.flops = self.c.flops  # of the direct sum, as everywhere: what is computed is the same
        return k.finish((t.blocks * t.columns, 1, 1), (1, 1, 1))

    def _place(self, index: str = "min(at + i, count - 1)") -> None:
        """Names ``image``, ``y``, ``x``: the first output pixel of a tile."""
        k = self.kernel
        k.emit(f"const int tile = first + {index}, image = tile / {self.high * self.wide};")
        k.emit(f"const int y = tile / {self.wide} % {self.high} * 2, x = tile % {self.wide} * 2;")

    def _input(self) -> None:
        """B^T d B of tile ``i``, a vector of channels at a time; what lies outside the image is zero."""
        k, s, g, vec = self.kernel, self.source, self.g, self.s.vec
        data = k.argument(s.buffer, s.dtype)
        zeros = self.env.constant_buffer(f"zeros@{g.per_in}", np.zeros(g.per_in, np.float32))
        outside = k.argument(zeros.name, zeros.dtype)
        height, width = g.shape[2:]
        k.emit(f"const int top = y - {g.pads[0]}, left = x - {g.pads[1]};")
        k.emit(
            f"const __global float* corner = {data} + ({s.base} + image*{s.image} + top*{s.row} + left*{s.pixel});"
        )
        for r in range(4):
            for q in range(4):
                inside = f"(uint)(top + {r}) < {height}u && (uint)(left + {q}) < {width}u"
                k.emit(
                    f"const __global float* p{r}{q} = {inside} ? corner + {r * s.row + q * s.pixel} : {outside};"
                )
        with k.loop("c", g.per_in // vec):
            for r in range(4):
                self._name(f"d{r}{{}}", [f"vload{vec}(c, p{r}{q})" for q in range(4)])
            for q in range(4):
                self._name(f"e{{}}{q}", _forward(f"d{{}}{q}"))
            for r in range(4):
                for q, value in enumerate(_forward(f"e{r}{{}}")):
                    to = f"input + {(4 * r + q) * self.cut.mr * self.pitch} + i*{self.pitch}"
                    k.emit(f"vstore{vec}({value}, c, {to});")

    def _name(self, name: str, values: Sequence[str]) -> None:
        """Vectors ``name``, numbered."""
        parts = ", ".join(f"{name.format(i)} = {value}" for i, value in enumerate(values))
        self.kernel.emit(f"const float{self.s.vec} {parts};")

    def _multiply(self) -> None:
        """``sums``: for each of the 16 places, ``mr`` tiles by a panel of channels."""
        t, k, channels, vec = self.cut, self.kernel, self.g.per_in, self.s.vec
        assert self.c.weights is not None
        key = f"{self.c.weights_key}@winograd{self.width}"
        if key not in self.env.buffers:
            make = partial(_packed, self.c.weights, self.width)
            size = self.panels * 16 * channels * self.width
            self.env.buffers[key] = Buffer(key, size, "float32", "weights", make=make)
        pointer = k.argument(key, "float32")
        k.emit(f"const __global float* b = {pointer} + panel*{16 * channels * self.width};")
        ask = ""
        if self.s.prefetch:  # weights come from beyond L2 with the first tiles only
            k.helper("prefetch", PREFETCH)
            ask = " ".join(f"PREFETCH(b + {DISTANCE + v * vec} + kk*{self.width});" for v in range(t.nr))
        with k.loop("place", 16):
            for i in range(t.mr):
                k.emit(f"const float* a{i} = input + place*{t.mr * self.pitch} + {i * self.pitch};")
            self.tile.clear()
            if ask:
                with k.when("at == 0"):
                    self._reduce(ask)
                with k.otherwise():
                    self._reduce("")
            else:
                self._reduce("")
            k.emit(f"b += {channels * self.width};")
            self.tile.store(f"sums + place*{t.mr * self.width}")

    def _reduce(self, ask: str) -> None:
        k = self.kernel
        with k.loop("kk", self.g.per_in, unroll=self.s.unroll):
            if ask:
                k.emit(ask)
            self.tile.weights(f"vload{self.s.vec}")
            self.tile.multiply(lambda i: f"a{i}[kk]")

    def _output(self) -> None:
        """A^T m A of tile ``t``: four rows of ``acc``, each finished as a pixel where it lies in the output."""
        t, k, vec = self.cut, self.kernel, self.s.vec
        self._place("at + t")
        high, wide = self.g.out[2:]
        with k.loop("v", t.nr):
            for r in range(4):
                places = [f"({4 * r + q}*{t.mr} + t)*{t.nr} + v" for q in range(4)]
                self._name(f"m{r}{{}}", [f"vload{vec}({place}, sums)" for place in places])
            for q in range(4):
                self._name(f"w{{}}{q}", _back(f"m{{}}{q}"))
            for r in range(2):
                for q, value in enumerate(_back(f"w{r}{{}}")):
                    k.emit(f"vstore{vec}({value}, {(2 * r + q) * t.nr} + v, acc);")
        with k.loop("i", 4):
            k.emit(f"const int py = y + i / 2, px = x + i % 2, m = (image*{high} + py)*{wide} + px;")
            with k.when(f"py < {high} && px < {wide}"):
                Epilogue(self.env, k, self.c, [], t.nr, vec).row(var("m", self.c.m))


def _forward(d: str) -> tuple[str, str, str, str]:
    """B^T of four values: ``d`` names them."""
    a, b, c, e = (d.format(i) for i in range(4))
    return f"{a} - {c}", f"{b} + {c}", f"{c} - {b}", f"{b} - {e}"


def _back(m: str) -> tuple[str, str]:
    """A^T of four values."""
    a, b, c, e = (m.format(i) for i in range(4))
    return f"{a} + {b} + {c}", f"{b} - {c} - {e}"


def _packed(weights: np.ndarray, width: int) -> np.ndarray:
    """[1, 9*C, N], kernel positions outermost, to G g G^T in panels: [panel, 16, C, width]."""
    _, k, n = weights.shape
    kernel = weights.reshape(3, 3, k // 9, n).astype(np.float64)
    moved = np.einsum("ay,bx,yxcn->abcn", G, G, kernel).astype(np.float32)
    release(weights)
    return pack_weights(moved.reshape(1, 16 * k // 9, n), width).reshape(-1)
