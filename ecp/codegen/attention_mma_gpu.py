"""Attention on tensor cores (PTX ``mma.sync``), where storage is half: scores and outputs never leave registers.

A warp owns 16 queries of one head, as fragments in registers. Keys and values arrive in local memory by
asynchronous copies, up to four tiles ahead. A tile's scores are fp32 sums; their element-wise chain (scale, bias,
mask), the online softmax and the output are fp32 too. Only the operands of the two products are halves: queries,
keys and values as they are stored, and the exponentials. A launch may hold several segments (core and periphery
queries with their own keys); each work-group picks one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import ceil, prod

from ecp.codegen.attention_parts import Segment, Values, own_blocks
from ecp.codegen.core.kernel import Kernel, Launch, group_id, local_id
from ecp.codegen.core.statements import Form
from ecp.codegen.ptx_gpu import COPY, EXP2, PACK, QUAD, SHUFFLE, TENSOR, PointerReader, plain, reduce_team
from ecp.codegen.reader import Env, lane
from ecp.codegen.reader_gpu import GpuReader
from ecp.codegen.schedule import Schedule
from ecp.index.expr import Expr, var
from ecp.index.maps import broadcast

LOWEST = "-INFINITY"
LOG2E = 1.4426950408889634


@dataclass(frozen=True)
class Shape:
    """Tile of one segment: 16 queries a warp, ``bk`` keys at a time, ``stages`` of such tiles in local memory."""

    warps: int
    bk: int
    dim: int
    stages: int

    @property
    def queries(self) -> int:
        """Queries of a work-group."""
        return 16 * self.warps

    @property
    def pitch(self) -> int:
        """Bytes from row to row in local memory: 16 more than a row has, against bank conflicts."""
        return 2 * self.dim + 16

    @property
    def stage_bytes(self) -> int:
        """Keys and values of a tile."""
        return 2 * self.bk * self.pitch

    @property
    def local_bytes(self) -> int:
        """Local memory: queries, then the tiles."""
        return self.queries * self.pitch + self.stages * self.stage_bytes

    @property
    def resident(self) -> int:
        """Work-groups that a multiprocessor holds at once (compute capability 9.0)."""
        fragments = self.bk // 2 + self.dim // 2 + self.dim // 4  # floats of scores and output, queries
        # Roughly: the compiler took 55-87, 96-183 and 130-183.
        registers = 72 if fragments <= 56 else 128 if fragments <= 96 else 152
        by_registers = 65536 // (32 * self.warps * registers)
        return max(1, min(by_registers, (227 << 10) // self.local_bytes, 32))


def shape_of(part: Segment, warps: int, most: int, s: Schedule) -> Shape:
    """Tiles of equal size, of at most ``most`` times 16 keys; up to four of them in local memory."""
    blocks = ceil(part.keys / 16)
    bk = 16 * ceil(blocks / ceil(blocks / most))
    stages = min(ceil(part.keys / bk), 4)
    while stages > 1 and Shape(warps, bk, part.dim, stages).local_bytes > s.local_bytes:
        stages -= 1
    return Shape(warps, bk, part.dim, stages)


def _clocks(parts: list[Segment], shapes: list[Shape], s: Schedule) -> float:
    """Clocks of the busiest multiprocessor, fitted to 344 launches on an H100 (9 % off, root mean square).

    Work-groups that a multiprocessor holds together share its throughput (products and softmax of 16 keys a warp,
    bytes through L2), and none is done before its own latency; what is left over at the end runs by itself.
    """
    groups, latency, work = 0, 0.0, 0.0
    for part, shape in zip(parts, shapes):
        wide = part.dim / 64
        blocks, tiles = ceil(part.keys / 16), ceil(part.keys / shape.bk)
        each = ceil(part.queries / shape.queries)
        busy = ceil(part.queries / 16) / each
        read = (part.keys + shape.queries) * part.dim * 4
        count = prod(part.batch) * each
        groups += count
        latency = max(latency, 2600 + 590 * tiles + 60 * blocks * wide)
        work += count * (busy / 4 * (120 * tiles + 230 * blocks * wide) + read / 53)
    resident = min(shape.resident for shape in shapes)
    full, rest = divmod(ceil(groups / s.groups), resident)

    def together(count: int) -> float:
        both = latency, count * work / groups
        return max(both) + 0.3 * min(both) if count else 0.0

    return full * together(resident) + together(rest)


def _shapes(parts: list[Segment], s: Schedule) -> list[Shape] | None:
    """The cheapest tiles of all segments, which share the number of warps; None where local memory holds none."""
    widest = 7 if max(p.dim for p in parts) <= 64 else 4  # registers for the scores
    found = []
    for warps in range(1, max(1, s.wg[0] * s.wg[1] // 32) + 1):
        for most in range(2, widest + 1):
            shapes = [shape_of(p, warps, most, s) for p in parts]
            if max(shape.local_bytes for shape in shapes) <= s.local_bytes:
                found.append(shapes)
    return min(found, key=lambda shapes: _clocks(parts, shapes, s), default=None)


def emit_attention_mma(env: Env, schedule: Schedule, parts: list[Segment]) -> Launch | None:
    """Code of an attention launch; None where an operand is not read in runs of halves or a row is too wide."""
    if not all(_fits(env, p) for p in parts):
        return None
    shapes = _shapes(parts, schedule)
    if shapes is None:
        return None
    warps = shapes[0].warps
    kernel = Kernel("attention", f"__attribute__((reqd_work_group_size({32 * warps},1,1)))")
    for name, text in (
        ("ecp_shfl_xor", SHUFFLE),
        ("ecp_copy16", COPY),
        ("ecp_mma", TENSOR),
        ("ecp_pack2", PACK),
        ("ecp_exp2", EXP2),
        ("ecp_quad", QUAD),
    ):
        kernel.helper(name, text)
    size = max(s.local_bytes for s in shapes) // 16
    kernel.local_array("float4", mem=size, aligned=128)
    kernel.emit("const uint base = (uint)(size_t)mem;")
    kernel.declare("const int", lid=local_id(), lane="lid & 31", warp="lid >> 5")
    kernel.declare("int", block=group_id())
    heads = prod(parts[0].batch)
    if heads > 1:
        kernel.declare("const int", head=group_id(1))
    blocks = 0
    for part, shape in zip(parts, shapes):
        count = ceil(part.queries / shape.queries)
        with own_blocks(kernel, blocks, count, len(parts) > 1):
            _Block(env, kernel, part, shape).emit()
        blocks += count
        kernel.flops += 2 * heads * part.queries * part.keys * (part.dim + part.dim_v)
    return kernel.finish((blocks * 32 * warps, max(1, heads)), (32 * warps, 1))


def _fits(env: Env, p: Segment) -> bool:
    block = _Block(env, Kernel("probe"), p, Shape(1, 16, p.dim, 1))
    rows = p.dim == p.dim_v and p.dim % 16 == 0 and 16 <= p.dim <= 128 and p.queries > 1 and p.keys > 1
    return rows and all(plain(env, 8, read) for read in (block.query_at, block.key_at, block.value_at))


class _Block:
    """Code of one segment's work-group."""

    def __init__(self, env: Env, kernel: Kernel, part: Segment, shape: Shape):
        self.env, self.k, self.p, self.t = env, kernel, part, shape
        self.values = Values(env, part)
        self.scale = self.values.scale()
        self.tiles = ceil(part.keys / shape.bk)
        self.last = part.keys - (self.tiles - 1) * shape.bk  # keys of the last tile
        self.runs = part.dim // 8  # pieces of 16 bytes in a row
        self.fragments = part.dim // 16
        self.idle = part.queries % shape.queries > 0

    def _run(self) -> Expr:
        return var("c", self.runs) * 8 + lane(8)

    def query_at(self, reader: PointerReader) -> str:
        """Address of piece ``c`` of query ``row``."""
        name = self.p.scores.inputs[0]
        return reader.read(name, [*self.values.head(name), var("row", self.p.queries), self._run()])

    def key_at(self, reader: PointerReader) -> str:
        """Address of piece ``c`` of key ``row``: the operand of the product is its transpose."""
        name = self.p.scores.inputs[1]
        return reader.read(name, [*self.values.head(name), self._run(), var("row", self.p.keys)])

    def value_at(self, reader: PointerReader) -> str:
        """Address of piece ``c`` of the value of key ``row``."""
        name = self.p.product.inputs[1]
        outer = broadcast(self.values.outer(), self.env.graph.types[name].shape[:-2])
        return reader.read(name, [*outer, var("row", self.p.keys), self._run()])

    def emit(self) -> None:
        """All steps."""
        k, t = self.k, self.t
        k.emit(f"const int first = block*{t.queries}, mine = first + warp*16 + (lane >> 2);")
        k.emit(
            f"float o[{2 * self.fragments}][4], top[2] = {{{LOWEST}, {LOWEST}}}, total[2] = {{0.0f, 0.0f}};"
        )
        k.emit(f"uint qf[{self.fragments}][4];")
        self._each(2 * self.fragments, "o[f][0] = 0.0f; o[f][1] = 0.0f; o[f][2] = 0.0f; o[f][3] = 0.0f;")
        self._ask_queries()
        ahead = max(1, t.stages - 1) if t.stages < self.tiles else t.stages
        for s in range(ahead):
            with k.scope():
                self._ask(str(s))
            k.emit("ECP_COMMIT();")
        with k.loop("kt", self.tiles):
            k.emit(f"ECP_WAIT({ahead - 1});")
            k.barrier()
            if ahead < self.tiles and t.stages > 1:
                with k.when(f"kt + {ahead} < {self.tiles}"):
                    self._ask(f"(kt + {ahead})")
            k.emit("ECP_COMMIT();")
            with k.when(f"first + warp*16 < {self.p.queries}" if self.idle else ""):
                k.emit(
                    f"const uint sk = base + {t.queries * t.pitch}u + (uint)(kt%{t.stages})*{t.stage_bytes}u;"
                )
                self._scores()
                self._softmax()
                self._weigh()
            if t.stages == 1 and self.tiles > 1:  # one tile in local memory: the next may only come now
                k.barrier()
                with k.when(f"kt + 1 < {self.tiles}"):
                    self._ask("(kt + 1)")
                k.emit("ECP_COMMIT();")
        with k.when(f"first + warp*16 < {self.p.queries}" if self.idle else ""):
            self._store()

    def _each(self, count: int, line: str, guard: str = "") -> None:
        self.k.each("f", count, line, guard=guard, unroll=count, form=Form.BRACES)

    def _there(self, name: str, width: int) -> str:
        """A guard of step ``name`` through a tile's keys, ``width`` at a time: the last tile may have fewer."""
        steps = ceil(self.last / width)
        short = steps < self.t.bk // width
        return f"kt < {self.tiles - 1} || {name} < {steps}" if short else ""

    def _ask_queries(self) -> None:
        k, t, p = self.k, self.t, self.p
        with k.loop("e", t.queries * self.runs, first="lid", step=32 * t.warps):
            k.emit(f"const int i = e/{self.runs}, c = e%{self.runs}, row = min(first + i, {p.queries - 1});")
            at = self.query_at(PointerReader(self.env, k, 8))
            size = f"first + i < {p.queries} ? 16 : 0" if self.idle else "16"
            k.emit(f"ecp_copy16(base + i*{t.pitch} + c*16, {at}, {size});")

    def _ask(self, tile: str) -> None:
        """Copies of a tile's keys and values begin; rows past the last arrive as zeros."""
        k, t, p = self.k, self.t, self.p
        count, items = t.bk * self.runs, 32 * t.warps
        k.emit(f"const uint to = base + {t.queries * t.pitch}u + (uint)({tile}%{t.stages})*{t.stage_bytes}u;")
        each, guard = ceil(count / items), f"lid + j*{items} < {count}" if count % items else ""
        with k.loop("j", each, guard=guard, unroll=each):
            k.emit(f"const int e = lid + j*{items}, i = e/{self.runs}, c = e%{self.runs};")
            k.emit(f"const int at = {tile}*{t.bk} + i, row = min(at, {p.keys - 1});")
            size = f"at < {p.keys} ? 16 : 0" if p.keys % t.bk else "16"
            for read, begin in ((self.key_at, 0), (self.value_at, t.bk * t.pitch)):
                address = read(PointerReader(self.env, k, 8))
                k.emit(f"ecp_copy16(to + {begin} + i*{t.pitch} + c*16, {address}, {size});")

    def _unrolled(self, name: str, count: int, guard: str = "") -> AbstractContextManager[None]:
        return self.k.loop(name, count, guard=guard, unroll=count)

    def _scores(self) -> None:
        """Products of 16 queries and a tile of keys, then their element-wise chain."""
        k, t, p = self.k, self.t, self.p
        with k.when("kt == 0"):
            at = f"base + (warp*16 + (lane & 15))*{t.pitch} + (lane >> 4)*16 + f*32"
            self._each(self.fragments, f"ECP_LDM4(qf[f], {at});")
        k.emit(f"float s[{t.bk // 8}][4];")
        self._each(t.bk // 8, "s[f][0] = 0.0f; s[f][1] = 0.0f; s[f][2] = 0.0f; s[f][3] = 0.0f;")
        # Products that follow each other do not depend on each other.
        with self._unrolled("f", self.fragments), self._unrolled("b", t.bk // 16, self._there("b", 16)):
            k.emit("uint kf[4];")
            row = "b*16 + (lane & 7) + (lane >> 4)*8"
            k.emit(f"ECP_LDM4(kf, sk + ({row})*{t.pitch} + f*32 + ((lane >> 3) & 1)*16);")
            k.emit("ECP_MMA(s[2*b], qf[f], kf); ECP_MMA(s[2*b + 1], qf[f], (kf + 2));")
        if self.scale is None:
            with self._unrolled("j", t.bk // 8, self._there("j", 8)), self._unrolled("e", 4):
                k.emit(f"const int at = kt*{t.bk} + j*8 + (lane & 3)*2 + (e & 1);")
                k.emit(f"const int key = min(at, {p.keys - 1});")
                k.emit(f"const int query = min(mine + (e >> 1)*8, {p.queries - 1});")
                place = var("query", p.queries), var("key", p.keys)
                k.emit(f"s[j][e] = {self.values.chained(GpuReader(self.env, k), 's[j][e]', *place)};")
        if self.last % 8:
            with k.when(f"kt == {self.tiles - 1}"), self._unrolled("e", 4):
                column = self.last // 8
                k.do_when(f"(lane & 3)*2 + (e & 1) >= {self.last % 8}", f"s[{column}][e] = {LOWEST};")

    def _softmax(self) -> None:
        """Exponentials in place; the running maximum and this lane's sum of two rows; the output shrinks."""
        k, n, factor = self.k, self.t.bk // 8, f"{LOG2E * (self.scale or 1.0):.9g}f"
        there = self._there("f", 8)
        with self._unrolled("h", 2):
            k.emit("float peak = top[h];")
            self._each(n, "peak = fmax(peak, fmax(s[f][2*h], s[f][2*h + 1]));", there)
            reduce_team(k, "peak", 4, "fmax({}, {})")
            # Finite, so that a tile whose keys are all masked out leaves no NaN behind.
            k.emit("const float low = fmax(peak, -FLT_MAX);")
            k.emit(f"const float keep = ecp_exp2((fmax(top[h], -FLT_MAX) - low)*{factor});")
            k.emit("float sum = 0.0f;")
            power = f"({{}} - low)*{factor}"
            if self.scale is not None:  # sums of products of halves: nowhere near the largest float
                k.emit(f"const float shift = -low*{factor};")
                power = f"fma({{}}, {factor}, shift)"
            parts = [f"{x} = ecp_exp2({power.format(x)});" for x in ("s[f][2*h]", "s[f][2*h + 1]")]
            self._each(n, f"{' '.join(parts)} sum += s[f][2*h] + s[f][2*h + 1];", there)
            k.emit("total[h] = fma(total[h], keep, sum); top[h] = peak;")
            self._each(2 * self.fragments, "o[f][2*h] *= keep; o[f][2*h + 1] *= keep;")

    def _weigh(self) -> None:
        """The tile's values, weighted by the exponentials, onto the output so far."""
        k, t = self.k, self.t
        with self._unrolled("b", t.bk // 16, self._there("b", 16)):
            k.emit("uint pf[4];")
            pairs = [("2*b", 0), ("2*b", 2), ("2*b + 1", 0), ("2*b + 1", 2)]
            k.emit(
                " ".join(
                    f"pf[{i}] = ecp_pack2(s[{j}][{e}], s[{j}][{e + 1}]);" for i, (j, e) in enumerate(pairs)
                )
            )
            with self._unrolled("f", self.fragments):
                k.emit("uint vf[4];")
                at = f"sk + {t.bk * t.pitch} + (b*16 + (lane & 15))*{t.pitch} + f*32 + (lane >> 4)*16"
                k.emit(f"ECP_LDM4T(vf, (vf + 2), {at});")
                k.emit("ECP_MMA(o[2*f], pf, vf); ECP_MMA(o[2*f + 1], pf, (vf + 2));")

    def _store(self) -> None:
        """Outputs over their sums; a lane trades halves of its fragments for 4 components in a row."""
        k, p, n = self.k, self.p, 2 * self.fragments
        with self._unrolled("h", 2):
            k.emit("float sum = total[h];")
            reduce_team(k, "sum", 4, "({} + {})")
            # A query whose keys are all masked out has no average: NaN, as it must.
            k.emit(f"const float scale = top[h] == {LOWEST} ? NAN : 1.0f / sum;")
            self._each(n, "o[f][2*h] *= scale; o[f][2*h + 1] *= scale;")
        k.emit("const int query = mine + (lane & 1)*8;")
        with self._unrolled("f", n):
            k.emit("ecp_quad(o[f], lane);")
            with k.when(f"query < {p.queries}"):
                k.emit("const int c = f*2 + ((lane >> 1) & 1);")
                k.emit("const float4 out = (float4)(o[f][0], o[f][1], o[f][2], o[f][3]);")
                at = [var("query", p.queries), var("c", p.dim // 4) * 4 + lane(4)]
                self.values.finish(GpuReader(self.env, k, 4), "out", [*self.values.outer(), *at])
