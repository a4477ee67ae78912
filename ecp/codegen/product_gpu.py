"""What all products on GPUs share: how operands are read, row statistics of a folded LayerNorm, the epilogue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil, prod

import numpy as np

from ecp.codegen.contraction import Contraction
from ecp.codegen.core.kernel import Kernel, Launch, group_id, local_id
from ecp.codegen.packing import pack_weights
from ecp.codegen.ptx_gpu import reduce_team
from ecp.codegen.reader import Env, Reader, forward, lane
from ecp.codegen.reader_gpu import GpuReader
from ecp.codegen.schedule import Schedule
from ecp.index.expr import Expr, var, wrap
from ecp.index.maps import broadcast, delinearize
from ecp.passes.rewrite import scalar

# Rows of up to this many vectors per work-item are normalised from registers: read once.
IN_REGISTERS = 24


class Product:
    """One product launch under construction. ``rows``, ``columns``: the tile of a work-group of ``items``."""

    def __init__(
        self, env: Env, schedule: Schedule, c: Contraction, kernel: Kernel, size: tuple[int, int, int]
    ):
        self.env, self.s, self.c, self.kernel = env, schedule, c, kernel
        self.rows, self.columns, self.items = size
        self.width = 4 if c.k_shape[-1] % 4 == 0 else 1
        self.panels = ceil(c.n / self.columns)
        self.blocks = ceil(c.m / self.rows)
        self.batch = delinearize(var("batch", prod(c.batch)), c.batch) if c.batch else []
        self.sums, self.tail = c.anchor.output, c.tail

    def emit(self) -> Launch:
        """The launch."""
        raise NotImplementedError

    def take_bias(self) -> np.ndarray | None:
        """[n] in float32 that is added to every row of sums first, for a kernel whose sums begin with it; else None."""
        first, constants = next(iter(self.tail), None), self.env.graph.constants
        if first is None or first.op != "Add" or self.c.bias:
            return None
        bias = constants.get(next((i for i in first.inputs if i != self.sums), ""))
        if bias is None or bias.size != self.c.n or bias.shape[-1:] != (self.c.n,):
            return None
        self.sums, self.tail = first.output, self.tail[1:]
        return bias.reshape(-1).astype(np.float32)

    @property
    def unscaled(self) -> bool:
        """True where no scale or shift is left to a folded normalisation (:mod:`ecp.passes.affine`)."""
        assert self.c.norm is not None
        own = [i for i in self.c.norm.inputs[1:] if i]
        return not own or (len(own) == 1 and scalar(self.env.graph, own[0]) == 1)

    def begin(self) -> None:
        """Where this work-group and work-item are."""
        k = self.kernel
        k.declare("const int", lid=local_id())
        k.declare("const int", column=group_id(), block=group_id(1))
        if prod(self.c.batch) > 1:
            k.declare("const int", batch=group_id(2))

    def sizes(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """(global, local) size."""
        return (self.panels * self.items, self.blocks, max(1, prod(self.c.batch))), (self.items, 1, 1)

    def reader(self, width: int) -> Reader:
        """A reader of A: the normalisation's input in place of its output, which never exists in memory."""
        reader = GpuReader(self.env, self.kernel, width)
        if self.c.norm is not None:
            reader.redirect = {self.c.norm.output: self.c.norm.inputs[0]}
        return reader

    def row(self, name: str, offset: str) -> Expr:
        """A row index, clamped so that the last tile reads inside the operand."""
        if self.c.m == 1:
            return wrap(0)
        inside = self.c.m % self.rows == 0
        text = f"block*{self.rows} + {offset}"
        self.kernel.emit(f"const int {name} = {text if inside else f'min({text}, {self.c.m - 1})'};")
        return var(name, self.c.m)

    def step(self, name: str) -> Expr:
        """First k of step ``name``, with the lane where the reads are vectors."""
        at = var(name, self.c.k // self.width) * self.width
        return at + lane(self.width) if self.width > 1 else at

    def read_a(self, row: Expr, step: str, mean: str, rstd: str) -> str:
        """A at ``row`` and step ``step``, normalised where the launch folds a LayerNormalization."""
        c = self.c
        reader, at = self.reader(self.width), self.step(step)
        text = c.read_a(reader, self.batch, row, at)
        if c.norm is None:
            return text
        text = f"({text} - {mean}) * {rstd}"
        for i, op in ((1, "*"), (2, "+")):
            if len(c.norm.inputs) > i and c.norm.inputs[i]:
                own = broadcast([at], self.env.graph.types[c.norm.inputs[i]].shape)
                text = f"({text}) {op} {reader.read(c.norm.inputs[i], own)}"
        return text

    def read_b(self, kk: Expr, vector: str) -> str:
        """4 columns of b that is no constant; columns past the end repeat valid ones and are never stored."""
        c, k = self.c, self.kernel
        assert c.read_b is not None
        if c.n % 4 == 0:
            at = k.define("int", f"min({vector}, {c.n // 4 - 1})")
            return c.read_b(GpuReader(self.env, k, 4), self.batch, kk, var(at, c.n // 4) * 4 + lane(4))
        parts = []
        for j in range(4):
            at = k.define("int", f"min(({vector})*4 + {j}, {c.n - 1})")
            parts.append(c.read_b(GpuReader(self.env, k), self.batch, kk, var(at, c.n)))
        return f"(float4)({', '.join(parts)})"

    def weights(self) -> np.ndarray:
        """[batch, K, N]."""
        assert self.c.weights is not None
        return self.c.weights

    def weights_key(self, layout: str) -> str:
        """Buffer name of the weights in ``layout``."""
        return f"{self.c.weights_key}@{layout}{self.c.anchor.op}"

    def packed(self, width: int, step: int = 1, image: tuple[int, int] | None = None) -> tuple[str, str]:
        """(buffer name, dtype) of the weights in panels of ``width`` columns, K padded to ``step``."""
        key = self.weights_key(f"packed{width}x{step}{'@image' if image else ''}")
        if key not in self.env.buffers:
            weights = self.weights()
            pad = -weights.shape[1] % step
            if pad:
                weights = np.pad(weights, ((0, 0), (0, pad), (0, 0)))
            self.env.constant_buffer(key, pack_weights(weights, width), key).image = image
        return key, self.env.buffers[key].dtype

    def statistics(self) -> None:
        """Two-pass mean and 1/deviation of the group's rows, in fp32, left in local memory."""
        c, k = self.c, self.kernel
        assert c.norm is not None
        steps = c.k // self.width
        share = next((p for p in (32, 16, 8) if steps % p == 0), 32)  # work-items that walk one row together
        while share > self.items:
            share //= 2
        at_once = self.items // share
        each = ceil(steps / share)
        k.local_array("float", part=self.items, part2=self.items, means=self.rows, rstds=self.rows)
        k.emit(f"const int team = lid/{share}, p = lid%{share};")
        with k.loop("round", ceil(self.rows / at_once)):
            k.emit(f"const int i = round*{at_once} + team;")
            row = self.row("row", f"min(i, {self.rows - 1})")
            f = f"float{self.width}" if self.width > 1 else "float"
            if each <= IN_REGISTERS:
                k.emit(f"{f} x[{each}];")
                with self._walk(each, share, steps) as at:
                    k.emit(f"x[s] = {c.read_a(self.reader(self.width), self.batch, row, at)};")
            k.emit(f"{f} v = 0.0f, v2 = 0.0f;")
            self._fold(row, each, share, steps, lambda x: f"v += {x};")
            self._across("v", "part", "total", share)
            k.emit(f"const float mean = total / {c.k}.0f;")
            self._fold(row, each, share, steps, lambda x: f"const {f} d = {x} - mean; v2 = fma(d, d, v2);")
            self._across("v2", "part2", "total2", share)
            epsilon = float(c.norm.attrs["epsilon"])
            with k.when(f"p == 0 && team < {at_once} && i < {self.rows}"):
                k.emit("means[i] = mean;")
                k.emit(f"rstds[i] = 1.0f / sqrt(total2 / {c.k}.0f + {epsilon!r}f);")
        k.barrier()

    @contextmanager
    def _walk(self, each: int, share: int, steps: int) -> Iterator[Expr]:
        """``for s: if inside``: the steps of a row that one work-item of a team takes."""
        k = self.kernel
        with k.loop("s", each, unroll=each if each <= IN_REGISTERS else None):
            k.emit(f"const int at = s*{share} + p;")
            with k.when(f"at < {steps}" if steps % share else ""):
                yield self.step("at")

    def _fold(self, row: Expr, each: int, share: int, steps: int, update: Callable[[str], str]) -> None:
        with self._walk(each, share, steps) as at:
            if each <= IN_REGISTERS:
                self.kernel.emit(update("x[s]"))
            else:
                self.kernel.emit(update(self.c.read_a(self.reader(self.width), self.batch, row, at)))

    def _across(self, v: str, part: str, total: str, share: int) -> None:
        """``total``: the sum of ``v`` over the work-items of a team."""
        k, w = self.kernel, self.width
        if self.s.ptx:
            k.emit(f"float {total} = {'+'.join(f'{v}.s{j}' for j in range(w)) if w > 1 else v};")
            reduce_team(k, total, share, "({} + {})")
            return
        k.emit(f"{part}[lid] = {'+'.join(f'{v}.s{j}' for j in range(w)) if w > 1 else v};")
        k.barrier()
        k.emit(f"float {total} = 0.0f;")
        # An incomplete last team adds its neighbours' parts: its sum is not used, but must not leave the array.
        at = "lid - p + q" if self.items % share == 0 else f"min(lid - p + q, {self.items - 1})"
        k.each("q", share, f"{total} += {part}[{at}];")

    def finish(self, reader: Reader, text: str, m: Expr, n: Expr) -> None:
        """Bias, activation, residual and store of the elements ``text`` at row ``m``, columns ``n``."""
        result, at = self.finished(reader, text, m, n)
        reader.store(self.c.value, at, result)

    def finished(self, reader: Reader, text: str, m: Expr, n: Expr) -> tuple[str, list[Expr]]:
        """C name and coordinates of what is stored for the sums ``text`` at row ``m``, columns ``n``."""
        c = self.c
        coords = c.place(self.batch, m, n)
        if c.bias:
            text = f"{text} + {reader.read(c.bias, [coords[1]])}"
        name = reader.kernel.define(reader.ctype(c.anchor.output), text)
        return forward(reader, self.tail, self.sums, name, coords)

    def store_vector(self, text: str, line: str, vec: str) -> None:
        """Guarded :meth:`finish` of 4 columns; ``text`` is a float4, ``line`` and ``vec`` are global indices."""
        c, k = self.c, self.kernel
        tests = []
        if c.m % self.rows:
            tests.append(f"{line} < {c.m}")
        if c.n % self.columns:
            tests.append(f"{vec} < {ceil(c.n / 4)}")
        with k.when(f"{' && '.join(tests)}" if tests else ""):
            m = var(line, c.m) if c.m > 1 else wrap(0)
            if c.n % 4 == 0:
                self.finish(GpuReader(self.env, k, 4), text, m, var(vec, c.n // 4) * 4 + lane(4))
                return
            k.emit(f"const float4 four = {text};")
            k.emit("const float lanes[4] = {four.s0, four.s1, four.s2, four.s3};")
            with k.loop("j", 4):
                k.emit(f"const int n = {vec}*4 + j;")
                with k.when(f"n < {c.n}"):
                    column = var("n", c.n) if c.n > 1 else wrap(0)
                    self.finish(GpuReader(self.env, k), "lanes[j]", m, column)
