"""Attention on GPUs: a work-group owns a block of queries of one head and walks over its keys in tiles.

Queries stay in local memory; keys and values of the next tile are on their way into registers while a tile is
multiplied. Softmax is online: a running maximum and sum per query, the output is rescaled where the maximum
grows. Work-items form a grid (queries x keys) for the scores, and one (queries x components) for the output.
Where the device runs PTX and storage is half, tensor cores do both products (``attention_mma_gpu``).
A launch may hold several segments (core and periphery queries); each work-group picks one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import ceil, prod

from ecp.codegen.attention_mma_gpu import emit_attention_mma
from ecp.codegen.attention_parts import Segment, own_blocks, segments
from ecp.codegen.core.kernel import Kernel, Launch, group_id, local_id
from ecp.codegen.core.statements import Form, If, Statement, Text
from ecp.codegen.functions import exp
from ecp.codegen.map import FLOATS
from ecp.codegen.ptx_gpu import reduce_team
from ecp.codegen.reader import Env, Reader, forward, lane
from ecp.codegen.reader_gpu import GpuReader
from ecp.codegen.schedule import Schedule
from ecp.errors import UnsupportedOperatorError
from ecp.index.expr import Expr, var, wrap
from ecp.index.maps import broadcast, delinearize
from ecp.ir.graph import Node

# What keys past the end score, and a query's maximum before its first key.
LOWEST = "-INFINITY"


@dataclass(frozen=True)
class Shape:
    """Tile of one segment: ``bq`` queries, ``bk`` keys at a time; ``items`` work-items, ``team`` of them a query."""

    bq: int
    bk: int
    items: int
    d4: int
    v4: int

    @property
    def team(self) -> int:
        """Work-items that share a query's softmax."""
        return self.items // self.bq

    @property
    def pitch_q(self) -> int:
        """Vectors from row to row of queries and keys."""
        return self.d4 + 1

    @property
    def pitch_p(self) -> int:
        """Vectors from row to row of the scores."""
        return self.bk // 4 + 1

    @property
    def vectors(self) -> int:
        """Local memory in vectors of 4: queries, keys, values, scores, and three numbers per query and team.

        Outputs of the sets of work-items (four at most) meet where queries, keys and values were.
        """
        tiles = (self.bq + self.bk) * self.pitch_q + self.bk * self.v4 + self.bq * self.pitch_p
        return max(tiles, 4 * self.bq * self.v4) + self.numbers // 4

    @property
    def numbers(self) -> int:
        """Local floats besides the tiles."""
        return ceil((2 * self.items + 3 * self.bq) / 4) * 4


