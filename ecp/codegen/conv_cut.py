"""How a convolution is cut on CPU devices: register tile, work-items, and what is asked for ahead of its use."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from ecp.codegen.contraction import Contraction
from ecp.codegen.probe import AddressProbe
from ecp.codegen.reader import Env
from ecp.codegen.schedule import Schedule
from ecp.index.expr import Var, var, wrap

# Time of a register tile of 1 to 4 vectors of channels, relative to its number of multiply-adds.
TILE_COST = {4: 1.0, 3: 1.07, 2: 1.1, 1: 1.3}
# What a tile costs beside its rows, in rows.
TILE_OVERHEAD = 0.35
# A work-item shorter than this (floating-point operations) costs more to hand out than it balances.
SMALLEST_ITEM = 4e6
ITEMS = 32
# The copy of a padded image that one work-item makes.
STRIP_BYTES = 64 << 10
# With so few output pixels (14x14, 7x7) reading the weights takes about as long as using them.
FEW = 256
# Two panels of weights and the input share an L2 of 2 MB; with more pixels than this a panel may be longer.
PANEL_BYTES, PANEL_PIXELS = 768 << 10, 128


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

    ``strip``: output rows whose input a work-item copies; 0 where the input is read in place. ``ahead``: what is
    asked for before it is needed: ``weights`` just ahead, also a slice of the next panel (``panels``), or nothing;
    ``input``: ask for the input of the next tile too.
    """

    mr: int
    nr: int
    vec: int
    tiles: int
    blocks: int
    panels: int
    columns: int
    strip: int = 0
    ahead: str = ""
    input: bool = False

    @property
    def width(self) -> int:
        """Output channels of a panel."""
        return self.nr * self.vec


class Geometry:
    """A two-dimensional convolution. ``last``: channels are innermost. ``inside``: no window leaves the input."""

    def __init__(self, env: Env, c: Contraction):
        a, types = c.anchor.attrs, env.graph.types
        self.shape, self.out = types[c.anchor.inputs[0]].shape, types[c.anchor.output].shape
        self.window = types[c.anchor.inputs[1]].shape[2:]
        self.strides, self.pads, self.dilations = a["strides"], a["pads"], a["dilations"]
        self.per_in = self.shape[1] // a["group"]
        self.last = not c.sweep
        self.inside = all(
            self.pads[d] == 0 and (self.out[2 + d] - 1) * s + (k - 1) * e < self.shape[2 + d]
            for d, (s, k, e) in enumerate(zip(self.strides, self.window, self.dilations))
        )

    @property
    def run(self) -> int:
        """Input elements that are read one after the other: channels, or a kernel row."""
        return self.per_in if self.last else self.window[1]

    def strip_shape(self, rows: int) -> tuple[int, int, int]:
        """(channels, input rows, columns padded to whole vectors) of the copy for ``rows`` output rows."""
        high, wide = (
            (n - 1) * s + (k - 1) * e + 1
            for n, s, k, e in zip((rows, self.out[3]), self.strides, self.window, self.dilations)
        )
        return self.per_in, high, -(-wide // 16) * 16

    def strip_rows(self) -> int:
        """Output rows whose input fits the copy; at least one."""
        rows = min(self.out[2], 8)
        while rows > 1 and 4 * prod(self.strip_shape(rows)) > STRIP_BYTES:
            rows -= 1
        return rows


def find_source(env: Env, c: Contraction) -> Source | None:
    """The input as strided memory; None where it is computed, not linear, or not two-dimensional."""
    x = c.anchor.inputs[0]
    shape = env.graph.types[x].shape
    if len(shape) != 4 or c.weights is None:
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
    return Source(buffer, env.buffers[buffer].dtype, address.const, *strides)


def cut(c: Contraction, s: Schedule, g: Geometry, source: Source) -> Cut | None:
    """The cut of a launch; None where the input has no runs to read and cannot be copied either."""
    stride = source.channel if g.last else source.pixel
    if source.dtype not in ("float32", "float16") or (stride != 1 and g.run > 1):
        return None
    in_place = source.dtype == "float32" and (g.last or g.inside)
    strip = 0 if in_place else g.strip_rows()
    if strip and (g.last or prod(c.batch) > 1 or 4 * prod(g.strip_shape(strip)) > 4 * STRIP_BYTES):
        return None
    mr, nr, vec = _tile(c, s, strip * g.out[3] if strip else c.m)
    tiles, panels = ceil((strip * g.out[3] if strip else c.m) / mr), ceil(c.n / (nr * vec))
    flops = 2 * mr * nr * vec * c.k
    if strip:
        return Cut(mr, nr, vec, tiles, g.out[0] * ceil(g.out[2] / strip), panels, 1, strip)
    stay = 4 * c.k * c.n <= s.stream_bytes and c.m > FEW
    per_block, blocks, each, columns = work_items(tiles, panels, flops, stay, prod(c.batch))
    ahead, ask_input = "", False
    if s.prefetch:
        ahead = "panels" if c.m <= FEW and tiles > 1 else "weights"
        ask_input = c.m > FEW and g.window == (1, 1) and g.strides == (1, 1) and g.inside and g.last
    return Cut(mr, nr, vec, per_block, blocks, each, columns, 0, ahead, ask_input)


def work_items(tiles: int, panels: int, flops: int, stay: bool, groups: int = 1) -> tuple[int, int, int, int]:
    """(tiles, blocks, panels, columns): ``blocks`` x ``columns`` work-items of so many tiles and panels each.

    ``flops``: of a register tile. ``stay``: all weights stay in L2, so that an item passes every panel over its rows.
    """
    item = max(SMALLEST_ITEM, flops * tiles * panels * groups / ITEMS)
    each = min(panels, max(1, int(item / flops))) if stay else 1
    columns = ceil(panels / each)
    each = ceil(panels / columns)
    blocks = ceil(tiles / max(1, min(tiles, round(item / (flops * each)))))
    per_block = ceil(tiles / blocks)
    return per_block, ceil(tiles / per_block), each, columns


def fewest_idle(m: int, rows: range) -> int:
    """How many of ``m`` rows a register tile takes: fewer where that leaves fewer of the last tile idle."""
    return min(rows, key=lambda r: ceil(m / r) * (r + TILE_OVERHEAD))


def _tile(c: Contraction, s: Schedule, m: int) -> tuple[int, int, int]:
    """(rows, vectors, width of a vector) of the register tile for ``m`` pixels."""
    vec = s.vec
    while vec > 4 and c.n <= vec // 2:
        vec //= 2
    nr = min(range(1, s.nr + 1), key=lambda n: (ceil(c.n / (n * vec)) * n * TILE_COST.get(n, 1.0), -n))
    if 4 * c.k * nr * vec > PANEL_BYTES and s.mr < m <= PANEL_PIXELS:
        nr = min(nr, 2)
    most = max(s.mr, min(14, s.mr * s.nr // nr))
    return fewest_idle(m, range(max(1, min(m, most - 2)), min(m, most) + 1)), nr, vec
