float8 ecp_exp_float8(float8 given) {
  float8 x = select(given, (float8)(-88.0f), given < (float8)(-88.0f));
  x = select(x, (float8)(88.0f), x > (float8)(88.0f));
  const float8 shifted = fma(x, (float8)(1.44269504f), (float8)(12582912.0f));
  const float8 r = fma(x, (float8)(1.44269504f), (float8)(12582912.0f) - shifted);
  float8 p = fma(r, (float8)(0.0013266970636323094f), (float8)(0.009675459936261177f));
  p = fma(p, r, (float8)(0.05550742521882057f)); p = fma(p, r, (float8)(0.24022121727466583f));
  p = fma(p, r, (float8)(0.6931469440460205f)); p = fma(p, r, (float8)(1.0000001192092896f));
  return p * as_float8((as_int8(shifted) << 23) + 0x3f800000);
}

__kernel __attribute__((reqd_work_group_size(1,1,1))) __attribute__((intel_vec_len_hint(1)))
void attention_84cbcdc517(__global const float* restrict m0, __global const float* restrict m1, __global const float* restrict m2, __global float* m3)
{
  int block = get_global_id(0);
  const int head = get_global_id(1);
   {
    const int first = block*8;
    const int start = min(first, 0);
    float qt[64]; float st[40];
    for (int i = 0; i < 8; ++i) {
      const int qrow = min(i, 4);
      const float8 t1 = vload8(0, m0 + (head*40+qrow*8));
      qt[0 + i] = t1.s0;
      qt[8 + i] = t1.s1;
      qt[16 + i] = t1.s2;
      qt[24 + i] = t1.s3;
      qt[32 + i] = t1.s4;
      qt[40 + i] = t1.s5;
      qt[48 + i] = t1.s6;
      qt[56 + i] = t1.s7;
    }
    float8 top0 = -INFINITY;
     {
      float8 s0_0 = 0.0f;
      float8 s1_0 = 0.0f;
      float8 s2_0 = 0.0f;
      float8 s3_0 = 0.0f;
      float8 s4_0 = 0.0f;
      const __global float* k0 = m1 + head*40;
      const __global float* k1 = m1 + (head*40+1);
      const __global float* k2 = m1 + (head*40+2);
      const __global float* k3 = m1 + (head*40+3);
      const __global float* k4 = m1 + (head*40+4);
      #pragma unroll 4
      for (int d = 0; d < 8; ++d) {
        const float8 q0 = vload8(d*1+0, qt);
        const float8 y0 = (float8)(k0[d*5]);
        s0_0 = fma(y0, q0, s0_0);
        const float8 y1 = (float8)(k1[d*5]);
        s1_0 = fma(y1, q0, s1_0);
        const float8 y2 = (float8)(k2[d*5]);
        s2_0 = fma(y2, q0, s2_0);
        const float8 y3 = (float8)(k3[d*5]);
        s3_0 = fma(y3, q0, s3_0);
        const float8 y4 = (float8)(k4[d*5]);
        s4_0 = fma(y4, q0, s4_0);
      }
      top0 = fmax(top0, s0_0);
      vstore8(s0_0, (0)*1+0, st);
      top0 = fmax(top0, s1_0);
      vstore8(s1_0, (1)*1+0, st);
      top0 = fmax(top0, s2_0);
      vstore8(s2_0, (2)*1+0, st);
      top0 = fmax(top0, s3_0);
      vstore8(s3_0, (3)*1+0, st);
      top0 = fmax(top0, s4_0);
      vstore8(s4_0, (4)*1+0, st);
    }
    float8 total0 = 0.0f;
    for (int j = 0; j < 5; ++j) {
      const float8 e0 = ecp_exp_float8(vload8(j*1+0, st) - top0);
      total0 += e0;
      vstore8(e0, j*1+0, st);
    }
    const float8 scale0 = 1.0f / total0;
    for (int dt = 0; dt < 1; ++dt) {
      float8 o0_0 = 0.0f;
      float8 o1_0 = 0.0f;
      float8 o2_0 = 0.0f;
      float8 o3_0 = 0.0f;
      float8 o4_0 = 0.0f;
      float8 o5_0 = 0.0f;
      float8 o6_0 = 0.0f;
      float8 o7_0 = 0.0f;
      const __global float* v0 = m2 + head*40;
      const __global float* v1 = m2 + (head*40+1);
      const __global float* v2 = m2 + (head*40+2);
      const __global float* v3 = m2 + (head*40+3);
      const __global float* v4 = m2 + (head*40+4);
      const __global float* v5 = m2 + (head*40+5);
      const __global float* v6 = m2 + (head*40+6);
      const __global float* v7 = m2 + (head*40+7);
      #pragma unroll 4
      for (int j = 0; j < 5; ++j) {
        const float8 p0 = vload8(j*1+0, st);
        const float8 y0 = (float8)(v0[j*8]);
        o0_0 = fma(y0, p0, o0_0);
        const float8 y1 = (float8)(v1[j*8]);
        o1_0 = fma(y1, p0, o1_0);
        const float8 y2 = (float8)(v2[j*8]);
        o2_0 = fma(y2, p0, o2_0);
        const float8 y3 = (float8)(v3[j*8]);
        o3_0 = fma(y3, p0, o3_0);
        const float8 y4 = (float8)(v4[j*8]);
        o4_0 = fma(y4, p0, o4_0);
        const float8 y5 = (float8)(v5[j*8]);
        o5_0 = fma(y5, p0, o5_0);
        const float8 y6 = (float8)(v6[j*8]);
        o6_0 = fma(y6, p0, o6_0);
        const float8 y7 = (float8)(v7[j*8]);
        o7_0 = fma(y7, p0, o7_0);
      }
      o0_0 *= scale0;
      o1_0 *= scale0;
      o2_0 *= scale0;
      o3_0 *= scale0;
      o4_0 *= scale0;
      o5_0 *= scale0;
      o6_0 *= scale0;
      o7_0 *= scale0;
      float ot[64];
      vstore8(o0_0, 0, ot);
      vstore8(o1_0, 1, ot);
      vstore8(o2_0, 2, ot);
      vstore8(o3_0, 3, ot);
      vstore8(o4_0, 4, ot);
      vstore8(o5_0, 5, ot);
      vstore8(o6_0, 6, ot);
      vstore8(o7_0, 7, ot);
      for (int i = 0; i < 5; ++i) {
        const float8 t2 = (float8)(ot[0 + i], ot[8 + i], ot[16 + i], ot[24 + i], ot[32 + i], ot[40 + i], ot[48 + i], ot[56 + i]);
        vstore8(t2, 0, m3 + (head*40+i*8));
      }
    }
  }
}
