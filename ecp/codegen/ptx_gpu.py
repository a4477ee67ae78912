"""PTX instructions inside OpenCL C, for schedules with ``ptx``: asynchronous copies, shuffles, tensor cores.

Source: PTX ISA 9.0, sections on cp.async, shfl.sync, ldmatrix and mma.m16n8k16. All need compute capability 8.0.
"""

# ruff: noqa: E501  (the text is C)
from __future__ import annotations

from ecp.codegen.kernel import Kernel
from ecp.codegen.reader import Env, Reader, lane_stride
from ecp.index.expr import Expr
from ecp.passes.rewrite import is_view

SHUFFLE = """float ecp_shfl_xor(float v, uint m) {
  float r; asm volatile("shfl.sync.bfly.b32 %0,%1,%2,31,0xffffffff;" : "=f"(r) : "f"(v), "r"(m)); return r;
}
"""
COPY = """void ecp_copy16(uint to, const __global void* from, uint bytes) {
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" :: "r"(to), "l"(from), "r"(bytes) : "memory");
}
#define ECP_COMMIT() asm volatile("cp.async.commit_group;" ::: "memory")
#define ECP_WAIT(n) asm volatile("cp.async.wait_group " #n ";" ::: "memory")
"""
TENSOR = """#define ECP_LDM4(r, a) asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];" : "=r"((r)[0]),"=r"((r)[1]),"=r"((r)[2]),"=r"((r)[3]) : "r"(a) : "memory")
#define ECP_LDM4T(r, s, a) asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];" : "=r"((r)[0]),"=r"((r)[1]),"=r"((s)[0]),"=r"((s)[1]) : "r"(a) : "memory")
#define ECP_MMA(c, a, b) asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};" : "+f"((c)[0]),"+f"((c)[1]),"+f"((c)[2]),"+f"((c)[3]) : "r"((a)[0]),"r"((a)[1]),"r"((a)[2]),"r"((a)[3]),"r"((b)[0]),"r"((b)[1]))
"""


def reduce_team(kernel: Kernel, name: str, team: int, combine: str) -> None:
    """Fold ``name`` over ``team`` neighbouring lanes of a warp (a power of two); every lane gets the result."""
    kernel.helper("ecp_shfl_xor", SHUFFLE)
    distance = team // 2
    while distance:
        kernel.emit(f"{name} = {combine.format(name, f'ecp_shfl_xor({name}, {distance})')};")
        distance //= 2


class NotPlainError(Exception):
    """A read that is no run of elements in memory."""


class PointerReader(Reader):
    """Reads give the address of ``width`` elements in a row and load nothing; :attr:`inside` says when one may."""

    inside = ""

    def read(self, value: str, coords: list[Expr]) -> str:
        """Address of ``value`` at ``coords``. Raises :class:`NotPlainError`."""
        value = self.redirect.get(value, value)
        node = self.env.made.get(value)
        if value in self.env.storage:
            storage = self.env.storage[value]
            return self.load(storage.buffer, storage.view.index(coords))
        if node is not None and is_view(node) and node.op not in ("Pad", "Concat"):
            return self.read(node.inputs[0], self._pulled(node, value, coords))
        raise NotPlainError(value)

    def load(self, buffer: str, address: Expr) -> str:
        """Address of an aligned run of elements."""
        b = self.env.buffers[buffer]
        stride, rest = lane_stride(address, self.lane)
        wide = {"float32": 4, "float16": 8}.get(b.dtype) == self.width
        aligned = rest.const % self.width == 0 and all(factor % self.width == 0 for _, factor in rest.terms)
        if stride != 1 or not wide or not aligned:
            raise NotPlainError(buffer)
        return f"({self.kernel.argument(buffer, b.dtype)} + {self.index(rest)})"

    def guarded(self, source: str, coords: list[Expr], shape: tuple[int, ...], other: float) -> str:
        """An address that may lie outside, with the condition under which it does not."""
        tests = [(c, n) for c, n in zip(coords, shape) if c.lo < 0 or c.hi >= n]
        if other != 0.0 or any(c.depends_on(self.lane) for c, _ in tests):
            raise NotPlainError(source)
        if tests:
            self.inside = self.kernel.define("int", self._inside(tests))
        return self.read(source, coords)


def plain(env: Env, width: int, read: object) -> bool:
    """True where ``read(reader)`` gives an address."""
    try:
        read(PointerReader(env, Kernel("probe"), width))  # type: ignore[operator]
    except NotPlainError:
        return False
    return True
