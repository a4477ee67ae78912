float4 ecp_erf_float4(float4 x) {
  x = clamp(x, (float4)(-4.0f), (float4)(4.0f));
  const float4 s = x * x;
  float4 p = fma(s, (float4)(-2.72614225801306e-10f), (float4)(2.77068142495902e-08f));
  p = fma(p, s, (float4)(-2.10102402082508e-06f)); p = fma(p, s, (float4)(-5.69250639462346e-05f));
  p = fma(p, s, (float4)(-7.34990630326855e-04f)); p = fma(p, s, (float4)(-2.95459980854025e-03f));
  p = fma(p, s, (float4)(-1.60960333262415e-02f));
  float4 q = fma(s, (float4)(-1.45660718464996e-05f), (float4)(-2.13374055278905e-04f));
  q = fma(q, s, (float4)(-1.68282697438203e-03f)); q = fma(q, s, (float4)(-7.37332916720468e-03f));
  q = fma(q, s, (float4)(-1.42647390514189e-02f));
  return x * p / q;
}

__kernel __attribute__((reqd_work_group_size(2,2,1)))
void matmul_69fa6ff169(__global const float* restrict m0, __global const float* restrict m1, __global const float* restrict m2, __global float* m3)
{
  const int tx = get_local_id(0), ty = get_local_id(1);
  const int column = get_group_id(0), block = get_group_id(1);
  const int lid = ty*2 + tx;
  float4 c0_0 = 0.0f;
  float4 c1_0 = 0.0f;
  float4 c2_0 = 0.0f;
  float4 c3_0 = 0.0f;
  __local float4 at4[48], bt[32];
  __local float* at = (__local float*)at4;
  const __global float4* b = (const __global float4*)m0 + column*24;
  for (int kt = 0; kt < 1; ++kt) {
    for (int e = lid; e < 32; e += 4) {
      const int i = e/4, q = e%4, step = kt*4 + q;
      const int row = min(block*8 + i, 4);
      float4 a = 0.0f;
      if (step < 3) {
        const float4 t1 = vload4(0, m1 + (row*12+step*4));
        a = t1;
      }
      at[(q*4 + 0)*12 + i] = a.s0;
      at[(q*4 + 1)*12 + i] = a.s1;
      at[(q*4 + 2)*12 + i] = a.s2;
      at[(q*4 + 3)*12 + i] = a.s3;
    }
    for (int e = lid; e < 32; e += 4) {
      const int v = e%2, kb = kt*16 + e/2;
      float4 x = 0.0f;
      if (kb < 12) {
        x = b[kb*2 + v];
      }
      bt[e] = x;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    #pragma unroll 16
    for (int kk = 0; kk < 16; ++kk) {
      const float4 a0 = at4[kk*3 + ty*1 + 0];
      const float4 b0 = bt[kk*2 + tx + 0];
      c0_0 = fma((float4)(a0.s0), b0, c0_0);
      c1_0 = fma((float4)(a0.s1), b0, c1_0);
      c2_0 = fma((float4)(a0.s2), b0, c2_0);
      c3_0 = fma((float4)(a0.s3), b0, c3_0);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  const int line0 = block*8 + ty*4 + 0;
  if (line0 < 5) {
    const int vec0 = column*2 + tx + 0;
     {
      const float4 t2 = c0_0;
      const float4 t3 = vload4(0, m2 + vec0*4);
      const float4 t4 = t2 + t3;
      const float4 t5 = 0.5f*t4*(1.0f+ecp_erf_float4(t4*0.70710678118f));
      vstore4(t5, 0, m3 + (line0*8+vec0*4));
    }
  }
  const int line1 = block*8 + ty*4 + 1;
  if (line1 < 5) {
    const int vec0 = column*2 + tx + 0;
     {
      const float4 t6 = c1_0;
      const float4 t7 = vload4(0, m2 + vec0*4);
      const float4 t8 = t6 + t7;
      const float4 t9 = 0.5f*t8*(1.0f+ecp_erf_float4(t8*0.70710678118f));
      vstore4(t9, 0, m3 + (line1*8+vec0*4));
    }
  }
  const int line2 = block*8 + ty*4 + 2;
  if (line2 < 5) {
    const int vec0 = column*2 + tx + 0;
     {
      const float4 t10 = c2_0;
      const float4 t11 = vload4(0, m2 + vec0*4);
      const float4 t12 = t10 + t11;
      const float4 t13 = 0.5f*t12*(1.0f+ecp_erf_float4(t12*0.70710678118f));
      vstore4(t13, 0, m3 + (line2*8+vec0*4));
    }
  }
  const int line3 = block*8 + ty*4 + 3;
  if (line3 < 5) {
    const int vec0 = column*2 + tx + 0;
     {
      const float4 t14 = c3_0;
      const float4 t15 = vload4(0, m2 + vec0*4);
      const float4 t16 = t14 + t15;
      const float4 t17 = 0.5f*t16*(1.0f+ecp_erf_float4(t16*0.70710678118f));
      vstore4(t17, 0, m3 + (line3*8+vec0*4));
    }
  }
}
