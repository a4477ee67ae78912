float4 ecp_gelu_float4(float4 x) {
  const float4 c = clamp(x, (float4)(-5.65685425f), (float4)(5.65685425f));
  const float4 s = c * c;
  float4 p = fma(s, (float4)(-1.50599506025019e-12f), (float4)(3.0611994126502e-10f));
  p = fma(p, s, (float4)(-4.64265103925388e-08f)); p = fma(p, s, (float4)(-2.51575617099127e-06f));
  p = fma(p, s, (float4)(-6.49646073515868e-05f)); p = fma(p, s, (float4)(-5.22304390077821e-04f));
  p = fma(p, s, (float4)(-5.69080715759501e-03f));
  float4 q = fma(s, (float4)(-9.10379490406225e-07f), (float4)(-2.66717569098631e-05f));
  q = fma(q, s, (float4)(-4.20706743595508e-04f)); q = fma(q, s, (float4)(-3.68666458360234e-03f));
  q = fma(q, s, (float4)(-1.42647390514189e-02f));
  float4 r = native_recip(q);
  r = fma(r, fma(-q, r, (float4)(1.0f)), r);
  const float4 phi = fma(c * p, r, (float4)(0.5f));
  return x * select(phi, (float4)(0.0f), phi < (float4)(0.0f));
}

