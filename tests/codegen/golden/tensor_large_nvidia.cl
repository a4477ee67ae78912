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
#define ECP_LDM4(r, a) asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];" : "=r"((r)[0]),"=r"((r)[1]),"=r"((r)[2]),"=r"((r)[3]) : "r"(a) : "memory")
#define ECP_LDM4T(r, s, a) asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];" : "=r"((r)[0]),"=r"((r)[1]),"=r"((s)[0]),"=r"((s)[1]) : "r"(a) : "memory")
#define ECP_MMA(c, a, b) asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};" : "+f"((c)[0]),"+f"((c)[1]),"+f"((c)[2]),"+f"((c)[3]) : "r"((a)[0]),"r"((a)[1]),"r"((a)[2]),"r"((a)[3]),"r"((b)[0]),"r"((b)[1]))
void ecp_copy16(uint to, const __global void* from, uint bytes) {
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" :: "r"(to), "l"(from), "r"(bytes) : "memory");
}
#define ECP_COMMIT() asm volatile("cp.async.commit_group;" ::: "memory")
#define ECP_WAIT(n) asm volatile("cp.async.wait_group " #n ";" ::: "memory")
float ecp_gelu(float x) {
  const float a = fmin(fabs(x), 5.7f);
  float q = fma(-0.00044777875882573426f, a, 0.006958821788430214f), e;
  q = fma(q, a, -0.051661811769008636f); q = fma(q, a, -0.45998260378837585f); q = fma(q, a, -1.1509007215499878f);
  q = fma(q, a, -1.0f);
  asm("ex2.approx.ftz.f32 %0,%1;" : "=f"(e) : "f"(q));
  return fma(-a, e, x < 0.0f ? 0.0f : x);
}

__kernel __attribute__((reqd_work_group_size(128,1,1)))
void reduce_c2e4401869(__global const float* restrict m0, __global half* m1)
{
  __local float part[128];
  const int lid = get_local_id(0), p = lid%128;
  const int row = (int)get_group_id(0)*1 + lid/128;
  const int first = 0, last = 192;
  float4 x[2];
  #pragma unroll 2
  for (int j = 0; j < 2; ++j) {
    const int step = first + j*128 + p;
    if (step < last) {
      const float4 t1 = *(const __global float4*)(m0 + (row*768+step*4));
      x[j] = t1;
    }
  }
  float4 sum = 0.0f;
  #pragma unroll 2
  for (int j = 0; j < 2; ++j) {
    const int step = first + j*128 + p;
    if (step < last) {
      sum = sum + x[j];
    }
  }
  part[lid] = ((sum.s0 + sum.s1) + (sum.s2 + sum.s3));
  barrier(CLK_LOCAL_MEM_FENCE);
  if (p < 64) part[lid] = (part[lid] + part[lid + 64]);
  barrier(CLK_LOCAL_MEM_FENCE);
  if (p < 32) part[lid] = (part[lid] + part[lid + 32]);
  barrier(CLK_LOCAL_MEM_FENCE);
  if (p < 16) part[lid] = (part[lid] + part[lid + 16]);
  barrier(CLK_LOCAL_MEM_FENCE);
  float total = part[lid - p];
  for (int q = 1; q < 16; ++q) total = (total + part[lid - p + q]);
  barrier(CLK_LOCAL_MEM_FENCE);
  const float mean = total / 768.0f;
  float4 square = 0.0f;
  #pragma unroll 2
  for (int j = 0; j < 2; ++j) {
    const int step = first + j*128 + p;
    if (step < last) {
      square = fma(x[j] - mean, x[j] - mean, square);
    }
  }
  part[lid] = ((square.s0 + square.s1) + (square.s2 + square.s3));
  barrier(CLK_LOCAL_MEM_FENCE);
  if (p < 64) part[lid] = (part[lid] + part[lid + 64]);
  barrier(CLK_LOCAL_MEM_FENCE);
  if (p < 32) part[lid] = (part[lid] + part[lid + 32]);
  barrier(CLK_LOCAL_MEM_FENCE);
  if (p < 16) part[lid] = (part[lid] + part[lid + 16]);
  barrier(CLK_LOCAL_MEM_FENCE);
  float squares = part[lid - p];
  for (int q = 1; q < 16; ++q) squares = (squares + part[lid - p + q]);
  barrier(CLK_LOCAL_MEM_FENCE);
  const float rstd = 1.0f / sqrt(squares / 768.0f + 1e-05f);
  #pragma unroll 2
  for (int j = 0; j < 2; ++j) {
    const int step = first + j*128 + p;
    if (step < last) {
      const float4 t2 = (float4)(1.0f);
      const float4 t3 = ((x[j] - mean) * rstd) * t2;
      vstorea_half4(t3, 0, m1 + (row*768+step*4));
    }
  }
}

