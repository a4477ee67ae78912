"""``wgmma``, barriers in local memory and bulk copies inside OpenCL C, for compute capability 9.0.

Source: PTX ISA 9.0, sections on mbarrier, cp.async.bulk and wgmma.mma_async (matrix descriptor, no swizzle, K-major).
A line that begins with ``//@`` is an instruction of sm_90a that :mod:`ecp.runtime.ptx` uncovers.
"""

# ruff: noqa: E501  (the text is C)
from __future__ import annotations

# What a launch with these instructions says of itself; the runtime completes such programs.
TARGET = "sm_90a"
WGMMA = """#ifndef ECP_SM_90A
#error "a program for sm_90a, completed after it is compiled (ecp/runtime/ptx.py): this runner cannot"
#endif
#define ECP_WG_FENCE() asm volatile("//@ wgmma.fence.sync.aligned;" ::: "memory")
#define ECP_WG_COMMIT() asm volatile("//@ wgmma.commit_group.sync.aligned;" ::: "memory")
#define ECP_WG_WAIT(n) asm volatile("//@ wgmma.wait_group.sync.aligned " #n ";" ::: "memory")
#define ECP_WARP() asm volatile("bar.warp.sync 0xffffffff;" ::: "memory")
#define ECP_ASYNC_FENCE() asm volatile("fence.proxy.async;" ::: "memory")
void ecp_bar_begin(uint bar, uint count) { asm volatile("mbarrier.init.shared::cta.b64 [%0],%1;" :: "r"(bar), "r"(count) : "memory"); }
void ecp_bar_end(uint bar) { asm volatile("mbarrier.inval.shared::cta.b64 [%0];" :: "r"(bar) : "memory"); }
void ecp_arrive(uint bar) { asm volatile("mbarrier.arrive.shared::cta.b64 _,[%0];" :: "r"(bar) : "memory"); }
void ecp_expect(uint bar, uint bytes) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _,[%0],%1;" :: "r"(bar), "r"(bytes) : "memory"); }
void ecp_bar_wait(uint bar, uint phase) {
  uint done;
  do { asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p,[%1],%2; selp.u32 %0,1,0,p;}" : "=r"(done) : "r"(bar), "r"(phase) : "memory"); } while (!done);
}
void ecp_bulk(uint to, const __global uchar* from, uint bytes, uint bar) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0],[%1],%2,[%3];" :: "r"(to), "l"(from), "r"(bytes), "r"(bar) : "memory");
}
ulong ecp_matrix(uint at, uint rows) { return (ulong)(at >> 4) | ((ulong)rows << 16) | ((ulong)8 << 32); }
"""
# A choice between two elements of an array in registers, which stays there: their address is never computed.
PICK = """float ecp_pick(int first, float a, float b) { return first ? a : b; }
"""
# Between what others wrote and copies of it.
FENCE = "ECP_ASYNC_FENCE();"


def multiply(columns: int) -> str:
    """``ECP_WGMMA<columns>(acc, a, b)``: 64 rows x ``columns`` x 16 steps, onto ``acc``; a and b are descriptors."""
    count = columns // 2
    sums = ",".join(f"%{i}" for i in range(count))
    operands = ",".join(f'"+f"((acc)[{i}])' for i in range(count))
    return (
        f'#define ECP_WGMMA{columns}(acc, a, b) asm volatile("//@ {{.reg .pred p; setp.eq.u32 p,0,0;'
        f" wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.f16.f16 {{{sums}}},%{count},%{count + 1},p,1,1,0,0;}}"
        f'" : {operands} : "l"(a), "l"(b) : "memory")\n'
    )
