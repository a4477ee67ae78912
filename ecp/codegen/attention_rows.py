"""Attention on CPU devices with lanes along keys, then along the value's features: two products at full rate.

A unit of work is a range of query tiles of one head. It packs the head's keys once as [d][key], then for every tile
of ``rows`` queries: scores in register tiles of queries x key vectors (as in a matrix product), softmax along the
rows of a small private buffer, and the weighted sum of values in register tiles of queries x feature vectors, read
and written in place. Nothing but the keys is transposed. Segments (core queries over all keys, periphery queries
over core keys) share packed keys and tiles, so core-periphery attention needs no slice and no concat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, prod

import numpy as np

from ecp.codegen.attention_parts import Segment, Values, scalar_stream
from ecp.codegen.core.kernel import Kernel, Launch
from ecp.codegen.core.statements import Form, Statement
from ecp.codegen.functions import exp
from ecp.codegen.probe import AddressProbe
from ecp.codegen.queue import shares
from ecp.codegen.reader import Env, Reader, lane
from ecp.codegen.schedule import Schedule
from ecp.codegen.shuffles import horizontal, transpose
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
    # A worker's next unit is often of the same head: its keys are packed already.
    if len(code) == 1:
        kernel.emit("int have = -1;")
    kernel.emit(f"float kt[{max(c.dim * c.pitch for c in code)}] __attribute__((aligned(64)));")
    with shares(env, kernel, heads * splits, workers):
        kernel.emit(f"const int head = unit / {splits}, split = unit % {splits};")
        kernel.emit(f"float st[{max(c.rows * c.pitch for c in code)}] __attribute__((aligned(64)));")
        for c in code:
            with kernel.when("have != head" if len(code) == 1 else ""):
                if len(code) == 1:
                    kernel.emit("have = head;")
                c.pack_keys()
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


@dataclass(frozen=True)
class _Run:
    """Tiles ``begin`` to ``end`` (excluded) whose rows see alike; ``keys``: the most that any of them sees.

    Scores are computed in ``wide`` key tiles of ``size + 1`` vectors, then in ``narrow`` ones of ``size``.
    """

    begin: int
    end: int
    keys: int
    wide: int
    narrow: int
    size: int


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
        self.bounds = _tile_bounds([p.queries for p in parts], self.rows)
        self.tiles = len(self.bounds) - 1
        self.key_vectors = ceil(self.p.keys / s.vec)
        self.pitch = self.key_vectors * s.vec
        self.f = f"float{s.vec}"
        self.here: list[_Row] = []

    def emit(self, splits: int) -> None:
        """The query tiles of one split. Runs of the same code share it: how many keys they see is a value."""
        k, runs = self.k, self._runs()
        first, end = (f"{self.tiles}*{at}/{splits}" for at in ("split", "(split+1)"))
        with k.loop("tile", end, first=first):
            k.emit(f"const int start = {self._start()};")
            for name in ("keys", "wide", "narrow"):
                k.emit(f"const int {name} = {_by_run(runs, name)};")
            codes: dict[tuple[Statement, ...], list[_Run]] = {}
            for run in runs:
                codes.setdefault(k.apart(partial(self._tile, run)), []).append(run)
            ordered = sorted(codes.items(), key=lambda item: sum(r.end - r.begin for r in item[1]))
            for number, (code, where) in enumerate(ordered):
                last = number == len(ordered) - 1
                test = "" if last else " || ".join(f"tile >= {r.begin} && tile < {r.end}" for r in where)
                with k.otherwise(test) if number else k.when(test):
                    k.add(*code)

    def _start(self) -> str:
        """First query of ``tile``: behind the one lower tile, all lie nearer."""
        heights = [b - a for a, b in zip(self.bounds, self.bounds[1:])]
        low = min(range(self.tiles), key=lambda t: heights[t])
        lost = self.rows - heights[low]
        return f"tile*{self.rows}" + (
            f" - (tile > {low} ? {lost} : 0)" if lost and low < self.tiles - 1 else ""
        )

    def _runs(self) -> list[_Run]:
        """Tiles with the same code: whole ones inside one segment, or a single tile."""
        ends = np.cumsum([p.queries for p in self.parts]).tolist()
        runs: list[_Run] = []
        kinds: list[int | None] = []
        for tile, (first, end) in enumerate(zip(self.bounds, self.bounds[1:])):
            inside = next(i for i, e in enumerate(ends) if first < e)
            kind = inside if end <= ends[inside] and end - first == self.rows else None
            if runs and kind is not None and kinds[-1] == kind:
                runs[-1] = replace(runs[-1], end=tile + 1)
            else:
                runs.append(self._run(tile, end - first, self.parts[inside].keys))
                kinds.append(kind)
        return runs

    def _run(self, tile: int, rows: int, keys: int) -> _Run:
        """One tile's run. Its key tiles have the sizes that the first segment's have, where these add up."""
        height = rows if rows <= 8 else ceil(rows / 2)
        width = max(1, min(VECTORS, ACCUMULATORS // height))
        vectors = ceil(keys / self.vec)
        for whole in (self.key_vectors, vectors):
            size = whole // ceil(whole / width)
            for wide in range(vectors // (size + 1), -1, -1):
                if (vectors - wide * (size + 1)) % size == 0:
                    return _Run(tile, tile + 1, keys, wide, (vectors - wide * (size + 1)) // size, size)
        raise AssertionError("a number of vectors is a sum of its own pieces")

    def _tile(self, run: _Run) -> None:
        self.here, self.run = [], run
        at, first = self.bounds[run.begin], 0
        start = var("start", self.bounds[run.end - 1] - at + 1, at)
        for part, values in zip(self.parts, self.values):
            last = first + part.queries
            for row in range(max(at, first), min(self.bounds[run.begin + 1], last)):
                self.here.append(_Row(values, start + (row - at - first), part.keys))
            first = last
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
        with k.loop("kb", self.key_vectors):

            def key(i: int | str) -> Expr:
                if not clamp:
                    return var("kb", self.key_vectors) * vec + (i if isinstance(i, int) else var(i, vec))
                name = k.define("int", f"min(kb*{vec} + {i}, {p.keys - 1})")
                return var(name, p.keys)

            if not whole:
                with k.loop("i", vec):
                    at = key("i")
                    with k.loop("d", p.dim):
                        text = reader.read(p.scores.inputs[1], [*head, var("d", p.dim), at])
                        k.emit(f"kt[d*{self.pitch} + kb*{vec} + i] = {text};")
                return
            keys = [key(i) for i in range(vec)]
            with k.loop("db", p.dim // vec):
                d = var("db", p.dim // vec) * vec + lane(vec)
                rows = [reader.read(p.scores.inputs[1], [*head, d, at]) for at in keys]
                to = f"kt + db*{vec * self.pitch} + kb*{vec}"
                k.emit(f"{transpose(k, vec)}({to}, {self.pitch}, {', '.join(rows)});")

    def _scores(self) -> None:
        """st[query][key] = sum_d q[query][d] * k[key][d], the element-wise chain applied where it is short."""
        total, run, k = len(self.here), self.run, self.k
        rows = total if total <= 8 else ceil(total / 2)
        most = self.key_vectors
        for begin in range(0, total, rows):
            covered = range(begin, min(begin + rows, total))
            with k.loop("g", "wide"):
                self._score_tile(covered, run.size + 1, var("g", most // (run.size + 1) + 1) * (run.size + 1))
            with k.loop("g", "narrow"):
                first = var("wide", most + 1) * (run.size + 1) + var("g", most // run.size + 1) * run.size
                self._score_tile(covered, run.size, first)

    def _score_tile(self, rows: range, size: int, first: Expr) -> None:
        p, k, vec = self.p, self.k, self.vec
        for i in rows:
            k.emit(f"{self.f} " + ", ".join(f"s{i}_{v} = 0.0f" for v in range(size)) + ";")
        query = {i: self._query(i) for i in rows}
        reader = Reader(self.env, k, vec)
        k.emit(f"const float* key = kt + {reader.index(first * vec)};")
        with k.loop("d", p.dim, unroll=self.unroll):
            for v in range(size):
                k.emit(f"const {self.f} y{v} = vload{vec}({v}, key + d*{self.pitch});")
            for i in rows:
                k.emit(f"const {self.f} x{i} = ({self.f})({query[i]('d')});")
                k.emit(" ".join(f"s{i}_{v} = fma(x{i}, y{v}, s{i}_{v});" for v in range(size)))
        for i in rows:
            row = self.here[i]
            for v in range(size):
                at = (first + v) * vec
                text = f"s{i}_{v}"
                if row.values.short_chain:
                    text = row.values.chained(reader, text, row.at, at + lane(vec))
                k.emit(f"vstore{vec}({text}, 0, st + {i * self.pitch} + {reader.index(at)});")

    def _query(self, i: int) -> Callable[[str], str]:
        row = self.here[i]
        operand = row.values.p.scores.inputs[0]
        head = row.values.head(operand)
        return scalar_stream(
            self.env, self.k, f"q{i}", lambda r, d: r.read(operand, [*head, row.at, d]), self.dim
        )

    def _apply_chain(self) -> None:
        """A long chain (position bias, mask) in a loop of its own."""
        k, vec = self.k, self.vec
        full, rest = divmod(self.run.keys, vec)
        if full:
            with k.loop("j", full):
                reader = Reader(self.env, k, vec)
                for i in range(len(self.here)):
                    at = f"st + {i * self.pitch} + j*{vec}"
                    raw = k.define(self.f, f"vload{vec}(0, {at})")
                    key = var("j", full) * vec + lane(vec)
                    text = self.here[i].values.chained(reader, raw, self.here[i].at, key)
                    k.emit(f"vstore{vec}({text}, 0, {at});")
        if rest:
            with k.loop("i", len(self.here)):
                k.emit(f"float* tail = st + i*{self.pitch} + {full * vec};")
                with k.loop("j", rest):
                    reader = Reader(self.env, k)
                    row, key = self.here[0].at + var("i", len(self.here)), wrap(full * vec) + var("j", rest)
                    k.emit(f"tail[j] = {self.values[0].chained(reader, 'tail[j]', row, key)};")

    def _softmax(self) -> None:
        """Exponentials in place and 1/sum per query; a row that is masked out entirely gives NaN, as it must.

        A row weighs the keys that it sees, whatever stands in the lanes and vectors past them: these become zeros.
        A loop over the rows: unrolled, it would be half of the kernel's text and most of its build time.
        """
        k, vec, rows, f = self.k, self.vec, len(self.here), self.f
        e = exp(k, f)
        lanes = f"({f.replace('float', 'int')})({', '.join(map(str, range(vec)))})"
        sees = [row.keys for row in self.here]
        mixed = len(set(sees)) > 1
        k.emit(f"float scale[{rows}];")
        with k.loop("i", rows):
            k.emit(f"float* row = st + i*{self.pitch};")
            k.emit(
                f"const int seen = {f'i < {sees.index(sees[-1])} ? {sees[0]} : {sees[-1]}' if mixed else 'keys'};"
            )
            k.emit(f"const int full = seen / {vec};")
            k.emit(f"{f} top = -INFINITY, total = 0.0f;")
            k.each("j", "full", f"top = {larger('top', f'vload{vec}(j, row)')};")
            ragged = any(part.keys % vec for part in self.parts)
            if ragged:
                k.emit(f"const int{vec} inside = {lanes} < (int{vec})(seen - full*{vec});")
                with k.when(f"full*{vec} < seen"):
                    tail = k.define(f, f"select(({f})(-INFINITY), vload{vec}(full, row), inside)")
                    k.emit(f"top = {larger('top', tail)};")
            k.emit(f"const float peak = {horizontal(k, 'top', vec, 'max')};")
            with k.loop("j", "full"):
                k.emit(f"const {f} e = {e}(vload{vec}(j, row) - peak);")
                k.emit("total += e;")
                k.emit(f"vstore{vec}(e, j, row);")
            if ragged:
                with k.when(f"full*{vec} < seen"):
                    weight = k.define(f, f"select(({f})(0.0f), {e}(vload{vec}(full, row) - peak), inside)")
                    k.emit(f"total += {weight};")
                    k.emit(f"vstore{vec}({weight}, full, row);")
            if mixed:
                zero = f"vstore{vec}(({f})(0.0f), j, row);"
                first = f"(seen + {vec - 1})/{vec}"
                k.each("j", ceil(sees[0] / vec), zero, first=first, form=Form.BELOW)
            k.emit(f"scale[i] = 1.0f / {horizontal(k, 'total', vec, '+')};")

    def _weighted_sum(self) -> None:
        """out[query][d] = scale * sum_key st[query][key] * v[key][d]."""
        p, k, vec = self.p, self.k, self.vec
        groups = p.dim_v // (self.dv * vec)
        outer = self.values[0].outer()
        head = broadcast(outer, self.env.graph.types[p.product.inputs[1]].shape[:-2])
        with k.loop("dg", groups) if groups > 1 else k.scope():
            first = var("dg", groups) * (self.dv * vec) if groups > 1 else wrap(0)
            for i in range(len(self.here)):
                k.emit(f"{self.f} " + ", ".join(f"o{i}_{v} = 0.0f" for v in range(self.dv)) + ";")
            with k.loop("j", "keys", unroll=self.unroll):
                reader = Reader(self.env, k, vec)
                for v in range(self.dv):
                    at = first + v * vec + lane(vec)
                    k.emit(
                        f"const {self.f} y{v} = {reader.read(p.product.inputs[1], [*head, var('j', p.keys), at])};"
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


def _tile_bounds(queries: list[int], rows: int) -> list[int]:
    """First query of every tile of ``rows``, and the number of queries; one tile may be lower.

    That one covers the seam of the first two segments where it can, so that no other tile has code of its own.
    """
    total, rest, over = sum(queries), sum(queries) % rows, queries[0] % rows
    seam = queries[0] - over if len(queries) > 1 and 0 < over <= rest else total - rest
    low = [seam] if rest else []
    return [*range(0, seam, rows), *low, *range(seam + rest, total, rows), total]


def _by_run(runs: list[_Run], name: str) -> str:
    """A value of the tile's run, as a choice by ``tile`` between those that differ."""
    text = str(getattr(runs[-1], name))
    for run in reversed(runs[:-1]):
        value = str(getattr(run, name))
        text = value if text == value else f"tile < {run.end} ? {value} : {text}"
    return text


def larger(a: str, b: str) -> str:
    """The larger of two vectors in one instruction (``fmax`` takes three); a NaN stays in its score, not here."""
    return f"select({a}, {b}, {b} > {a})"
