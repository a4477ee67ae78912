float2 ecp_unpack2(uint v) {
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
float ecp_shfl_xor(float v, uint m) {
  float r; asm volatile("shfl.sync.bfly.b32 %0,%1,%2,31,0xffffffff;" : "=f"(r) : "f"(v), "r"(m)); return r;
}
#ifndef ECP_SM_90A
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
#define ECP_WGMMA64(acc, a, b) asm volatile("//@ {.reg .pred p; setp.eq.u32 p,0,0; wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31},%32,%33,p,1,1,0,0;}" : "+f"((acc)[0]),"+f"((acc)[1]),"+f"((acc)[2]),"+f"((acc)[3]),"+f"((acc)[4]),"+f"((acc)[5]),"+f"((acc)[6]),"+f"((acc)[7]),"+f"((acc)[8]),"+f"((acc)[9]),"+f"((acc)[10]),"+f"((acc)[11]),"+f"((acc)[12]),"+f"((acc)[13]),"+f"((acc)[14]),"+f"((acc)[15]),"+f"((acc)[16]),"+f"((acc)[17]),"+f"((acc)[18]),"+f"((acc)[19]),"+f"((acc)[20]),"+f"((acc)[21]),"+f"((acc)[22]),"+f"((acc)[23]),"+f"((acc)[24]),"+f"((acc)[25]),"+f"((acc)[26]),"+f"((acc)[27]),"+f"((acc)[28]),"+f"((acc)[29]),"+f"((acc)[30]),"+f"((acc)[31]) : "l"(a), "l"(b) : "memory")
float ecp_gelu(float x) {
  const float a = fmin(fabs(x), 5.7f);
  float q = fma(-0.00044777875882573426f, a, 0.006958821788430214f), e;
  q = fma(q, a, -0.051661811769008636f); q = fma(q, a, -0.45998260378837585f); q = fma(q, a, -1.1509007215499878f);
  q = fma(q, a, -1.0f);
  asm("ex2.approx.ftz.f32 %0,%1;" : "=f"(e) : "f"(q));
  return fma(-a, e, x < 0.0f ? 0.0f : x);
}

__kernel __attribute__((reqd_work_group_size(64,1,1)))
void reduce_0ccef700eb(__global const float* restrict m0, __global half* m1)
{
  __local float part[64];
  const int lid = get_local_id(0), p = lid%8;
  const int row = (int)get_group_id(0)*8 + lid/8;
  const int first = 0, last = 96;
  float8 x[12];
  #pragma unroll 12
  for (int j = 0; j < 12; ++j) {
    const int step = first + j*8 + p;
    if (step < last) {
      const float8 t1 = *(const __global float8*)(m0 + (row*768+step*8));
      x[j] = t1;
    }
  }
  float8 sum = 0.0f;
  #pragma unroll 12
  for (int j = 0; j < 12; ++j) {
    const int step = first + j*8 + p;
    if (step < last) {
      sum = sum + x[j];
    }
  }
  float total = (((sum.s0 + sum.s1) + (sum.s2 + sum.s3)) + ((sum.s4 + sum.s5) + (sum.s6 + sum.s7)));
  total = (total + ecp_shfl_xor(total, 4));
  total = (total + ecp_shfl_xor(total, 2));
  total = (total + ecp_shfl_xor(total, 1));
  const float mean = total / 768.0f;
  float8 square = 0.0f;
  #pragma unroll 12
  for (int j = 0; j < 12; ++j) {
    const int step = first + j*8 + p;
    if (step < last) {
      square = fma(x[j] - mean, x[j] - mean, square);
    }
  }
  float squares = (((square.s0 + square.s1) + (square.s2 + square.s3)) + ((square.s4 + square.s5) + (square.s6 + square.s7)));
  squares = (squares + ecp_shfl_xor(squares, 4));
  squares = (squares + ecp_shfl_xor(squares, 2));
  squares = (squares + ecp_shfl_xor(squares, 1));
  const float rstd = 1.0f / sqrt(squares / 768.0f + 1e-05f);
  #pragma unroll 12
  for (int j = 0; j < 12; ++j) {
    const int step = first + j*8 + p;
    if (step < last) {
      const float8 t2 = (float8)(1.0f);
      const float8 t3 = ((x[j] - mean) * rstd) * t2;
      vstorea_half8(t3, 0, m1 + (row*8+step*8192));
    }
  }
}

__kernel __attribute__((reqd_work_group_size(256,1,1)))
void matmul_461bb67c72(__global const half* restrict m0, __global const half* restrict m1, __global const float* restrict m2, __global float* m3)
{
  const int lid = get_local_id(0);
  const int column = get_group_id(0), block = get_group_id(1);
  const int part = 0;
  const int warp = lid >> 5, lane = lid & 31;
  __local float4 mem[12296] __attribute__((aligned(128)));
  const uint base = (uint)(size_t)mem, full = base + 196608, empty = full + 64;
  const __global uchar* a = (const __global uchar*)m0 + (size_t)(block*2048);
  const __global uchar* b = (const __global uchar*)m1 + (size_t)(column*98304);
  const int rows = min(128, 1024 - block*128);
  if (lid < 8) {
    ecp_bar_begin(full + 8*lid, 5); ecp_bar_begin(empty + 8*lid, 8);
  }
  ECP_ASYNC_FENCE();
  barrier(CLK_LOCAL_MEM_FENCE);
  #pragma unroll 1
  for (int c = 0; c < 8; ++c) {
    if (lane == 0 && warp == 7) {
      const uint stage = (uint)(c)%8u, bar = full + stage*8u;
      ecp_expect(bar, 8192);
      ecp_bulk(base + stage*24576u + 16384, b + (c)*8192, 8192, bar);
    }
    ECP_WARP();
  }
  float acc[32];
  const __global float2* start = (const __global float2*)m2
    + column*32 + (lane & 3);
  #pragma unroll 8
  for (int j = 0; j < 8; ++j) {
    const float2 v = start[4*j];
    acc[4*j] = v.x; acc[4*j + 1] = v.y; acc[4*j + 2] = v.x; acc[4*j + 3] = v.y;
  }
  /* ECP_MEET */
  #pragma unroll 1
  for (int c = 0; c < 8; ++c) {
    if (lane == 0 && warp < 4) {
      const uint stage = (uint)(c)%8u, bar = full + stage*8u;
      ecp_expect(bar, rows*32);
      ecp_bulk(base + stage*24576u + (warp*2 + 0)*2048, a + (size_t)((c)*8 + (warp*2 + 0))*16384, rows*16, bar);
      ecp_bulk(base + stage*24576u + (warp*2 + 1)*2048, a + (size_t)((c)*8 + (warp*2 + 1))*16384, rows*16, bar);
    }
    ECP_WARP();
  }
  for (int c = 0; c < 12; ++c) {
    const uint at = (uint)c%8u;
    ecp_bar_wait(full + 8*at, ((uint)c/8u) & 1);
    const ulong da = ecp_matrix(base + at*24576u + (lid >> 7)*1024, 128);
    const ulong db = ecp_matrix(base + at*24576u + 16384, 64);
    ECP_WG_FENCE();
    ECP_WGMMA64(acc, da + 0, db + 0);
    ECP_WGMMA64(acc, da + 256, db + 128);
    ECP_WGMMA64(acc, da + 512, db + 256);
    ECP_WGMMA64(acc, da + 768, db + 384);
    ECP_WG_COMMIT();
    if (c >= 2 && c < 6) {
      const uint old = (uint)(c - 2);
      ecp_bar_wait(empty + 8*(old%8u), (old/8u) & 1);
      if (lane == 0 && warp == 7) {
        const uint stage = (uint)((c + 6))%8u, bar = full + stage*8u;
        ecp_expect(bar, 8192);
        ecp_bulk(base + stage*24576u + 16384, b + ((c + 6))*8192, 8192, bar);
      }
      if (lane == 0 && warp < 4) {
        const uint stage = (uint)((c + 6))%8u, bar = full + stage*8u;
        ecp_expect(bar, rows*32);
        ecp_bulk(base + stage*24576u + (warp*2 + 0)*2048, a + (size_t)(((c + 6))*8 + (warp*2 + 0))*16384, rows*16, bar);
        ecp_bulk(base + stage*24576u + (warp*2 + 1)*2048, a + (size_t)(((c + 6))*8 + (warp*2 + 1))*16384, rows*16, bar);
      }
      ECP_WARP();
    }
    ECP_WG_WAIT(1);
    if (c > 0 && lane == 0) ecp_arrive(empty + 8*((uint)(c - 1)%8u));
  }
  ECP_WG_WAIT(0);
  barrier(CLK_LOCAL_MEM_FENCE);
  if (lid < 16) ecp_bar_end(full + 8*lid);
  __local float* own = (__local float*)mem + warp*1088;
  #pragma unroll 8
  for (int j = 0; j < 8; ++j) {
    *(__local float2*)(own + ((lane >> 2) + 0)*68 + j*8 + (lane & 3)*2) = (float2)(acc[4*j + 0], acc[4*j + 1]);
    *(__local float2*)(own + ((lane >> 2) + 8)*68 + j*8 + (lane & 3)*2) = (float2)(acc[4*j + 2], acc[4*j + 3]);
  }
  ECP_WARP();
  #pragma unroll 1
  for (int e = 0; e < 4; e += 2) {
    float8 r0, r1;
     {
      const int i = (lane >> 2) + 8*((e + 0)/2), q = (lane & 3) + 4*((e + 0)%2);
      const int inside = block*128 + warp*16 + i;
      const int line = inside;
      const int vec = column*8 + q;
      const __local float4* s = (const __local float4*)(own + i*68 + q*8);
      const float8 sum = (float8)(s[0], s[1]);
      const float8 t1 = sum;
      const float8 t2 = t1;
      const float8 t3 = (float8)(ecp_gelu(t2.s0), ecp_gelu(t2.s1), ecp_gelu(t2.s2), ecp_gelu(t2.s3), ecp_gelu(t2.s4), ecp_gelu(t2.s5), ecp_gelu(t2.s6), ecp_gelu(t2.s7));
      r0 = t3;
    }
     {
      const int i = (lane >> 2) + 8*((e + 1)/2), q = (lane & 3) + 4*((e + 1)%2);
      const int inside = block*128 + warp*16 + i;
      const int line = inside;
      const int vec = column*8 + q;
      const __local float4* s = (const __local float4*)(own + i*68 + q*8);
      const float8 sum = (float8)(s[0], s[1]);
      const float8 t4 = sum;
      const float8 t5 = t4;
      const float8 t6 = (float8)(ecp_gelu(t5.s0), ecp_gelu(t5.s1), ecp_gelu(t5.s2), ecp_gelu(t5.s3), ecp_gelu(t5.s4), ecp_gelu(t5.s5), ecp_gelu(t5.s6), ecp_gelu(t5.s7));
      r1 = t6;
    }
     {
      const int i = (lane >> 2) + 8*((e + 0)/2), q = (lane & 3) + 4*((e + 0)%2);
      const int inside = block*128 + warp*16 + i;
      const int line = inside;
      const int vec = column*8 + q;
       {
        *(__global float8*)(m3 + (line*768+vec*8)) = r0;
      }
    }
     {
      const int i = (lane >> 2) + 8*((e + 1)/2), q = (lane & 3) + 4*((e + 1)%2);
      const int inside = block*128 + warp*16 + i;
      const int line = inside;
      const int vec = column*8 + q;
       {
        *(__global float8*)(m3 + (line*768+vec*8)) = r1;
      }
    }
  }
}
