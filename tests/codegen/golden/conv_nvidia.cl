void ecp_copy16(uint to, const __global void* from, uint bytes) {
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" :: "r"(to), "l"(from), "r"(bytes) : "memory");
}
#define ECP_COMMIT() asm volatile("cp.async.commit_group;" ::: "memory")
#define ECP_WAIT(n) asm volatile("cp.async.wait_group " #n ";" ::: "memory")

__kernel __attribute__((reqd_work_group_size(128,1,1)))
void conv_2fcf8c5108(__global const float* restrict m0, __global const float* restrict m1, __global const float* restrict m2, __global float* m3)
{
  const int lid = get_local_id(0);
  const int column = get_group_id(0), block = get_group_id(1);
  __local float4 mem[784] __attribute__((aligned(128)));
  const uint base = (uint)(size_t)mem;
  const int set = lid/8, tx = lid%2, ty = lid/2%4;
  const __global uchar* b = (const __global uchar*)m0 + (size_t)column*2048;
  float ra[2];
   {
    const uint to = base + (uint)((0)%4)*3136u;
    #pragma unroll 1
    for (int j = 0; j < 1; ++j) {
      const int e = lid + j*128;
      ecp_copy16(to + 1088u + e*16, b + (size_t)((0)*128 + e)*16, 16);
    }
    #pragma unroll 2
    for (int j = 0; j < 2; ++j) {
      const int e = lid + j*128, i = e%4, q = e/4;
      const int step = (0)*64 + q;
      const int row = min(block*4 + i, 49);
      ra[j] = 0.0f;
      if (step < 36) {
        float g1 = (0.0f);
        if ((uint)((((step/3)%3)+((row/5)%5)-1)) < 5u && (uint)(((step%3)+(row%5)-1)) < 5u) {
          const int t2 = (((step/3)%3)+((row/5)%5)-1);
          const int t3 = ((step%3)+(row%5)-1);
          const float t4 = m1[(t2*5+t3+(step/9)*25+(row/25)*100)];
          g1 = t4;
        }
        ra[j] = g1;
      }
    }
    __local uchar* ta = (__local uchar*)mem + ((0)%4)*3136;
    #pragma unroll 2
    for (int j = 0; j < 2; ++j) {
      const int e = lid + j*128, i = e%4, q = e/4;
      *(__local float*)(ta + i*272 + q*4) = ra[j];
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
      const uint to = base + (uint)((next)%4)*3136u;
      #pragma unroll 1
      for (int j = 0; j < 1; ++j) {
        const int e = lid + j*128;
        ecp_copy16(to + 1088u + e*16, b + (size_t)((next)*128 + e)*16, 16);
      }
      #pragma unroll 2
      for (int j = 0; j < 2; ++j) {
        const int e = lid + j*128, i = e%4, q = e/4;
        const int step = (next)*64 + q;
        const int row = min(block*4 + i, 49);
        ra[j] = 0.0f;
        if (step < 36) {
          float g5 = (0.0f);
          if ((uint)((((step/3)%3)+((row/5)%5)-1)) < 5u && (uint)(((step%3)+(row%5)-1)) < 5u) {
            const int t6 = (((step/3)%3)+((row/5)%5)-1);
            const int t7 = ((step%3)+(row%5)-1);
            const float t8 = m1[(t6*5+t7+(step/9)*25+(row/25)*100)];
            g5 = t8;
          }
          ra[j] = g5;
        }
      }
    }
    ECP_COMMIT();
     {
      const int side = kt%4;
      const __local float4* ta = mem + side*196;
      const __local float4* tb = ta + 68;
      #pragma unroll 1
      for (int kk = 0; kk < 1; ++kk) {
        float4 x[1];
        #pragma unroll 1
        for (int i = 0; i < 1; ++i) x[i] = ta[(ty + i*4)*17 + set*1 + kk];
         {
          const float4 y0 = tb[(set*4 + kk*4 + 0)*2 + tx + 0];
          #pragma unroll 1
          for (int i = 0; i < 1; ++i) { acc[i][0] = fma((float4)(x[i].s0), y0, acc[i][0]); }
        }
         {
          const float4 y0 = tb[(set*4 + kk*4 + 1)*2 + tx + 0];
          #pragma unroll 1
          for (int i = 0; i < 1; ++i) { acc[i][0] = fma((float4)(x[i].s1), y0, acc[i][0]); }
        }
         {
          const float4 y0 = tb[(set*4 + kk*4 + 2)*2 + tx + 0];
          #pragma unroll 1
          for (int i = 0; i < 1; ++i) { acc[i][0] = fma((float4)(x[i].s2), y0, acc[i][0]); }
        }
         {
          const float4 y0 = tb[(set*4 + kk*4 + 3)*2 + tx + 0];
          #pragma unroll 1
          for (int i = 0; i < 1; ++i) { acc[i][0] = fma((float4)(x[i].s3), y0, acc[i][0]); }
        }
      }
    }
    if (next < 1) {
      __local uchar* ta = (__local uchar*)mem + ((next)%4)*3136;
      #pragma unroll 2
      for (int j = 0; j < 2; ++j) {
        const int e = lid + j*128, i = e%4, q = e/4;
        *(__local float*)(ta + i*272 + q*4) = ra[j];
      }
    }
  }
  ECP_WAIT(0);
  barrier(CLK_LOCAL_MEM_FENCE);
   {
    #pragma unroll 1
    for (int i = 0; i < 1; ++i) {
      #pragma unroll 1
      for (int v = 0; v < 1; ++v) { mem[set*8 + (ty + i*4)*2 + tx + v*2] = acc[i][v]; }
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  #pragma unroll 2
  for (int e = lid; e < 8; e += 128) {
    const int line = block*4 + e/2, vec = column*2 + e%2;
    const float4 sum = mem[e] + mem[e + 8] + mem[e + 16] + mem[e + 24] + mem[e + 32] + mem[e + 40] + mem[e + 48] + mem[e + 56] + mem[e + 64] + mem[e + 72] + mem[e + 80] + mem[e + 88] + mem[e + 96] + mem[e + 104] + mem[e + 112] + mem[e + 120];
    if (line < 50) {
      const float4 t9 = *(const __global float4*)(m2 + vec*4);
      const float4 t10 = sum + t9;
      const float4 t11 = select((float4)(t10), (float4)(0.0f), t10 < 0.0f);
      const float4 t12 = t11;
      m3[(vec*100+(line/25)*200+(line%25))] = t12.s0;
      m3[(vec*100+(line/25)*200+(line%25)+25)] = t12.s1;
      m3[(vec*100+(line/25)*200+(line%25)+50)] = t12.s2;
      m3[(vec*100+(line/25)*200+(line%25)+75)] = t12.s3;
    }
  }
}