__kernel __attribute__((reqd_work_group_size(2,1,1)))
void matmul_937ea984b0(__read_only image2d_t m0, __global const float* restrict m1, __global const float* restrict m2, __global float* m3)
{
  const int lid = get_local_id(0);
  const int column = get_group_id(0), block = get_group_id(1);
  const int tx = lid%1, ty = lid/1;
  float4 c0_0 = 0.0f, c0_1 = 0.0f;
  float4 c1_0 = 0.0f, c1_1 = 0.0f;
  float4 c2_0 = 0.0f, c2_1 = 0.0f;
  float4 c3_0 = 0.0f, c3_1 = 0.0f;
  const int row0 = min(block*8 + ty*4 + 0, 4);
  const int row1 = min(block*8 + ty*4 + 1, 4);
  const int row2 = min(block*8 + ty*4 + 2, 4);
  const int row3 = min(block*8 + ty*4 + 3, 4);
  for (int step = 0; step < 3; ++step) {
    const float4 t1 = *(const __global float4*)(m1 + (row0*12+step*4));
    const float4 a0 = t1;
    const float4 t2 = *(const __global float4*)(m1 + (row1*12+step*4));
    const float4 a1 = t2;
    const float4 t3 = *(const __global float4*)(m1 + (row2*12+step*4));
    const float4 a2 = t3;
    const float4 t4 = *(const __global float4*)(m1 + (row3*12+step*4));
    const float4 a3 = t4;
     {
      const int kk = step*4 + 0;
      const float4 b0 = read_imagef(m0, (int2)(column*2 + tx + 0, kk));
      const float4 b1 = read_imagef(m0, (int2)(column*2 + tx + 1, kk));
      c0_0 = mad((float4)(a0.s0), b0, c0_0); c0_1 = mad((float4)(a0.s0), b1, c0_1);
      c1_0 = mad((float4)(a1.s0), b0, c1_0); c1_1 = mad((float4)(a1.s0), b1, c1_1);
      c2_0 = mad((float4)(a2.s0), b0, c2_0); c2_1 = mad((float4)(a2.s0), b1, c2_1);
      c3_0 = mad((float4)(a3.s0), b0, c3_0); c3_1 = mad((float4)(a3.s0), b1, c3_1);
    }
     {
      const int kk = step*4 + 1;
      const float4 b0 = read_imagef(m0, (int2)(column*2 + tx + 0, kk));
      const float4 b1 = read_imagef(m0, (int2)(column*2 + tx + 1, kk));
      c0_0 = mad((float4)(a0.s1), b0, c0_0); c0_1 = mad((float4)(a0.s1), b1, c0_1);
      c1_0 = mad((float4)(a1.s1), b0, c1_0); c1_1 = mad((float4)(a1.s1), b1, c1_1);
      c2_0 = mad((float4)(a2.s1), b0, c2_0); c2_1 = mad((float4)(a2.s1), b1, c2_1);
      c3_0 = mad((float4)(a3.s1), b0, c3_0); c3_1 = mad((float4)(a3.s1), b1, c3_1);
    }
     {
      const int kk = step*4 + 2;
      const float4 b0 = read_imagef(m0, (int2)(column*2 + tx + 0, kk));
      const float4 b1 = read_imagef(m0, (int2)(column*2 + tx + 1, kk));
      c0_0 = mad((float4)(a0.s2), b0, c0_0); c0_1 = mad((float4)(a0.s2), b1, c0_1);
      c1_0 = mad((float4)(a1.s2), b0, c1_0); c1_1 = mad((float4)(a1.s2), b1, c1_1);
      c2_0 = mad((float4)(a2.s2), b0, c2_0); c2_1 = mad((float4)(a2.s2), b1, c2_1);
      c3_0 = mad((float4)(a3.s2), b0, c3_0); c3_1 = mad((float4)(a3.s2), b1, c3_1);
    }
     {
      const int kk = step*4 + 3;
      const float4 b0 = read_imagef(m0, (int2)(column*2 + tx + 0, kk));
      const float4 b1 = read_imagef(m0, (int2)(column*2 + tx + 1, kk));
      c0_0 = mad((float4)(a0.s3), b0, c0_0); c0_1 = mad((float4)(a0.s3), b1, c0_1);
      c1_0 = mad((float4)(a1.s3), b0, c1_0); c1_1 = mad((float4)(a1.s3), b1, c1_1);
      c2_0 = mad((float4)(a2.s3), b0, c2_0); c2_1 = mad((float4)(a2.s3), b1, c2_1);
      c3_0 = mad((float4)(a3.s3), b0, c3_0); c3_1 = mad((float4)(a3.s3), b1, c3_1);
    }
  }
  const int line0 = block*8 + ty*4 + 0;
   {
    const int vec0 = column*2 + tx + 0;
    if (line0 < 5) {
      const float4 t5 = c0_0;
      const float4 t6 = *(const __global float4*)(m2 + vec0*4);
      const float4 t7 = t5 + t6;
      const float4 t8 = ecp_gelu_float4(t7);
      *(__global float4*)(m3 + (line0*8+vec0*4)) = t8;
    }
    const int vec1 = column*2 + tx + 1;
    if (line0 < 5) {
      const float4 t9 = c0_1;
      const float4 t10 = *(const __global float4*)(m2 + vec1*4);
      const float4 t11 = t9 + t10;
      const float4 t12 = ecp_gelu_float4(t11);
      *(__global float4*)(m3 + (line0*8+vec1*4)) = t12;
    }
  }
  const int line1 = block*8 + ty*4 + 1;
   {
    const int vec0 = column*2 + tx + 0;
    if (line1 < 5) {
      const float4 t13 = c1_0;
      const float4 t14 = *(const __global float4*)(m2 + vec0*4);
      const float4 t15 = t13 + t14;
      const float4 t16 = ecp_gelu_float4(t15);
      *(__global float4*)(m3 + (line1*8+vec0*4)) = t16;
    }
    const int vec1 = column*2 + tx + 1;
    if (line1 < 5) {
      const float4 t17 = c1_1;
      const float4 t18 = *(const __global float4*)(m2 + vec1*4);
      const float4 t19 = t17 + t18;
      const float4 t20 = ecp_gelu_float4(t19);
      *(__global float4*)(m3 + (line1*8+vec1*4)) = t20;
    }
  }
  const int line2 = block*8 + ty*4 + 2;
   {
    const int vec0 = column*2 + tx + 0;
    if (line2 < 5) {
      const float4 t21 = c2_0;
      const float4 t22 = *(const __global float4*)(m2 + vec0*4);
      const float4 t23 = t21 + t22;
      const float4 t24 = ecp_gelu_float4(t23);
      *(__global float4*)(m3 + (line2*8+vec0*4)) = t24;
    }
    const int vec1 = column*2 + tx + 1;
    if (line2 < 5) {
      const float4 t25 = c2_1;
      const float4 t26 = *(const __global float4*)(m2 + vec1*4);
      const float4 t27 = t25 + t26;
      const float4 t28 = ecp_gelu_float4(t27);
      *(__global float4*)(m3 + (line2*8+vec1*4)) = t28;
    }
  }
  const int line3 = block*8 + ty*4 + 3;
   {
    const int vec0 = column*2 + tx + 0;
    if (line3 < 5) {
      const float4 t29 = c3_0;
      const float4 t30 = *(const __global float4*)(m2 + vec0*4);
      const float4 t31 = t29 + t30;
      const float4 t32 = ecp_gelu_float4(t31);
      *(__global float4*)(m3 + (line3*8+vec0*4)) = t32;
    }
    const int vec1 = column*2 + tx + 1;
    if (line3 < 5) {
      const float4 t33 = c3_1;
      const float4 t34 = *(const __global float4*)(m2 + vec1*4);
      const float4 t35 = t33 + t34;
      const float4 t36 = ecp_gelu_float4(t35);
      *(__global float4*)(m3 + (line3*8+vec1*4)) = t36;
    }
  }
}
