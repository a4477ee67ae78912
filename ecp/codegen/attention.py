"""Attention in one launch: scores, softmax and the weighted sum of values never leave registers and L1.

One work-item owns a block of queries (``attention_q`` vectors, lanes run along queries) of one head. Scores
are kept transposed, [keys][queries], so that softmax needs no reduction across lanes. A launch may hold
several segments (core queries over all keys, periphery queries over core keys): each work-item picks one
by its index and writes disjoint rows, so core-periphery attention needs no slice and no concat.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, prod

from ecp.codegen.attention_parts import Segment, Values, own_blocks, scalar_stream, segments
from ecp.codegen.attention_rows import emit_rows, suits
from ecp.codegen.core.kernel import Kernel, Launch, global_id
from ecp.codegen.functions import exp
from ecp.codegen.map import FLOATS
from ecp.codegen.reader import Env, Reader, lane
from ecp.codegen.schedule import Schedule
from ecp.errors import UnsupportedOperatorError
from ecp.index.expr import Expr, var, wrap
from ecp.index.maps import broadcast
from ecp.ir.graph import Node


def emit_attention(env: Env, schedule: Schedule, node: Node) -> Launch:
    """Code of an ``attention`` launch."""
    parts = segments(env, node.attrs["body"])
    if any(env.graph.types[v].dtype not in FLOATS for p in parts for v in (*p.scores.inputs, p.value)):
        raise UnsupportedOperatorError("attention on a dtype other than float32 or float16 has no kernel")
    if schedule.cpu and all(suits(p, schedule) for p in parts):
        return emit_rows(env, schedule, parts)
    kernel = Kernel("attention", schedule.attributes)
    kernel.declare("int", block=global_id())
    batch = prod(parts[0].batch)
    if batch > 1:
        kernel.declare("const int", head=global_id(1))
    blocks = 0
    for part in parts:
        vec, count = _query_block(part, schedule)
        tiles = ceil(part.queries / (vec * count))
        with own_blocks(kernel, blocks, tiles, len(parts) > 1):
            _Block(env, schedule, kernel, part, vec, count).emit()
        blocks += tiles
        kernel.flops += 2 * prod(part.batch) * part.queries * part.keys * (part.dim + part.dim_v)
    local = (1, 1) if schedule.cpu else None
    return kernel.finish((blocks, max(1, batch)), local)


def _query_block(part: Segment, s: Schedule) -> tuple[int, int]:
    """(lanes per vector, vectors) of a query block: few idle lanes, scores within the L1 cache."""
    if not s.cpu:
        return 1, 1
    vec = s.vec
    while vec > 4 and part.queries <= vec // 2:
        vec //= 2
    count = s.attention_q
    while count > 1 and (part.queries <= vec * (count - 1) or part.keys * vec * count * 4 > (1 << 19)):
        count -= 1
    return vec, count


class _Block:
    """Code of one segment's work-item."""

    def __init__(self, env: Env, s: Schedule, kernel: Kernel, part: Segment, vec: int, count: int):
        self.env, self.s, self.k, self.p, self.vec, self.count = env, s, kernel, part, vec, count
        self.f = f"float{vec}" if vec > 1 else "float"
        self.block = vec * count
        self.values = Values(env, part)
        self.batch, self.short_chain = self.values.batch, self.values.short_chain

    def emit(self) -> None:
        """All steps."""
        p, k, qb = self.p, self.k, self.block
        # The last block starts early and recomputes rows of its neighbour, so that no lane leaves the operand.
        last = max(0, p.queries - qb)
        k.emit(f"const int first = block*{qb};")
        k.emit(f"const int start = min(first, {last});")
        self.start = var("start", last + 1)
        k.emit(f"float qt[{p.dim * qb}]; float st[{p.keys * qb}];")
        self._pack_queries()
        self._scores()
        self._softmax()
        self._values()

    def _load(self, base: str, index: str) -> str:
        return f"vload{self.vec}({index}, {base})" if self.vec > 1 else f"{base}[{index}]"

    def _save(self, text: str, base: str, index: str) -> str:
        return f"vstore{self.vec}({text}, {index}, {base});" if self.vec > 1 else f"{base}[{index}] = {text};"

    def _pack_queries(self) -> None:
        """qt[d][query]: each query row is read once, along d."""
        p, k, qb = self.p, self.k, self.block
        shape = self.env.graph.types[p.scores.inputs[0]].shape
        width = 16 if self.s.cpu else 1
        while width > 1 and p.dim % width:
            width //= 2
        width = width if width >= 4 else 1
        reader = Reader(self.env, k, width)
        with k.loop("i", qb):
            if p.queries >= qb:
                row = self.start + var("i", qb)
            else:
                k.emit(f"const int qrow = min(i, {p.queries - 1});")
                row = var("qrow", p.queries)
            for d in range(0, p.dim, width):
                at = wrap(d) + lane(width) if width > 1 else wrap(d)
                text = reader.read(p.scores.inputs[0], [*broadcast(self.batch, shape[:-2]), row, at])
                for e in range(width):
                    k.emit(f"qt[{(d + e) * qb} + i] = {text}{f'.s{e:x}' if width > 1 else ''};")

    def _scores(self) -> None:
        """st[key][query] = chain(sum_d q[query][d] * k[key][d])."""
        p, k = self.p, self.k
        shape = self.env.graph.types[p.scores.inputs[1]].shape
        head = broadcast(self.batch, shape[:-2])
        tile = self.s.attention_k
        full, rest = divmod(p.keys, tile)
        for f in range(self.count):
            k.emit(f"{self.f} top{f} = -INFINITY;")
        if full:
            with k.loop("kt", full):
                self._score_tile(head, var("kt", full) * tile, tile)
        if rest:
            with k.scope():
                self._score_tile(head, wrap(full * tile), rest)
        if not self.short_chain:
            self._apply_chain()

    def _score_tile(self, head: list[Expr], first: Expr, tile: int) -> None:
        p, k = self.p, self.k
        self._zero("s", tile)

        def key(j: int) -> Callable[[Reader, Expr], str]:
            return lambda r, d: r.read(p.scores.inputs[1], [*head, d, first + j])

        keys = [scalar_stream(self.env, k, f"k{j}", key(j), p.dim) for j in range(tile)]
        with k.loop("d", p.dim, unroll=self.s.unroll):
            for f in range(self.count):
                k.emit(f"const {self.f} q{f} = {self._load('qt', f'd*{self.count}+{f}')};")
            for j in range(tile):
                k.emit(f"const {self.f} y{j} = ({self.f})({keys[j]('d')});")
                k.emit(" ".join(f"s{j}_{f} = fma(y{j}, q{f}, s{j}_{f});" for f in range(self.count)))
        reader = Reader(self.env, k, self.vec)
        for j in range(tile):
            for f in range(self.count):
                text = self._chained(reader, f"s{j}_{f}", f, first + j) if self.short_chain else f"s{j}_{f}"
                k.emit(self._save(text, "st", f"({reader.index(first + j)})*{self.count}+{f}"))

    def _chained(self, reader: Reader, text: str, f: int, key: Expr) -> str:
        """The score after its element-wise chain; the running maximum is updated."""
        query = self.start + f * self.vec + (lane(self.vec) if self.vec > 1 else 0)
        text = self.values.chained(reader, text, query, key)
        self.k.emit(f"top{f} = fmax(top{f}, {text});")
        return text

    def _apply_chain(self) -> None:
        """A long chain (position bias, mask) runs in a loop of its own, so that its code appears once."""
        k = self.k
        with k.loop("j", self.p.keys):
            reader = Reader(self.env, k, self.vec)
            for f in range(self.count):
                at = f"j*{self.count}+{f}"
                raw = k.define(self.f, self._load("st", at))
                k.emit(self._save(self._chained(reader, raw, f, var("j", self.p.keys)), "st", at))

    def _zero(self, name: str, rows: int) -> None:
        for j in range(rows):
            self.k.emit(f"{self.f} " + ", ".join(f"{name}{j}_{f} = 0.0f" for f in range(self.count)) + ";")

    def _softmax(self) -> None:
        """Exponentials in place and 1/sum per query; a row that is masked out entirely gives NaN, as it must."""
        k, e = self.k, exp(self.k, self.f)
        for f in range(self.count):
            k.emit(f"{self.f} total{f} = 0.0f;")
        with k.loop("j", self.p.keys):
            for f in range(self.count):
                at = f"j*{self.count}+{f}"
                k.emit(f"const {self.f} e{f} = {e}({self._load('st', at)} - top{f});")
                k.emit(f"total{f} += e{f};")
                k.emit(self._save(f"e{f}", "st", at))
        for f in range(self.count):
            k.emit(f"const {self.f} scale{f} = 1.0f / total{f};")

    def _values(self) -> None:
        """out[query][d] = scale * sum_key st[key][query] * v[key][d]."""
        p, k = self.p, self.k
        shape = self.env.graph.types[p.product.inputs[1]].shape
        outer = self.values.outer()
        head = broadcast(outer, shape[:-2])
        tile = self.s.attention_k
        while p.dim_v % tile:
            tile -= 1
        with k.loop("dt", p.dim_v // tile):
            first = var("dt", p.dim_v // tile) * tile
            self._zero("o", tile)

            def component(d: int) -> Callable[[Reader, Expr], str]:
                return lambda r, j: r.read(p.product.inputs[1], [*head, j, first + d])

            streams = [scalar_stream(self.env, k, f"v{d}", component(d), p.keys) for d in range(tile)]
            with k.loop("j", p.keys, unroll=self.s.unroll):
                for f in range(self.count):
                    k.emit(f"const {self.f} p{f} = {self._load('st', f'j*{self.count}+{f}')};")
                for d in range(tile):
                    k.emit(f"const {self.f} y{d} = ({self.f})({streams[d]('j')});")
                    k.emit(" ".join(f"o{d}_{f} = fma(y{d}, p{f}, o{d}_{f});" for f in range(self.count)))
            for d in range(tile):
                for f in range(self.count):
                    k.emit(f"o{d}_{f} *= scale{f};")
            self._store(outer, first, tile)

    def _store(self, outer: list[Expr], first: Expr, tile: int) -> None:
        """Through a small transposing buffer, so that each query's run of d is stored by scalars in order."""
        p, k, qb = self.p, self.k, self.block
        k.emit(f"float ot[{tile * qb}];")
        for d in range(tile):
            for f in range(self.count):
                k.emit(self._save(f"o{d}_{f}", "ot", str(d * self.count + f)))
        width = 1
        for w in (16, 8, 4):
            if tile % w == 0 and self.s.cpu:
                width = w
                break
        limit = min(qb, p.queries)
        skip = "first - start" if p.queries % qb and p.queries > qb else "0"
        with k.loop("i", limit, first=skip):
            row = self.start + var("i", limit)
            reader = Reader(self.env, k, width)
            if width > 1:
                parts = ", ".join(f"ot[{d * qb} + i]" for d in range(width))
                for base in range(0, tile, width):
                    parts = ", ".join(f"ot[{(base + d) * qb} + i]" for d in range(width))
                    name = k.define(f"float{width}", f"(float{width})({parts})")
                    self.values.finish(reader, name, [*outer, row, first + base + lane(width)])
            else:
                for d in range(tile):
                    self.values.finish(reader, f"ot[{d * qb} + i]", [*outer, row, first + d])
