
__kernel __attribute__((reqd_work_group_size(1,1,1))) __attribute__((intel_vec_len_hint(1)))
void conv_c8251cd953(__global const float* restrict m0, __global const float* restrict m1, __global const float* restrict m2, __global float* m3)
{
  const int item = get_global_id(0);
  const int block = item % 2;
  const int column = item / 2 % 1;
  const int top = block % 1 * 5;
  const int first = (block / 1 * 5 + top) * 5;
  const int count = min(5, 5 - top) * 5;
  float strip[448] __attribute__((aligned(64)));
  for (int r = 0; r < 28; ++r) {
    float* to = strip + r*16;
    for (int x = 0; x < 1; ++x) vstore16((float16)(0.0f), x, to);
    const int y = top*1 - 1 + r % 7;
    if ((uint)y < 5u) {
      const __global float* from = m0 + (0 + block / 1 * 100 + r / 7 * 25 + y*5);
      int x = 0;
      for (; x + 16 <= 5; x += 16) vstore16(vload16(0, from + x), 0, to + 1 + x);
      for (; x < 5; ++x) to[1 + x] = from[x];
    }
  }
  for (int panel = column*1; panel < min((column + 1)*1, 1); ++panel) {
    for (int at = 0; at < count; at += 13) {
      const int pix0 = at;
      const int y0 = pix0 / 5 * 1 - 0;
      const int x0_ = pix0 % 5 * 1 - 0;
      const int o0 = y0*16 + x0_*1;
      const int pix1 = min(at + 1, count - 1);
      const int y1 = pix1 / 5 * 1 - 0;
      const int x1_ = pix1 % 5 * 1 - 0;
      const int o1 = y1*16 + x1_*1;
      const int pix2 = min(at + 2, count - 1);
      const int y2 = pix2 / 5 * 1 - 0;
      const int x2_ = pix2 % 5 * 1 - 0;
      const int o2 = y2*16 + x2_*1;
      const int pix3 = min(at + 3, count - 1);
      const int y3 = pix3 / 5 * 1 - 0;
      const int x3_ = pix3 % 5 * 1 - 0;
      const int o3 = y3*16 + x3_*1;
      const int pix4 = min(at + 4, count - 1);
      const int y4 = pix4 / 5 * 1 - 0;
      const int x4_ = pix4 % 5 * 1 - 0;
      const int o4 = y4*16 + x4_*1;
      const int pix5 = min(at + 5, count - 1);
      const int y5 = pix5 / 5 * 1 - 0;
      const int x5_ = pix5 % 5 * 1 - 0;
      const int o5 = y5*16 + x5_*1;
      const int pix6 = min(at + 6, count - 1);
      const int y6 = pix6 / 5 * 1 - 0;
      const int x6_ = pix6 % 5 * 1 - 0;
      const int o6 = y6*16 + x6_*1;
      const int pix7 = min(at + 7, count - 1);
      const int y7 = pix7 / 5 * 1 - 0;
      const int x7_ = pix7 % 5 * 1 - 0;
      const int o7 = y7*16 + x7_*1;
      const int pix8 = min(at + 8, count - 1);
      const int y8 = pix8 / 5 * 1 - 0;
      const int x8_ = pix8 % 5 * 1 - 0;
      const int o8 = y8*16 + x8_*1;
      const int pix9 = min(at + 9, count - 1);
      const int y9 = pix9 / 5 * 1 - 0;
      const int x9_ = pix9 % 5 * 1 - 0;
      const int o9 = y9*16 + x9_*1;
      const int pix10 = min(at + 10, count - 1);
      const int y10 = pix10 / 5 * 1 - 0;
      const int x10_ = pix10 % 5 * 1 - 0;
      const int o10 = y10*16 + x10_*1;
      const int pix11 = min(at + 11, count - 1);
      const int y11 = pix11 / 5 * 1 - 0;
      const int x11_ = pix11 % 5 * 1 - 0;
      const int o11 = y11*16 + x11_*1;
      const int pix12 = min(at + 12, count - 1);
      const int y12 = pix12 / 5 * 1 - 0;
      const int x12_ = pix12 % 5 * 1 - 0;
      const int o12 = y12*16 + x12_*1;
      float8 c0_0 = 0.0f;
      float8 c1_0 = 0.0f;
      float8 c2_0 = 0.0f;
      float8 c3_0 = 0.0f;
      float8 c4_0 = 0.0f;
      float8 c5_0 = 0.0f;
      float8 c6_0 = 0.0f;
      float8 c7_0 = 0.0f;
      float8 c8_0 = 0.0f;
      float8 c9_0 = 0.0f;
      float8 c10_0 = 0.0f;
      float8 c11_0 = 0.0f;
      float8 c12_0 = 0.0f;
      const __global float* b = m1 + panel*288;
      #pragma unroll 1
      for (int kc = 0; kc < 4; ++kc) {
        #pragma unroll 1
        for (int ky = 0; ky < 3; ++ky) {
          const int step = kc*112 + ky*16;
          const float* a0 = strip + o0 + step;
          const float* a1 = strip + o1 + step;
          const float* a2 = strip + o2 + step;
          const float* a3 = strip + o3 + step;
          const float* a4 = strip + o4 + step;
          const float* a5 = strip + o5 + step;
          const float* a6 = strip + o6 + step;
          const float* a7 = strip + o7 + step;
          const float* a8 = strip + o8 + step;
          const float* a9 = strip + o9 + step;
          const float* a10 = strip + o10 + step;
          const float* a11 = strip + o11 + step;
          const float* a12 = strip + o12 + step;
          #pragma unroll
          for (int kk = 0; kk < 3; ++kk) {
            const float8 b0 = vload8(0, b + kk*8);
            const float8 x0 = (float8)(a0[kk*1]);
            c0_0 = fma(x0, b0, c0_0);
            const float8 x1 = (float8)(a1[kk*1]);
            c1_0 = fma(x1, b0, c1_0);
            const float8 x2 = (float8)(a2[kk*1]);
            c2_0 = fma(x2, b0, c2_0);
            const float8 x3 = (float8)(a3[kk*1]);
            c3_0 = fma(x3, b0, c3_0);
            const float8 x4 = (float8)(a4[kk*1]);
            c4_0 = fma(x4, b0, c4_0);
            const float8 x5 = (float8)(a5[kk*1]);
            c5_0 = fma(x5, b0, c5_0);
            const float8 x6 = (float8)(a6[kk*1]);
            c6_0 = fma(x6, b0, c6_0);
            const float8 x7 = (float8)(a7[kk*1]);
            c7_0 = fma(x7, b0, c7_0);
            const float8 x8 = (float8)(a8[kk*1]);
            c8_0 = fma(x8, b0, c8_0);
            const float8 x9 = (float8)(a9[kk*1]);
            c9_0 = fma(x9, b0, c9_0);
            const float8 x10 = (float8)(a10[kk*1]);
            c10_0 = fma(x10, b0, c10_0);
            const float8 x11 = (float8)(a11[kk*1]);
            c11_0 = fma(x11, b0, c11_0);
            const float8 x12 = (float8)(a12[kk*1]);
            c12_0 = fma(x12, b0, c12_0);
          }
          b += 24;
        }
      }
      float acc[104] __attribute__((aligned(64)));
      vstore8(c0_0, 0, acc);
      vstore8(c1_0, 1, acc);
      vstore8(c2_0, 2, acc);
      vstore8(c3_0, 3, acc);
      vstore8(c4_0, 4, acc);
      vstore8(c5_0, 5, acc);
      vstore8(c6_0, 6, acc);
      vstore8(c7_0, 7, acc);
      vstore8(c8_0, 8, acc);
      vstore8(c9_0, 9, acc);
      vstore8(c10_0, 10, acc);
      vstore8(c11_0, 11, acc);
      vstore8(c12_0, 12, acc);
      for (int i = 0; i < min(13, count - at); ++i) {
        const int m = first + at + i;
        for (int v = 0; v < 1; ++v) {
          const float8 t1 = vload8(0, m2 + 0);
          const float8 t2 = vload8(i*1 + v, acc) + t1;
          const float8 t3 = select((float8)(t2), (float8)(0.0f), t2 < 0.0f);
          const float8 t4 = t3;
          m3[((m/25)*200+(m%25))] = t4.s0;
          m3[((m/25)*200+(m%25)+25)] = t4.s1;
          m3[((m/25)*200+(m%25)+50)] = t4.s2;
          m3[((m/25)*200+(m%25)+75)] = t4.s3;
          m3[((m/25)*200+(m%25)+100)] = t4.s4;
          m3[((m/25)*200+(m%25)+125)] = t4.s5;
          m3[((m/25)*200+(m%25)+150)] = t4.s6;
          m3[((m/25)*200+(m%25)+175)] = t4.s7;
        }
      }
    }
  }
}
