"""Products and convolutions on GPUs whose texture cache does the sharing (Adreno: ``Schedule.local`` off).

Every work-item reads A in vectors of 4 along k and B from an image; only row statistics use local memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, prod

from ecp.codegen.contraction import Contraction
from ecp.codegen.core.kernel import Kernel, Launch
from ecp.codegen.product_gpu import Product
from ecp.codegen.reader import Env
from ecp.codegen.schedule import Schedule
from ecp.index.expr import Expr, var


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


class DirectProduct(Product):
    """No local memory for the operands: A from memory in vectors, B from an image or packed weights."""

    def __init__(self, env: Env, schedule: Schedule, family: str, c: Contraction):
        t = self.t = gpu_tiling(c, schedule)
        kernel = Kernel(family, f"__attribute__((reqd_work_group_size({t.items},1,1)))")
        super().__init__(env, schedule, c, kernel, (t.rows, 4 * t.vectors, t.items))

    def emit(self) -> Launch:
        """The launch."""
        c, t, k = self.c, self.t, self.kernel
        self.begin()
        k.emit(f"const int tx = lid%{t.wx}, ty = lid/{t.wx};")
        if c.norm is not None:
            self.statistics()
        for i in range(t.mr):
            k.emit("float4 " + ", ".join(f"c{i}_{v} = 0.0f" for v in range(t.nr)) + ";")
        self._reduce()
        for i in range(t.mr):
            k.emit(f"const int line{i} = block*{t.rows} + ty*{t.mr} + {i};")
            with k.scope():
                for v in range(t.nr):
                    k.emit(f"const int vec{v} = column*{t.vectors} + tx + {v * t.wx};")
                    self.store_vector(f"c{i}_{v}", f"line{i}", f"vec{v}")
        k.flops = c.flops
        return k.finish(*self.sizes())

    def _reduce(self) -> None:
        c, t, k = self.c, self.t, self.kernel
        rows = [self.row(f"row{i}", f"ty*{t.mr} + {i}") for i in range(t.mr)]
        if c.norm is not None:
            for i in range(t.mr):
                slot = f"ty*{t.mr} + {i}"
                k.emit(f"const float mean{i} = means[{slot}], rstd{i} = rstds[{slot}];")
        if c.weights is not None:
            self._weights()
        self._steps(rows)

    def _steps(self, rows: list[Expr]) -> None:
        """All of k, ``width`` at a time."""
        k, w = self.kernel, self.width
        f = f"float{w}" if w > 1 else "float"
        with k.loop("step", self.c.k // w):
            for i, row in enumerate(rows):
                k.emit(f"const {f} a{i} = {self.read_a(row, 'step', f'mean{i}', f'rstd{i}')};")
            for j in range(w):
                with k.scope():
                    self._multiply(j)

    def _multiply(self, j: int) -> None:
        """One k: ``nr`` vectors of b times a lane of every row."""
        c, t, k, w = self.c, self.t, self.kernel, self.width
        k.emit(f"const int kk = step*{w} + {j};")
        for v in range(t.nr):
            vector = f"column*{t.vectors} + tx + {v * t.wx}"
            text = self._load(vector) if c.weights is not None else self.read_b(var("kk", c.k), vector)
            k.emit(f"const float4 b{v} = {text};")
        for i in range(t.mr):
            a = f"a{i}.s{j}" if w > 1 else f"a{i}"
            k.emit(" ".join(f"c{i}_{v} = mad((float4)({a}), b{v}, c{i}_{v});" for v in range(t.nr)))

    def _weights(self) -> None:
        """Weights as [batch*K][columns of 4]: an image where it fits the device's limits, else a buffer."""
        c, k = self.c, self.kernel
        self.pitch = self.panels * self.t.vectors
        height = prod(c.batch) * c.k
        fits = max(self.pitch, height) <= self.s.image
        name, dtype = self.packed(4 * self.pitch, 1, (self.pitch, height) if fits else None)
        self.image = k.image(name) if fits else ""
        self.pointer = "" if fits else k.argument(name, dtype)
        self.weights_half = dtype == "float16"

    def _row(self) -> str:
        """Row of the packed weights."""
        return f"batch*{self.c.k} + kk" if prod(self.c.batch) > 1 else "kk"

    def _load(self, vector: str) -> str:
        row = self._row()
        if self.image:
            return f"read_imagef({self.image}, (int2)({vector}, {row}))"
        at = f"({row})*{self.pitch} + {vector}"
        if self.weights_half:
            return self.kernel.load_halves(4, at, self.pointer)
        return f"((const __global float4*){self.pointer})[{at}]"
