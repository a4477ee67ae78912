"""Large products by ``wgmma`` (half storage, compute capability 9.0): whole warpgroups multiply out of local memory.

Four warps take 64 rows and all columns of a tile; the operands come by bulk copies that announce themselves at a
barrier in local memory, each copy begun by a warp of its own, so that no warp falls behind the tensor cores. Both
operands lie in memory as the tensor cores read them: runs of 8 steps along k, row after row, which makes a chunk of
weights one copy and a chunk of A one copy per 8 steps (:mod:`ecp.codegen.planes_gpu` gives A that layout). The sums
stay in registers until the end.

``wgmma`` needs sm_90a, which NVIDIA's OpenCL compiler does not target: the instructions are comments in the
compiled text until :mod:`ecp.runtime.ptx` completes it. Without that the program does not compile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil

import numpy as np

from ecp.codegen.contraction import Contraction
from ecp.codegen.core.kernel import Kernel, Launch, group_id
from ecp.codegen.matmul_large_gpu import LOCAL_BYTES, SWAP, large
from ecp.codegen.planes_gpu import planes, stored_in_planes
from ecp.codegen.product_gpu import Product
from ecp.codegen.reader import Env, lane
from ecp.codegen.reader_gpu import TensorReader
from ecp.codegen.schedule import Schedule
from ecp.codegen.wgmma_gpu import FENCE, PICK, TARGET, WGMMA, multiply
from ecp.index.expr import Expr, var
from ecp.passes.storage import Buffer

# Floats between the rows of sums in local memory: neighbouring rows are read at once without conflicts.
PAD = 4


@dataclass(frozen=True)
class WarpgroupTile:
    """``wm`` warpgroups of 64 rows by ``columns``; ``kb`` steps along k in a chunk; ``split`` work-groups share k."""

    wm: int
    columns: int
    kb: int
    split: int = 1

    @property
    def items(self) -> int:
        """Work-items of a work-group."""
        return 128 * self.wm

    @property
    def rows(self) -> int:
        """Rows of a work-group's tile."""
        return 64 * self.wm

    @property
    def stage_bytes(self) -> int:
        """Local bytes of one chunk of both operands."""
        return (self.rows + self.columns) * self.kb * 2

    @property
    def stages(self) -> int:
        """Chunks in local memory at once."""
        return min(8, LOCAL_BYTES // self.stage_bytes)

    @property
    def copies(self) -> int:
        """Copies of A that one warp begins; the last warp copies B."""
        return ceil(self.kb // 8 / (4 * self.wm - 1))

    def groups(self, m: int, n: int) -> int:
        """Work-groups of the launch."""
        return ceil(m / self.rows) * (n // self.columns) * self.split


def _tiles(m: int, n: int, k: int, groups: int) -> Iterator[WarpgroupTile]:
    for wm, columns, kb, split in product((3, 2), (64, 96, 128, 192, 256), (64,), (1, 2)):
        t = WarpgroupTile(wm, columns, kb, split)
        whole = n % columns == 0 and k % (kb * split) == 0 and kb // 8 % t.copies == 0
        # Work-groups that wait for each other are all resident.
        paired = split == 1 or (t.groups(m, n) <= groups and k // (kb * split) >= 8 and columns % 64 == 0)
        if whole and paired and t.stages >= 3 and t.rows < 2 * m:
            yield t


def _clocks(t: WarpgroupTile, m: int, n: int, k: int, groups: int) -> float:
    """Clocks of the busiest multiprocessor, fitted to 24 tiles of an H100.

    A chunk takes as long as the slower of its products (8192 multiply-adds in 4 clocks) and L2 (45 bytes a clock).
    """
    chunk = max(t.rows * t.columns * t.kb / 2048, t.stage_bytes / 45) + 40
    if t.stages * t.kb < 200:  # the latency of a copy shows
        chunk += 300 * t.kb / 64
    tail = 2500 + 0.06 * t.rows * t.columns + (2500 if t.split > 1 else 0)
    return ceil(t.groups(m, n) / groups) * (k // (t.kb * t.split) * chunk + tail)


@lru_cache(maxsize=4096)
def warpgroup_tile(m: int, n: int, k: int, groups: int) -> WarpgroupTile | None:
    """The cheapest tile on ``groups`` multiprocessors, of equal ones the one of fewest warps; None where none fits."""
    found = list(_tiles(m, n, k, groups))
    return min(found, key=lambda t: (_clocks(t, m, n, k, groups), t.items)) if found else None


def shaped(env: Env, s: Schedule, c: Contraction) -> bool:
    """True where :class:`WarpgroupProduct` could compute ``c``, were A in planes and no normalisation folded."""
    # sm_90a is not a subset of later architectures, as sm_90 is.
    return s.ptx == 9 and large(env, s, c) and warpgroup_tile(c.m, c.n, c.k, s.groups) is not None


def fits_wgmma(env: Env, s: Schedule, c: Contraction) -> bool:
    """True where :class:`WarpgroupProduct` computes ``c``."""
    return c.norm is None and shaped(env, s, c) and planes(env, c) is not None


class WarpgroupProduct(Product):
    """``c`` satisfies :func:`fits_wgmma`."""

    def __init__(
        self, env: Env, schedule: Schedule, family: str, c: Contraction, tile: WarpgroupTile | None = None
    ):
        t = tile or warpgroup_tile(c.m, c.n, c.k, schedule.groups)
        assert t is not None
        kernel = Kernel(family, f"__attribute__((reqd_work_group_size({t.items},1,1)))")
        super().__init__(env, schedule, c, kernel, (t.rows, t.columns, t.items))
        self.t = t
        self.start = self.take_bias()
        self.chunks = c.k // t.kb // t.split
        sums = t.rows * (t.columns // t.split + PAD) * 4
        self.bars = max(t.stages * t.stage_bytes, sums)
        kernel.helper("wgmma", WGMMA)
        kernel.helper(f"multiply{t.columns}", multiply(t.columns))

    def sizes(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """(global, local) size."""
        return (self.panels * self.items, self.blocks, self.t.split), (self.items, 1, 1)

    def emit(self) -> Launch:
        """The launch."""
        k, t = self.kernel, self.t
        self.begin()
        k.declare("const int", part=group_id(2) if t.split > 1 else "0")
        k.emit("const int warp = lid >> 5, lane = lid & 31;")
        k.local_array("float4", mem=ceil((self.bars + 16 * t.stages) / 16), aligned=128)
        k.emit(
            f"const uint base = (uint)(size_t)mem, full = base + {self.bars}, empty = full + {8 * t.stages};"
        )
        self._operands()
        self._barriers()
        self._first("_ask_b")
        self._begin_sums()
        # In a stretch the work-groups have not met yet: weights and bias are asked for before they have.
        k.grid_wait(FENCE)
        self._first("_ask_a")
        with k.loop("c", self.chunks):
            self._turn()
        k.emit("ECP_WG_WAIT(0);")
        k.barrier()
        k.do_when(f"lid < {2 * t.stages}", "ecp_bar_end(full + 8*lid);")
        self._epilogue()
        k.flops = self.c.flops
        launch = k.finish(*self.sizes())
        launch.target = TARGET
        return launch

    def _begin_sums(self) -> None:
        """``acc``: the bias of its columns, so that adding it costs nothing at the end."""
        k, t = self.kernel, self.t
        k.emit(f"float acc[{t.columns // 2}];")
        if self.start is None:
            with self._unrolled("i", t.columns // 2):
                k.emit("acc[i] = 0.0f;")
            return
        key = f"{self.c.anchor.output}@start"
        self.env.buffers[key] = Buffer(key, self.c.n, "float32", "weights", self.start)
        k.emit(f"const __global float2* start = (const __global float2*){k.argument(key, 'float32')}")
        k.emit(f"  + column*{t.columns // 2} + (lane & 3);")
        with self._unrolled("j", t.columns // 8):
            # Of work-groups that share k, one brings the bias.
            k.emit(f"const float2 v = {'part ? (float2)(0.0f) : ' if t.split > 1 else ''}start[4*j];")
            k.emit("acc[4*j] = v.x; acc[4*j + 1] = v.y; acc[4*j + 2] = v.x; acc[4*j + 3] = v.y;")

    def _operands(self) -> None:
        """``a``, ``b``: this work-group's first chunks. ``rows``: how many rows of A there are to copy."""
        k, t, c = self.kernel, self.t, self.c
        buffer = planes(self.env, c)
        assert buffer is not None and c.weights is not None
        a = k.argument(buffer, "float16")
        key = self.weights_key(f"planes{t.columns}")
        if key not in self.env.buffers:
            w = self.weights()[0].reshape(c.k // 8, 8, c.n // t.columns, t.columns)
            self.env.constant_buffer(key, np.ascontiguousarray(w.transpose(2, 0, 3, 1)), key)
        b = k.argument(key, "float16")
        own = f" + part*{self.chunks * t.kb // 8}" if t.split > 1 else ""
        for pointer, first, plane in (
            (a, f"block*{t.rows * 16}", c.m),
            (b, f"column*{c.k * t.columns * 2}", t.columns),
        ):
            name = "a" if pointer == a else "b"
            at = f"{first} + (part*{self.chunks * t.kb // 8})*{plane * 16}" if own else first
            k.emit(f"const __global uchar* {name} = (const __global uchar*){pointer} + (size_t)({at});")
        k.emit(f"const int rows = min({t.rows}, {c.m} - block*{t.rows});")

    def _barriers(self) -> None:
        """Two barriers a stage: ``full`` when the copies are there, ``empty`` when every warp has multiplied."""
        k, t = self.kernel, self.t
        copying = 1 + t.kb // 8 // t.copies
        with k.when(f"lid < {t.stages}"):
            k.emit(f"ecp_bar_begin(full + 8*lid, {copying}); ecp_bar_begin(empty + 8*lid, {4 * t.wm});")
        k.emit(FENCE)
        k.barrier()

    def _first(self, ask: str) -> None:
        """The first copies of an operand begin."""
        with self.kernel.loop("c", min(self.t.stages, self.chunks), unroll=1):
            getattr(self, ask)("c")
            self.kernel.emit("ECP_WARP();")

    def _ask_b(self, chunk: str) -> None:
        """The copy of a chunk of weights begins, by the last warp."""
        k, t = self.kernel, self.t
        size = t.columns * t.kb * 2
        with k.when(f"lane == 0 && warp == {4 * t.wm - 1}"):
            k.emit(f"const uint stage = (uint)({chunk})%{t.stages}u, bar = full + stage*8u;")
            k.emit(f"ecp_expect(bar, {size});")
            to = f"base + stage*{t.stage_bytes}u + {t.rows * t.kb * 2}"
            k.emit(f"ecp_bulk({to}, b + ({chunk})*{size}, {size}, bar);")

    def _ask_a(self, chunk: str) -> None:
        """The copies of a chunk of A begin, a plane or two a warp."""
        k, t, c = self.kernel, self.t, self.c
        each = t.copies
        with k.when(f"lane == 0 && warp < {t.kb // 8 // each}"):
            k.emit(f"const uint stage = (uint)({chunk})%{t.stages}u, bar = full + stage*8u;")
            k.emit(f"ecp_expect(bar, rows*{16 * each});")
            for i in range(each):
                plane = f"(warp*{each} + {i})" if each > 1 else "warp"
                source = f"a + (size_t)(({chunk})*{t.kb // 8} + {plane})*{c.m * 16}"
                to = f"base + stage*{t.stage_bytes}u + {plane}*{t.rows * 16}"
                k.emit(f"ecp_bulk({to}, {source}, rows*16, bar);")

    def _turn(self) -> None:
        """Chunk ``c`` is multiplied; meanwhile the place of ``c - 2``, which every warp has left, is filled."""
        k, t = self.kernel, self.t
        k.emit(f"const uint at = (uint)c%{t.stages}u;")
        k.emit(f"ecp_bar_wait(full + 8*at, ((uint)c/{t.stages}u) & 1);")
        for name, first, rows in (
            ("da", "(lid >> 7)*1024", t.rows),
            ("db", str(t.rows * t.kb * 2), t.columns),
        ):
            k.emit(f"const ulong {name} = ecp_matrix(base + at*{t.stage_bytes}u + {first}, {rows});")
        k.emit("ECP_WG_FENCE();")
        for kk in range(t.kb // 16):
            k.emit(f"ECP_WGMMA{t.columns}(acc, da + {kk * 2 * t.rows}, db + {kk * 2 * t.columns});")
        k.emit("ECP_WG_COMMIT();")
        if self.chunks > t.stages:
            with k.when(f"c >= 2 && c < {self.chunks - t.stages + 2}"):
                k.emit("const uint old = (uint)(c - 2);")
                k.emit(f"ecp_bar_wait(empty + 8*(old%{t.stages}u), (old/{t.stages}u) & 1);")
                self._ask_b(f"(c + {t.stages - 2})")
                self._ask_a(f"(c + {t.stages - 2})")
                k.emit("ECP_WARP();")
        k.emit("ECP_WG_WAIT(1);")
        k.do_when("c > 0 && lane == 0", f"ecp_arrive(empty + 8*((uint)(c - 1)%{t.stages}u));")

    def _epilogue(self) -> None:
        """Bias, activation, residual and store, 8 columns a work-item, by every warp for its own 16 rows.

        The sums pass through local memory, so that this is a short loop: straight on from registers it would be code
        that is fetched and used once, at several microseconds a launch.
        """
        k, t, c = self.kernel, self.t, self.c
        columns, sums, first = t.columns, "acc", ""
        if t.split > 1:
            columns, sums, first = columns // 2, "mine", f" + part*{columns // 16}"
            self._exchange()
        pitch = columns + PAD
        k.emit(f"__local float* own = (__local float*)mem + warp*{16 * pitch};")
        with self._unrolled("j", columns // 8):
            for h in (0, 1):
                pair = f"(float2)({sums}[4*j + {2 * h}], {sums}[4*j + {2 * h + 1}])"
                at = f"own + ((lane >> 2) + {8 * h})*{pitch} + j*8 + (lane & 3)*2"
                k.emit(f"*(__local float2*)({at}) = {pair};")
        k.emit("ECP_WARP();")
        # What several vectors read is asked for before the first of them is stored, which could be the same memory.
        most = 2 if any(n.op == "Gelu" for n in c.tail) else 4
        at_once = next(u for u in (4, 3, 2, 1) if u <= most and columns // 16 % u == 0)
        with k.loop("e", columns // 16, step=at_once, unroll=1):
            k.emit(f"float8 {', '.join(f'r{u}' for u in range(at_once))};")
            for u in range(at_once):
                with k.scope():
                    reader, place = self._place(f"(e + {u})", columns, first)
                    k.emit(f"const __local float4* s = (const __local float4*)(own + i*{pitch} + q*8);")
                    k.emit("const float8 sum = (float8)(s[0], s[1]);")
                    result, coords = self.finished(reader, "sum", *place)
                    k.emit(f"r{u} = {result};")
            for u in range(at_once):
                with k.scope():
                    reader, _ = self._place(f"(e + {u})", columns, first)
                    with k.when(f"inside < {c.m}" if c.m % t.rows else ""):
                        reader.store(c.value, coords, f"r{u}")

    def _place(self, e: str, columns: int, first: str) -> tuple[TensorReader, tuple[Expr, Expr]]:
        """(reader, (row, columns)) of vector ``e`` of this work-item: row ``i`` of the warp's, vector ``q`` of it."""
        k, t, c = self.kernel, self.t, self.c
        if stored_in_planes(self.env.storage[c.value].view):
            k.emit(f"const int i = lane & 15, q = 2*{e} + (lane >> 4);")
        else:
            k.emit(
                f"const int i = (lane >> 2) + 8*({e}/{columns // 32}), q = (lane & 3) + 4*({e}%{columns // 32});"
            )
        k.emit(f"const int inside = block*{t.rows} + warp*16 + i;")
        k.emit(f"const int line = {f'min(inside, {c.m - 1})' if c.m % t.rows else 'inside'};")
        k.emit(f"const int vec = column*{t.columns // 8} + q{first};")
        return TensorReader(self.env, k, 8), (var("line", c.m), var("vec", c.n // 8) * 8 + lane(8))

    @contextmanager
    def _unrolled(self, name: str, count: int) -> Iterator[None]:
        with self.kernel.loop(name, count, unroll=count):
            yield

    def _exchange(self) -> None:
        """The two work-groups of a tile swap the halves of their sums that the other one finishes: ``mine``.

        Flags as in :class:`~ecp.codegen.matmul_large_gpu.LargeProduct`: raised by one, taken down by the other.
        """
        k, t, c = self.kernel, self.t, self.c
        half, tiles = t.columns // 4, t.groups(c.m, c.n) // 2
        count = t.rows * t.columns // 2
        sums, flags = f"{c.value}@sums", f"{c.value}@flags"
        self.env.buffers[sums] = Buffer(sums, 2 * tiles * count, "float32", "arena")
        self.env.buffers[flags] = Buffer(flags, 2 * tiles, "uint32", "static", np.zeros(2 * tiles, np.uint32))
        k.helper("ecp_swap", SWAP)
        k.helper("ecp_pick", PICK)
        k.emit(f"const int pair = (block*{self.panels} + column)*2;")
        place = k.argument(sums, "float32", write=True)
        k.emit(f"__global float4* theirs = (__global float4*)({place} + (pair + 1 - part)*{count});")
        k.emit(f"const __global float4* ours = (const __global float4*)({place} + (pair + part)*{count});")
        k.emit(f"__global uint* flag = {k.argument(flags, 'uint32', write=True)} + pair;")
        k.emit(f"float mine[{half}];")
        with self._unrolled("i", half // 4):
            other = ", ".join(f"ecp_pick(part, acc[4*i + {z}], acc[{half} + 4*i + {z}])" for z in range(4))
            k.emit(f"theirs[i*{t.items} + lid] = (float4)({other});")
        k.barrier()
        k.do_when("lid == 0", "ecp_swap(flag + 1 - part, flag + part);")
        k.barrier()
        with self._unrolled("i", half // 4):
            k.emit(f"const float4 more = ours[i*{t.items} + lid];")
            for z in range(4):
                k.emit(
                    f"mine[4*i + {z}] = ecp_pick(part, acc[{half} + 4*i + {z}], acc[4*i + {z}]) + more.s{z};"
                )
