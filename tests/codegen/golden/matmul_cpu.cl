float8 ecp_gelu_float8(float8 x) {
  const float8 c = clamp(x, (float8)(-5.65685425f), (float8)(5.65685425f));
  const float8 s = c * c;
  float8 p = fma(s, (float8)(-1.50599506025019e-12f), (float8)(3.0611994126502e-10f));
  p = fma(p, s, (float8)(-4.64265103925388e-08f)); p = fma(p, s, (float8)(-2.51575617099127e-06f));
  p = fma(p, s, (float8)(-6.49646073515868e-05f)); p = fma(p, s, (float8)(-5.22304390077821e-04f));
  p = fma(p, s, (float8)(-5.69080715759501e-03f));
  float8 q = fma(s, (float8)(-9.10379490406225e-07f), (float8)(-2.66717569098631e-05f));
  q = fma(q, s, (float8)(-4.20706743595508e-04f)); q = fma(q, s, (float8)(-3.68666458360234e-03f));
  q = fma(q, s, (float8)(-1.42647390514189e-02f));
  float8 r = native_recip(q);
  r = fma(r, fma(-q, r, (float8)(1.0f)), r);
  const float8 phi = fma(c * p, r, (float8)(0.5f));
  return x * select(phi, (float8)(0.0f), phi < (float8)(0.0f));
}

__kernel __attribute__((reqd_work_group_size(1,1,1))) __attribute__((intel_vec_len_hint(1)))
void matmul_4f1185e55c(__global const float* restrict m0, __global const float* restrict m1, __global const float* restrict m2, __global float* m3)
{
  const int unit = get_global_id(0);
  const int split = unit % 1, group = unit / 1 % 1;
  const int block = unit / 1;
  const int base = block*1, begin = base + split*1, end = min(min(begin + 1, base + 1), 1);
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
        float acc[40] __attribute__((aligned(64)));
        vstore8(c0_0, 0, acc);
        vstore8(c1_0, 1, acc);
        vstore8(c2_0, 2, acc);
        vstore8(c3_0, 3, acc);
        vstore8(c4_0, 4, acc);
        for (int i = 0; i < 5; ++i) {
          const int m = tile*5 + i;
          for (int v = 0; v < 1; ++v) {
            const float8 t1 = vload8(i*1 + v, acc);
            const float8 t2 = vload8(0, m2 + 0);
            const float8 t3 = t1 + t2;
            const float8 t4 = ecp_gelu_float8(t3);
            vstore8(t4, 0, m3 + m*8);
          }
        }
      }
    }
  }
}
