"""Attention on CPU devices with lanes along keys, then along the value's features: two products at full rate.

A unit of work is a range of query tiles of one head. It packs the head's keys once as [d][key], then for every tile
of ``rows`` queries: scores in register tiles of queries x key vectors (as in a matrix product), softmax along the
rows of a small private buffer, and the weighted sum of values in register tiles of queries x feature vectors, read
and written in place. Nothing but the keys is transposed. Segments (core queries over all keys, periphery queries
over core keys) share packed keys and tiles, so core-periphery attention needs no slice and no concat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from ecp.codegen.attention_parts import Segment, Values, scalar_stream
from ecp.codegen.functions import exp
from ecp.codegen.kernel import Kernel, Launch
from ecp.codegen.probe import AddressProbe
from ecp.codegen.queue import queue
from ecp.codegen.reader import Env, Reader, horizontal, lane
from ecp.codegen.schedule import Schedule
from ecp.index.expr import Expr, var, wrap
from ecp.index.maps import broadcast

# Accumulators of a register tile; vectors of features or keys in it.
ACCUMULATORS, VECTORS = 24, 4
UNITS_PER_WORKER = 6


def suits(part: Segment, s: Schedule) -> bool:
    """Whole vectors of features, and enough keys to fill a vector."""
    return part.dim_v % s.vec == 0 and 2 * part.keys > s.vec


def emit_rows(env: Env, schedule: Schedule, parts: list[Segment]) -> Launch:
    """Code of an ``attention`` launch whose segments all suit."""
    kernel = Kernel("attention", schedule.attributes)
    heads = prod(parts[0].batch)
    groups: list[list[Segment]] = []
    for part in parts:
        together = next((g for g in groups if _shares(env, g[0], part)), None)
        groups.append([part]) if together is None else together.append(part)
    code = [_Rows(env, schedule, kernel, sorted(g, key=lambda p: -p.keys)) for g in groups]
    splits = min(sum(c.tiles for c in code), ceil(UNITS_PER_WORKER * schedule.workers / heads))
    workers = min(schedule.workers, heads * splits)
    with queue(env, kernel, heads * splits, workers):
        kernel.emit(f"const int head = unit / {splits}, split = unit % {splits};")
        kernel.emit(f"float kt[{max(c.dim * c.pitch for c in code)}];")
        kernel.emit(f"float st[{max(c.rows * c.pitch for c in code)}];")
        for c in code:
            c.emit(splits)
    kernel.flops = sum(2 * heads * p.queries * p.keys * (p.dim + p.dim_v) for p in parts)
    return kernel.finish((workers,), (1,))


def _shares(env: Env, a: Segment, b: Segment) -> bool:
    """True where key (and value) ``j`` of both is the same element of memory, as far as both go."""
    both = Values(env, a), Values(env, b)
    if (a.dim, a.dim_v) != (b.dim, b.dim_v) or not all(v.short_chain for v in both):
        return False
    key, d, dv = var("key", min(a.keys, b.keys)), var("d", a.dim), var("dv", a.dim_v)

    def places(v: Values) -> list[tuple[str, Expr] | None]:
        k, w = v.p.scores.inputs[1], v.p.product.inputs[1]
        at_k, at_w = [*v.head(k), d, key], [*v.head(w), key, dv]
        return [
            AddressProbe(env).address(lambda r: r.read(k, at_k)),
            AddressProbe(env).address(lambda r: r.read(w, at_w)),
        ]

    mine, theirs = (places(v) for v in both)
    return None not in mine and mine == theirs


@dataclass(frozen=True)
class _Row:
    """A query of a tile: its segment's operands, its coordinate, the keys it sees."""

    values: Values
    at: Expr
    keys: int


