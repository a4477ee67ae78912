"""Reads and writes of whole aligned vectors, which GPUs do in one instruction."""

from __future__ import annotations

from ecp.codegen.reader import Reader, lane_stride
from ecp.index.expr import Expr


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
