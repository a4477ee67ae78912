"""The end of a register tile on CPU devices: bias, activation, residual and store, for products and convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from ecp.codegen.contraction import Contraction
from ecp.codegen.core.kernel import Kernel
from ecp.codegen.reader import Env, Reader, forward, lane
from ecp.index.expr import Expr, var, wrap


@dataclass(frozen=True)
class Epilogue:
    """Of tiles ``nr`` vectors of ``vec`` columns wide, whose sums lie in the private array ``acc``, row after row.

    In scope are ``panel`` (of column panels), and ``i`` (the row of the tile). ``batch``: coordinates before the row.
    """

    env: Env
    kernel: Kernel
    c: Contraction
    batch: list[Expr]
    nr: int
    vec: int

    def row(self, m: Expr) -> None:
        """Finish and store row ``m``, as a loop over its vectors: short code builds fast."""
        c, k, width = self.c, self.kernel, self.nr * self.vec
        with k.loop("v", self.nr):
            first = var("panel", ceil(c.n / width)) * width + var("v", self.nr) * self.vec
            if c.n % width == 0:
                self._vector(m, first)
            elif c.n % self.vec == 0:
                with k.when(f"panel*{width} + v*{self.vec} < {c.n}"):
                    self._inside(m)
            else:
                self._edge(m, first)

    def _vector(self, m: Expr, first: Expr) -> None:
        text = f"vload{self.vec}(i*{self.nr} + v, acc)"
        self._finish(Reader(self.env, self.kernel, self.vec), text, m, first + lane(self.vec))

    def _inside(self, m: Expr) -> None:
        """A whole vector where others would leave the columns: its coordinates are told not to.

        They are told as a multiple of the vector, or an address that takes columns apart is one for every lane.
        """
        number = self.kernel.define("int", f"panel*{self.nr} + v")
        self._vector(m, var(number, self.c.n // self.vec) * self.vec)

    def _edge(self, m: Expr, first: Expr) -> None:
        """Columns that may end inside a vector: whole vectors as usual, the rest by narrower ones."""
        c, k, vec = self.c, self.kernel, self.vec
        start = Reader(self.env, k).index(first)
        if c.n >= vec:
            with k.when(f"{start} + {vec} <= {c.n}"):
                self._inside(m)
        # A panel may have more vectors than there are columns.
        with k.otherwise(f"{start} < {c.n}") if c.n >= vec else k.when(f"{start} < {c.n}"):
            at = c.n // vec * vec
            for width in (8, 4, 1):
                while at + width <= c.n and width < vec:
                    self._narrow(m, at, width)
                    at += width

    def _narrow(self, m: Expr, at: int, width: int) -> None:
        """``width`` of the last columns, from ``at``: their vector is the last one."""
        where = f"acc + i*{self.nr * self.vec} + v*{self.vec} + {at % self.vec}"
        text = f"vload{width}(0, {where})" if width > 1 else f"*({where})"
        self._finish(Reader(self.env, self.kernel, width), text, m, wrap(at) + lane(width))

    def _finish(self, reader: Reader, text: str, m: Expr, n: Expr) -> None:
        c = self.c
        coords = c.place(self.batch, m, n)
        if c.bias:
            text = f"{text} + {reader.read(c.bias, [coords[1]])}"
        name = reader.kernel.define(reader.ctype(c.anchor.output), text)
        result, at = forward(reader, c.tail, c.anchor.output, name, coords)
        reader.store(c.value, at, result)
