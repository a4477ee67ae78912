"""Products and convolutions on GPUs: a work-group owns a tile of the result, a work-item ``mr`` x ``4*nr`` of it.

With local memory both operands pass through it in steps of ``bk``: A is gathered through its view, converted
and normalised on the way in, once per work-group. Without it (Adreno: ``Schedule.local`` off) every work-item
reads A in vectors of 4 along k and B from an image, whose texture cache does the sharing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, prod

from ecp.codegen.contraction import Contraction
from ecp.codegen.kernel import Kernel, Launch
from ecp.codegen.map import FLOATS
from ecp.codegen.packing import pack_weights
from ecp.codegen.reader import Env, Reader, forward, lane
from ecp.codegen.schedule import Schedule
from ecp.index.expr import Expr, var, wrap
from ecp.index.maps import broadcast, delinearize
from ecp.ir.graph import Node

BARRIER = "barrier(CLK_LOCAL_MEM_FENCE);"


@dataclass(frozen=True)
class GpuTiling:
    """``wx`` x ``wy`` work-items of ``mr`` rows and ``nr`` vectors of 4 columns each; powers of two."""

    mr: int
    nr: int
    wx: int
    wy: int

    @property
    def rows(self) -> int:
        """Rows of a work-group's tile."""
        return self.mr * self.wy

    @property
    def vectors(self) -> int:
        """Column vectors of a work-group's tile."""
        return self.nr * self.wx

    @property
    def items(self) -> int:
        """Work-items of a work-group."""
        return self.wx * self.wy

    def groups(self, c: Contraction) -> int:
        """Work-groups of the launch."""
        return ceil(c.m / self.rows) * ceil(c.n / (4 * self.vectors)) * prod(c.batch)


