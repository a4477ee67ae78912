"""The inner loop of products and convolutions on CPU devices: a tile of sums in registers, one step of k at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ecp.codegen.core.kernel import Kernel


@dataclass(frozen=True)
class RegisterTile:
    """Sums ``c{i}_{v}``: ``mr`` rows of ``nr`` vectors of ``vec`` columns."""

    kernel: Kernel
    mr: int
    nr: int
    vec: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.nr * self.vec

    def clear(self) -> None:
        """Declare the sums, all zero."""
        for i in range(self.mr):
            zeros = ", ".join(f"c{i}_{v} = 0.0f" for v in range(self.nr))
            self.kernel.emit(f"float{self.vec} {zeros};")

    def weights(self, load: str) -> None:
        """Name ``b{v}``, the vectors of step ``kk`` in the panel ``b``."""
        for v in range(self.nr):
            self.kernel.emit(f"const float{self.vec} b{v} = {load}({v}, b + kk*{self.width});")

    def multiply(self, number: Callable[[int], str]) -> None:
        """Add the products of ``number(i)``, of row ``i``, and the vectors ``b{v}``."""
        for i in range(self.mr):
            self.kernel.emit(f"const float{self.vec} x{i} = (float{self.vec})({number(i)});")
            self._row(i, "c{i}_{v} = fma(x{i}, b{v}, c{i}_{v});")

    def load(self, array: str) -> None:
        """The sums from an array, row after row."""
        for i in range(self.mr):
            self._row(i, f"c{{i}}_{{v}} = vload{self.vec}({{at}}, {array});")

    def store(self, array: str) -> None:
        """The sums into an array, row after row."""
        for i in range(self.mr):
            self._row(i, f"vstore{self.vec}(c{{i}}_{{v}}, {{at}}, {array});")

    def _row(self, i: int, text: str) -> None:
        self.kernel.emit(" ".join(text.format(i=i, v=v, at=i * self.nr + v) for v in range(self.nr)))
