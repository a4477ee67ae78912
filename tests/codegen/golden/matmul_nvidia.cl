void ecp_copy16(uint to, const __global void* from, uint bytes) {
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" :: "r"(to), "l"(from), "r"(bytes) : "memory");
}
#define ECP_COMMIT() asm volatile("cp.async.commit_group;" ::: "memory")
#define ECP_WAIT(n) asm volatile("cp.async.wait_group " #n ";" ::: "memory")
float4 ecp_gelu_float4(float4 x) {
  const float4 c = clamp(x, (float4)(-5.65685425f), (float4)(5.65685425f));
  const float4 s = c * c;
  float4 p = fma(s, (float4)(-1.50599506025019e-12f), (float4)(3.0611994126502e-10f));
  p = fma(p, s, (float4)(-4.64265103925388e-08f)); p = fma(p, s, (float4)(-2.51575617099127e-06f));
  p = fma(p, s, (float4)(-6.49646073515868e-05f)); p = fma(p, s, (float4)(-5.22304390077821e-04f));
  p = fma(p, s, (float4)(-5.69080715759501e-03f));
  float4 q = fma(s, (float4)(-9.10379490406225e-07f), (float4)(-2.66717569098631e-05f));
  q = fma(q, s, (float4)(-4.20706743595508e-04f)); q = fma(q, s, (float4)(-3.68666458360234e-03f));
  q = fma(q, s, (float4)(-1.42647390514189e-02f));
  float4 r = native_recip(q);
  r = fma(r, fma(-q, r, (float4)(1.0f)), r);
  const float4 phi = fma(c * p, r, (float4)(0.5f));
  return x * select(phi, (float4)(0.0f), phi < (float4)(0.0f));
}

__kernel __attribute__((reqd_work_group_size(32,1,1)))
void matmul_92f22f4ca1(__global const float* restrict m0, __global const float* restrict m1, __global const float* restrict m2, __global float* m3)
{
  const int lid = get_local_id(0);
  const int column = get_group_id(0), block = get_group_id(1);
  __local float4 mem[644] __attribute__((aligned(128)));
  const uint base = (uint)(size_t)mem;
  const int set = lid/1, tx = lid%1, ty = lid/1%1;
  const __global uchar* b = (const __global uchar*)m0 + (size_t)column*2048;
   {
    const uint to = base + (uint)((0)%4)*2576u;
    #pragma unroll 4
    for (int j = 0; j < 4; ++j) {
      const int e = lid + j*32;
      ecp_copy16(to + 528u + e*16, b + (size_t)((0)*128 + e)*16, 16);
    }
    #pragma unroll 1
    for (int j = 0; j < 1; ++j) {
      const int i = lid/32 + j*1, q = lid%32;
      const int step = (0)*32 + q;
      const int row = block*1 + i;
      const int last = min(step, 2);
      ecp_copy16(to + i*528 + q*16, (m1 + (last*4+row*12)), (step < 3) ? 16 : 0);
    }
  }
  ECP_COMMIT();
  ECP_COMMIT();
  ECP_COMMIT();
  float4 acc[1][1];
  #pragma unroll 1
  for (int i = 0; i < 1; ++i) {
    #pragma unroll 1
    for (int v = 0; v < 1; ++v) { acc[i][v] = 0.0f; }
  }
  for (int kt = 0; kt < 1; ++kt) {
    ECP_WAIT(2);
    barrier(CLK_LOCAL_MEM_FENCE);
    const int next = kt + 3;
    if (next < 1) {
      const uint to = base + (uint)((next)%4)*2576u;
      #pragma unroll 4
      for (int j = 0; j < 4; ++j) {
        const int e = lid + j*32;
        ecp_copy16(to + 528u + e*16, b + (size_t)((next)*128 + e)*16, 16);
      }
      #pragma unroll 1
      for (int j = 0; j < 1; ++j) {
        const int i = lid/32 + j*1, q = lid%32;
        const int step = (next)*32 + q;
        const int row = block*1 + i;
        const int last = min(step, 2);
        ecp_copy16(to + i*528 + q*16, (m1 + (last*4+row*12)), (step < 3) ? 16 : 0);
      }
    }
    ECP_COMMIT();
     {
      const int side = kt%4;
      const __local float4* ta = mem + side*161;
      const __local float4* tb = ta + 33;
      #pragma unroll 1
      for (int kk = 0; kk < 1; ++kk) {
        float4 x[1];
        #pragma unroll 1
        for (int i = 0; i < 1; ++i) x[i] = ta[(ty + i*1)*33 + set*1 + kk];
         {
          const float4 y0 = tb[(set*4 + kk*4 + 0)*1 + tx + 0];
          #pragma unroll 1
          for (int i = 0; i < 1; ++i) { acc[i][0] = fma((float4)(x[i].s0), y0, acc[i][0]); }
        }
         {
          const float4 y0 = tb[(set*4 + kk*4 + 1)*1 + tx + 0];
          #pragma unroll 1
          for (int i = 0; i < 1; ++i) { acc[i][0] = fma((float4)(x[i].s1), y0, acc[i][0]); }
        }
         {
          const float4 y0 = tb[(set*4 + kk*4 + 2)*1 + tx + 0];
          #pragma unroll 1
          for (int i = 0; i < 1; ++i) { acc[i][0] = fma((float4)(x[i].s2), y0, acc[i][0]); }
        }
         {
          const float4 y0 = tb[(set*4 + kk*4 + 3)*1 + tx + 0];
          #pragma unroll 1
          for (int i = 0; i < 1; ++i) { acc[i][0] = fma((float4)(x[i].s3), y0, acc[i][0]); }
        }
      }
    }
  }
  ECP_WAIT(0);
  barrier(CLK_LOCAL_MEM_FENCE);
   {
    #pragma unroll 1
    for (int i = 0; i < 1; ++i) {
      #pragma unroll 1
      for (int v = 0; v < 1; ++v) { mem[set*1 + (ty + i*1)*1 + tx + v*1] = acc[i][v]; }
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  #pragma unroll 2
  for (int e = lid; e < 1; e += 32) {
    const int line = block*1 + e/1, vec = column*1 + e%1;
    const float4 sum = mem[e] + mem[e + 1] + mem[e + 2] + mem[e + 3] + mem[e + 4] + mem[e + 5] + mem[e + 6] + mem[e + 7] + mem[e + 8] + mem[e + 9] + mem[e + 10] + mem[e + 11] + mem[e + 12] + mem[e + 13] + mem[e + 14] + mem[e + 15] + mem[e + 16] + mem[e + 17] + mem[e + 18] + mem[e + 19] + mem[e + 20] + mem[e + 21] + mem[e + 22] + mem[e + 23] + mem[e + 24] + mem[e + 25] + mem[e + 26] + mem[e + 27] + mem[e + 28] + mem[e + 29] + mem[e + 30] + mem[e + 31];
     {
      const float4 t1 = sum;
      const float4 t2 = *(const __global float4*)(m2 + vec*4);
      const float4 t3 = t1 + t2;
      const float4 t4 = ecp_gelu_float4(t3);
      *(__global float4*)(m3 + (line*8+vec*4)) = t4;
    }
  }
}
