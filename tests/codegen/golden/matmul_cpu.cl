float8 ecp_erf_float8(float8 x) {
  x = clamp(x, (float8)(-4.0f), (float8)(4.0f));
  const float8 s = x * x;
  float8 p = fma(s, (float8)(-2.72614225801306e-10f), (float8)(2.77068142495902e-08f));
  p = fma(p, s, (float8)(-2.10102402082508e-06f)); p = fma(p, s, (float8)(-5.69250639462346e-05f));
  p = fma(p, s, (float8)(-7.34990630326855e-04f)); p = fma(p, s, (float8)(-2.95459980854025e-03f));
  p = fma(p, s, (float8)(-1.60960333262415e-02f));
  float8 q = fma(s, (float8)(-1.45660718464996e-05f), (float8)(-2.13374055278905e-04f));
  q = fma(q, s, (float8)(-1.68282697438203e-03f)); q = fma(q, s, (float8)(-7.37332916720468e-03f));
  q = fma(q, s, (float8)(-1.42647390514189e-02f));
  return x * p / q;
}

__kernel __attribute__((reqd_work_group_size(1,1,1))) __attribute__((intel_vec_len_hint(1)))
void matmul_a7e5b59237(__global const float* restrict m0, __global const float* restrict m1, __global const float* restrict m2, __global float* m3)
{
  const int unit = get_global_id(0);
  const int split = unit % 1, group = unit / 1 % 1;
  const int block = unit / 1;
  const int begin = block*1 + split*1;
  const int end = min(min(begin + 1, (block+1)*1), 1);
   {
    for (int panel = group*1; panel < min((group+1)*1, 1); ++panel) {
      for (int tile = begin; tile < end; ++tile) {
        const int r0 = min(tile*5 + 0, 4);
        const __global float* a0 = m0 + r0*12;
        const int r1 = min(tile*5 + 1, 4);
        const __global float* a1 = m0 + r1*12;
        const int r2 = min(tile*5 + 2, 4);
        const __global float* a2 = m0 + r2*12;
        const int r3 = min(tile*5 + 3, 4);
        const __global float* a3 = m0 + r3*12;
        const int r4 = min(tile*5 + 4, 4);
        const __global float* a4 = m0 + r4*12;
        float8 c0_0 = 0.0f;
        float8 c1_0 = 0.0f;
        float8 c2_0 = 0.0f;
        float8 c3_0 = 0.0f;
        float8 c4_0 = 0.0f;
        const __global float* b = m1 + panel*96;
        #pragma unroll 4
        for (int kk = 0; kk < 12; ++kk) {
          const float8 b0 = vload8(0, b + kk*8);
          const float8 x0 = (float8)(a0[kk]);
          c0_0 = fma(x0, b0, c0_0);
          const float8 x1 = (float8)(a1[kk]);
          c1_0 = fma(x1, b0, c1_0);
          const float8 x2 = (float8)(a2[kk]);
          c2_0 = fma(x2, b0, c2_0);
          const float8 x3 = (float8)(a3[kk]);
          c3_0 = fma(x3, b0, c3_0);
          const float8 x4 = (float8)(a4[kk]);
          c4_0 = fma(x4, b0, c4_0);
        }
        float acc[40];
        vstore8(c0_0, 0, acc);
        vstore8(c1_0, 1, acc);
        vstore8(c2_0, 2, acc);
        vstore8(c3_0, 3, acc);
        vstore8(c4_0, 4, acc);
        for (int i = 0; i < 5; ++i) {
          const int m = tile*5 + i;
          for (int v = 0; v < 1; ++v) {
            const float8 t1 = vload8(i, acc);
            const float8 t2 = vload8(0, m2 + 0);
            const float8 t3 = t1 + t2;
            const float8 t4 = 0.5f*t3*(1.0f+ecp_erf_float8(t3*0.70710678118f));
            vstore8(t4, 0, m3 + m*8);
          }
        }
      }
    }
  }
}