class _Rows:
    """Code of segments over the same keys (the first sees most): their queries, one after another, in tiles."""

    def __init__(self, env: Env, s: Schedule, kernel: Kernel, parts: list[Segment]):
        self.env, self.k, self.vec, self.unroll = env, kernel, s.vec, s.unroll
        self.parts, self.values = parts, [Values(env, p) for p in parts]
        self.p, self.dim = parts[0], parts[0].dim
        vectors = self.p.dim_v // s.vec
        self.dv = max(v for v in range(1, VECTORS + 1) if vectors % v == 0)
        total = sum(p.queries for p in parts)
        self.rows = ceil(total / ceil(total / min(14, ACCUMULATORS // self.dv)))
        self.tiles = ceil(total / self.rows)
        self.key_vectors = ceil(self.p.keys / s.vec)
        self.pitch = self.key_vectors * s.vec
        self.f = f"float{s.vec}"
        self.here: list[_Row] = []

    def emit(self, splits: int) -> None:
        """The query tiles of one split."""
        k = self.k
        self.pack_keys()
        first, end = (f"{self.tiles}*{at}/{splits}" for at in ("split", "(split+1)"))
        with k.block(f"for (int tile = {first}; tile < {end}; ++tile)"):
            runs = self._runs()
            for index, (begin, count) in enumerate(runs):
                test = (
                    ""
                    if len(runs) == 1
                    else "else"
                    if index == len(runs) - 1
                    else f"if (tile < {begin + count})"
                )
                with k.block(f"else {test}" if 0 < index < len(runs) - 1 else test):
                    k.emit(f"const int run = tile - {begin};")
                    self._tile(begin, count)

    def _runs(self) -> list[tuple[int, int]]:
        """(first tile, number of tiles) with the same code: whole tiles inside one segment, or a single tile."""
        ends = np.cumsum([p.queries for p in self.parts]).tolist()
        runs: list[tuple[int, int]] = []
        kinds: list[int | None] = []
        for tile in range(self.tiles):
            first, last = tile * self.rows, min((tile + 1) * self.rows, ends[-1]) - 1
            inside = next((i for i, e in enumerate(ends) if first < e), None)
            if inside is not None and last >= ends[inside]:
                inside = None
            kind = inside if last - first == self.rows - 1 else None
            if runs and kind is not None and kinds[-1] == kind:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((tile, 1))
                kinds.append(kind)
        return runs

    def _tile(self, begin: int, count: int) -> None:
        self.here = []
        first = 0
        for part, values in zip(self.parts, self.values):
            for row in range(begin * self.rows, min((begin + 1) * self.rows, first + part.queries)):
                if row >= first:
                    at = var("run", count) * self.rows + (row - first)
                    self.here.append(_Row(values, at, part.keys))
            first += part.queries
        self.keys = max(row.keys for row in self.here)
        self.vectors = ceil(self.keys / self.vec)
        self._scores()
        if not self.values[0].short_chain:
            self._apply_chain()
        self._softmax()
        self._weighted_sum()

    def pack_keys(self) -> None:
        """kt[d][key]; lanes past the last key repeat it."""
        p, k, vec = self.p, self.k, self.vec
        head = self.values[0].head(p.scores.inputs[1])
        whole = p.dim % vec == 0
        reader = Reader(self.env, k, vec if whole else 1)
        clamp = p.keys % vec != 0
        with k.block(f"for (int kb = 0; kb < {self.key_vectors}; ++kb)"):

            def key(i: int | str) -> Expr:
                if not clamp:
                    return var("kb", self.key_vectors) * vec + (i if isinstance(i, int) else var(i, vec))
                name = k.define("int", f"min(kb*{vec} + {i}, {p.keys - 1})")
                return var(name, p.keys)

            if not whole:
                with k.block(f"for (int i = 0; i < {vec}; ++i)"):
                    at = key("i")
                    with k.block(f"for (int d = 0; d < {p.dim}; ++d)"):
                        text = reader.read(p.scores.inputs[1], [*head, var("d", p.dim), at])
                        k.emit(f"kt[d*{self.pitch} + kb*{vec} + i] = {text};")
                return
            keys = [key(i) for i in range(vec)]
            with k.block(f"for (int db = 0; db < {p.dim // vec}; ++db)"):
                d = var("db", p.dim // vec) * vec + lane(vec)
                rows = [reader.read(p.scores.inputs[1], [*head, d, at]) for at in keys]
                to = f"kt + db*{vec * self.pitch} + kb*{vec}"
                k.emit(f"{transpose(k, vec)}({to}, {self.pitch}, {', '.join(rows)});")

    def _scores(self) -> None:
        """st[query][key] = sum_d q[query][d] * k[key][d], the element-wise chain applied where it is short."""
        total = len(self.here)
        rows = total if total <= 8 else ceil(total / 2)
        width = max(1, min(VECTORS, ACCUMULATORS // rows))
        groups = ceil(self.vectors / width)
        small, wide = divmod(self.vectors, groups)
        if self.values[0].short_chain:
            for i in range(total):
                self.k.emit(f"{self.f} top{i} = -INFINITY;")
        for begin in range(0, total, rows):
            covered = range(begin, min(begin + rows, total))
            for count, size, first in ((wide, small + 1, 0), (groups - wide, small, wide * (small + 1))):
                if count:
                    with self.k.block(f"for (int g = 0; g < {count}; ++g)"):
                        self._score_tile(covered, size, first, count)

    def _score_tile(self, rows: range, size: int, first: int, count: int) -> None:
        p, k, vec = self.p, self.k, self.vec
        for i in rows:
            k.emit(f"{self.f} " + ", ".join(f"s{i}_{v} = 0.0f" for v in range(size)) + ";")
        query = {i: self._query(i) for i in rows}
        k.emit(f"const float* key = kt + (g*{size} + {first})*{vec};")
        k.emit(f"#pragma unroll {self.unroll}")
        with k.block(f"for (int d = 0; d < {p.dim}; ++d)"):
            for v in range(size):
                k.emit(f"const {self.f} y{v} = vload{vec}({v}, key + d*{self.pitch});")
            for i in rows:
                k.emit(f"const {self.f} x{i} = ({self.f})({query[i]('d')});")
                k.emit(" ".join(f"s{i}_{v} = fma(x{i}, y{v}, s{i}_{v});" for v in range(size)))
        reader = Reader(self.env, k, vec)
        for i in rows:
            row = self.here[i]
            for v in range(size):
                at = (var("g", count) * size + first + v) * vec
                text = f"s{i}_{v}"
                if row.values.short_chain:
                    text = row.values.chained(reader, text, row.at, at + lane(vec))
                    if at.hi + vec > row.keys and row.keys < self.keys:
                        text = self._hide(text, reader.index(at), row.keys)
                    k.emit(f"top{i} = {larger(f'top{i}', text)};")
                k.emit(f"vstore{vec}({text}, 0, st + {i * self.pitch} + {reader.index(at)});")

    def _query(self, i: int) -> Callable[[str], str]:
        row = self.here[i]
        operand = row.values.p.scores.inputs[0]
        head = row.values.head(operand)
        return scalar_stream(
            self.env, self.k, f"q{i}", lambda r, d: r.read(operand, [*head, row.at, d]), self.dim
        )

    def _hide(self, text: str, at: str, keys: int) -> str:
        """Scores of keys that this row does not see become -infinity, which weighs 1e-38."""
        lanes = ", ".join(map(str, range(self.vec)))
        seen = f"(int{self.vec})({lanes}) < (int{self.vec})({keys} - ({at}))"
        return self.k.define(self.f, f"select(({self.f})(-INFINITY), {text}, {seen})")

    def _apply_chain(self) -> None:
        """A long chain (position bias, mask) in a loop of its own; lanes past the last key become -infinity."""
        k, vec = self.k, self.vec
        full, rest = divmod(self.keys, vec)
        for i in range(len(self.here)):
            k.emit(f"{self.f} top{i} = -INFINITY;")
        if full:
            with k.block(f"for (int j = 0; j < {full}; ++j)"):
                reader = Reader(self.env, k, vec)
                for i in range(len(self.here)):
                    at = f"st + {i * self.pitch} + j*{vec}"
                    raw = k.define(self.f, f"vload{vec}(0, {at})")
                    key = var("j", full) * vec + lane(vec)
                    text = self.here[i].values.chained(reader, raw, self.here[i].at, key)
                    k.emit(f"top{i} = {larger(f'top{i}', text)};")
                    k.emit(f"vstore{vec}({text}, 0, {at});")
        if rest:
            with k.block(f"for (int i = 0; i < {len(self.here)}; ++i)"):
                k.emit(f"float* tail = st + i*{self.pitch} + {full * vec};")
                with k.block(f"for (int j = 0; j < {rest}; ++j)"):
                    reader = Reader(self.env, k)
                    row, key = self.here[0].at + var("i", len(self.here)), wrap(full * vec) + var("j", rest)
                    k.emit(f"tail[j] = {self.values[0].chained(reader, 'tail[j]', row, key)};")
                k.emit(f"for (int j = {rest}; j < {vec}; ++j) tail[j] = -INFINITY;")
            for i in range(len(self.here)):
                tail = f"vload{vec}(0, st + {i * self.pitch + full * vec})"
                k.emit(f"top{i} = {larger(f'top{i}', tail)};")

    def _softmax(self) -> None:
        """Exponentials in place and 1/sum per query; a row that is masked out entirely gives NaN, as it must.

        A loop over the rows: unrolled, it would be half of the kernel's text and most of its build time.
        """
        k, vec, rows = self.k, self.vec, len(self.here)
        e = exp(k, self.f)
        full, rest = divmod(self.keys, vec)
        k.emit(f"float tops[{rows * vec}], scale[{rows}];")
        for i in range(rows):
            k.emit(f"vstore{vec}(top{i}, {i}, tops);")
        with k.block(f"for (int i = 0; i < {rows}; ++i)"):
            k.emit(f"float* row = st + i*{self.pitch};")
            k.emit(f"const {self.f} top = vload{vec}(i, tops);")
            k.emit(f"const float peak = {horizontal('top', vec, 'fmax')};")
            k.emit(f"{self.f} total = 0.0f;")
            with k.block(f"for (int j = 0; j < {full}; ++j)"):
                k.emit(f"const {self.f} e = {e}(vload{vec}(j, row) - peak);")
                k.emit("total += e;")
                k.emit(f"vstore{vec}(e, j, row);")
            if rest:
                name = k.define(self.f, f"{e}(vload{vec}({full}, row) - peak)")
                # Lanes past the last key are not part of the sum, and no value is read for them.
                lanes = ", ".join(f"{name}.s{n:x}" if n < rest else "0.0f" for n in range(vec))
                k.emit(f"total += ({self.f})({lanes});")
                k.emit(f"vstore{vec}({name}, {full}, row);")
            k.emit(f"scale[i] = 1.0f / {horizontal('total', vec, '+')};")

    def _weighted_sum(self) -> None:
        """out[query][d] = scale * sum_key st[query][key] * v[key][d]."""
        p, k, vec = self.p, self.k, self.vec
        groups = p.dim_v // (self.dv * vec)
        outer = self.values[0].outer()
        head = broadcast(outer, self.env.graph.types[p.product.inputs[1]].shape[:-2])
        with k.block(f"for (int dg = 0; dg < {groups}; ++dg)" if groups > 1 else ""):
            first = var("dg", groups) * (self.dv * vec) if groups > 1 else wrap(0)
            for i in range(len(self.here)):
                k.emit(f"{self.f} " + ", ".join(f"o{i}_{v} = 0.0f" for v in range(self.dv)) + ";")
            k.emit(f"#pragma unroll {self.unroll}")
            with k.block(f"for (int j = 0; j < {self.keys}; ++j)"):
                reader = Reader(self.env, k, vec)
                for v in range(self.dv):
                    at = first + v * vec + lane(vec)
                    k.emit(
                        f"const {self.f} y{v} = {reader.read(p.product.inputs[1], [*head, var('j', self.keys), at])};"
                    )
                for i in range(len(self.here)):
                    k.emit(f"const {self.f} x{i} = ({self.f})(st[{i * self.pitch} + j]);")
                    k.emit(" ".join(f"o{i}_{v} = fma(x{i}, y{v}, o{i}_{v});" for v in range(self.dv)))
            reader = Reader(self.env, k, vec)
            for i in range(len(self.here)):
                for v in range(self.dv):
                    name = k.define(self.f, f"o{i}_{v} * scale[{i}]")
                    row = self.here[i]
                    row.values.finish(
                        reader, name, [*row.values.outer(), row.at, first + v * vec + lane(vec)]
                    )


def larger(a: str, b: str) -> str:
    """The larger of two vectors in one instruction (``fmax`` takes three); a NaN stays in its score, not here."""
    return f"select({a}, {b}, {b} > {a})"


def transpose(kernel: Kernel, vec: int) -> str:
    """Name of a helper that stores ``vec`` vectors as the columns of a matrix with a given pitch.

    log2(vec) rounds of interleaving the upper half of the rows into the lower half: a shuffle per vector and round.
    """
    t = f"float{vec}"
    name = f"ecp_transpose{vec}"
    rows = [f"r{i}" for i in range(vec)]
    lines, half, fresh = [], vec // 2, 0
    for _ in range(vec.bit_length() - 1):
        after = []
        for i in range(half):
            for part in range(2):
                lanes = (f"{rows[i + e % 2 * half]}.s{part * half + e // 2:x}" for e in range(vec))
                lines.append(f"  const {t} u{fresh} = ({t})({', '.join(lanes)});\n")
                after.append(f"u{fresh}")
                fresh += 1
        rows = after
    stores = "".join(f"  vstore{vec}({r}, 0, to + {i}*pitch);\n" for i, r in enumerate(rows))
    params = ", ".join(f"{t} r{i}" for i in range(vec))
    return kernel.helper(
        name, f"void {name}(float* to, int pitch, {params}) {{\n{''.join(lines)}{stores}}}\n"
    )
