"""PTX instructions inside OpenCL C, for schedules with ``ptx``: asynchronous copies, shuffles, tensor cores.

Source: PTX ISA 9.0, sections on cp.async, shfl.sync, ldmatrix and mma.m16n8k16. All need compute capability 8.0.
"""

# ruff: noqa: E501  (the text is C)
from __future__ import annotations

from collections.abc import Iterable

from ecp.codegen.core.kernel import Kernel
from ecp.codegen.core.statements import Function
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
PACK = """uint ecp_pack2(float lo, float hi) {
  uint r; asm("cvt.rn.f16x2.f32 %0,%1,%2;" : "=r"(r) : "f"(hi), "f"(lo)); return r;
}
"""
# Of the built-in function the compiler makes four instructions, for results that no half can hold.
EXP2 = """float ecp_exp2(float v) { float r; asm("ex2.approx.ftz.f32 %0,%1;" : "=f"(r) : "f"(v)); return r; }
"""
# NVIDIA's compiler takes the built-in vectors of halves apart into accesses of 2 bytes; integers stay whole.
WHOLE_HALVES = """float2 ecp_unpack2(uint v) {
  float2 r;
  asm("{.reg .b16 a,b; mov.b32 {a,b},%2; cvt.f32.f16 %0,a; cvt.f32.f16 %1,b;}" : "=f"(r.x), "=f"(r.y) : "r"(v));
  return r;
}
uint ecp_pack(float2 v) {
  uint r; asm("cvt.rn.f16x2.f32 %0,%1,%2;" : "=r"(r) : "f"(v.y), "f"(v.x)); return r;
}
float4 ecp_load_half4(const __global half* p) {
  const uint2 v = *(const __global uint2*)p;
  return (float4)(ecp_unpack2(v.x), ecp_unpack2(v.y));
}
float8 ecp_load_half8(const __global half* p) {
  const uint4 v = *(const __global uint4*)p;
  return (float8)(ecp_unpack2(v.x), ecp_unpack2(v.y), ecp_unpack2(v.z), ecp_unpack2(v.w));
}
void ecp_store_half4(float4 v, __global half* p) {
  *(__global uint2*)p = (uint2)(ecp_pack(v.lo), ecp_pack(v.hi));
}
void ecp_store_half8(float8 v, __global half* p) {
  *(__global uint4*)p = (uint4)(ecp_pack(v.s01), ecp_pack(v.s23), ecp_pack(v.s45), ecp_pack(v.s67));
}
#define vloada_half4(at, p) ecp_load_half4((p) + 4*(at))
#define vloada_half8(at, p) ecp_load_half8((p) + 8*(at))
#define vstorea_half4(v, at, p) ecp_store_half4(v, (p) + 4*(at))
#define vstorea_half8(v, at, p) ecp_store_half8(v, (p) + 8*(at))
"""
# The accumulator of a product holds rows g, g+8 and columns 2t, 2t+1: swapped with the neighbour, a lane has 4
# columns in a row of row g (even lanes) or g+8 (odd lanes).
QUAD = """void ecp_quad(float* c, int lane) {
  const int odd = lane & 1;
  const float s0 = odd ? c[0] : c[2], s1 = odd ? c[1] : c[3];
  const float r0 = ecp_shfl_xor(s0, 1), r1 = ecp_shfl_xor(s1, 1);
  if (odd) { c[0] = r0; c[1] = r1; } else { c[2] = r0; c[3] = r1; }
}
"""


def reduce_team(kernel: Kernel, name: str, team: int, combine: str) -> None:
    """Fold ``name`` over ``team`` neighbouring lanes of a warp (a power of two); every lane gets the result."""
    kernel.helper("ecp_shfl_xor", SHUFFLE)
    distance = team // 2
    while distance:
        kernel.emit(f"{name} = {combine.format(name, f'ecp_shfl_xor({name}, {distance})')};")
        distance //= 2


def whole_halves(functions: Iterable[Function]) -> str:
    """What a program begins with so that its aligned vectors of halves are one access each."""
    return WHOLE_HALVES if any(function.halves for function in functions) else ""


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
