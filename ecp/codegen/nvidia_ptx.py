"""OpenCL C helpers round the PTX instructions that the persistent kernel uses.

NVIDIA's OpenCL compiler accepts inline PTX for ``.target sm_90`` (no wgmma, no setmaxnreg) and 226 KiB of
``__local`` memory in a static array, whatever CL_DEVICE_LOCAL_MEM_SIZE says. The text also compiles as CUDA
C++ with nvcc (the twin macros), so that registers and spills can be read without a GPU.

Source: PTX ISA 9.0, sections on ldmatrix, mma.m16n8k16, cp.async, cp.async.bulk, mbarrier, red and the memory
consistency model.
"""

# ruff: noqa: E501  (the text is C)

#: Bytes of ``__local`` memory that one group may declare on compute capability 9.0: 227 KiB less the KiB that
#: the system keeps (an array of more is refused by ptxas; nvcc's dynamic array here does not show it).
LOCAL_BYTES = 231424

TWIN = r"""
#ifdef __CUDACC__
typedef unsigned int uint; typedef unsigned char uchar; typedef unsigned short ushort;
#define DEV static __device__ __forceinline__
#define GLB
#define SYNC() __syncthreads()
#define KERNEL extern "C" __global__ __launch_bounds__(NT, 1) void
#define SMEM_BASE(n) extern __shared__ __align__(1024) uchar smem_[]; const uint sb = (uint)__cvta_generic_to_shared(smem_)
#define LID threadIdx.x
#define GID blockIdx.x
#define NGROUPS gridDim.x
#define RSQRT rsqrtf
#else
#define DEV static inline
#define GLB __global
#define SYNC() barrier(CLK_LOCAL_MEM_FENCE)
#define KERNEL __kernel __attribute__((reqd_work_group_size(NT, 1, 1))) void
#define SMEM_BASE(n) __local uchar smem_[n] __attribute__((aligned(1024))); const uint sb = (uint)(size_t)smem_
#define LID get_local_id(0)
#define GID get_group_id(0)
#define NGROUPS get_num_groups(0)
#define RSQRT rsqrt
#endif
"""

