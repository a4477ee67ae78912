#ifdef __clang__
#define SHUFFLE16(a, b, e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, e10, e11, e12, e13, e14, e15) __builtin_shufflevector(a, b, e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, e10, e11, e12, e13, e14, e15)
#else
#define SHUFFLE16(a, b, e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, e10, e11, e12, e13, e14, e15) shuffle2(a, b, (uint16)(e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, e10, e11, e12, e13, e14, e15))
#endif
void ecp_transpose16(float* to, int pitch, float16 r0, float16 r1, float16 r2, float16 r3, float16 r4, float16 r5, float16 r6, float16 r7, float16 r8, float16 r9, float16 r10, float16 r11, float16 r12, float16 r13, float16 r14, float16 r15) {
  const float16 u0 = SHUFFLE16(r0, r1, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  const float16 u1 = SHUFFLE16(r2, r3, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  const float16 u2 = SHUFFLE16(r0, r1, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  const float16 u3 = SHUFFLE16(r2, r3, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  const float16 u4 = SHUFFLE16(u0, u1, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  const float16 u5 = SHUFFLE16(u0, u1, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  const float16 u6 = SHUFFLE16(u2, u3, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  const float16 u7 = SHUFFLE16(u2, u3, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  const float16 u8 = SHUFFLE16(r4, r5, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  const float16 u9 = SHUFFLE16(r6, r7, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  const float16 u10 = SHUFFLE16(r4, r5, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  const float16 u11 = SHUFFLE16(r6, r7, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  const float16 u12 = SHUFFLE16(u8, u9, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  const float16 u13 = SHUFFLE16(u8, u9, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  const float16 u14 = SHUFFLE16(u10, u11, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  const float16 u15 = SHUFFLE16(u10, u11, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  const float16 u16 = SHUFFLE16(r8, r9, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  const float16 u17 = SHUFFLE16(r10, r11, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  const float16 u18 = SHUFFLE16(r8, r9, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  const float16 u19 = SHUFFLE16(r10, r11, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  const float16 u20 = SHUFFLE16(u16, u17, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  const float16 u21 = SHUFFLE16(u16, u17, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  const float16 u22 = SHUFFLE16(u18, u19, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  const float16 u23 = SHUFFLE16(u18, u19, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  const float16 u24 = SHUFFLE16(r12, r13, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  const float16 u25 = SHUFFLE16(r14, r15, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
  const float16 u26 = SHUFFLE16(r12, r13, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  const float16 u27 = SHUFFLE16(r14, r15, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  const float16 u28 = SHUFFLE16(u24, u25, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  const float16 u29 = SHUFFLE16(u24, u25, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  const float16 u30 = SHUFFLE16(u26, u27, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
  const float16 u31 = SHUFFLE16(u26, u27, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  const float16 u32 = SHUFFLE16(u4, u12, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u33 = SHUFFLE16(u20, u28, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u34 = SHUFFLE16(u4, u12, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const float16 u35 = SHUFFLE16(u20, u28, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const float16 u36 = SHUFFLE16(u32, u33, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u37 = SHUFFLE16(u32, u33, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const float16 u38 = SHUFFLE16(u34, u35, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u39 = SHUFFLE16(u34, u35, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const float16 u40 = SHUFFLE16(u5, u13, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u41 = SHUFFLE16(u21, u29, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u42 = SHUFFLE16(u5, u13, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const float16 u43 = SHUFFLE16(u21, u29, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const float16 u44 = SHUFFLE16(u40, u41, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u45 = SHUFFLE16(u40, u41, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const float16 u46 = SHUFFLE16(u42, u43, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u47 = SHUFFLE16(u42, u43, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const float16 u48 = SHUFFLE16(u6, u14, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u49 = SHUFFLE16(u22, u30, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u50 = SHUFFLE16(u6, u14, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const float16 u51 = SHUFFLE16(u22, u30, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const float16 u52 = SHUFFLE16(u48, u49, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u53 = SHUFFLE16(u48, u49, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const float16 u54 = SHUFFLE16(u50, u51, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u55 = SHUFFLE16(u50, u51, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const float16 u56 = SHUFFLE16(u7, u15, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u57 = SHUFFLE16(u23, u31, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u58 = SHUFFLE16(u7, u15, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const float16 u59 = SHUFFLE16(u23, u31, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const float16 u60 = SHUFFLE16(u56, u57, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u61 = SHUFFLE16(u56, u57, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const float16 u62 = SHUFFLE16(u58, u59, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  const float16 u63 = SHUFFLE16(u58, u59, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  vstore16(u36, 0, to + 0*pitch);
  vstore16(u44, 0, to + 1*pitch);
  vstore16(u52, 0, to + 2*pitch);
  vstore16(u60, 0, to + 3*pitch);
  vstore16(u38, 0, to + 4*pitch);
  vstore16(u46, 0, to + 5*pitch);
  vstore16(u54, 0, to + 6*pitch);
  vstore16(u62, 0, to + 7*pitch);
  vstore16(u37, 0, to + 8*pitch);
  vstore16(u45, 0, to + 9*pitch);
  vstore16(u53, 0, to + 10*pitch);
  vstore16(u61, 0, to + 11*pitch);
  vstore16(u39, 0, to + 12*pitch);
  vstore16(u47, 0, to + 13*pitch);
  vstore16(u55, 0, to + 14*pitch);
  vstore16(u63, 0, to + 15*pitch);
}
float16 ecp_exp_float16(float16 given) {
  float16 x = select(given, (float16)(-88.0f), given < (float16)(-88.0f));
  x = select(x, (float16)(88.0f), x > (float16)(88.0f));
  const float16 shifted = fma(x, (float16)(1.44269504f), (float16)(12582912.0f));
  const float16 r = fma(x, (float16)(1.44269504f), (float16)(12582912.0f) - shifted);
  float16 p = fma(r, (float16)(0.0013266970636323094f), (float16)(0.009675459936261177f));
  p = fma(p, r, (float16)(0.05550742521882057f)); p = fma(p, r, (float16)(0.24022121727466583f));
  p = fma(p, r, (float16)(0.6931469440460205f)); p = fma(p, r, (float16)(1.0000001192092896f));
  return p * as_float16((as_int16(shifted) << 23) + 0x3f800000);
}
float ecp_max16(float16 v) {
#ifdef ECP_BY_LANES
  return fmax(fmax(fmax(fmax(v.s0, v.s1), fmax(v.s2, v.s3)), fmax(fmax(v.s4, v.s5), fmax(v.s6, v.s7))), fmax(fmax(fmax(v.s8, v.s9), fmax(v.sa, v.sb)), fmax(fmax(v.sc, v.sd), fmax(v.se, v.sf))));
#else
  float16 w;
  w = SHUFFLE16(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7); v = select(v, w, w > v);
  w = SHUFFLE16(v, v, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3); v = select(v, w, w > v);
  w = SHUFFLE16(v, v, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1); v = select(v, w, w > v);
  w = SHUFFLE16(v, v, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0); v = select(v, w, w > v);
  return v.s0;
#endif
}
float ecp_sum16(float16 v) {
#ifdef ECP_BY_LANES
  return ((((v.s0 + v.s1) + (v.s2 + v.s3)) + ((v.s4 + v.s5) + (v.s6 + v.s7))) + (((v.s8 + v.s9) + (v.sa + v.sb)) + ((v.sc + v.sd) + (v.se + v.sf))));
#else
  float16 w;
  w = SHUFFLE16(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7); v = v + w;
  w = SHUFFLE16(v, v, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3); v = v + w;
  w = SHUFFLE16(v, v, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1); v = v + w;
  w = SHUFFLE16(v, v, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0); v = v + w;
  return v.s0;
#endif
}

__kernel __attribute__((reqd_work_group_size(1,1,1))) __attribute__((intel_vec_len_hint(1)))
void attention_a0b1e498df(__global int* m0, __global const float* restrict m1, __global const float* restrict m2, __global const float* restrict m3, __global float* m4)
{
  int have = -1;
  float kt[1536] __attribute__((aligned(64)));
  const int worker = get_global_id(0);
  #pragma unroll 1
  for (int turn = 0; turn < 2; ++turn) {
    const int owner = (worker + turn) % 2;
    const int first = 8*owner/2, last = 8*(owner + 1)/2;
    int unit;
    while ((unit = first + atomic_inc(m0 + 16*owner)) < last) {
      const int head = unit / 4, split = unit % 4;
      float st[480] __attribute__((aligned(64)));
      if (have != head) {
        have = head;
        for (int kb = 0; kb < 3; ++kb) {
          const int t1 = min(kb*16 + 0, 39);
          const int t2 = min(kb*16 + 1, 39);
          const int t3 = min(kb*16 + 2, 39);
          const int t4 = min(kb*16 + 3, 39);
          const int t5 = min(kb*16 + 4, 39);
          const int t6 = min(kb*16 + 5, 39);
          const int t7 = min(kb*16 + 6, 39);
          const int t8 = min(kb*16 + 7, 39);
          const int t9 = min(kb*16 + 8, 39);
          const int t10 = min(kb*16 + 9, 39);
          const int t11 = min(kb*16 + 10, 39);
          const int t12 = min(kb*16 + 11, 39);
          const int t13 = min(kb*16 + 12, 39);
          const int t14 = min(kb*16 + 13, 39);
          const int t15 = min(kb*16 + 14, 39);
          const int t16 = min(kb*16 + 15, 39);
          for (int db = 0; db < 2; ++db) {
            const float16 t17 = (float16)(m1[(db*640+head*1280+t1)], m1[(db*640+head*1280+t1+40)], m1[(db*640+head*1280+t1+80)], m1[(db*640+head*1280+t1+120)], m1[(db*640+head*1280+t1+160)], m1[(db*640+head*1280+t1+200)], m1[(db*640+head*1280+t1+240)], m1[(db*640+head*1280+t1+280)], m1[(db*640+head*1280+t1+320)], m1[(db*640+head*1280+t1+360)], m1[(db*640+head*1280+t1+400)], m1[(db*640+head*1280+t1+440)], m1[(db*640+head*1280+t1+480)], m1[(db*640+head*1280+t1+520)], m1[(db*640+head*1280+t1+560)], m1[(db*640+head*1280+t1+600)]);
            const float16 t18 = (float16)(m1[(db*640+head*1280+t2)], m1[(db*640+head*1280+t2+40)], m1[(db*640+head*1280+t2+80)], m1[(db*640+head*1280+t2+120)], m1[(db*640+head*1280+t2+160)], m1[(db*640+head*1280+t2+200)], m1[(db*640+head*1280+t2+240)], m1[(db*640+head*1280+t2+280)], m1[(db*640+head*1280+t2+320)], m1[(db*640+head*1280+t2+360)], m1[(db*640+head*1280+t2+400)], m1[(db*640+head*1280+t2+440)], m1[(db*640+head*1280+t2+480)], m1[(db*640+head*1280+t2+520)], m1[(db*640+head*1280+t2+560)], m1[(db*640+head*1280+t2+600)]);
            const float16 t19 = (float16)(m1[(db*640+head*1280+t3)], m1[(db*640+head*1280+t3+40)], m1[(db*640+head*1280+t3+80)], m1[(db*640+head*1280+t3+120)], m1[(db*640+head*1280+t3+160)], m1[(db*640+head*1280+t3+200)], m1[(db*640+head*1280+t3+240)], m1[(db*640+head*1280+t3+280)], m1[(db*640+head*1280+t3+320)], m1[(db*640+head*1280+t3+360)], m1[(db*640+head*1280+t3+400)], m1[(db*640+head*1280+t3+440)], m1[(db*640+head*1280+t3+480)], m1[(db*640+head*1280+t3+520)], m1[(db*640+head*1280+t3+560)], m1[(db*640+head*1280+t3+600)]);
            const float16 t20 = (float16)(m1[(db*640+head*1280+t4)], m1[(db*640+head*1280+t4+40)], m1[(db*640+head*1280+t4+80)], m1[(db*640+head*1280+t4+120)], m1[(db*640+head*1280+t4+160)], m1[(db*640+head*1280+t4+200)], m1[(db*640+head*1280+t4+240)], m1[(db*640+head*1280+t4+280)], m1[(db*640+head*1280+t4+320)], m1[(db*640+head*1280+t4+360)], m1[(db*640+head*1280+t4+400)], m1[(db*640+head*1280+t4+440)], m1[(db*640+head*1280+t4+480)], m1[(db*640+head*1280+t4+520)], m1[(db*640+head*1280+t4+560)], m1[(db*640+head*1280+t4+600)]);
            const float16 t21 = (float16)(m1[(db*640+head*1280+t5)], m1[(db*640+head*1280+t5+40)], m1[(db*640+head*1280+t5+80)], m1[(db*640+head*1280+t5+120)], m1[(db*640+head*1280+t5+160)], m1[(db*640+head*1280+t5+200)], m1[(db*640+head*1280+t5+240)], m1[(db*640+head*1280+t5+280)], m1[(db*640+head*1280+t5+320)], m1[(db*640+head*1280+t5+360)], m1[(db*640+head*1280+t5+400)], m1[(db*640+head*1280+t5+440)], m1[(db*640+head*1280+t5+480)], m1[(db*640+head*1280+t5+520)], m1[(db*640+head*1280+t5+560)], m1[(db*640+head*1280+t5+600)]);
            const float16 t22 = (float16)(m1[(db*640+head*1280+t6)], m1[(db*640+head*1280+t6+40)], m1[(db*640+head*1280+t6+80)], m1[(db*640+head*1280+t6+120)], m1[(db*640+head*1280+t6+160)], m1[(db*640+head*1280+t6+200)], m1[(db*640+head*1280+t6+240)], m1[(db*640+head*1280+t6+280)], m1[(db*640+head*1280+t6+320)], m1[(db*640+head*1280+t6+360)], m1[(db*640+head*1280+t6+400)], m1[(db*640+head*1280+t6+440)], m1[(db*640+head*1280+t6+480)], m1[(db*640+head*1280+t6+520)], m1[(db*640+head*1280+t6+560)], m1[(db*640+head*1280+t6+600)]);
            const float16 t23 = (float16)(m1[(db*640+head*1280+t7)], m1[(db*640+head*1280+t7+40)], m1[(db*640+head*1280+t7+80)], m1[(db*640+head*1280+t7+120)], m1[(db*640+head*1280+t7+160)], m1[(db*640+head*1280+t7+200)], m1[(db*640+head*1280+t7+240)], m1[(db*640+head*1280+t7+280)], m1[(db*640+head*1280+t7+320)], m1[(db*640+head*1280+t7+360)], m1[(db*640+head*1280+t7+400)], m1[(db*640+head*1280+t7+440)], m1[(db*640+head*1280+t7+480)], m1[(db*640+head*1280+t7+520)], m1[(db*640+head*1280+t7+560)], m1[(db*640+head*1280+t7+600)]);
            const float16 t24 = (float16)(m1[(db*640+head*1280+t8)], m1[(db*640+head*1280+t8+40)], m1[(db*640+head*1280+t8+80)], m1[(db*640+head*1280+t8+120)], m1[(db*640+head*1280+t8+160)], m1[(db*640+head*1280+t8+200)], m1[(db*640+head*1280+t8+240)], m1[(db*640+head*1280+t8+280)], m1[(db*640+head*1280+t8+320)], m1[(db*640+head*1280+t8+360)], m1[(db*640+head*1280+t8+400)], m1[(db*640+head*1280+t8+440)], m1[(db*640+head*1280+t8+480)], m1[(db*640+head*1280+t8+520)], m1[(db*640+head*1280+t8+560)], m1[(db*640+head*1280+t8+600)]);
            const float16 t25 = (float16)(m1[(db*640+head*1280+t9)], m1[(db*640+head*1280+t9+40)], m1[(db*640+head*1280+t9+80)], m1[(db*640+head*1280+t9+120)], m1[(db*640+head*1280+t9+160)], m1[(db*640+head*1280+t9+200)], m1[(db*640+head*1280+t9+240)], m1[(db*640+head*1280+t9+280)], m1[(db*640+head*1280+t9+320)], m1[(db*640+head*1280+t9+360)], m1[(db*640+head*1280+t9+400)], m1[(db*640+head*1280+t9+440)], m1[(db*640+head*1280+t9+480)], m1[(db*640+head*1280+t9+520)], m1[(db*640+head*1280+t9+560)], m1[(db*640+head*1280+t9+600)]);
            const float16 t26 = (float16)(m1[(db*640+head*1280+t10)], m1[(db*640+head*1280+t10+40)], m1[(db*640+head*1280+t10+80)], m1[(db*640+head*1280+t10+120)], m1[(db*640+head*1280+t10+160)], m1[(db*640+head*1280+t10+200)], m1[(db*640+head*1280+t10+240)], m1[(db*640+head*1280+t10+280)], m1[(db*640+head*1280+t10+320)], m1[(db*640+head*1280+t10+360)], m1[(db*640+head*1280+t10+400)], m1[(db*640+head*1280+t10+440)], m1[(db*640+head*1280+t10+480)], m1[(db*640+head*1280+t10+520)], m1[(db*640+head*1280+t10+560)], m1[(db*640+head*1280+t10+600)]);
            const float16 t27 = (float16)(m1[(db*640+head*1280+t11)], m1[(db*640+head*1280+t11+40)], m1[(db*640+head*1280+t11+80)], m1[(db*640+head*1280+t11+120)], m1[(db*640+head*1280+t11+160)], m1[(db*640+head*1280+t11+200)], m1[(db*640+head*1280+t11+240)], m1[(db*640+head*1280+t11+280)], m1[(db*640+head*1280+t11+320)], m1[(db*640+head*1280+t11+360)], m1[(db*640+head*1280+t11+400)], m1[(db*640+head*1280+t11+440)], m1[(db*640+head*1280+t11+480)], m1[(db*640+head*1280+t11+520)], m1[(db*640+head*1280+t11+560)], m1[(db*640+head*1280+t11+600)]);
            const float16 t28 = (float16)(m1[(db*640+head*1280+t12)], m1[(db*640+head*1280+t12+40)], m1[(db*640+head*1280+t12+80)], m1[(db*640+head*1280+t12+120)], m1[(db*640+head*1280+t12+160)], m1[(db*640+head*1280+t12+200)], m1[(db*640+head*1280+t12+240)], m1[(db*640+head*1280+t12+280)], m1[(db*640+head*1280+t12+320)], m1[(db*640+head*1280+t12+360)], m1[(db*640+head*1280+t12+400)], m1[(db*640+head*1280+t12+440)], m1[(db*640+head*1280+t12+480)], m1[(db*640+head*1280+t12+520)], m1[(db*640+head*1280+t12+560)], m1[(db*640+head*1280+t12+600)]);
            const float16 t29 = (float16)(m1[(db*640+head*1280+t13)], m1[(db*640+head*1280+t13+40)], m1[(db*640+head*1280+t13+80)], m1[(db*640+head*1280+t13+120)], m1[(db*640+head*1280+t13+160)], m1[(db*640+head*1280+t13+200)], m1[(db*640+head*1280+t13+240)], m1[(db*640+head*1280+t13+280)], m1[(db*640+head*1280+t13+320)], m1[(db*640+head*1280+t13+360)], m1[(db*640+head*1280+t13+400)], m1[(db*640+head*1280+t13+440)], m1[(db*640+head*1280+t13+480)], m1[(db*640+head*1280+t13+520)], m1[(db*640+head*1280+t13+560)], m1[(db*640+head*1280+t13+600)]);
            const float16 t30 = (float16)(m1[(db*640+head*1280+t14)], m1[(db*640+head*1280+t14+40)], m1[(db*640+head*1280+t14+80)], m1[(db*640+head*1280+t14+120)], m1[(db*640+head*1280+t14+160)], m1[(db*640+head*1280+t14+200)], m1[(db*640+head*1280+t14+240)], m1[(db*640+head*1280+t14+280)], m1[(db*640+head*1280+t14+320)], m1[(db*640+head*1280+t14+360)], m1[(db*640+head*1280+t14+400)], m1[(db*640+head*1280+t14+440)], m1[(db*640+head*1280+t14+480)], m1[(db*640+head*1280+t14+520)], m1[(db*640+head*1280+t14+560)], m1[(db*640+head*1280+t14+600)]);
            const float16 t31 = (float16)(m1[(db*640+head*1280+t15)], m1[(db*640+head*1280+t15+40)], m1[(db*640+head*1280+t15+80)], m1[(db*640+head*1280+t15+120)], m1[(db*640+head*1280+t15+160)], m1[(db*640+head*1280+t15+200)], m1[(db*640+head*1280+t15+240)], m1[(db*640+head*1280+t15+280)], m1[(db*640+head*1280+t15+320)], m1[(db*640+head*1280+t15+360)], m1[(db*640+head*1280+t15+400)], m1[(db*640+head*1280+t15+440)], m1[(db*640+head*1280+t15+480)], m1[(db*640+head*1280+t15+520)], m1[(db*640+head*1280+t15+560)], m1[(db*640+head*1280+t15+600)]);
            const float16 t32 = (float16)(m1[(db*640+head*1280+t16)], m1[(db*640+head*1280+t16+40)], m1[(db*640+head*1280+t16+80)], m1[(db*640+head*1280+t16+120)], m1[(db*640+head*1280+t16+160)], m1[(db*640+head*1280+t16+200)], m1[(db*640+head*1280+t16+240)], m1[(db*640+head*1280+t16+280)], m1[(db*640+head*1280+t16+320)], m1[(db*640+head*1280+t16+360)], m1[(db*640+head*1280+t16+400)], m1[(db*640+head*1280+t16+440)], m1[(db*640+head*1280+t16+480)], m1[(db*640+head*1280+t16+520)], m1[(db*640+head*1280+t16+560)], m1[(db*640+head*1280+t16+600)]);
            ecp_transpose16(kt + db*768 + kb*16, 48, t17, t18, t19, t20, t21, t22, t23, t24, t25, t26, t27, t28, t29, t30, t31, t32);
          }
        }
      }
      for (int tile = 4*split/4; tile < 4*(split+1)/4; ++tile) {
        const int start = tile*10;
        const int keys = tile < 3 ? 40 : 30;
        const int wide = 0;
        const int narrow = 1;
        if (tile >= 3 && tile < 4) {
          for (int g = 0; g < wide; ++g) {
            float16 s0_0 = 0.0f, s0_1 = 0.0f, s0_2 = 0.0f;
            float16 s1_0 = 0.0f, s1_1 = 0.0f, s1_2 = 0.0f;
            float16 s2_0 = 0.0f, s2_1 = 0.0f, s2_2 = 0.0f;
            float16 s3_0 = 0.0f, s3_1 = 0.0f, s3_2 = 0.0f;
            float16 s4_0 = 0.0f, s4_1 = 0.0f, s4_2 = 0.0f;
            const __global float* q0 = m2 + (head*1280+960);
            const __global float* q1 = m2 + (head*1280+992);
            const __global float* q2 = m2 + (head*1280+1024);
            const __global float* q3 = m2 + (head*1280+1056);
            const __global float* q4 = m2 + (head*1280+1088);
            const float* key = kt + g*48;
            #pragma unroll 4
            for (int d = 0; d < 32; ++d) {
              const float16 y0 = vload16(0, key + d*48);
              const float16 y1 = vload16(1, key + d*48);
              const float16 y2 = vload16(2, key + d*48);
              const float16 x0 = (float16)(q0[d]);
              s0_0 = fma(x0, y0, s0_0); s0_1 = fma(x0, y1, s0_1); s0_2 = fma(x0, y2, s0_2);
              const float16 x1 = (float16)(q1[d]);
              s1_0 = fma(x1, y0, s1_0); s1_1 = fma(x1, y1, s1_1); s1_2 = fma(x1, y2, s1_2);
              const float16 x2 = (float16)(q2[d]);
              s2_0 = fma(x2, y0, s2_0); s2_1 = fma(x2, y1, s2_1); s2_2 = fma(x2, y2, s2_2);
              const float16 x3 = (float16)(q3[d]);
              s3_0 = fma(x3, y0, s3_0); s3_1 = fma(x3, y1, s3_1); s3_2 = fma(x3, y2, s3_2);
              const float16 x4 = (float16)(q4[d]);
              s4_0 = fma(x4, y0, s4_0); s4_1 = fma(x4, y1, s4_1); s4_2 = fma(x4, y2, s4_2);
            }
            vstore16(s0_0, 0, st + 0 + g*48);
            vstore16(s0_1, 0, st + 0 + (g*48+16));
            vstore16(s0_2, 0, st + 0 + (g*48+32));
            vstore16(s1_0, 0, st + 48 + g*48);
            vstore16(s1_1, 0, st + 48 + (g*48+16));
            vstore16(s1_2, 0, st + 48 + (g*48+32));
            vstore16(s2_0, 0, st + 96 + g*48);
            vstore16(s2_1, 0, st + 96 + (g*48+16));
            vstore16(s2_2, 0, st + 96 + (g*48+32));
            vstore16(s3_0, 0, st + 144 + g*48);
            vstore16(s3_1, 0, st + 144 + (g*48+16));
            vstore16(s3_2, 0, st + 144 + (g*48+32));
            vstore16(s4_0, 0, st + 192 + g*48);
            vstore16(s4_1, 0, st + 192 + (g*48+16));
            vstore16(s4_2, 0, st + 192 + (g*48+32));
          }
          for (int g = 0; g < narrow; ++g) {
            float16 s0_0 = 0.0f, s0_1 = 0.0f;
            float16 s1_0 = 0.0f, s1_1 = 0.0f;
            float16 s2_0 = 0.0f, s2_1 = 0.0f;
            float16 s3_0 = 0.0f, s3_1 = 0.0f;
            float16 s4_0 = 0.0f, s4_1 = 0.0f;
            const __global float* q0 = m2 + (head*1280+960);
            const __global float* q1 = m2 + (head*1280+992);
            const __global float* q2 = m2 + (head*1280+1024);
            const __global float* q3 = m2 + (head*1280+1056);
            const __global float* q4 = m2 + (head*1280+1088);
            const float* key = kt + (g*32+wide*48);
            #pragma unroll 4
            for (int d = 0; d < 32; ++d) {
              const float16 y0 = vload16(0, key + d*48);
              const float16 y1 = vload16(1, key + d*48);
              const float16 x0 = (float16)(q0[d]);
              s0_0 = fma(x0, y0, s0_0); s0_1 = fma(x0, y1, s0_1);
              const float16 x1 = (float16)(q1[d]);
              s1_0 = fma(x1, y0, s1_0); s1_1 = fma(x1, y1, s1_1);
              const float16 x2 = (float16)(q2[d]);
              s2_0 = fma(x2, y0, s2_0); s2_1 = fma(x2, y1, s2_1);
              const float16 x3 = (float16)(q3[d]);
              s3_0 = fma(x3, y0, s3_0); s3_1 = fma(x3, y1, s3_1);
              const float16 x4 = (float16)(q4[d]);
              s4_0 = fma(x4, y0, s4_0); s4_1 = fma(x4, y1, s4_1);
            }
            vstore16(s0_0, 0, st + 0 + (g*32+wide*48));
            vstore16(s0_1, 0, st + 0 + (g*32+wide*48+16));
            vstore16(s1_0, 0, st + 48 + (g*32+wide*48));
            vstore16(s1_1, 0, st + 48 + (g*32+wide*48+16));
            vstore16(s2_0, 0, st + 96 + (g*32+wide*48));
            vstore16(s2_1, 0, st + 96 + (g*32+wide*48+16));
            vstore16(s3_0, 0, st + 144 + (g*32+wide*48));
            vstore16(s3_1, 0, st + 144 + (g*32+wide*48+16));
            vstore16(s4_0, 0, st + 192 + (g*32+wide*48));
            vstore16(s4_1, 0, st + 192 + (g*32+wide*48+16));
          }
          for (int g = 0; g < wide; ++g) {
            float16 s5_0 = 0.0f, s5_1 = 0.0f, s5_2 = 0.0f;
            float16 s6_0 = 0.0f, s6_1 = 0.0f, s6_2 = 0.0f;
            float16 s7_0 = 0.0f, s7_1 = 0.0f, s7_2 = 0.0f;
            float16 s8_0 = 0.0f, s8_1 = 0.0f, s8_2 = 0.0f;
            float16 s9_0 = 0.0f, s9_1 = 0.0f, s9_2 = 0.0f;
            const __global float* q5 = m2 + (head*1280+1120);
            const __global float* q6 = m2 + (head*1280+1152);
            const __global float* q7 = m2 + (head*1280+1184);
            const __global float* q8 = m2 + (head*1280+1216);
            const __global float* q9 = m2 + (head*1280+1248);
            const float* key = kt + g*48;
            #pragma unroll 4
            for (int d = 0; d < 32; ++d) {
              const float16 y0 = vload16(0, key + d*48);
              const float16 y1 = vload16(1, key + d*48);
              const float16 y2 = vload16(2, key + d*48);
              const float16 x5 = (float16)(q5[d]);
              s5_0 = fma(x5, y0, s5_0); s5_1 = fma(x5, y1, s5_1); s5_2 = fma(x5, y2, s5_2);
              const float16 x6 = (float16)(q6[d]);
              s6_0 = fma(x6, y0, s6_0); s6_1 = fma(x6, y1, s6_1); s6_2 = fma(x6, y2, s6_2);
              const float16 x7 = (float16)(q7[d]);
              s7_0 = fma(x7, y0, s7_0); s7_1 = fma(x7, y1, s7_1); s7_2 = fma(x7, y2, s7_2);
              const float16 x8 = (float16)(q8[d]);
              s8_0 = fma(x8, y0, s8_0); s8_1 = fma(x8, y1, s8_1); s8_2 = fma(x8, y2, s8_2);
              const float16 x9 = (float16)(q9[d]);
              s9_0 = fma(x9, y0, s9_0); s9_1 = fma(x9, y1, s9_1); s9_2 = fma(x9, y2, s9_2);
            }
            vstore16(s5_0, 0, st + 240 + g*48);
            vstore16(s5_1, 0, st + 240 + (g*48+16));
            vstore16(s5_2, 0, st + 240 + (g*48+32));
            vstore16(s6_0, 0, st + 288 + g*48);
            vstore16(s6_1, 0, st + 288 + (g*48+16));
            vstore16(s6_2, 0, st + 288 + (g*48+32));
            vstore16(s7_0, 0, st + 336 + g*48);
            vstore16(s7_1, 0, st + 336 + (g*48+16));
            vstore16(s7_2, 0, st + 336 + (g*48+32));
            vstore16(s8_0, 0, st + 384 + g*48);
            vstore16(s8_1, 0, st + 384 + (g*48+16));
            vstore16(s8_2, 0, st + 384 + (g*48+32));
            vstore16(s9_0, 0, st + 432 + g*48);
            vstore16(s9_1, 0, st + 432 + (g*48+16));
            vstore16(s9_2, 0, st + 432 + (g*48+32));
          }
          for (int g = 0; g < narrow; ++g) {
            float16 s5_0 = 0.0f, s5_1 = 0.0f;
            float16 s6_0 = 0.0f, s6_1 = 0.0f;
            float16 s7_0 = 0.0f, s7_1 = 0.0f;
            float16 s8_0 = 0.0f, s8_1 = 0.0f;
            float16 s9_0 = 0.0f, s9_1 = 0.0f;
            const __global float* q5 = m2 + (head*1280+1120);
            const __global float* q6 = m2 + (head*1280+1152);
            const __global float* q7 = m2 + (head*1280+1184);
            const __global float* q8 = m2 + (head*1280+1216);
            const __global float* q9 = m2 + (head*1280+1248);
            const float* key = kt + (g*32+wide*48);
            #pragma unroll 4
            for (int d = 0; d < 32; ++d) {
              const float16 y0 = vload16(0, key + d*48);
              const float16 y1 = vload16(1, key + d*48);
              const float16 x5 = (float16)(q5[d]);
              s5_0 = fma(x5, y0, s5_0); s5_1 = fma(x5, y1, s5_1);
              const float16 x6 = (float16)(q6[d]);
              s6_0 = fma(x6, y0, s6_0); s6_1 = fma(x6, y1, s6_1);
              const float16 x7 = (float16)(q7[d]);
              s7_0 = fma(x7, y0, s7_0); s7_1 = fma(x7, y1, s7_1);
              const float16 x8 = (float16)(q8[d]);
              s8_0 = fma(x8, y0, s8_0); s8_1 = fma(x8, y1, s8_1);
              const float16 x9 = (float16)(q9[d]);
              s9_0 = fma(x9, y0, s9_0); s9_1 = fma(x9, y1, s9_1);
            }
            vstore16(s5_0, 0, st + 240 + (g*32+wide*48));
            vstore16(s5_1, 0, st + 240 + (g*32+wide*48+16));
            vstore16(s6_0, 0, st + 288 + (g*32+wide*48));
            vstore16(s6_1, 0, st + 288 + (g*32+wide*48+16));
            vstore16(s7_0, 0, st + 336 + (g*32+wide*48));
            vstore16(s7_1, 0, st + 336 + (g*32+wide*48+16));
            vstore16(s8_0, 0, st + 384 + (g*32+wide*48));
            vstore16(s8_1, 0, st + 384 + (g*32+wide*48+16));
            vstore16(s9_0, 0, st + 432 + (g*32+wide*48));
            vstore16(s9_1, 0, st + 432 + (g*32+wide*48+16));
          }
          float scale[10];
          for (int i = 0; i < 10; ++i) {
            float* row = st + i*48;
            const int seen = keys;
            const int full = seen / 16;
            float16 top = -INFINITY, total = 0.0f;
            for (int j = 0; j < full; ++j) top = select(top, vload16(j, row), vload16(j, row) > top);
            const int16 inside = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) < (int16)(seen - full*16);
            if (full*16 < seen) {
              const float16 t33 = select((float16)(-INFINITY), vload16(full, row), inside);
              top = select(top, t33, t33 > top);
            }
            const float peak = ecp_max16(top);
            for (int j = 0; j < full; ++j) {
              const float16 e = ecp_exp_float16(vload16(j, row) - peak);
              total += e;
              vstore16(e, j, row);
            }
            if (full*16 < seen) {
              const float16 t34 = select((float16)(0.0f), ecp_exp_float16(vload16(full, row) - peak), inside);
              total += t34;
              vstore16(t34, full, row);
            }
            scale[i] = 1.0f / ecp_sum16(total);
          }
           {
            float16 o0_0 = 0.0f, o0_1 = 0.0f;
            float16 o1_0 = 0.0f, o1_1 = 0.0f;
            float16 o2_0 = 0.0f, o2_1 = 0.0f;
            float16 o3_0 = 0.0f, o3_1 = 0.0f;
            float16 o4_0 = 0.0f, o4_1 = 0.0f;
            float16 o5_0 = 0.0f, o5_1 = 0.0f;
            float16 o6_0 = 0.0f, o6_1 = 0.0f;
            float16 o7_0 = 0.0f, o7_1 = 0.0f;
            float16 o8_0 = 0.0f, o8_1 = 0.0f;
            float16 o9_0 = 0.0f, o9_1 = 0.0f;
            #pragma unroll 4
            for (int j = 0; j < keys; ++j) {
              const float16 t35 = vload16(0, m3 + (head*1280+j*32));
              const float16 y0 = t35;
              const float16 t36 = vload16(0, m3 + (head*1280+j*32+16));
              const float16 y1 = t36;
              const float16 x0 = (float16)(st[0 + j]);
              o0_0 = fma(x0, y0, o0_0); o0_1 = fma(x0, y1, o0_1);
              const float16 x1 = (float16)(st[48 + j]);
              o1_0 = fma(x1, y0, o1_0); o1_1 = fma(x1, y1, o1_1);
              const float16 x2 = (float16)(st[96 + j]);
              o2_0 = fma(x2, y0, o2_0); o2_1 = fma(x2, y1, o2_1);
              const float16 x3 = (float16)(st[144 + j]);
              o3_0 = fma(x3, y0, o3_0); o3_1 = fma(x3, y1, o3_1);
              const float16 x4 = (float16)(st[192 + j]);
              o4_0 = fma(x4, y0, o4_0); o4_1 = fma(x4, y1, o4_1);
              const float16 x5 = (float16)(st[240 + j]);
              o5_0 = fma(x5, y0, o5_0); o5_1 = fma(x5, y1, o5_1);
              const float16 x6 = (float16)(st[288 + j]);
              o6_0 = fma(x6, y0, o6_0); o6_1 = fma(x6, y1, o6_1);
              const float16 x7 = (float16)(st[336 + j]);
              o7_0 = fma(x7, y0, o7_0); o7_1 = fma(x7, y1, o7_1);
              const float16 x8 = (float16)(st[384 + j]);
              o8_0 = fma(x8, y0, o8_0); o8_1 = fma(x8, y1, o8_1);
              const float16 x9 = (float16)(st[432 + j]);
              o9_0 = fma(x9, y0, o9_0); o9_1 = fma(x9, y1, o9_1);
            }
            const float16 t37 = o0_0 * scale[0];
            vstore16(t37, 0, m4 + (head*1280+960));
            const float16 t38 = o0_1 * scale[0];
            vstore16(t38, 0, m4 + (head*1280+976));
            const float16 t39 = o1_0 * scale[1];
            vstore16(t39, 0, m4 + (head*1280+992));
            const float16 t40 = o1_1 * scale[1];
            vstore16(t40, 0, m4 + (head*1280+1008));
            const float16 t41 = o2_0 * scale[2];
            vstore16(t41, 0, m4 + (head*1280+1024));
            const float16 t42 = o2_1 * scale[2];
            vstore16(t42, 0, m4 + (head*1280+1040));
            const float16 t43 = o3_0 * scale[3];
            vstore16(t43, 0, m4 + (head*1280+1056));
            const float16 t44 = o3_1 * scale[3];
            vstore16(t44, 0, m4 + (head*1280+1072));
            const float16 t45 = o4_0 * scale[4];
            vstore16(t45, 0, m4 + (head*1280+1088));
            const float16 t46 = o4_1 * scale[4];
            vstore16(t46, 0, m4 + (head*1280+1104));
            const float16 t47 = o5_0 * scale[5];
            vstore16(t47, 0, m4 + (head*1280+1120));
            const float16 t48 = o5_1 * scale[5];
            vstore16(t48, 0, m4 + (head*1280+1136));
            const float16 t49 = o6_0 * scale[6];
            vstore16(t49, 0, m4 + (head*1280+1152));
            const float16 t50 = o6_1 * scale[6];
            vstore16(t50, 0, m4 + (head*1280+1168));
            const float16 t51 = o7_0 * scale[7];
            vstore16(t51, 0, m4 + (head*1280+1184));
            const float16 t52 = o7_1 * scale[7];
            vstore16(t52, 0, m4 + (head*1280+1200));
            const float16 t53 = o8_0 * scale[8];
            vstore16(t53, 0, m4 + (head*1280+1216));
            const float16 t54 = o8_1 * scale[8];
            vstore16(t54, 0, m4 + (head*1280+1232));
            const float16 t55 = o9_0 * scale[9];
            vstore16(t55, 0, m4 + (head*1280+1248));
            const float16 t56 = o9_1 * scale[9];
            vstore16(t56, 0, m4 + (head*1280+1264));
          }
        }
        else {
          for (int g = 0; g < wide; ++g) {
            float16 s0_0 = 0.0f, s0_1 = 0.0f, s0_2 = 0.0f, s0_3 = 0.0f;
            float16 s1_0 = 0.0f, s1_1 = 0.0f, s1_2 = 0.0f, s1_3 = 0.0f;
            float16 s2_0 = 0.0f, s2_1 = 0.0f, s2_2 = 0.0f, s2_3 = 0.0f;
            float16 s3_0 = 0.0f, s3_1 = 0.0f, s3_2 = 0.0f, s3_3 = 0.0f;
            float16 s4_0 = 0.0f, s4_1 = 0.0f, s4_2 = 0.0f, s4_3 = 0.0f;
            const __global float* q0 = m2 + (head*1280+start*32);
            const __global float* q1 = m2 + (head*1280+start*32+32);
            const __global float* q2 = m2 + (head*1280+start*32+64);
            const __global float* q3 = m2 + (head*1280+start*32+96);
            const __global float* q4 = m2 + (head*1280+start*32+128);
            const float* key = kt + 0;
            #pragma unroll 4
            for (int d = 0; d < 32; ++d) {
              const float16 y0 = vload16(0, key + d*48);
              const float16 y1 = vload16(1, key + d*48);
              const float16 y2 = vload16(2, key + d*48);
              const float16 y3 = vload16(3, key + d*48);
              const float16 x0 = (float16)(q0[d]);
              s0_0 = fma(x0, y0, s0_0); s0_1 = fma(x0, y1, s0_1); s0_2 = fma(x0, y2, s0_2); s0_3 = fma(x0, y3, s0_3);
              const float16 x1 = (float16)(q1[d]);
              s1_0 = fma(x1, y0, s1_0); s1_1 = fma(x1, y1, s1_1); s1_2 = fma(x1, y2, s1_2); s1_3 = fma(x1, y3, s1_3);
              const float16 x2 = (float16)(q2[d]);
              s2_0 = fma(x2, y0, s2_0); s2_1 = fma(x2, y1, s2_1); s2_2 = fma(x2, y2, s2_2); s2_3 = fma(x2, y3, s2_3);
              const float16 x3 = (float16)(q3[d]);
              s3_0 = fma(x3, y0, s3_0); s3_1 = fma(x3, y1, s3_1); s3_2 = fma(x3, y2, s3_2); s3_3 = fma(x3, y3, s3_3);
              const float16 x4 = (float16)(q4[d]);
              s4_0 = fma(x4, y0, s4_0); s4_1 = fma(x4, y1, s4_1); s4_2 = fma(x4, y2, s4_2); s4_3 = fma(x4, y3, s4_3);
            }
            vstore16(s0_0, 0, st + 0 + 0);
            vstore16(s0_1, 0, st + 0 + 16);
            vstore16(s0_2, 0, st + 0 + 32);
            vstore16(s0_3, 0, st + 0 + 48);
            vstore16(s1_0, 0, st + 48 + 0);
            vstore16(s1_1, 0, st + 48 + 16);
            vstore16(s1_2, 0, st + 48 + 32);
            vstore16(s1_3, 0, st + 48 + 48);
            vstore16(s2_0, 0, st + 96 + 0);
            vstore16(s2_1, 0, st + 96 + 16);
            vstore16(s2_2, 0, st + 96 + 32);
            vstore16(s2_3, 0, st + 96 + 48);
            vstore16(s3_0, 0, st + 144 + 0);
            vstore16(s3_1, 0, st + 144 + 16);
            vstore16(s3_2, 0, st + 144 + 32);
            vstore16(s3_3, 0, st + 144 + 48);
            vstore16(s4_0, 0, st + 192 + 0);
            vstore16(s4_1, 0, st + 192 + 16);
            vstore16(s4_2, 0, st + 192 + 32);
            vstore16(s4_3, 0, st + 192 + 48);
          }
          for (int g = 0; g < narrow; ++g) {
            float16 s0_0 = 0.0f, s0_1 = 0.0f, s0_2 = 0.0f;
            float16 s1_0 = 0.0f, s1_1 = 0.0f, s1_2 = 0.0f;
            float16 s2_0 = 0.0f, s2_1 = 0.0f, s2_2 = 0.0f;
            float16 s3_0 = 0.0f, s3_1 = 0.0f, s3_2 = 0.0f;
            float16 s4_0 = 0.0f, s4_1 = 0.0f, s4_2 = 0.0f;
            const __global float* q0 = m2 + (head*1280+start*32);
            const __global float* q1 = m2 + (head*1280+start*32+32);
            const __global float* q2 = m2 + (head*1280+start*32+64);
            const __global float* q3 = m2 + (head*1280+start*32+96);
            const __global float* q4 = m2 + (head*1280+start*32+128);
            const float* key = kt + (g*48+wide*64);
            #pragma unroll 4
            for (int d = 0; d < 32; ++d) {
              const float16 y0 = vload16(0, key + d*48);
              const float16 y1 = vload16(1, key + d*48);
              const float16 y2 = vload16(2, key + d*48);
              const float16 x0 = (float16)(q0[d]);
              s0_0 = fma(x0, y0, s0_0); s0_1 = fma(x0, y1, s0_1); s0_2 = fma(x0, y2, s0_2);
              const float16 x1 = (float16)(q1[d]);
              s1_0 = fma(x1, y0, s1_0); s1_1 = fma(x1, y1, s1_1); s1_2 = fma(x1, y2, s1_2);
              const float16 x2 = (float16)(q2[d]);
              s2_0 = fma(x2, y0, s2_0); s2_1 = fma(x2, y1, s2_1); s2_2 = fma(x2, y2, s2_2);
              const float16 x3 = (float16)(q3[d]);
              s3_0 = fma(x3, y0, s3_0); s3_1 = fma(x3, y1, s3_1); s3_2 = fma(x3, y2, s3_2);
              const float16 x4 = (float16)(q4[d]);
              s4_0 = fma(x4, y0, s4_0); s4_1 = fma(x4, y1, s4_1); s4_2 = fma(x4, y2, s4_2);
            }
            vstore16(s0_0, 0, st + 0 + (g*48+wide*64));
            vstore16(s0_1, 0, st + 0 + (g*48+wide*64+16));
            vstore16(s0_2, 0, st + 0 + (g*48+wide*64+32));
            vstore16(s1_0, 0, st + 48 + (g*48+wide*64));
            vstore16(s1_1, 0, st + 48 + (g*48+wide*64+16));
            vstore16(s1_2, 0, st + 48 + (g*48+wide*64+32));
            vstore16(s2_0, 0, st + 96 + (g*48+wide*64));
            vstore16(s2_1, 0, st + 96 + (g*48+wide*64+16));
            vstore16(s2_2, 0, st + 96 + (g*48+wide*64+32));
            vstore16(s3_0, 0, st + 144 + (g*48+wide*64));
            vstore16(s3_1, 0, st + 144 + (g*48+wide*64+16));
            vstore16(s3_2, 0, st + 144 + (g*48+wide*64+32));
            vstore16(s4_0, 0, st + 192 + (g*48+wide*64));
            vstore16(s4_1, 0, st + 192 + (g*48+wide*64+16));
            vstore16(s4_2, 0, st + 192 + (g*48+wide*64+32));
          }
          for (int g = 0; g < wide; ++g) {
            float16 s5_0 = 0.0f, s5_1 = 0.0f, s5_2 = 0.0f, s5_3 = 0.0f;
            float16 s6_0 = 0.0f, s6_1 = 0.0f, s6_2 = 0.0f, s6_3 = 0.0f;
            float16 s7_0 = 0.0f, s7_1 = 0.0f, s7_2 = 0.0f, s7_3 = 0.0f;
            float16 s8_0 = 0.0f, s8_1 = 0.0f, s8_2 = 0.0f, s8_3 = 0.0f;
            float16 s9_0 = 0.0f, s9_1 = 0.0f, s9_2 = 0.0f, s9_3 = 0.0f;
            const __global float* q5 = m2 + (head*1280+start*32+160);
            const __global float* q6 = m2 + (head*1280+start*32+192);
            const __global float* q7 = m2 + (head*1280+start*32+224);
            const __global float* q8 = m2 + (head*1280+start*32+256);
            const __global float* q9 = m2 + (head*1280+start*32+288);
            const float* key = kt + 0;
            #pragma unroll 4
            for (int d = 0; d < 32; ++d) {
              const float16 y0 = vload16(0, key + d*48);
              const float16 y1 = vload16(1, key + d*48);
              const float16 y2 = vload16(2, key + d*48);
              const float16 y3 = vload16(3, key + d*48);
              const float16 x5 = (float16)(q5[d]);
              s5_0 = fma(x5, y0, s5_0); s5_1 = fma(x5, y1, s5_1); s5_2 = fma(x5, y2, s5_2); s5_3 = fma(x5, y3, s5_3);
              const float16 x6 = (float16)(q6[d]);
              s6_0 = fma(x6, y0, s6_0); s6_1 = fma(x6, y1, s6_1); s6_2 = fma(x6, y2, s6_2); s6_3 = fma(x6, y3, s6_3);
              const float16 x7 = (float16)(q7[d]);
              s7_0 = fma(x7, y0, s7_0); s7_1 = fma(x7, y1, s7_1); s7_2 = fma(x7, y2, s7_2); s7_3 = fma(x7, y3, s7_3);
              const float16 x8 = (float16)(q8[d]);
              s8_0 = fma(x8, y0, s8_0); s8_1 = fma(x8, y1, s8_1); s8_2 = fma(x8, y2, s8_2); s8_3 = fma(x8, y3, s8_3);
              const float16 x9 = (float16)(q9[d]);
              s9_0 = fma(x9, y0, s9_0); s9_1 = fma(x9, y1, s9_1); s9_2 = fma(x9, y2, s9_2); s9_3 = fma(x9, y3, s9_3);
            }
            vstore16(s5_0, 0, st + 240 + 0);
            vstore16(s5_1, 0, st + 240 + 16);
            vstore16(s5_2, 0, st + 240 + 32);
            vstore16(s5_3, 0, st + 240 + 48);
            vstore16(s6_0, 0, st + 288 + 0);
            vstore16(s6_1, 0, st + 288 + 16);
            vstore16(s6_2, 0, st + 288 + 32);
            vstore16(s6_3, 0, st + 288 + 48);
            vstore16(s7_0, 0, st + 336 + 0);
            vstore16(s7_1, 0, st + 336 + 16);
            vstore16(s7_2, 0, st + 336 + 32);
            vstore16(s7_3, 0, st + 336 + 48);
            vstore16(s8_0, 0, st + 384 + 0);
            vstore16(s8_1, 0, st + 384 + 16);
            vstore16(s8_2, 0, st + 384 + 32);
            vstore16(s8_3, 0, st + 384 + 48);
            vstore16(s9_0, 0, st + 432 + 0);
            vstore16(s9_1, 0, st + 432 + 16);
            vstore16(s9_2, 0, st + 432 + 32);
            vstore16(s9_3, 0, st + 432 + 48);
          }
          for (int g = 0; g < narrow; ++g) {
            float16 s5_0 = 0.0f, s5_1 = 0.0f, s5_2 = 0.0f;
            float16 s6_0 = 0.0f, s6_1 = 0.0f, s6_2 = 0.0f;
            float16 s7_0 = 0.0f, s7_1 = 0.0f, s7_2 = 0.0f;
            float16 s8_0 = 0.0f, s8_1 = 0.0f, s8_2 = 0.0f;
            float16 s9_0 = 0.0f, s9_1 = 0.0f, s9_2 = 0.0f;
            const __global float* q5 = m2 + (head*1280+start*32+160);
            const __global float* q6 = m2 + (head*1280+start*32+192);
            const __global float* q7 = m2 + (head*1280+start*32+224);
            const __global float* q8 = m2 + (head*1280+start*32+256);
            const __global float* q9 = m2 + (head*1280+start*32+288);
            const float* key = kt + (g*48+wide*64);
            #pragma unroll 4
            for (int d = 0; d < 32; ++d) {
              const float16 y0 = vload16(0, key + d*48);
              const float16 y1 = vload16(1, key + d*48);
              const float16 y2 = vload16(2, key + d*48);
              const float16 x5 = (float16)(q5[d]);
              s5_0 = fma(x5, y0, s5_0); s5_1 = fma(x5, y1, s5_1); s5_2 = fma(x5, y2, s5_2);
              const float16 x6 = (float16)(q6[d]);
              s6_0 = fma(x6, y0, s6_0); s6_1 = fma(x6, y1, s6_1); s6_2 = fma(x6, y2, s6_2);
              const float16 x7 = (float16)(q7[d]);
              s7_0 = fma(x7, y0, s7_0); s7_1 = fma(x7, y1, s7_1); s7_2 = fma(x7, y2, s7_2);
              const float16 x8 = (float16)(q8[d]);
              s8_0 = fma(x8, y0, s8_0); s8_1 = fma(x8, y1, s8_1); s8_2 = fma(x8, y2, s8_2);
              const float16 x9 = (float16)(q9[d]);
              s9_0 = fma(x9, y0, s9_0); s9_1 = fma(x9, y1, s9_1); s9_2 = fma(x9, y2, s9_2);
            }
            vstore16(s5_0, 0, st + 240 + (g*48+wide*64));
            vstore16(s5_1, 0, st + 240 + (g*48+wide*64+16));
            vstore16(s5_2, 0, st + 240 + (g*48+wide*64+32));
            vstore16(s6_0, 0, st + 288 + (g*48+wide*64));
            vstore16(s6_1, 0, st + 288 + (g*48+wide*64+16));
            vstore16(s6_2, 0, st + 288 + (g*48+wide*64+32));
            vstore16(s7_0, 0, st + 336 + (g*48+wide*64));
            vstore16(s7_1, 0, st + 336 + (g*48+wide*64+16));
            vstore16(s7_2, 0, st + 336 + (g*48+wide*64+32));
            vstore16(s8_0, 0, st + 384 + (g*48+wide*64));
            vstore16(s8_1, 0, st + 384 + (g*48+wide*64+16));
            vstore16(s8_2, 0, st + 384 + (g*48+wide*64+32));
            vstore16(s9_0, 0, st + 432 + (g*48+wide*64));
            vstore16(s9_1, 0, st + 432 + (g*48+wide*64+16));
            vstore16(s9_2, 0, st + 432 + (g*48+wide*64+32));
          }
          float scale[10];
          for (int i = 0; i < 10; ++i) {
            float* row = st + i*48;
            const int seen = keys;
            const int full = seen / 16;
            float16 top = -INFINITY, total = 0.0f;
            for (int j = 0; j < full; ++j) top = select(top, vload16(j, row), vload16(j, row) > top);
            const int16 inside = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) < (int16)(seen - full*16);
            if (full*16 < seen) {
              const float16 t33 = select((float16)(-INFINITY), vload16(full, row), inside);
              top = select(top, t33, t33 > top);
            }
            const float peak = ecp_max16(top);
            for (int j = 0; j < full; ++j) {
              const float16 e = ecp_exp_float16(vload16(j, row) - peak);
              total += e;
              vstore16(e, j, row);
            }
            if (full*16 < seen) {
              const float16 t34 = select((float16)(0.0f), ecp_exp_float16(vload16(full, row) - peak), inside);
              total += t34;
              vstore16(t34, full, row);
            }
            scale[i] = 1.0f / ecp_sum16(total);
          }
           {
            float16 o0_0 = 0.0f, o0_1 = 0.0f;
            float16 o1_0 = 0.0f, o1_1 = 0.0f;
            float16 o2_0 = 0.0f, o2_1 = 0.0f;
            float16 o3_0 = 0.0f, o3_1 = 0.0f;
            float16 o4_0 = 0.0f, o4_1 = 0.0f;
            float16 o5_0 = 0.0f, o5_1 = 0.0f;
            float16 o6_0 = 0.0f, o6_1 = 0.0f;
            float16 o7_0 = 0.0f, o7_1 = 0.0f;
            float16 o8_0 = 0.0f, o8_1 = 0.0f;
            float16 o9_0 = 0.0f, o9_1 = 0.0f;
            #pragma unroll 4
            for (int j = 0; j < keys; ++j) {
              const float16 t35 = vload16(0, m3 + (head*1280+j*32));
              const float16 y0 = t35;
              const float16 t36 = vload16(0, m3 + (head*1280+j*32+16));
              const float16 y1 = t36;
              const float16 x0 = (float16)(st[0 + j]);
              o0_0 = fma(x0, y0, o0_0); o0_1 = fma(x0, y1, o0_1);
              const float16 x1 = (float16)(st[48 + j]);
              o1_0 = fma(x1, y0, o1_0); o1_1 = fma(x1, y1, o1_1);
              const float16 x2 = (float16)(st[96 + j]);
              o2_0 = fma(x2, y0, o2_0); o2_1 = fma(x2, y1, o2_1);
              const float16 x3 = (float16)(st[144 + j]);
              o3_0 = fma(x3, y0, o3_0); o3_1 = fma(x3, y1, o3_1);
              const float16 x4 = (float16)(st[192 + j]);
              o4_0 = fma(x4, y0, o4_0); o4_1 = fma(x4, y1, o4_1);
              const float16 x5 = (float16)(st[240 + j]);
              o5_0 = fma(x5, y0, o5_0); o5_1 = fma(x5, y1, o5_1);
              const float16 x6 = (float16)(st[288 + j]);
              o6_0 = fma(x6, y0, o6_0); o6_1 = fma(x6, y1, o6_1);
              const float16 x7 = (float16)(st[336 + j]);
              o7_0 = fma(x7, y0, o7_0); o7_1 = fma(x7, y1, o7_1);
              const float16 x8 = (float16)(st[384 + j]);
              o8_0 = fma(x8, y0, o8_0); o8_1 = fma(x8, y1, o8_1);
              const float16 x9 = (float16)(st[432 + j]);
              o9_0 = fma(x9, y0, o9_0); o9_1 = fma(x9, y1, o9_1);
            }
            const float16 t37 = o0_0 * scale[0];
            vstore16(t37, 0, m4 + (head*1280+start*32));
            const float16 t38 = o0_1 * scale[0];
            vstore16(t38, 0, m4 + (head*1280+start*32+16));
            const float16 t39 = o1_0 * scale[1];
            vstore16(t39, 0, m4 + (head*1280+start*32+32));
            const float16 t40 = o1_1 * scale[1];
            vstore16(t40, 0, m4 + (head*1280+start*32+48));
            const float16 t41 = o2_0 * scale[2];
            vstore16(t41, 0, m4 + (head*1280+start*32+64));
            const float16 t42 = o2_1 * scale[2];
            vstore16(t42, 0, m4 + (head*1280+start*32+80));
            const float16 t43 = o3_0 * scale[3];
            vstore16(t43, 0, m4 + (head*1280+start*32+96));
            const float16 t44 = o3_1 * scale[3];
            vstore16(t44, 0, m4 + (head*1280+start*32+112));
            const float16 t45 = o4_0 * scale[4];
            vstore16(t45, 0, m4 + (head*1280+start*32+128));
            const float16 t46 = o4_1 * scale[4];
            vstore16(t46, 0, m4 + (head*1280+start*32+144));
            const float16 t47 = o5_0 * scale[5];
            vstore16(t47, 0, m4 + (head*1280+start*32+160));
            const float16 t48 = o5_1 * scale[5];
            vstore16(t48, 0, m4 + (head*1280+start*32+176));
            const float16 t49 = o6_0 * scale[6];
            vstore16(t49, 0, m4 + (head*1280+start*32+192));
            const float16 t50 = o6_1 * scale[6];
            vstore16(t50, 0, m4 + (head*1280+start*32+208));
            const float16 t51 = o7_0 * scale[7];
            vstore16(t51, 0, m4 + (head*1280+start*32+224));
            const float16 t52 = o7_1 * scale[7];
            vstore16(t52, 0, m4 + (head*1280+start*32+240));
            const float16 t53 = o8_0 * scale[8];
            vstore16(t53, 0, m4 + (head*1280+start*32+256));
            const float16 t54 = o8_1 * scale[8];
            vstore16(t54, 0, m4 + (head*1280+start*32+272));
            const float16 t55 = o9_0 * scale[9];
            vstore16(t55, 0, m4 + (head*1280+start*32+288));
            const float16 t56 = o9_1 * scale[9];
            vstore16(t56, 0, m4 + (head*1280+start*32+304));
          }
        }
      }
    }
    if (unit == last + 1) atomic_xchg(m0 + 16*owner, 0);
  }
}