def gpu_tiling(c: Contraction, s: Schedule) -> GpuTiling:
    """The schedule's tile, cut to the operand, then halved until the launch has ``s.groups`` work-groups."""
    t = GpuTiling(s.mr, s.nr, *s.wg)
    while t.mr > 1 and t.mr // 2 >= c.m:
        t = replace(t, mr=t.mr // 2)
    while t.wy > 1 and t.rows // 2 >= c.m:
        t = replace(t, wy=t.wy // 2)
    while t.nr > 1 and 2 * t.nr >= c.n:
        t = replace(t, nr=t.nr // 2)
    while t.wx > 1 and 2 * t.vectors >= c.n:
        t = replace(t, wx=t.wx // 2)
    # 64 work-items keep two warps (or one wave) busy; below that more groups gain nothing.
    while t.groups(c) < s.groups and t.items > 64:
        t = replace(t, wx=t.wx // 2) if t.wx >= t.wy else replace(t, wy=t.wy // 2)
    return t


def fits_gpu(env: Env, c: Contraction) -> bool:
    """True for the float dtypes; integers and doubles take the scalar-friendly CPU kernel."""
    values = [c.a_value, c.anchor.inputs[1], c.value]
    return all(env.graph.types[v].dtype in FLOATS for v in values)


def emit_matmul_gpu(env: Env, schedule: Schedule, node: Node, c: Contraction) -> Launch:
    """Code of a ``matmul`` or ``conv`` launch on a GPU."""
    kind = _LocalProduct if schedule.local else _DirectProduct
    return kind(env, schedule, node.attrs["kind"], c).emit()


class _Product:
    """What both variants share: row statistics, reading of the operands, epilogue."""

    def __init__(self, env: Env, schedule: Schedule, family: str, c: Contraction):
        self.env, self.s, self.c = env, schedule, c
        self.t = gpu_tiling(c, schedule)
        attributes = f"__attribute__((reqd_work_group_size({self.t.wx},{self.t.wy},1)))"
        self.kernel = Kernel(family, attributes)
        self.width = 4 if c.k_shape[-1] % 4 == 0 else 1
        self.columns = ceil(c.n / (4 * self.t.vectors))

    def emit(self) -> Launch:
        """The launch."""
        c, t, k = self.c, self.t, self.kernel
        k.emit("const int tx = get_local_id(0), ty = get_local_id(1);")
        k.emit("const int column = get_group_id(0), block = get_group_id(1);")
        if prod(c.batch) > 1:
            k.emit("const int batch = get_group_id(2);")
        self.batch = delinearize(var("batch", prod(c.batch)), c.batch) if c.batch else []
        k.emit(f"const int lid = ty*{t.wx} + tx;")
        if c.norm is not None:
            self._statistics()
        for i in range(t.mr):
            k.emit("float4 " + ", ".join(f"c{i}_{v} = 0.0f" for v in range(t.nr)) + ";")
        self._reduce()
        self._epilogue()
        k.flops = c.flops
        blocks = ceil(c.m / t.rows)
        return k.finish((self.columns * t.wx, blocks * t.wy, max(1, prod(c.batch))), (t.wx, t.wy, 1))

    def _reduce(self) -> None:
        raise NotImplementedError

    def _row(self, name: str, offset: str) -> Expr:
        """A row index, clamped so that the last tile reads inside the operand."""
        if self.c.m == 1:
            return wrap(0)
        self.kernel.emit(f"const int {name} = min(block*{self.t.rows} + {offset}, {self.c.m - 1});")
        return var(name, self.c.m)

    def _reader(self, width: int) -> Reader:
        """A reader of A: the normalisation's input in place of its output, which never exists in memory."""
        reader = Reader(self.env, self.kernel, width)
        if self.c.norm is not None:
            reader.redirect = {self.c.norm.output: self.c.norm.inputs[0]}
        return reader

    def _step(self, name: str) -> Expr:
        """First k of step ``name``, with the lane where the reads are vectors."""
        at = var(name, self.c.k // self.width) * self.width
        return at + lane(self.width) if self.width > 1 else at

    def _statistics(self) -> None:
        """Two-pass mean and 1/deviation of the group's rows, in fp32, left in local memory."""
        c, t, k = self.c, self.t, self.kernel
        assert c.norm is not None
        share = max(1, t.items // t.rows)  # work-items that walk one row together
        at_once = t.items // share
        k.emit(f"__local float part[{t.items}], means[{t.rows}], rstds[{t.rows}];")
        with k.block(f"for (int round = 0; round < {max(1, t.rows // at_once)}; ++round)"):
            k.emit(f"const int i = round*{at_once} + lid/{share}, p = lid%{share};")
            row = self._row("row", "i")
            self._fold_row(row, share, "", lambda x: f"v += {x};")
            k.emit(f"const float mean = total / {c.k}.0f;")
            f = f"float{self.width}" if self.width > 1 else "float"
            self._fold_row(row, share, "2", lambda x: f"const {f} d = {x} - mean; v2 = fma(d, d, v2);")
            epsilon = float(c.norm.attrs["epsilon"])
            with k.block("if (p == 0)"):
                k.emit("means[i] = mean;")
                k.emit(f"rstds[i] = 1.0f / sqrt(total2 / {c.k}.0f + {epsilon!r}f);")
        k.emit(BARRIER)

    def _fold_row(self, row: Expr, share: int, name: str, update: Callable[[str], str]) -> None:
        """``total{name}``: the sum over a row that ``share`` work-items walk together."""
        k, w = self.kernel, self.width
        f = f"float{w}" if w > 1 else "float"
        k.emit(f"{f} v{name} = 0.0f;")
        with k.block(f"for (int s = p; s < {self.c.k // w}; s += {share})"):
            k.emit(update(self.c.read_a(self._reader(w), self.batch, row, self._step("s"))))
        across = "+".join(f"v{name}.s{j}" for j in range(w)) if w > 1 else f"v{name}"
        k.emit(f"part[lid] = {across};")
        k.emit(BARRIER)
        k.emit(f"float total{name} = 0.0f;")
        k.emit(f"for (int q = 0; q < {share}; ++q) total{name} += part[lid - p + q];")
        k.emit(BARRIER)

    def _read_a(self, row: Expr, step: str, mean: str, rstd: str) -> str:
        """A at ``row`` and step ``step``, normalised where the launch folds a LayerNormalization."""
        c = self.c
        reader, at = self._reader(self.width), self._step(step)
        text = c.read_a(reader, self.batch, row, at)
        if c.norm is None:
            return text
        text = f"({text} - {mean}) * {rstd}"
        for i, op in ((1, "*"), (2, "+")):
            if len(c.norm.inputs) > i and c.norm.inputs[i]:
                own = broadcast([at], self.env.graph.types[c.norm.inputs[i]].shape)
                text = f"({text}) {op} {reader.read(c.norm.inputs[i], own)}"
        return text

    def _b_view(self, kk: Expr, vector: str) -> str:
        """4 columns of b; columns past the end repeat valid ones and are never stored."""
        c, k = self.c, self.kernel
        assert c.read_b is not None
        if c.n % 4 == 0:
            at = k.define("int", f"min({vector}, {c.n // 4 - 1})")
            return c.read_b(Reader(self.env, k, 4), self.batch, kk, var(at, c.n // 4) * 4 + lane(4))
        parts = []
        for j in range(4):
            at = k.define("int", f"min(({vector})*4 + {j}, {c.n - 1})")
            parts.append(c.read_b(Reader(self.env, k), self.batch, kk, var(at, c.n)))
        return f"(float4)({', '.join(parts)})"

    def _packed(self, width: int, image: tuple[int, int] | None = None) -> tuple[str, str]:
        """(buffer name, dtype) of the weights in panels of ``width`` columns, as an image where asked."""
        c = self.c
        assert c.weights is not None
        key = f"{c.weights_key}@packed{width}{c.anchor.op}{'@image' if image else ''}"
        if key not in self.env.buffers:
            self.env.constant_buffer(key, pack_weights(c.weights, width), key).image = image
        return key, self.env.buffers[key].dtype

    def _epilogue(self) -> None:
        """Bias, activation, residual and store of every row of the register tile."""
        c, t, k = self.c, self.t, self.kernel
        for i in range(t.mr):
            k.emit(f"const int line{i} = block*{t.rows} + ty*{t.mr} + {i};")
            with k.block(f"if (line{i} < {c.m})" if c.m % t.rows else ""):
                for v in range(t.nr):
                    k.emit(f"const int vec{v} = column*{t.vectors} + tx + {v * t.wx};")
                    self._store(i, v)

    def _store(self, i: int, v: int) -> None:
        c, t, k = self.c, self.t, self.kernel
        m = var(f"line{i}", c.m) if c.m > 1 else wrap(0)
        if c.n % 4 == 0:
            with k.block(f"if (vec{v} < {c.n // 4})" if c.n % (4 * t.vectors) else ""):
                columns = var(f"vec{v}", c.n // 4) * 4 + lane(4)
                self._finish(Reader(self.env, k, 4), f"c{i}_{v}", m, columns)
            return
        k.emit(f"const float row{i}_{v}[4] = {{{', '.join(f'c{i}_{v}.s{j}' for j in range(4))}}};")
        with k.block("for (int j = 0; j < 4; ++j)"):
            k.emit(f"const int n = vec{v}*4 + j;")
            with k.block(f"if (n < {c.n})"):
                column = var("n", c.n) if c.n > 1 else wrap(0)
                self._finish(Reader(self.env, k), f"row{i}_{v}[j]", m, column)

    def _finish(self, reader: Reader, text: str, m: Expr, n: Expr) -> None:
        c = self.c
        coords = c.place(self.batch, m, n)
        if c.bias:
            text = f"{text} + {reader.read(c.bias, [coords[1]])}"
        name = reader.kernel.define(reader.ctype(c.anchor.output), text)
        result, at = forward(reader, c.tail, c.anchor.output, name, coords)
        reader.store(c.value, at, result)


class _LocalProduct(_Product):
    """Both operands through local memory."""

    def _reduce(self) -> None:
        c, t, k, bk = self.c, self.t, self.kernel, self.s.bk
        # A lies transposed, [k][row]; 4 floats of padding spread its columns over the banks.
        self.pitch = -(-t.rows // 4) * 4 + 4
        k.emit(f"__local float4 at4[{bk * self.pitch // 4}], bt[{bk * t.vectors}];")
        k.emit("__local float* at = (__local float*)at4;")
        if c.weights is not None:
            self._weights_pointer()
        with k.block(f"for (int kt = 0; kt < {ceil(c.k / bk)}; ++kt)"):
            self._bring_a()
            self._bring_b()
            k.emit(BARRIER)
            k.emit(f"#pragma unroll {bk}")
            with k.block(f"for (int kk = 0; kk < {bk}; ++kk)"):
                self._multiply()
            k.emit(BARRIER)

    def _bring_a(self) -> None:
        c, t, k, w = self.c, self.t, self.kernel, self.width
        steps = self.s.bk // w
        # Work-items next to each other take what is next to each other in memory.
        split = f"e%{t.rows}, q = e/{t.rows}" if c.sweep and w == 1 else f"e/{steps}, q = e%{steps}"
        f = f"float{w}" if w > 1 else "float"
        with k.block(f"for (int e = lid; e < {t.rows * steps}; e += {t.items})"):
            k.emit(f"const int i = {split}, step = kt*{steps} + q;")
            row = self._row("row", "i")
            k.emit(f"{f} a = 0.0f;")
            with k.block(f"if (step < {c.k // w})" if c.k % self.s.bk else ""):
                k.emit(f"a = {self._read_a(row, 'step', 'means[i]', 'rstds[i]')};")
            for j in range(w):
                k.emit(f"at[(q*{w} + {j})*{self.pitch} + i] = a{f'.s{j}' if w > 1 else ''};")

    def _weights_pointer(self) -> None:
        c, k, width = self.c, self.kernel, 4 * self.t.vectors
        name, dtype = self._packed(width)
        pointer = k.argument(name, dtype)
        panel = f"(batch*{self.columns} + column)" if prod(c.batch) > 1 else "column"
        ctype = "half" if dtype == "float16" else "float4"
        scale = c.k * (width if dtype == "float16" else self.t.vectors)
        k.emit(f"const __global {ctype}* b = (const __global {ctype}*){pointer} + {panel}*{scale};")
        self.weights_half = dtype == "float16"

    def _bring_b(self) -> None:
        c, t, k, bk = self.c, self.t, self.kernel, self.s.bk
        with k.block(f"for (int e = lid; e < {bk * t.vectors}; e += {t.items})"):
            k.emit(f"const int v = e%{t.vectors}, kb = kt*{bk} + e/{t.vectors};")
            k.emit("float4 x = 0.0f;")
            with k.block(f"if (kb < {c.k})" if c.k % bk else ""):
                if c.weights is None:
                    k.emit(f"x = {self._b_view(var('kb', c.k), f'column*{t.vectors} + v')};")
                elif self.weights_half:
                    k.emit(f"x = vloada_half4(kb*{t.vectors} + v, b);")
                else:
                    k.emit(f"x = b[kb*{t.vectors} + v];")
            k.emit("bt[e] = x;")

    def _multiply(self) -> None:
        t, k = self.t, self.kernel
        if t.mr % 4 == 0:
            for q in range(t.mr // 4):
                k.emit(f"const float4 a{q} = at4[kk*{self.pitch // 4} + ty*{t.mr // 4} + {q}];")
        for v in range(t.nr):
            k.emit(f"const float4 b{v} = bt[kk*{t.vectors} + tx + {v * t.wx}];")
        for i in range(t.mr):
            a = f"a{i // 4}.s{i % 4}" if t.mr % 4 == 0 else f"at[kk*{self.pitch} + ty*{t.mr} + {i}]"
            k.emit(" ".join(f"c{i}_{v} = fma((float4)({a}), b{v}, c{i}_{v});" for v in range(t.nr)))


class _DirectProduct(_Product):
    """No local memory for the operands: A from memory in vectors, B from an image or packed weights."""

    def _reduce(self) -> None:
        c, t, k, w = self.c, self.t, self.kernel, self.width
        f = f"float{w}" if w > 1 else "float"
        rows = [self._row(f"row{i}", f"ty*{t.mr} + {i}") for i in range(t.mr)]
        if c.norm is not None:
            for i in range(t.mr):
                slot = f"ty*{t.mr} + {i}"
                k.emit(f"const float mean{i} = means[{slot}], rstd{i} = rstds[{slot}];")
        if c.weights is not None:
            self._weights()
        with k.block(f"for (int step = 0; step < {c.k // w}; ++step)"):
            for i, row in enumerate(rows):
                k.emit(f"const {f} a{i} = {self._read_a(row, 'step', f'mean{i}', f'rstd{i}')};")
            for j in range(w):
                with k.block(""):
                    self._multiply(j)

    def _multiply(self, j: int) -> None:
        """One k: ``nr`` vectors of b times a lane of every row."""
        c, t, k, w = self.c, self.t, self.kernel, self.width
        k.emit(f"const int kk = step*{w} + {j};")
        for v in range(t.nr):
            vector = f"column*{t.vectors} + tx + {v * t.wx}"
            text = self._load(vector) if c.weights is not None else self._b_view(var("kk", c.k), vector)
            k.emit(f"const float4 b{v} = {text};")
        for i in range(t.mr):
            a = f"a{i}.s{j}" if w > 1 else f"a{i}"
            k.emit(" ".join(f"c{i}_{v} = mad((float4)({a}), b{v}, c{i}_{v});" for v in range(t.nr)))

    def _weights(self) -> None:
        """Weights as [batch*K][columns of 4]: an image where it fits the device's limits, else a buffer."""
        c, k = self.c, self.kernel
        self.pitch = self.columns * self.t.vectors
        height = prod(c.batch) * c.k
        fits = max(self.pitch, height) <= self.s.image
        name, dtype = self._packed(4 * self.pitch, (self.pitch, height) if fits else None)
        self.image = k.image(name) if fits else ""
        self.pointer = "" if fits else k.argument(name, dtype)
        self.weights_half = dtype == "float16"

    def _load(self, vector: str) -> str:
        row = f"batch*{self.c.k} + kk" if prod(self.c.batch) > 1 else "kk"
        if self.image:
            return f"read_imagef({self.image}, (int2)({vector}, {row}))"
        at = f"({row})*{self.pitch} + {vector}"
        if self.weights_half:
            return f"vloada_half4({at}, {self.pointer})"
        return f"((const __global float4*){self.pointer})[{at}]"
