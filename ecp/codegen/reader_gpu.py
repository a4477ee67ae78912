"""Reads and writes of whole aligned vectors, which GPUs do in one instruction."""

from __future__ import annotations

from ecp.codegen.reader import Reader, lane_stride
from ecp.index.expr import Expr
from ecp.ir.graph import Node

# x * Phi(x) = max(x, 0) - |x| * Phi(-|x|), and Phi(-a) = 2^q(a), q fitted on 0..5.7: largest error 1.2e-6, one
# call of the special function unit. Past 5.7 the second term is 3e-8.
GELU = """float ecp_gelu(float x) {
  const float a = fmin(fabs(x), 5.7f);
  float q = fma(-0.00044777875882573426f, a, 0.006958821788430214f), e;
  q = fma(q, a, -0.051661811769008636f); q = fma(q, a, -0.45998260378837585f); q = fma(q, a, -1.1509007215499878f);
  q = fma(q, a, -1.0f);
  asm("ex2.approx.ftz.f32 %0,%1;" : "=f"(e) : "f"(q));
  return fma(-a, e, x < 0.0f ? 0.0f : x);
}
"""

# erf(z) = 1 - 2 Phi(-sqrt(2) z), of the same form: largest error 1.4e-6. Bounded by a comparison, which
# keeps a NaN (GELU ends with x itself, and may drop it on the way).
ERF = """float ecp_erf_half(float z) {
  const float a = fabs(z) > 4.03f ? 4.03f : fabs(z);
  float q = fma(0.00025243929121643305f, a, -0.004252324346452951f), e;
  q = fma(q, a, 0.03203551843762398f); q = fma(q, a, -0.15068644285202026f);
  q = fma(q, a, -0.9177919030189514f); q = fma(q, a, -1.6279727220535278f) * a;
  asm("ex2.approx.ftz.f32 %0,%1;" : "=f"(e) : "f"(q));
  return copysign(1.0f - e, z);
}
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
                return self.kernel.load_halves(w, "0", f"{pointer} + {self.index(rest)}")
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
                self.kernel.emit(self.kernel.store_halves(w, text, "0", f"{pointer} + {self.index(rest)}"))
            else:
                self.kernel.emit(f"*(__global float{w}*)({pointer} + {self.index(rest)}) = {text};")
            return
        super().store(value, coords, text)


class TensorReader(GpuReader):
    """As :class:`GpuReader`; functions as precise as half storage needs, by the special function unit."""

    def apply(self, node: Node, args: list[str]) -> str:
        """C expression of an element-wise node on computed arguments."""
        ctype = self.ctype(node.output)
        if ctype.startswith("float"):
            if node.op == "Gelu" and node.attrs["approximate"] == "none":
                return self._each(ctype, self.kernel.helper("ecp_gelu", GELU), args[0])
            if node.op == "Erf":
                return self._each(ctype, self.kernel.helper("ecp_erf_half", ERF), args[0])
            by = self.env.graph.constants.get(node.inputs[1]) if node.op == "Div" else None
            if by is not None and by.size == 1 and float(by.reshape(-1)[0]) != 0.0:
                return f"{args[0]} * {1.0 / float(by.reshape(-1)[0])!r}f"
        return super().apply(node, args)

    def _each(self, ctype: str, function: str, arg: str) -> str:
        """``function`` of every component."""
        if ctype == "float":
            return f"{function}({arg})"
        x = self.kernel.define(ctype, arg)
        return f"({ctype})({', '.join(f'{function}({x}.s{i})' for i in range(int(ctype[5:])))})"
