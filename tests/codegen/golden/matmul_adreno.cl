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

__kernel __attribute__((reqd_work_group_size(2,1,1)))
void matmul_7da2d7e46a(__read_only image2d_t m0, __global const float* restrict m1, __global const float* restrict m2, __global float* m3)
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
      const float4 t8 = 0.5f*t7*(1.0f+ecp_erf_float4(t7*0.70710678118f));
      *(__global float4*)(m3 + (line0*8+vec0*4)) = t8;
    }
    const int vec1 = column*2 + tx + 1;
    if (line0 < 5) {
      const float4 t9 = c0_1;
      const float4 t10 = *(const __global float4*)(m2 + vec1*4);
      const float4 t11 = t9 + t10;
      const float4 t12 = 0.5f*t11*(1.0f+ecp_erf_float4(t11*0.70710678118f));
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
      const float4 t16 = 0.5f*t15*(1.0f+ecp_erf_float4(t15*0.70710678118f));
      *(__global float4*)(m3 + (line1*8+vec0*4)) = t16;
    }
    const int vec1 = column*2 + tx + 1;
    if (line1 < 5) {
      const float4 t17 = c1_1;
      const float4 t18 = *(const __global float4*)(m2 + vec1*4);
      const float4 t19 = t17 + t18;
      const float4 t20 = 0.5f*t19*(1.0f+ecp_erf_float4(t19*0.70710678118f));
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
      const float4 t24 = 0.5f*t23*(1.0f+ecp_erf_float4(t23*0.70710678118f));
      *(__global float4*)(m3 + (line2*8+vec0*4)) = t24;
    }
    const int vec1 = column*2 + tx + 1;
    if (line2 < 5) {
      const float4 t25 = c2_1;
      const float4 t26 = *(const __global float4*)(m2 + vec1*4);
      const float4 t27 = t25 + t26;
      const float4 t28 = 0.5f*t27*(1.0f+ecp_erf_float4(t27*0.70710678118f));
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
      const float4 t32 = 0.5f*t31*(1.0f+ecp_erf_float4(t31*0.70710678118f));
      *(__global float4*)(m3 + (line3*8+vec0*4)) = t32;
    }
    const int vec1 = column*2 + tx + 1;
    if (line3 < 5) {
      const float4 t33 = c3_1;
      const float4 t34 = *(const __global float4*)(m2 + vec1*4);
      const float4 t35 = t33 + t34;
      const float4 t36 = 0.5f*t35*(1.0f+ecp_erf_float4(t35*0.70710678118f));
      *(__global float4*)(m3 + (line3*8+vec1*4)) = t36;
    }
  }
}