def shape_of(part: Segment, s: Schedule) -> Shape:
    """Few queries a group while that keeps the device busy; tiles of keys that fit local memory."""
    items = s.wg[0] * s.wg[1]
    d4, v4 = ceil(part.dim / 4), ceil(part.dim_v / 4)
    heads = prod(part.batch)
    bq = 32
    while bq > 16 and heads * ceil(part.queries / bq) < 2 * s.groups:
        bq //= 2
    while bq > 8 and part.queries <= bq // 2:
        bq //= 2
    most, least = 128 if s.ptx else 64, max(16, items // bq)
    tiles = ceil(part.keys / most)
    bk = ceil(ceil(part.keys / tiles) / least) * least
    while bk > 8 and Shape(bq, bk, items, d4, v4).vectors * 16 > s.local_bytes:
        bk = max(8, bk // 2 // 8 * 8)
    while bq > 1 and Shape(bq, bk, items, d4, v4).vectors * 16 > s.local_bytes:
        bq //= 2
    return Shape(bq, bk, items, d4, v4)


def emit_attention_gpu(env: Env, schedule: Schedule, node: Node) -> Launch:
    """Code of an ``attention`` launch."""
    parts = segments(env, node.attrs["body"])
    if any(env.graph.types[v].dtype not in FLOATS for p in parts for v in (*p.scores.inputs, p.value)):
        raise UnsupportedOperatorError("attention on a dtype other than float32 or float16 has no kernel")
    if schedule.ptx and env.half:
        launch = emit_attention_mma(env, schedule, parts)
        if launch is not None:
            return launch
    shapes = [shape_of(p, schedule) for p in parts]
    items = shapes[0].items
    kernel = Kernel("attention", f"__attribute__((reqd_work_group_size({items},1,1)))")
    kernel.local_array("float4", mem=max(s.vectors for s in shapes))
    kernel.declare("const int", lid=local_id())
    kernel.declare("int", block=group_id())
    heads = prod(parts[0].batch)
    if heads > 1:
        kernel.declare("const int", head=group_id(1))
    blocks = 0
    for part, shape in zip(parts, shapes):
        count = ceil(part.queries / shape.bq)
        with own_blocks(kernel, blocks, count, len(parts) > 1):
            _Block(env, schedule, kernel, part, shape).emit()
        blocks += count
        kernel.flops += 2 * heads * part.queries * part.keys * (part.dim + part.dim_v)
    return kernel.finish((blocks * items, max(1, heads)), (items, 1))


class _Grid:
    """Work-items as ``across`` x ``down``; each has every ``across``-th column and ``down``-th row of a matrix.

    ``weight``: reads of local memory that a column costs where a row costs one.
    """

    def __init__(self, rows: int, columns: int, items: int, weight: int):
        def reads(across: int) -> int:
            return ceil(rows / (items // across)) + weight * ceil(columns / across)

        powers = [1 << i for i in range(items.bit_length()) if items % (1 << i) == 0 and (1 << i) <= columns]
        if weight == 1:  # scores: whole tiles of keys
            powers = [p for p in powers if columns % p == 0]
        self.across = min(powers, key=reads)
        self.down = items // self.across
        self.columns, self.rows = ceil(columns / self.across), ceil(rows / self.down)
        self.idle = self.down > rows  # work-items past the last row repeat it


class _Block:
    """Code of one segment's work-group."""

    def __init__(self, env: Env, s: Schedule, kernel: Kernel, part: Segment, shape: Shape):
        self.env, self.s, self.k, self.p, self.t = env, s, kernel, part, shape
        self.batch = delinearize(var("head", prod(part.batch)), part.batch)
        lead = env.graph.types[part.product.output].shape[:-2]
        self.outer = self.batch if lead == part.batch else delinearize(var("head", prod(lead)), lead)
        self.scores = _Grid(shape.bq, shape.bk, shape.items, 1)
        # Sets of work-items that each take a part of the keys: register tiles large enough to feed on.
        self.sets = 1
        while (
            self.sets < 4
            and shape.bk % (8 * self.sets) == 0
            and shape.items // self.sets * 4 > shape.bq * shape.v4
            and shape.items // self.sets > 2 * shape.v4
        ):
            self.sets *= 2
        self.values = _Grid(shape.bq, shape.v4, shape.items // self.sets, 4)
        # A team of one warp shuffles; a wider one (or one that is no power of two) meets in local memory.
        self.shuffles = bool(s.ptx) and shape.team in (1, 2, 4, 8, 16, 32)

    def emit(self) -> None:
        """All steps."""
        p, k, t = self.p, self.k, self.t
        self._carve()
        self._bring_queries()
        each = self.values
        k.emit(f"float4 o[{each.rows}][{each.columns}];")
        self._each(each, "o[i][v] = 0.0f;")
        tiles = ceil(p.keys / t.bk)
        self._declare()
        self._bring("0")
        with k.loop("kt", tiles):
            self._put()
            k.barrier()
            with k.when(f"kt + 1 < {tiles}"):
                self._bring("(kt + 1)")
            self._scores()
            k.barrier()
            self._softmax()
            self._weigh()
            k.barrier()
        self._store()

    def _carve(self) -> None:
        t, k, at = self.t, self.k, 0
        for name, size in (
            ("lq", t.bq * t.pitch_q), ("lk", t.bk * t.pitch_q), ("lv", t.bk * t.v4), ("lp", t.bq * t.pitch_p),
        ):  # fmt: skip
            k.emit(f"__local float4* {name} = mem + {at};")
            at += size
        at = t.vectors - t.numbers // 4
        k.emit(f"__local float* peaks = (__local float*)(mem + {at});")
        k.emit(f"__local float* sums = peaks + {t.items};")
        k.emit(f"__local float* top = sums + {t.items}, *total = top + {t.bq}, *shrink = total + {t.bq};")
        with k.when(f"lid < {t.bq}"):
            k.emit(f"top[lid] = {LOWEST}; total[lid] = 0.0f;")

    def _each(self, grid: _Grid, line: str | Statement) -> None:
        with self.k.loop("i", grid.rows, unroll=grid.rows):
            self.k.each("v", grid.columns, line, form=Form.BRACES, unroll=grid.columns)

    def _vector(self, read: Callable[[Reader, Expr], str], dim: int) -> str:
        """Components ``4*c .. 4*c+3`` of a row, zeros past ``dim``."""
        k, count = self.k, ceil(dim / 4)
        if dim % 4 == 0:
            return read(GpuReader(self.env, k, 4), var("c", count) * 4 + lane(4))
        parts = []
        for j in range(4):
            at = k.define("int", f"min(c*4 + {j}, {dim - 1})")
            value = read(GpuReader(self.env, k), var(at, dim) if dim > 1 else wrap(0))
            parts.append(f"(c*4 + {j} < {dim} ? {value} : 0.0f)")
        return f"(float4)({', '.join(parts)})"

    def _bring_queries(self) -> None:
        p, k, t = self.p, self.k, self.t
        shape = self.env.graph.types[p.scores.inputs[0]].shape
        with k.loop("e", t.bq * t.d4, first="lid", step=t.items):
            k.emit(f"const int i = e/{t.d4}, c = e%{t.d4}, row = min(block*{t.bq} + i, {p.queries - 1});")
            row = var("row", p.queries) if p.queries > 1 else wrap(0)
            head = broadcast(self.batch, shape[:-2])
            text = self._vector(lambda r, d: r.read(p.scores.inputs[0], [*head, row, d]), p.dim)
            k.emit(f"lq[i*{t.pitch_q} + c] = {text};")

    def _declare(self) -> None:
        t = self.t
        self.each_k, self.each_v = ceil(t.bk * t.d4 / t.items), ceil(t.bk * t.v4 / t.items)
        self.k.emit(f"float4 rk[{self.each_k}], rv[{self.each_v}];")

    def _share(self, each: int, count: int) -> AbstractContextManager[None]:
        guard = f"lid + j*{self.t.items} < {count}" if count % self.t.items else ""
        return self.k.loop("j", each, guard=guard, unroll=each)

    def _bring(self, kt: str) -> None:
        """Memory to registers: keys and values of tile ``kt``; those past the last repeat it."""
        p, t = self.p, self.t
        keys, values = p.scores.inputs[1], p.product.inputs[1]
        types = self.env.graph.types
        head = broadcast(self.batch, types[keys].shape[:-2])
        self._bring_rows("rk", kt, t.d4, p.dim, self.each_k, lambda r, row, d: r.read(keys, [*head, d, row]))
        outer = broadcast(self.outer, types[values].shape[:-2])
        self._bring_rows(
            "rv", kt, t.v4, p.dim_v, self.each_v, lambda r, row, d: r.read(values, [*outer, row, d])
        )

    def _bring_rows(
        self, name: str, kt: str, per: int, dim: int, each: int, read: Callable[[Reader, Expr, Expr], str]
    ) -> None:
        p, k, t = self.p, self.k, self.t
        with self._share(each, t.bk * per):
            k.emit(f"const int e = lid + j*{t.items}, c = e%{per};")
            k.emit(f"const int row = min({kt}*{t.bk} + e/{per}, {p.keys - 1});")
            row = var("row", p.keys) if p.keys > 1 else wrap(0)
            k.emit(f"{name}[j] = {self._vector(lambda r, d: read(r, row, d), dim)};")

    def _put(self) -> None:
        """Registers to local memory."""
        t, k = self.t, self.k
        with self._share(self.each_k, t.bk * t.d4):
            k.emit(f"const int e = lid + j*{t.items};")
            k.emit(f"lk[e/{t.d4}*{t.pitch_q} + e%{t.d4}] = rk[j];")
        with self._share(self.each_v, t.bk * t.v4):
            k.emit(f"lv[lid + j*{t.items}] = rv[j];")

    def _scores(self) -> None:
        """Products of a tile of queries and keys, their element-wise chain, into local memory."""
        p, k, t, g = self.p, self.k, self.t, self.scores
        with k.scope():
            k.emit(f"const int tx = lid%{g.across}, ty = lid/{g.across};")
            k.emit(f"float s[{g.rows}][{g.columns}];")
            self._each(g, "s[i][v] = 0.0f;")
            with k.loop("c", t.d4, unroll=4):
                k.emit(f"float4 a[{g.rows}], b[{g.columns}];")
                row = f"min(ty + i*{g.down}, {t.bq - 1})" if g.idle else f"ty + i*{g.down}"
                k.each("i", g.rows, f"a[i] = lq[({row})*{t.pitch_q} + c];", unroll=g.rows)
                at = f"lk[(tx + v*{g.across})*{t.pitch_q} + c]"
                k.each("v", g.columns, f"b[v] = {at};", unroll=g.columns)
                terms = " ".join(f"s[i][v] = fma(a[i].s{j}, b[v].s{j}, s[i][v]);" for j in range(4))
                self._each(g, terms)
            with k.loop("i", g.rows, unroll=g.rows):
                k.emit(f"const int r = ty + i*{g.down}, query = min(block*{t.bq} + r, {p.queries - 1});")
                with k.loop("v", g.columns, unroll=g.columns):
                    k.emit(
                        f"const int c = tx + v*{g.across}, at = kt*{t.bk} + c, key = min(at, {p.keys - 1});"
                    )
                    query = var("query", p.queries) if p.queries > 1 else wrap(0)
                    key = var("key", p.keys) if p.keys > 1 else wrap(0)
                    reader = GpuReader(self.env, k)
                    text, _ = forward(reader, p.chain, p.scores.output, "s[i][v]", [*self.batch, query, key])
                    value = f"at < {p.keys} ? {text} : {LOWEST}" if p.keys % t.bk else text
                    store = f"((__local float*)lp)[r*{4 * t.pitch_p} + c] = {value};"
                    k.do_when(f"r < {t.bq}", store) if g.idle else k.emit(store)

    def _softmax(self) -> None:
        """Exponentials of the tile in place; a query's running maximum and sum; how far its output shrinks."""
        k, t = self.k, self.t
        per = ceil(t.bk / t.team)
        mine = f"p + j*{t.team} < {t.bk}" if t.bk % t.team else ""
        e = exp(k, "float")
        with k.scope():
            k.emit(f"const int r = lid/{t.team}, p = lid%{t.team};")
            k.emit(f"__local float* row = (__local float*)lp + r*{4 * t.pitch_p} + p;")
            k.emit(f"float x[{per}], peak = top[r];")
            with k.loop("j", per, unroll=per):
                text = f"row[j*{t.team}]"
                k.emit(f"x[j] = {f'{mine} ? {text} : {LOWEST}' if mine else text};")
                k.emit("peak = fmax(peak, x[j]);")
            if self.shuffles:
                reduce_team(k, "peak", t.team, "fmax({}, {})")
            else:
                k.emit("peaks[lid] = peak;")
                k.barrier()
                k.each("q", t.team, f"peak = fmax(peak, peaks[r*{t.team} + q]);")
            # Finite, so that a tile whose keys are all masked out leaves no NaN behind.
            k.emit("const float base = fmax(peak, -FLT_MAX);")
            k.emit("float sum = 0.0f;")
            with k.loop("j", per, unroll=per):
                k.emit(f"const float y = {e}(x[j] - base);")
                with k.when(f"{mine}" if mine else ""):
                    k.emit(f"sum += y; row[j*{t.team}] = y;")
            if self.shuffles:
                reduce_team(k, "sum", t.team, "({} + {})")
            else:
                k.emit("sums[lid] = sum;")
                k.barrier()
            with k.when("p == 0"):
                k.emit(f"const float keep = {e}(fmax(top[r], -FLT_MAX) - base);")
                if not self.shuffles:
                    k.each("q", t.team, "sum += sums[lid + q];", first=1)
                k.emit("total[r] = fma(total[r], keep, sum); shrink[r] = keep; top[r] = peak;")
            k.barrier()

    def _weigh(self) -> None:
        """The tile's values, weighted, onto the output so far; each set of work-items takes its part of the keys."""
        k, t, g = self.k, self.t, self.values
        with k.scope():
            self._place()
            row = f"min(ty + i*{g.down}, {t.bq - 1})" if g.idle else f"ty + i*{g.down}"
            column = f"min(tx + v*{g.across}, {t.v4 - 1})" if t.v4 % g.across else f"tx + v*{g.across}"
            self._each(g, f"o[i][v] *= shrink[{row}];")
            part = t.bk // 4 // self.sets
            with k.loop("c", f"(set + 1)*{part}", first=f"set*{part}", unroll=4):
                k.emit(f"float4 a[{g.rows}];")
                k.each("i", g.rows, f"a[i] = lp[({row})*{t.pitch_p} + c];", unroll=g.rows)
                for j in range(4):
                    with k.loop("v", g.columns, unroll=g.columns):
                        k.emit(f"const float4 b = lv[(c*4 + {j})*{t.v4} + {column}];")
                        weighed = f"o[i][v] = fma((float4)(a[i].s{j}), b, o[i][v]);"
                        k.each("i", g.rows, weighed, unroll=g.rows)

    def _place(self) -> None:
        """This work-item in the grid of outputs."""
        g, items = self.values, self.t.items // self.sets
        k = self.k
        k.emit(f"const int set = lid/{items}, tx = lid%{g.across}, ty = lid%{items}/{g.across};")

    def _store(self) -> None:
        """The sets' outputs meet in local memory; neighbours store neighbouring components."""
        p, k, t, g = self.p, self.k, self.t, self.values
        size = t.bq * t.v4
        with k.scope():
            self._place()
            place = f"set*{size} + (ty + i*{g.down})*{t.v4} + tx + v*{g.across}"
            rows = f"ty + i*{g.down} < {t.bq}" if g.idle else "1"
            columns = f"tx + v*{g.across} < {t.v4}" if t.v4 % g.across else "1"
            store = Text((f"mem[{place}] = o[i][v];",))
            self._each(g, If(f"{rows} && {columns}", (store,), form=Form.LINE))
        k.barrier()
        with k.loop("e", size, first="lid", step=t.items):
            k.emit(f"const int r = e/{t.v4}, c = e%{t.v4}, query = block*{t.bq} + r;")
            with k.when(f"query < {p.queries}" if p.queries % t.bq else ""):
                # A query whose keys are all masked out has no average: NaN, as it must.
                k.emit(f"const float scale = top[r] == {LOWEST} ? NAN : 1.0f / total[r];")
                parts = " + ".join(f"mem[e + {i * size}]" if i else "mem[e]" for i in range(self.sets))
                k.emit(f"const float4 sum = ({parts}) * scale;")
                self._finish()

    def _finish(self) -> None:
        p, k = self.p, self.k
        row = var("query", p.queries) if p.queries > 1 else wrap(0)
        if p.dim_v % 4 == 0:
            self._out(GpuReader(self.env, k, 4), "sum", [row, var("c", p.dim_v // 4) * 4 + lane(4)])
            return
        for j in range(4):
            with k.when(f"c*4 + {j} < {p.dim_v}"):
                k.emit(f"const int n = c*4 + {j};")
                column = var("n", p.dim_v) if p.dim_v > 1 else wrap(0)
                self._out(GpuReader(self.env, k), f"sum.s{j}", [row, column])

    def _out(self, reader: Reader, text: str, at: list[Expr]) -> None:
        p = self.p
        name = reader.kernel.define(reader.ctype(p.product.output), text)
        result, coords = forward(reader, p.tail, p.product.output, name, [*self.outer, *at])
        reader.store(p.value, coords, result)
