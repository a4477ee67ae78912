#ifdef ECP_HALF_EMULATED
#define ECP_H float
#define ECP_H4 float4
ECP_H ecp_to_h(float x) { ushort h[1]; vstore_half(x, 0, (half*)h); return vload_half(0, (const half*)h); }
ECP_H4 ecp_to_h4(float4 x) { ushort h[4]; vstore_half4(x, 0, (half*)h); return vload_half4(0, (const half*)h); }
#define ECP_FROM_H4(x) (x)
#define ECP_LOAD_H4(i, p) vloada_half4(i, p)
#define ECP_READ_H4(image, at) read_imagef(image, at)
#if ECP_HALF_EMULATED == 1
#define ECP_MAD_H4(a, b, c) ecp_to_h4(fma(a, b, c))
#else
#define ECP_MAD_H4(a, b, c) ecp_to_h4(ecp_to_h4((a) * (b)) + (c))
#endif
#else
#ifndef cl_khr_fp16
#error "arithmetic half needs cl_khr_fp16, which this device does not have; compile with arithmetic float"
#endif
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define ECP_H half
#define ECP_H4 half4
#define ecp_to_h(x) convert_half(x)
#define ecp_to_h4(x) convert_half4(x)
#define ECP_FROM_H4(x) convert_float4(x)
#define ECP_LOAD_H4(i, p) ((const __global half4*)(p))[i]
#define ECP_READ_H4(image, at) read_imageh(image, at)
#define ECP_MAD_H4(a, b, c) mad(a, b, c)
#endif
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
void matmul_aff2a0d75b(__read_only image2d_t m0, __global const float* restrict m1, __global const half* restrict m2, __global float* m3)
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
  for (int part = 0; part < 2; ++part) {
    ECP_H4 h0_0 = (ECP_H4)(0), h0_1 = (ECP_H4)(0);
    ECP_H4 h1_0 = (ECP_H4)(0), h1_1 = (ECP_H4)(0);
    ECP_H4 h2_0 = (ECP_H4)(0), h2_1 = (ECP_H4)(0);
    ECP_H4 h3_0 = (ECP_H4)(0), h3_1 = (ECP_H4)(0);
    for (int step = part*8; step < min(part*8 + 8, 11); ++step) {
      const float4 t1 = *(const __global float4*)(m1 + (row0*44+step*4));
      const ECP_H4 a0 = ecp_to_h4(t1);
      const float4 t2 = *(const __global float4*)(m1 + (row1*44+step*4));
      const ECP_H4 a1 = ecp_to_h4(t2);
      const float4 t3 = *(const __global float4*)(m1 + (row2*44+step*4));
      const ECP_H4 a2 = ecp_to_h4(t3);
      const float4 t4 = *(const __global float4*)(m1 + (row3*44+step*4));
      const ECP_H4 a3 = ecp_to_h4(t4);
       {
        const int kk = step*4 + 0;
        const ECP_H4 b0 = ECP_READ_H4(m0, (int2)(column*2 + tx + 0, kk));
        const ECP_H4 b1 = ECP_READ_H4(m0, (int2)(column*2 + tx + 1, kk));
        h0_0 = ECP_MAD_H4((ECP_H4)(a0.s0), b0, h0_0); h0_1 = ECP_MAD_H4((ECP_H4)(a0.s0), b1, h0_1);
        h1_0 = ECP_MAD_H4((ECP_H4)(a1.s0), b0, h1_0); h1_1 = ECP_MAD_H4((ECP_H4)(a1.s0), b1, h1_1);
        h2_0 = ECP_MAD_H4((ECP_H4)(a2.s0), b0, h2_0); h2_1 = ECP_MAD_H4((ECP_H4)(a2.s0), b1, h2_1);
        h3_0 = ECP_MAD_H4((ECP_H4)(a3.s0), b0, h3_0); h3_1 = ECP_MAD_H4((ECP_H4)(a3.s0), b1, h3_1);
      }
       {
        const int kk = step*4 + 1;
        const ECP_H4 b0 = ECP_READ_H4(m0, (int2)(column*2 + tx + 0, kk));
        const ECP_H4 b1 = ECP_READ_H4(m0, (int2)(column*2 + tx + 1, kk));
        h0_0 = ECP_MAD_H4((ECP_H4)(a0.s1), b0, h0_0); h0_1 = ECP_MAD_H4((ECP_H4)(a0.s1), b1, h0_1);
        h1_0 = ECP_MAD_H4((ECP_H4)(a1.s1), b0, h1_0); h1_1 = ECP_MAD_H4((ECP_H4)(a1.s1), b1, h1_1);
        h2_0 = ECP_MAD_H4((ECP_H4)(a2.s1), b0, h2_0); h2_1 = ECP_MAD_H4((ECP_H4)(a2.s1), b1, h2_1);
        h3_0 = ECP_MAD_H4((ECP_H4)(a3.s1), b0, h3_0); h3_1 = ECP_MAD_H4((ECP_H4)(a3.s1), b1, h3_1);
      }
       {
        const int kk = step*4 + 2;
        const ECP_H4 b0 = ECP_READ_H4(m0, (int2)(column*2 + tx + 0, kk));
        const ECP_H4 b1 = ECP_READ_H4(m0, (int2)(column*2 + tx + 1, kk));
        h0_0 = ECP_MAD_H4((ECP_H4)(a0.s2), b0, h0_0); h0_1 = ECP_MAD_H4((ECP_H4)(a0.s2), b1, h0_1);
        h1_0 = ECP_MAD_H4((ECP_H4)(a1.s2), b0, h1_0); h1_1 = ECP_MAD_H4((ECP_H4)(a1.s2), b1, h1_1);
        h2_0 = ECP_MAD_H4((ECP_H4)(a2.s2), b0, h2_0); h2_1 = ECP_MAD_H4((ECP_H4)(a2.s2), b1, h2_1);
        h3_0 = ECP_MAD_H4((ECP_H4)(a3.s2), b0, h3_0); h3_1 = ECP_MAD_H4((ECP_H4)(a3.s2), b1, h3_1);
      }
       {
        const int kk = step*4 + 3;
        const ECP_H4 b0 = ECP_READ_H4(m0, (int2)(column*2 + tx + 0, kk));
        const ECP_H4 b1 = ECP_READ_H4(m0, (int2)(column*2 + tx + 1, kk));
        h0_0 = ECP_MAD_H4((ECP_H4)(a0.s3), b0, h0_0); h0_1 = ECP_MAD_H4((ECP_H4)(a0.s3), b1, h0_1);
        h1_0 = ECP_MAD_H4((ECP_H4)(a1.s3), b0, h1_0); h1_1 = ECP_MAD_H4((ECP_H4)(a1.s3), b1, h1_1);
        h2_0 = ECP_MAD_H4((ECP_H4)(a2.s3), b0, h2_0); h2_1 = ECP_MAD_H4((ECP_H4)(a2.s3), b1, h2_1);
        h3_0 = ECP_MAD_H4((ECP_H4)(a3.s3), b0, h3_0); h3_1 = ECP_MAD_H4((ECP_H4)(a3.s3), b1, h3_1);
      }
    }
    c0_0 += ECP_FROM_H4(h0_0); c0_1 += ECP_FROM_H4(h0_1);
    c1_0 += ECP_FROM_H4(h1_0); c1_1 += ECP_FROM_H4(h1_1);
    c2_0 += ECP_FROM_H4(h2_0); c2_1 += ECP_FROM_H4(h2_1);
    c3_0 += ECP_FROM_H4(h3_0); c3_1 += ECP_FROM_H4(h3_1);
  }
  const int line0 = block*8 + ty*4 + 0;
   {
    const int vec0 = column*2 + tx + 0;
    if (line0 < 5) {
      const float4 t5 = c0_0;
      const float4 t6 = vloada_half4(0, m2 + vec0*4);
      const float4 t7 = t5 + t6;
      const float4 t8 = ecp_gelu_float4(t7);
      *(__global float4*)(m3 + (line0*8+vec0*4)) = t8;
    }
    const int vec1 = column*2 + tx + 1;
    if (line0 < 5) {
      const float4 t9 = c0_1;
      const float4 t10 = vloada_half4(0, m2 + vec1*4);
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
      const float4 t14 = vloada_half4(0, m2 + vec0*4);
      const float4 t15 = t13 + t14;
      const float4 t16 = ecp_gelu_float4(t15);
      *(__global float4*)(m3 + (line1*8+vec0*4)) = t16;
    }
    const int vec1 = column*2 + tx + 1;
    if (line1 < 5) {
      const float4 t17 = c1_1;
      const float4 t18 = vloada_half4(0, m2 + vec1*4);
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
      const float4 t22 = vloada_half4(0, m2 + vec0*4);
      const float4 t23 = t21 + t22;
      const float4 t24 = ecp_gelu_float4(t23);
      *(__global float4*)(m3 + (line2*8+vec0*4)) = t24;
    }
    const int vec1 = column*2 + tx + 1;
    if (line2 < 5) {
      const float4 t25 = c2_1;
      const float4 t26 = vloada_half4(0, m2 + vec1*4);
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
      const float4 t30 = vloada_half4(0, m2 + vec0*4);
      const float4 t31 = t29 + t30;
      const float4 t32 = ecp_gelu_float4(t31);
      *(__global float4*)(m3 + (line3*8+vec0*4)) = t32;
    }
    const int vec1 = column*2 + tx + 1;
    if (line3 < 5) {
      const float4 t33 = c3_1;
      const float4 t34 = vloada_half4(0, m2 + vec1*4);
      const float4 t35 = t33 + t34;
      const float4 t36 = ecp_gelu_float4(t35);
      *(__global float4*)(m3 + (line3*8+vec1*4)) = t36;
    }
  }
}
