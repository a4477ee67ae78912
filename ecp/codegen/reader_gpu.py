"""Reads and writes of whole aligned vectors, which GPUs do in one instruction."""

from __future__ import annotations

from ecp.codegen.reader import Reader, lane_stride
from ecp.index.expr import Expr
from ecp.ir.graph import Node

# x * Phi(x) = max(x, 0) - |x| * erfc(|x| / sqrt 2) / 2; erfc by Abramowitz and Stegun 7.1.26 (1.5e-7).
GELU = """{T} ecp_gelu_{T}({T} x) {{
  const {T} a = fmin(fabs(x), 16.0f), z = a * 0.70710678118654752f;
  const {T} t = native_recip(1.0f + 0.3275911f * z);
  const {T} p = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
  return select(x, ({T})(0.0f), x < 0.0f) - a * (0.5f * p * native_exp2(-1.4426950408889634f * z * z));
}}
"""


class GpuReader(Reader):
    """As :class:`Reader`; runs of elements whose address is a multiple of their number are one access.

    Every buffer begins on a boundary that is wider than any vector.
    """

    def load(self, buffer: str, address: Expr) -> str:
        """C expression loading a scalar or a vector at an element address."""
        b = self.env.buffers[buffer]
        stride, rest = lane_stride(address, self.lane)
        if self.width > 1 and stride == 1 and b.dtype in ("float32", "float16") and self._aligned(rest):
            pointer, w = self.kernel.argument(buffer, b.dtype), self.width
            if b.dtype == "float16":
                return f"vloada_half{w}(0, {pointer} + {self.index(rest)})"
            return f"*(const __global float{w}*)({pointer} + {self.index(rest)})"
        return super().load(buffer, address)

    def _aligned(self, address: Expr) -> bool:
        w = self.width
        return address.const % w == 0 and all(factor % w == 0 for _, factor in address.terms)

    def store(self, value: str, coords: list[Expr], text: str) -> None:
        """Statement storing ``text`` at ``coords`` of a stored value."""
        storage = self.env.storage[value]
        b = self.env.buffers[storage.buffer]
        stride, rest = lane_stride(storage.view.index(coords), self.lane)
        if self.width > 1 and stride == 1 and b.dtype in ("float32", "float16") and self._aligned(rest):
            pointer, w = self.kernel.argument(storage.buffer, b.dtype, write=True), self.width
            if b.dtype == "float16":
                self.kernel.emit(f"vstorea_half{w}({text}, 0, {pointer} + {self.index(rest)});")
            else:
                self.kernel.emit(f"*(__global float{w}*)({pointer} + {self.index(rest)}) = {text};")
            return
        super().store(value, coords, text)


class TensorReader(GpuReader):
    """As :class:`GpuReader`; functions as precise as half storage needs, by the special function unit."""

    def apply(self, node: Node, args: list[str]) -> str:
        """C expression of an element-wise node on computed arguments."""
        ctype = self.ctype(node.output)
        if node.op == "Gelu" and node.attrs["approximate"] == "none" and ctype.startswith("float"):
            return f"{self.kernel.helper(f'ecp_gelu_{ctype}', GELU.format(T=ctype))}({args[0]})"
        return super().apply(node, args)
