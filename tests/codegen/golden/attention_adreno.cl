float ecp_exp_float(float given) {
  const float x = fmin(fmax(given, (float)(-87.0f)), (float)(88.0f)) * 1.44269504f;
  const float n = rint(x);
  const float r = x - n;
  float p = fma(r, (float)(0.0013266970636323094f), (float)(0.009675459936261177f));
  p = fma(p, r, (float)(0.05550742521882057f)); p = fma(p, r, (float)(0.24022121727466583f));
  p = fma(p, r, (float)(0.6931469440460205f)); p = fma(p, r, (float)(1.0000001192092896f));
  return select(as_float(as_int(p) + (convert_int(n) << 23)), given, isnan(given));
}

__kernel 
void attention_fc75aba5dd(__global const float* restrict m0, __global const float* restrict m1, __global const float* restrict m2, __global float* m3)
{
  int block = get_global_id(0);
  const int head = get_global_id(1);
   {
    const int first = block*1;
    const int start = min(first, 4);
    float qt[8]; float st[5];
    for (int i = 0; i < 1; ++i) {
      const float t1 = m0[(head*40+start*8)];
      qt[0 + i] = t1;
      const float t2 = m0[(head*40+start*8+1)];
      qt[1 + i] = t2;
      const float t3 = m0[(head*40+start*8+2)];
      qt[2 + i] = t3;
      const float t4 = m0[(head*40+start*8+3)];
      qt[3 + i] = t4;
      const float t5 = m0[(head*40+start*8+4)];
      qt[4 + i] = t5;
      const float t6 = m0[(head*40+start*8+5)];
      qt[5 + i] = t6;
      const float t7 = m0[(head*40+start*8+6)];
      qt[6 + i] = t7;
      const float t8 = m0[(head*40+start*8+7)];
      qt[7 + i] = t8;
    }
    float top0 = -INFINITY;
     {
      float s0_0 = 0.0f;
      float s1_0 = 0.0f;
      float s2_0 = 0.0f;
      float s3_0 = 0.0f;
      float s4_0 = 0.0f;
      const __global float* k0 = m1 + head*40;
      const __global float* k1 = m1 + (head*40+1);
      const __global float* k2 = m1 + (head*40+2);
      const __global float* k3 = m1 + (head*40+3);
      const __global float* k4 = m1 + (head*40+4);
      #pragma unroll 4
      for (int d = 0; d < 8; ++d) {
        const float q0 = qt[d*1+0];
        const float y0 = (float)(k0[d*5]);
        s0_0 = fma(y0, q0, s0_0);
        const float y1 = (float)(k1[d*5]);
        s1_0 = fma(y1, q0, s1_0);
        const float y2 = (float)(k2[d*5]);
        s2_0 = fma(y2, q0, s2_0);
        const float y3 = (float)(k3[d*5]);
        s3_0 = fma(y3, q0, s3_0);
        const float y4 = (float)(k4[d*5]);
        s4_0 = fma(y4, q0, s4_0);
      }
      top0 = fmax(top0, s0_0);
      st[(0)*1+0] = s0_0;
      top0 = fmax(top0, s1_0);
      st[(1)*1+0] = s1_0;
      top0 = fmax(top0, s2_0);
      st[(2)*1+0] = s2_0;
      top0 = fmax(top0, s3_0);
      st[(3)*1+0] = s3_0;
      top0 = fmax(top0, s4_0);
      st[(4)*1+0] = s4_0;
    }
    float total0 = 0.0f;
    for (int j = 0; j < 5; ++j) {
      const float e0 = ecp_exp_float(st[j*1+0] - top0);
      total0 += e0;
      st[j*1+0] = e0;
    }
    const float scale0 = 1.0f / total0;
    for (int dt = 0; dt < 1; ++dt) {
      float o0_0 = 0.0f;
      float o1_0 = 0.0f;
      float o2_0 = 0.0f;
      float o3_0 = 0.0f;
      float o4_0 = 0.0f;
      float o5_0 = 0.0f;
      float o6_0 = 0.0f;
      float o7_0 = 0.0f;
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
        const float p0 = st[j*1+0];
        const float y0 = (float)(v0[j*8]);
        o0_0 = fma(y0, p0, o0_0);
        const float y1 = (float)(v1[j*8]);
        o1_0 = fma(y1, p0, o1_0);
        const float y2 = (float)(v2[j*8]);
        o2_0 = fma(y2, p0, o2_0);
        const float y3 = (float)(v3[j*8]);
        o3_0 = fma(y3, p0, o3_0);
        const float y4 = (float)(v4[j*8]);
        o4_0 = fma(y4, p0, o4_0);
        const float y5 = (float)(v5[j*8]);
        o5_0 = fma(y5, p0, o5_0);
        const float y6 = (float)(v6[j*8]);
        o6_0 = fma(y6, p0, o6_0);
        const float y7 = (float)(v7[j*8]);
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
      float ot[8];
      ot[0] = o0_0;
      ot[1] = o1_0;
      ot[2] = o2_0;
      ot[3] = o3_0;
      ot[4] = o4_0;
      ot[5] = o5_0;
      ot[6] = o6_0;
      ot[7] = o7_0;
      for (int i = 0; i < 1; ++i) {
        m3[(head*40+start*8)] = ot[0 + i];
        m3[(head*40+start*8+1)] = ot[1 + i];
        m3[(head*40+start*8+2)] = ot[2 + i];
        m3[(head*40+start*8+3)] = ot[3 + i];
        m3[(head*40+start*8+4)] = ot[4 + i];
        m3[(head*40+start*8+5)] = ot[5 + i];
        m3[(head*40+start*8+6)] = ot[6 + i];
        m3[(head*40+start*8+7)] = ot[7 + i];
      }
    }
  }
}
