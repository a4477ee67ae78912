void ecp_transpose16(float* to, int pitch, float16 r0, float16 r1, float16 r2, float16 r3, float16 r4, float16 r5, float16 r6, float16 r7, float16 r8, float16 r9, float16 r10, float16 r11, float16 r12, float16 r13, float16 r14, float16 r15) {
  const float16 u0 = (float16)(r0.s0, r8.s0, r0.s1, r8.s1, r0.s2, r8.s2, r0.s3, r8.s3, r0.s4, r8.s4, r0.s5, r8.s5, r0.s6, r8.s6, r0.s7, r8.s7);
  const float16 u1 = (float16)(r0.s8, r8.s8, r0.s9, r8.s9, r0.sa, r8.sa, r0.sb, r8.sb, r0.sc, r8.sc, r0.sd, r8.sd, r0.se, r8.se, r0.sf, r8.sf);
  const float16 u2 = (float16)(r1.s0, r9.s0, r1.s1, r9.s1, r1.s2, r9.s2, r1.s3, r9.s3, r1.s4, r9.s4, r1.s5, r9.s5, r1.s6, r9.s6, r1.s7, r9.s7);
  const float16 u3 = (float16)(r1.s8, r9.s8, r1.s9, r9.s9, r1.sa, r9.sa, r1.sb, r9.sb, r1.sc, r9.sc, r1.sd, r9.sd, r1.se, r9.se, r1.sf, r9.sf);
  const float16 u4 = (float16)(r2.s0, r10.s0, r2.s1, r10.s1, r2.s2, r10.s2, r2.s3, r10.s3, r2.s4, r10.s4, r2.s5, r10.s5, r2.s6, r10.s6, r2.s7, r10.s7);
  const float16 u5 = (float16)(r2.s8, r10.s8, r2.s9, r10.s9, r2.sa, r10.sa, r2.sb, r10.sb, r2.sc, r10.sc, r2.sd, r10.sd, r2.se, r10.se, r2.sf, r10.sf);
  const float16 u6 = (float16)(r3.s0, r11.s0, r3.s1, r11.s1, r3.s2, r11.s2, r3.s3, r11.s3, r3.s4, r11.s4, r3.s5, r11.s5, r3.s6, r11.s6, r3.s7, r11.s7);
  const float16 u7 = (float16)(r3.s8, r11.s8, r3.s9, r11.s9, r3.sa, r11.sa, r3.sb, r11.sb, r3.sc, r11.sc, r3.sd, r11.sd, r3.se, r11.se, r3.sf, r11.sf);
  const float16 u8 = (float16)(r4.s0, r12.s0, r4.s1, r12.s1, r4.s2, r12.s2, r4.s3, r12.s3, r4.s4, r12.s4, r4.s5, r12.s5, r4.s6, r12.s6, r4.s7, r12.s7);
  const float16 u9 = (float16)(r4.s8, r12.s8, r4.s9, r12.s9, r4.sa, r12.sa, r4.sb, r12.sb, r4.sc, r12.sc, r4.sd, r12.sd, r4.se, r12.se, r4.sf, r12.sf);
  const float16 u10 = (float16)(r5.s0, r13.s0, r5.s1, r13.s1, r5.s2, r13.s2, r5.s3, r13.s3, r5.s4, r13.s4, r5.s5, r13.s5, r5.s6, r13.s6, r5.s7, r13.s7);
  const float16 u11 = (float16)(r5.s8, r13.s8, r5.s9, r13.s9, r5.sa, r13.sa, r5.sb, r13.sb, r5.sc, r13.sc, r5.sd, r13.sd, r5.se, r13.se, r5.sf, r13.sf);
  const float16 u12 = (float16)(r6.s0, r14.s0, r6.s1, r14.s1, r6.s2, r14.s2, r6.s3, r14.s3, r6.s4, r14.s4, r6.s5, r14.s5, r6.s6, r14.s6, r6.s7, r14.s7);
  const float16 u13 = (float16)(r6.s8, r14.s8, r6.s9, r14.s9, r6.sa, r14.sa, r6.sb, r14.sb, r6.sc, r14.sc, r6.sd, r14.sd, r6.se, r14.se, r6.sf, r14.sf);
  const float16 u14 = (float16)(r7.s0, r15.s0, r7.s1, r15.s1, r7.s2, r15.s2, r7.s3, r15.s3, r7.s4, r15.s4, r7.s5, r15.s5, r7.s6, r15.s6, r7.s7, r15.s7);
  const float16 u15 = (float16)(r7.s8, r15.s8, r7.s9, r15.s9, r7.sa, r15.sa, r7.sb, r15.sb, r7.sc, r15.sc, r7.sd, r15.sd, r7.se, r15.se, r7.sf, r15.sf);
  const float16 u16 = (float16)(u0.s0, u8.s0, u0.s1, u8.s1, u0.s2, u8.s2, u0.s3, u8.s3, u0.s4, u8.s4, u0.s5, u8.s5, u0.s6, u8.s6, u0.s7, u8.s7);
  const float16 u17 = (float16)(u0.s8, u8.s8, u0.s9, u8.s9, u0.sa, u8.sa, u0.sb, u8.sb, u0.sc, u8.sc, u0.sd, u8.sd, u0.se, u8.se, u0.sf, u8.sf);
  const float16 u18 = (float16)(u1.s0, u9.s0, u1.s1, u9.s1, u1.s2, u9.s2, u1.s3, u9.s3, u1.s4, u9.s4, u1.s5, u9.s5, u1.s6, u9.s6, u1.s7, u9.s7);
  const float16 u19 = (float16)(u1.s8, u9.s8, u1.s9, u9.s9, u1.sa, u9.sa, u1.sb, u9.sb, u1.sc, u9.sc, u1.sd, u9.sd, u1.se, u9.se, u1.sf, u9.sf);
  const float16 u20 = (float16)(u2.s0, u10.s0, u2.s1, u10.s1, u2.s2, u10.s2, u2.s3, u10.s3, u2.s4, u10.s4, u2.s5, u10.s5, u2.s6, u10.s6, u2.s7, u10.s7);
  const float16 u21 = (float16)(u2.s8, u10.s8, u2.s9, u10.s9, u2.sa, u10.sa, u2.sb, u10.sb, u2.sc, u10.sc, u2.sd, u10.sd, u2.se, u10.se, u2.sf, u10.sf);
  const float16 u22 = (float16)(u3.s0, u11.s0, u3.s1, u11.s1, u3.s2, u11.s2, u3.s3, u11.s3, u3.s4, u11.s4, u3.s5, u11.s5, u3.s6, u11.s6, u3.s7, u11.s7);
  const float16 u23 = (float16)(u3.s8, u11.s8, u3.s9, u11.s9, u3.sa, u11.sa, u3.sb, u11.sb, u3.sc, u11.sc, u3.sd, u11.sd, u3.se, u11.se, u3.sf, u11.sf);
  const float16 u24 = (float16)(u4.s0, u12.s0, u4.s1, u12.s1, u4.s2, u12.s2, u4.s3, u12.s3, u4.s4, u12.s4, u4.s5, u12.s5, u4.s6, u12.s6, u4.s7, u12.s7);
  const float16 u25 = (float16)(u4.s8, u12.s8, u4.s9, u12.s9, u4.sa, u12.sa, u4.sb, u12.sb, u4.sc, u12.sc, u4.sd, u12.sd, u4.se, u12.se, u4.sf, u12.sf);
  const float16 u26 = (float16)(u5.s0, u13.s0, u5.s1, u13.s1, u5.s2, u13.s2, u5.s3, u13.s3, u5.s4, u13.s4, u5.s5, u13.s5, u5.s6, u13.s6, u5.s7, u13.s7);
  const float16 u27 = (float16)(u5.s8, u13.s8, u5.s9, u13.s9, u5.sa, u13.sa, u5.sb, u13.sb, u5.sc, u13.sc, u5.sd, u13.sd, u5.se, u13.se, u5.sf, u13.sf);
  const float16 u28 = (float16)(u6.s0, u14.s0, u6.s1, u14.s1, u6.s2, u14.s2, u6.s3, u14.s3, u6.s4, u14.s4, u6.s5, u14.s5, u6.s6, u14.s6, u6.s7, u14.s7);
  const float16 u29 = (float16)(u6.s8, u14.s8, u6.s9, u14.s9, u6.sa, u14.sa, u6.sb, u14.sb, u6.sc, u14.sc, u6.sd, u14.sd, u6.se, u14.se, u6.sf, u14.sf);
  const float16 u30 = (float16)(u7.s0, u15.s0, u7.s1, u15.s1, u7.s2, u15.s2, u7.s3, u15.s3, u7.s4, u15.s4, u7.s5, u15.s5, u7.s6, u15.s6, u7.s7, u15.s7);
  const float16 u31 = (float16)(u7.s8, u15.s8, u7.s9, u15.s9, u7.sa, u15.sa, u7.sb, u15.sb, u7.sc, u15.sc, u7.sd, u15.sd, u7.se, u15.se, u7.sf, u15.sf);
  const float16 u32 = (float16)(u16.s0, u24.s0, u16.s1, u24.s1, u16.s2, u24.s2, u16.s3, u24.s3, u16.s4, u24.s4, u16.s5, u24.s5, u16.s6, u24.s6, u16.s7, u24.s7);
  const float16 u33 = (float16)(u16.s8, u24.s8, u16.s9, u24.s9, u16.sa, u24.sa, u16.sb, u24.sb, u16.sc, u24.sc, u16.sd, u24.sd, u16.se, u24.se, u16.sf, u24.sf);
  const float16 u34 = (float16)(u17.s0, u25.s0, u17.s1, u25.s1, u17.s2, u25.s2, u17.s3, u25.s3, u17.s4, u25.s4, u17.s5, u25.s5, u17.s6, u25.s6, u17.s7, u25.s7);
  const float16 u35 = (float16)(u17.s8, u25.s8, u17.s9, u25.s9, u17.sa, u25.sa, u17.sb, u25.sb, u17.sc, u25.sc, u17.sd, u25.sd, u17.se, u25.se, u17.sf, u25.sf);
  const float16 u36 = (float16)(u18.s0, u26.s0, u18.s1, u26.s1, u18.s2, u26.s2, u18.s3, u26.s3, u18.s4, u26.s4, u18.s5, u26.s5, u18.s6, u26.s6, u18.s7, u26.s7);
  const float16 u37 = (float16)(u18.s8, u26.s8, u18.s9, u26.s9, u18.sa, u26.sa, u18.sb, u26.sb, u18.sc, u26.sc, u18.sd, u26.sd, u18.se, u26.se, u18.sf, u26.sf);
  const float16 u38 = (float16)(u19.s0, u27.s0, u19.s1, u27.s1, u19.s2, u27.s2, u19.s3, u27.s3, u19.s4, u27.s4, u19.s5, u27.s5, u19.s6, u27.s6, u19.s7, u27.s7);
  const float16 u39 = (float16)(u19.s8, u27.s8, u19.s9, u27.s9, u19.sa, u27.sa, u19.sb, u27.sb, u19.sc, u27.sc, u19.sd, u27.sd, u19.se, u27.se, u19.sf, u27.sf);
  const float16 u40 = (float16)(u20.s0, u28.s0, u20.s1, u28.s1, u20.s2, u28.s2, u20.s3, u28.s3, u20.s4, u28.s4, u20.s5, u28.s5, u20.s6, u28.s6, u20.s7, u28.s7);
  const float16 u41 = (float16)(u20.s8, u28.s8, u20.s9, u28.s9, u20.sa, u28.sa, u20.sb, u28.sb, u20.sc, u28.sc, u20.sd, u28.sd, u20.se, u28.se, u20.sf, u28.sf);
  const float16 u42 = (float16)(u21.s0, u29.s0, u21.s1, u29.s1, u21.s2, u29.s2, u21.s3, u29.s3, u21.s4, u29.s4, u21.s5, u29.s5, u21.s6, u29.s6, u21.s7, u29.s7);
  const float16 u43 = (float16)(u21.s8, u29.s8, u21.s9, u29.s9, u21.sa, u29.sa, u21.sb, u29.sb, u21.sc, u29.sc, u21.sd, u29.sd, u21.se, u29.se, u21.sf, u29.sf);
  const float16 u44 = (float16)(u22.s0, u30.s0, u22.s1, u30.s1, u22.s2, u30.s2, u22.s3, u30.s3, u22.s4, u30.s4, u22.s5, u30.s5, u22.s6, u30.s6, u22.s7, u30.s7);
  const float16 u45 = (float16)(u22.s8, u30.s8, u22.s9, u30.s9, u22.sa, u30.sa, u22.sb, u30.sb, u22.sc, u30.sc, u22.sd, u30.sd, u22.se, u30.se, u22.sf, u30.sf);
  const float16 u46 = (float16)(u23.s0, u31.s0, u23.s1, u31.s1, u23.s2, u31.s2, u23.s3, u31.s3, u23.s4, u31.s4, u23.s5, u31.s5, u23.s6, u31.s6, u23.s7, u31.s7);
  const float16 u47 = (float16)(u23.s8, u31.s8, u23.s9, u31.s9, u23.sa, u31.sa, u23.sb, u31.sb, u23.sc, u31.sc, u23.sd, u31.sd, u23.se, u31.se, u23.sf, u31.sf);
  const float16 u48 = (float16)(u32.s0, u40.s0, u32.s1, u40.s1, u32.s2, u40.s2, u32.s3, u40.s3, u32.s4, u40.s4, u32.s5, u40.s5, u32.s6, u40.s6, u32.s7, u40.s7);
  const float16 u49 = (float16)(u32.s8, u40.s8, u32.s9, u40.s9, u32.sa, u40.sa, u32.sb, u40.sb, u32.sc, u40.sc, u32.sd, u40.sd, u32.se, u40.se, u32.sf, u40.sf);
  const float16 u50 = (float16)(u33.s0, u41.s0, u33.s1, u41.s1, u33.s2, u41.s2, u33.s3, u41.s3, u33.s4, u41.s4, u33.s5, u41.s5, u33.s6, u41.s6, u33.s7, u41.s7);
  const float16 u51 = (float16)(u33.s8, u41.s8, u33.s9, u41.s9, u33.sa, u41.sa, u33.sb, u41.sb, u33.sc, u41.sc, u33.sd, u41.sd, u33.se, u41.se, u33.sf, u41.sf);
  const float16 u52 = (float16)(u34.s0, u42.s0, u34.s1, u42.s1, u34.s2, u42.s2, u34.s3, u42.s3, u34.s4, u42.s4, u34.s5, u42.s5, u34.s6, u42.s6, u34.s7, u42.s7);
  const float16 u53 = (float16)(u34.s8, u42.s8, u34.s9, u42.s9, u34.sa, u42.sa, u34.sb, u42.sb, u34.sc, u42.sc, u34.sd, u42.sd, u34.se, u42.se, u34.sf, u42.sf);
  const float16 u54 = (float16)(u35.s0, u43.s0, u35.s1, u43.s1, u35.s2, u43.s2, u35.s3, u43.s3, u35.s4, u43.s4, u35.s5, u43.s5, u35.s6, u43.s6, u35.s7, u43.s7);
  const float16 u55 = (float16)(u35.s8, u43.s8, u35.s9, u43.s9, u35.sa, u43.sa, u35.sb, u43.sb, u35.sc, u43.sc, u35.sd, u43.sd, u35.se, u43.se, u35.sf, u43.sf);
  const float16 u56 = (float16)(u36.s0, u44.s0, u36.s1, u44.s1, u36.s2, u44.s2, u36.s3, u44.s3, u36.s4, u44.s4, u36.s5, u44.s5, u36.s6, u44.s6, u36.s7, u44.s7);
  const float16 u57 = (float16)(u36.s8, u44.s8, u36.s9, u44.s9, u36.sa, u44.sa, u36.sb, u44.sb, u36.sc, u44.sc, u36.sd, u44.sd, u36.se, u44.se, u36.sf, u44.sf);
  const float16 u58 = (float16)(u37.s0, u45.s0, u37.s1, u45.s1, u37.s2, u45.s2, u37.s3, u45.s3, u37.s4, u45.s4, u37.s5, u45.s5, u37.s6, u45.s6, u37.s7, u45.s7);
  const float16 u59 = (float16)(u37.s8, u45.s8, u37.s9, u45.s9, u37.sa, u45.sa, u37.sb, u45.sb, u37.sc, u45.sc, u37.sd, u45.sd, u37.se, u45.se, u37.sf, u45.sf);
  const float16 u60 = (float16)(u38.s0, u46.s0, u38.s1, u46.s1, u38.s2, u46.s2, u38.s3, u46.s3, u38.s4, u46.s4, u38.s5, u46.s5, u38.s6, u46.s6, u38.s7, u46.s7);
  const float16 u61 = (float16)(u38.s8, u46.s8, u38.s9, u46.s9, u38.sa, u46.sa, u38.sb, u46.sb, u38.sc, u46.sc, u38.sd, u46.sd, u38.se, u46.se, u38.sf, u46.sf);
  const float16 u62 = (float16)(u39.s0, u47.s0, u39.s1, u47.s1, u39.s2, u47.s2, u39.s3, u47.s3, u39.s4, u47.s4, u39.s5, u47.s5, u39.s6, u47.s6, u39.s7, u47.s7);
  const float16 u63 = (float16)(u39.s8, u47.s8, u39.s9, u47.s9, u39.sa, u47.sa, u39.sb, u47.sb, u39.sc, u47.sc, u39.sd, u47.sd, u39.se, u47.se, u39.sf, u47.sf);
  vstore16(u48, 0, to + 0*pitch);
  vstore16(u49, 0, to + 1*pitch);
  vstore16(u50, 0, to + 2*pitch);
  vstore16(u51, 0, to + 3*pitch);
  vstore16(u52, 0, to + 4*pitch);
  vstore16(u53, 0, to + 5*pitch);
  vstore16(u54, 0, to + 6*pitch);
  vstore16(u55, 0, to + 7*pitch);
  vstore16(u56, 0, to + 8*pitch);
  vstore16(u57, 0, to + 9*pitch);
  vstore16(u58, 0, to + 10*pitch);
  vstore16(u59, 0, to + 11*pitch);
  vstore16(u60, 0, to + 12*pitch);
  vstore16(u61, 0, to + 13*pitch);
  vstore16(u62, 0, to + 14*pitch);
  vstore16(u63, 0, to + 15*pitch);
}
float16 ecp_exp_float16(float16 given) {
  float16 x = select(given, (float16)(-87.0f), given < (float16)(-87.0f));
  x = select(x, (float16)(88.0f), x > (float16)(88.0f)) * 1.44269504f;
  const float16 n = rint(x);
  const float16 r = x - n;
  float16 p = fma(r, (float16)(0.0013266970636323094f), (float16)(0.009675459936261177f));
  p = fma(p, r, (float16)(0.05550742521882057f)); p = fma(p, r, (float16)(0.24022121727466583f));
  p = fma(p, r, (float16)(0.6931469440460205f)); p = fma(p, r, (float16)(1.0000001192092896f));
  return as_float16(as_int16(p) + (convert_int16(n) << 23));
}