__kernel __attribute__((reqd_work_group_size(128,1,1)))
void matmul_fae9f5f312(__global const half* restrict m0, __global const half* restrict m1, __global const half* restrict m2, __global float* m3)
{
  const int lid = get_local_id(0);
  const int column = get_group_id(0), block = get_group_id(1);
  __local float4 mem[5632] __attribute__((aligned(128)));
  const uint base = (uint)(size_t)mem;
  const uint lane = lid & 31, warp = lid >> 5;
  const uint set = warp/4, wm = warp%2, wn = warp/2%2;
  const __global uchar* b = (const __global uchar*)m0 + (size_t)column*147456;
  const __global uchar* a = (const __global uchar*)m1;
  uint from[4];
  #pragma unroll 4
  for (int j = 0; j < 4; ++j) {
    const int i = lid/8 + j*16, q = lid%8;
    const int row = block*64 + i;
    from[j] = (uint)(row*768 + q*8)*2u;
  }
   {
    const uint to = base + (uint)((0)%4)*22528u;
    const __global uchar* b_ = b + (uint)((0)*768 + lid)*16u;
    const __global uchar* a_ = a + (uint)(0)*128u;
    ecp_copy16(to + 9216u + ((lid + 0)/12)*208 + ((lid + 0)%12)*16, b_ + 0, 16);
    ecp_copy16(to + 9216u + ((lid + 128)/12)*208 + ((lid + 128)%12)*16, b_ + 2048, 16);
    ecp_copy16(to + 9216u + ((lid + 256)/12)*208 + ((lid + 256)%12)*16, b_ + 4096, 16);
    ecp_copy16(to + 9216u + ((lid + 384)/12)*208 + ((lid + 384)%12)*16, b_ + 6144, 16);
    ecp_copy16(to + 9216u + ((lid + 512)/12)*208 + ((lid + 512)%12)*16, b_ + 8192, 16);
    ecp_copy16(to + 9216u + ((lid + 640)/12)*208 + ((lid + 640)%12)*16, b_ + 10240, 16);
    ecp_copy16(to + 0u + (lid/8 + 0)*144 + (lid%8)*16, a_ + from[0], 16);
    ecp_copy16(to + 0u + (lid/8 + 16)*144 + (lid%8)*16, a_ + from[1], 16);
    ecp_copy16(to + 0u + (lid/8 + 32)*144 + (lid%8)*16, a_ + from[2], 16);
    ecp_copy16(to + 0u + (lid/8 + 48)*144 + (lid%8)*16, a_ + from[3], 16);
  }
  ECP_COMMIT();
   {
    const uint to = base + (uint)((1)%4)*22528u;
    const __global uchar* b_ = b + (uint)((1)*768 + lid)*16u;
    const __global uchar* a_ = a + (uint)(1)*128u;
    ecp_copy16(to + 9216u + ((lid + 0)/12)*208 + ((lid + 0)%12)*16, b_ + 0, 16);
    ecp_copy16(to + 9216u + ((lid + 128)/12)*208 + ((lid + 128)%12)*16, b_ + 2048, 16);
    ecp_copy16(to + 9216u + ((lid + 256)/12)*208 + ((lid + 256)%12)*16, b_ + 4096, 16);
    ecp_copy16(to + 9216u + ((lid + 384)/12)*208 + ((lid + 384)%12)*16, b_ + 6144, 16);
    ecp_copy16(to + 9216u + ((lid + 512)/12)*208 + ((lid + 512)%12)*16, b_ + 8192, 16);
    ecp_copy16(to + 9216u + ((lid + 640)/12)*208 + ((lid + 640)%12)*16, b_ + 10240, 16);
    ecp_copy16(to + 0u + (lid/8 + 0)*144 + (lid%8)*16, a_ + from[0], 16);
    ecp_copy16(to + 0u + (lid/8 + 16)*144 + (lid%8)*16, a_ + from[1], 16);
    ecp_copy16(to + 0u + (lid/8 + 32)*144 + (lid%8)*16, a_ + from[2], 16);
    ecp_copy16(to + 0u + (lid/8 + 48)*144 + (lid%8)*16, a_ + from[3], 16);
  }
  ECP_COMMIT();
   {
    const uint to = base + (uint)((2)%4)*22528u;
    const __global uchar* b_ = b + (uint)((2)*768 + lid)*16u;
    const __global uchar* a_ = a + (uint)(2)*128u;
    ecp_copy16(to + 9216u + ((lid + 0)/12)*208 + ((lid + 0)%12)*16, b_ + 0, 16);
    ecp_copy16(to + 9216u + ((lid + 128)/12)*208 + ((lid + 128)%12)*16, b_ + 2048, 16);
    ecp_copy16(to + 9216u + ((lid + 256)/12)*208 + ((lid + 256)%12)*16, b_ + 4096, 16);
    ecp_copy16(to + 9216u + ((lid + 384)/12)*208 + ((lid + 384)%12)*16, b_ + 6144, 16);
    ecp_copy16(to + 9216u + ((lid + 512)/12)*208 + ((lid + 512)%12)*16, b_ + 8192, 16);
    ecp_copy16(to + 9216u + ((lid + 640)/12)*208 + ((lid + 640)%12)*16, b_ + 10240, 16);
    ecp_copy16(to + 0u + (lid/8 + 0)*144 + (lid%8)*16, a_ + from[0], 16);
    ecp_copy16(to + 0u + (lid/8 + 16)*144 + (lid%8)*16, a_ + from[1], 16);
    ecp_copy16(to + 0u + (lid/8 + 32)*144 + (lid%8)*16, a_ + from[2], 16);
    ecp_copy16(to + 0u + (lid/8 + 48)*144 + (lid%8)*16, a_ + from[3], 16);
  }
  ECP_COMMIT();
  float acc[12][4];
  #pragma unroll 12
  for (int i = 0; i < 12; ++i) { acc[i][0] = 0.0f; acc[i][1] = 0.0f; acc[i][2] = 0.0f; acc[i][3] = 0.0f; }
  for (int kt = 0; kt < 12; ++kt) {
    ECP_WAIT(2);
    barrier(CLK_LOCAL_MEM_FENCE);
    const int next = kt + 3;
    const uint size = next < 12 ? 16 : 0;
    const uint to = base + (uint)((next)%4)*22528u;
    const __global uchar* b_ = b + (uint)((next)*768 + lid)*16u;
    const __global uchar* a_ = a + (uint)(next)*128u;
    const uint ta = base + (uint)(kt%4)*22528u;
    const uint a0 = ta + (wm*32 + (lane & 15))*144 + (lane >> 4)*16 + set*128;
    const uint b0 = ta + 9216u + ((lane & 7) + ((lane >> 3) & 1)*8 + set*64)*208 + (wn*48 + (lane >> 4)*8)*2;
    uint af[2][2][4], bf[2][6][2];
    #pragma unroll 2
    for (int i = 0; i < 2; ++i) ECP_LDM4(af[0][i], a0 + i*2304 + 0);
    #pragma unroll 3
    for (int j = 0; j < 3; ++j) ECP_LDM4T(bf[0][2*j], bf[0][2*j + 1], b0 + j*32 + 0);
    #pragma unroll 2
    for (int i = 0; i < 2; ++i) ECP_LDM4(af[1][i], a0 + i*2304 + 32);
    #pragma unroll 3
    for (int j = 0; j < 3; ++j) ECP_LDM4T(bf[1][2*j], bf[1][2*j + 1], b0 + j*32 + 3328);
    ecp_copy16(to + 9216u + ((lid + 0)/12)*208 + ((lid + 0)%12)*16, b_ + 0, size);
    ecp_copy16(to + 9216u + ((lid + 128)/12)*208 + ((lid + 128)%12)*16, b_ + 2048, size);
    #pragma unroll 2
    for (int i = 0; i < 2; ++i) {
      #pragma unroll 6
      for (int j = 0; j < 6; ++j) ECP_MMA(acc[i*6 + j], af[0][i], bf[0][j]);
    }
    #pragma unroll 2
    for (int i = 0; i < 2; ++i) ECP_LDM4(af[0][i], a0 + i*2304 + 64);
    #pragma unroll 3
    for (int j = 0; j < 3; ++j) ECP_LDM4T(bf[0][2*j], bf[0][2*j + 1], b0 + j*32 + 6656);
    ecp_copy16(to + 9216u + ((lid + 256)/12)*208 + ((lid + 256)%12)*16, b_ + 4096, size);
    ecp_copy16(to + 9216u + ((lid + 384)/12)*208 + ((lid + 384)%12)*16, b_ + 6144, size);
    ecp_copy16(to + 9216u + ((lid + 512)/12)*208 + ((lid + 512)%12)*16, b_ + 8192, size);
    #pragma unroll 2
    for (int i = 0; i < 2; ++i) {
      #pragma unroll 6
      for (int j = 0; j < 6; ++j) ECP_MMA(acc[i*6 + j], af[1][i], bf[1][j]);
    }
    #pragma unroll 2
    for (int i = 0; i < 2; ++i) ECP_LDM4(af[1][i], a0 + i*2304 + 96);
    #pragma unroll 3
    for (int j = 0; j < 3; ++j) ECP_LDM4T(bf[1][2*j], bf[1][2*j + 1], b0 + j*32 + 9984);
    ecp_copy16(to + 9216u + ((lid + 640)/12)*208 + ((lid + 640)%12)*16, b_ + 10240, size);
    ecp_copy16(to + 0u + (lid/8 + 0)*144 + (lid%8)*16, a_ + from[0], size);
    #pragma unroll 2
    for (int i = 0; i < 2; ++i) {
      #pragma unroll 6
      for (int j = 0; j < 6; ++j) ECP_MMA(acc[i*6 + j], af[0][i], bf[0][j]);
    }
    ecp_copy16(to + 0u + (lid/8 + 16)*144 + (lid%8)*16, a_ + from[1], size);
    ecp_copy16(to + 0u + (lid/8 + 32)*144 + (lid%8)*16, a_ + from[2], size);
    ecp_copy16(to + 0u + (lid/8 + 48)*144 + (lid%8)*16, a_ + from[3], size);
    #pragma unroll 2
    for (int i = 0; i < 2; ++i) {
      #pragma unroll 6
      for (int j = 0; j < 6; ++j) ECP_MMA(acc[i*6 + j], af[1][i], bf[1][j]);
    }
    ECP_COMMIT();
  }
  ECP_WAIT(0);
  barrier(CLK_LOCAL_MEM_FENCE);
  __local float* sums = (__local float*)mem + (set*64 + wm*32 + (lane >> 2))*104 + wn*48 + (lane & 3)*2;
  #pragma unroll 2
  for (int i = 0; i < 2; ++i) {
    #pragma unroll 6
    for (int j = 0; j < 6; ++j) {
      *(__local float2*)(sums + i*1664 + j*8 + 0) = (float2)(acc[i*6 + j][0], acc[i*6 + j][1]);
      *(__local float2*)(sums + i*1664 + j*8 + 832) = (float2)(acc[i*6 + j][2], acc[i*6 + j][3]);
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  #pragma unroll 3
  for (int j = 0; j < 6; ++j) {
    const int e = lid + j*128;
    const int i = e/12, q = e%12;
    const int line = block*64 + i;
    const int vec = column*12 + q;
    const __local float4* s = (const __local float4*)((__local float*)mem + i*104 + q*8);
    const float8 sum = (float8)(s[0], s[1]);
    const float8 t1 = sum;
    const float8 t2 = vloada_half8(0, m2 + vec*8);
    const float8 t3 = t1 + t2;
    const float8 t4 = t3;
    const float8 t5 = (float8)(ecp_gelu(t4.s0), ecp_gelu(t4.s1), ecp_gelu(t4.s2), ecp_gelu(t4.s3), ecp_gelu(t4.s4), ecp_gelu(t4.s5), ecp_gelu(t4.s6), ecp_gelu(t4.s7));
     {
      *(__global float8*)(m3 + (line*768+vec*8)) = t5;
    }
  }
}