HELPERS = r"""
#define LDM4(r, a) asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];" : "=r"((r)[0]),"=r"((r)[1]),"=r"((r)[2]),"=r"((r)[3]) : "r"(a) : "memory")
#define LDM4T(r, a) asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];" : "=r"((r)[0]),"=r"((r)[1]),"=r"((r)[2]),"=r"((r)[3]) : "r"(a) : "memory")
#define LDM2(r, a) asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1},[%2];" : "=r"((r)[0]),"=r"((r)[1]) : "r"(a) : "memory")
#define MMA(c, a, b) asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};" : "+f"((c)[0]),"+f"((c)[1]),"+f"((c)[2]),"+f"((c)[3]) : "r"((a)[0]),"r"((a)[1]),"r"((a)[2]),"r"((a)[3]),"r"((b)[0]),"r"((b)[1]))
#define CP_COMMIT() asm volatile("cp.async.commit_group;" ::: "memory")
#define CP_WAIT(n) asm volatile("cp.async.wait_group " #n ";" ::: "memory")

DEV void cp16(uint dst, const GLB uchar *src, uint bytes) {
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" :: "r"(dst), "l"(src), "r"(bytes) : "memory");
}
DEV uint pack2(float lo, float hi) {
  uint r; asm("cvt.rn.f16x2.f32 %0,%1,%2;" : "=r"(r) : "f"(hi), "f"(lo)); return r;
}
DEV float half_lo(uint v) { float r; asm("{.reg .b16 a,b; mov.b32 {a,b},%1; cvt.f32.f16 %0,a;}" : "=f"(r) : "r"(v)); return r; }
DEV float half_hi(uint v) { float r; asm("{.reg .b16 a,b; mov.b32 {a,b},%1; cvt.f32.f16 %0,b;}" : "=f"(r) : "r"(v)); return r; }
DEV float exp2a(float x) { float r; asm("ex2.approx.ftz.f32 %0,%1;" : "=f"(r) : "f"(x)); return r; }
/* x * Phi(x), erfc by Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7, far under half precision). */
DEV float gelu(float x) {
  const float z = fabs(x) * 0.70710678118654752f;
  float t; asm("rcp.approx.ftz.f32 %0,%1;" : "=f"(t) : "f"(1.0f + 0.3275911f * z));
  const float p = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
  const float tail = 0.5f * p * exp2a(-1.4426950408889634f * z * z);
  return x >= 0.0f ? x - x * tail : x * tail;
}
DEV float shfl_xor(float v, uint m) {
  float r; asm volatile("shfl.sync.bfly.b32 %0,%1,%2,31,0xffffffff;" : "=f"(r) : "f"(v), "r"(m)); return r;
}
DEV float warp_sum(float v) {
  v += shfl_xor(v, 16); v += shfl_xor(v, 8); v += shfl_xor(v, 4); v += shfl_xor(v, 2); return v + shfl_xor(v, 1);
}
/* Loads past L1: what other groups wrote before the last grid barrier. */
#define LDCG4(v, p) asm volatile("ld.global.cg.v4.f32 {%0,%1,%2,%3},[%4];" : "=f"((v)[0]),"=f"((v)[1]),"=f"((v)[2]),"=f"((v)[3]) : "l"(p) : "memory")
#define LDCG2(v, p) asm volatile("ld.global.cg.v2.f32 {%0,%1},[%2];" : "=f"((v)[0]),"=f"((v)[1]) : "l"(p) : "memory")
#define LDNC4(v, p) asm volatile("ld.global.nc.v4.f32 {%0,%1,%2,%3},[%4];" : "=f"((v)[0]),"=f"((v)[1]),"=f"((v)[2]),"=f"((v)[3]) : "l"(p))
#define LDNCU2(v, p) asm volatile("ld.global.nc.v2.u32 {%0,%1},[%2];" : "=r"((v)[0]),"=r"((v)[1]) : "l"(p))
#define LDNCU1(v, p) asm volatile("ld.global.nc.u32 %0,[%1];" : "=r"((v)[0]) : "l"(p))
#define STG4F(p, v) asm volatile("st.global.v4.f32 [%0],{%1,%2,%3,%4};" :: "l"(p), "f"((v)[0]), "f"((v)[1]), "f"((v)[2]), "f"((v)[3]) : "memory")
#define STG2U(p, a, b) asm volatile("st.global.v2.u32 [%0],{%1,%2};" :: "l"(p), "r"(a), "r"(b) : "memory")
#define RED4(p, v) asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0],{%1,%2,%3,%4};" :: "l"(p), "f"((v)[0]), "f"((v)[1]), "f"((v)[2]), "f"((v)[3]) : "memory")
#define STS4F(a, v) asm volatile("st.shared.v4.f32 [%0],{%1,%2,%3,%4};" :: "r"(a), "f"((v)[0]), "f"((v)[1]), "f"((v)[2]), "f"((v)[3]) : "memory")
#define LDS4F(v, a) asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3},[%4];" : "=f"((v)[0]),"=f"((v)[1]),"=f"((v)[2]),"=f"((v)[3]) : "r"(a) : "memory")
#define STS2U(a, x, y) asm volatile("st.shared.v2.u32 [%0],{%1,%2};" :: "r"(a), "r"(x), "r"(y) : "memory")
#define STS1U(a, x) asm volatile("st.shared.u32 [%0],%1;" :: "r"(a), "r"(x) : "memory")
#define STS1F(a, x) asm volatile("st.shared.f32 [%0],%1;" :: "r"(a), "f"(x) : "memory")
#define LDS1F(x, a) asm volatile("ld.shared.f32 %0,[%1];" : "=f"(x) : "r"(a) : "memory")

/* One bulk copy global -> local, completing on the mbarrier at mb (one thread calls). The fence orders what the
   group did to these bytes by ordinary accesses, before its last barrier, with the copy engine's writes. */
DEV void bulk(uint dst, const GLB uchar *src, uint bytes, uint mb) {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _,[%0],%1;" :: "r"(mb), "r"(bytes) : "memory");
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0],[%1],%2,[%3];"
               :: "r"(dst), "l"(src), "r"(bytes), "r"(mb) : "memory");
}
DEV void mwait(uint mb, uint parity) {
  uint ok;
  do {
    asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p,[%1],%2; selp.u32 %0,1,0,p;}"
                 : "=r"(ok) : "r"(mb), "r"(parity) : "memory");
  } while (!ok);
}
/* Grid barrier: every group is resident (one a multiprocessor is launched). */
DEV void grid_sync(GLB uint *ctr, uint target, uint tid) {
  SYNC();
  if (tid == 0) {
    uint v;
    asm volatile("red.release.gpu.global.add.u32 [%0],1;" :: "l"(ctr) : "memory");
    do { asm volatile("ld.acquire.gpu.global.u32 %0,[%1];" : "=r"(v) : "l"(ctr) : "memory"); } while (v < target);
  }
  SYNC();
}
/* The mma accumulator holds rows g, g+8 and columns 2t, 2t+1.  Swap with the neighbour
   lane so that each lane owns 4 consecutive columns of one row. */
DEV void quad(float *c, uint lane) {
  const uint odd = lane & 1;
  const float s0 = odd ? c[0] : c[2], s1 = odd ? c[1] : c[3];
  const float r0 = shfl_xor(s0, 1), r1 = shfl_xor(s1, 1);
  if (odd) { c[0] = r0; c[1] = r1; } else { c[2] = r0; c[3] = r1; }
}
#define QROW(lane) (((lane) >> 2) + (((lane) & 1) << 3))
#define QCOL(lane) ((((lane) >> 1) & 1) << 2)
"""
