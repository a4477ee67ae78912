
__kernel __attribute__((reqd_work_group_size(1,1,1))) __attribute__((intel_vec_len_hint(1)))
void conv_e92510aea9(__global const float* restrict m0, __global const float* restrict m1, __global const float* restrict m2, __global float* m3)
{
  const int column = get_global_id(0), block = get_global_id(1);
  float packed[1344];
   {
    #pragma unroll 1
    for (int k0 = 0; k0 < 4; ++k0) {
      #pragma unroll 1
      for (int k1 = 0; k1 < 3; ++k1) {
        #pragma unroll 1
        for (int k2 = 0; k2 < 3; ++k2) {
          for (int i = 0; i < 28; ++i) {
            const int row = min(block*28 + i, 49);
            float g1 = (0.0f);
            if ((uint)((k1+((row/5)%5)-1)) < 5u && (uint)((k2+(row%5)-1)) < 5u) {
              const int t2 = (k1+((row/5)%5)-1);
              const int t3 = (k2+(row%5)-1);
              const float t4 = m0[(k0*25+t2*5+t3+(row/25)*100)];
              g1 = t4;
            }
            (packed + i*48 + (k0*9+k1*3+k2))[0] = g1;
          }
        }
      }
    }
    for (int panel = column*1; panel < min((column+1)*1, 1); ++panel) {
      for (int tile = block*2; tile < min((block+1)*2, 4); ++tile) {
        float* rows = packed + (tile - block*2)*672;
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
        float8 c13_0 = 0.0f;
        const __global float* b = m1 + panel*288;
        #pragma unroll 4
        for (int kk = 0; kk < 36; ++kk) {
          const float8 b0 = vload8(0, b + kk*8);
          const float8 x0 = (float8)(rows[0 + kk]);
          c0_0 = fma(x0, b0, c0_0);
          const float8 x1 = (float8)(rows[48 + kk]);
          c1_0 = fma(x1, b0, c1_0);
          const float8 x2 = (float8)(rows[96 + kk]);
          c2_0 = fma(x2, b0, c2_0);
          const float8 x3 = (float8)(rows[144 + kk]);
          c3_0 = fma(x3, b0, c3_0);
          const float8 x4 = (float8)(rows[192 + kk]);
          c4_0 = fma(x4, b0, c4_0);
          const float8 x5 = (float8)(rows[240 + kk]);
          c5_0 = fma(x5, b0, c5_0);
          const float8 x6 = (float8)(rows[288 + kk]);
          c6_0 = fma(x6, b0, c6_0);
          const float8 x7 = (float8)(rows[336 + kk]);
          c7_0 = fma(x7, b0, c7_0);
          const float8 x8 = (float8)(rows[384 + kk]);
          c8_0 = fma(x8, b0, c8_0);
          const float8 x9 = (float8)(rows[432 + kk]);
          c9_0 = fma(x9, b0, c9_0);
          const float8 x10 = (float8)(rows[480 + kk]);
          c10_0 = fma(x10, b0, c10_0);
          const float8 x11 = (float8)(rows[528 + kk]);
          c11_0 = fma(x11, b0, c11_0);
          const float8 x12 = (float8)(rows[576 + kk]);
          c12_0 = fma(x12, b0, c12_0);
          const float8 x13 = (float8)(rows[624 + kk]);
          c13_0 = fma(x13, b0, c13_0);
        }
        float acc[112];
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
        vstore8(c13_0, 13, acc);
        for (int i = 0; i < min(14, 50 - tile*14); ++i) {
          const int m = tile*14 + i;
          for (int v = 0; v < 1; ++v) {
            const float8 t5 = vload8(0, m2 + 0);
            const float8 t6 = vload8(i, acc) + t5;
            const float8 t7 = fmax(t6, (float8)(0.0f));
            const float8 t8 = t7;
            m3[((m/25)*200+(m%25))] = t8.s0;
            m3[((m/25)*200+(m%25)+25)] = t8.s1;
            m3[((m/25)*200+(m%25)+50)] = t8.s2;
            m3[((m/25)*200+(m%25)+75)] = t8.s3;
            m3[((m/25)*200+(m%25)+100)] = t8.s4;
            m3[((m/25)*200+(m%25)+125)] = t8.s5;
            m3[((m/25)*200+(m%25)+150)] = t8.s6;
            m3[((m/25)*200+(m%25)+175)] = t8.s7;
          }
        }
      }
    }
  }
}