__kernel __attribute__((reqd_work_group_size(1,1,1))) __attribute__((intel_vec_len_hint(1)))
void attention_6f7bc252b5(__global int* m0, __global const float* restrict m1, __global const float* restrict m2, __global const float* restrict m3, __global float* m4)
{
  int have = -1;
  float kt[1536];
  int unit;
  while ((unit = atomic_inc(m0)) < 8) {
    const int head = unit / 4, split = unit % 4;
    float st[480];
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
          const float peak = fmax(fmax(fmax(fmax(top.s0, top.s1), fmax(top.s2, top.s3)), fmax(fmax(top.s4, top.s5), fmax(top.s6, top.s7))), fmax(fmax(fmax(top.s8, top.s9), fmax(top.sa, top.sb)), fmax(fmax(top.sc, top.sd), fmax(top.se, top.sf))));
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
          scale[i] = 1.0f / ((((total.s0 + total.s1) + (total.s2 + total.s3)) + ((total.s4 + total.s5) + (total.s6 + total.s7))) + (((total.s8 + total.s9) + (total.sa + total.sb)) + ((total.sc + total.sd) + (total.se + total.sf))));
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
      else  {
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
          const float peak = fmax(fmax(fmax(fmax(top.s0, top.s1), fmax(top.s2, top.s3)), fmax(fmax(top.s4, top.s5), fmax(top.s6, top.s7))), fmax(fmax(fmax(top.s8, top.s9), fmax(top.sa, top.sb)), fmax(fmax(top.sc, top.sd), fmax(top.se, top.sf))));
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
          scale[i] = 1.0f / ((((total.s0 + total.s1) + (total.s2 + total.s3)) + ((total.s4 + total.s5) + (total.s6 + total.s7))) + (((total.s8 + total.s9) + (total.sa + total.sb)) + ((total.sc + total.sd) + (total.se + total.sf))));
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
  if (unit == 9) atomic_xchg(m0, 0);
}
