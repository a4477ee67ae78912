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

__kernel __attribute__((reqd_work_group_size(16,1,1)))
void matmul_587391c44d(__global const half* restrict m0, __global const float* restrict m1, __global const half* restrict m2, __global float* m3)
{
  const int lid = get_local_id(0);
  const int column = get_group_id(0), block = get_group_id(1);
  __local float4 mem[162];
  const int set = lid/1, tx = lid%1, ty = lid/1%1;
  float4 acc[1][1];
  #pragma unroll 1
  for (int i = 0; i < 1; ++i) {
    #pragma unroll 1
    for (int v = 0; v < 1; ++v) { acc[i][v] = 0.0f; }
  }
  float4 ra[1]; float4 rb[4];
  const __global half* b = (const __global half*)m0 + column*256;
   {
    #pragma unroll 1
    for (int j = 0; j < 1; ++j) {
      const int i = lid/16 + j*1, q = lid%16;
      const int step = (0)*16 + q;
      const int row = block*1 + i;
      ra[j] = 0.0f;
      if (step < 11) {
        const float4 t1 = *(const __global float4*)(m1 + (row*44+step*4));
        ra[j] = t1;
      }
    }
    #pragma unroll 4
    for (int j = 0; j < 4; ++j) {
      rb[j] = vloada_half4((0)*64 + lid + j*16, b);
    }
    __local ECP_H4* ta = (__local ECP_H4*)mem + (0)*81;
    #pragma unroll 1
    for (int j = 0; j < 1; ++j) {
      const int i = lid/16 + j*1, q = lid%16;
      ta[i*17 + q] = ecp_to_h4(ra[j]);
    }
    __local ECP_H4* tb = ta + 17;
    #pragma unroll 4
    for (int j = 0; j < 4; ++j) {
      tb[lid + j*16] = ecp_to_h4(rb[j]);
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int kt = 0; kt < 1; ++kt) {
    if (kt + 1 < 1) {
      #pragma unroll 1
      for (int j = 0; j < 1; ++j) {
        const int i = lid/16 + j*1, q = lid%16;
        const int step = (kt + 1)*16 + q;
        const int row = block*1 + i;
        ra[j] = 0.0f;
        if (step < 11) {
          const float4 t2 = *(const __global float4*)(m1 + (row*44+step*4));
          ra[j] = t2;
        }
      }
      #pragma unroll 4
      for (int j = 0; j < 4; ++j) {
        rb[j] = vloada_half4((kt + 1)*64 + lid + j*16, b);
      }
    }
     {
      const __local ECP_H4* ta = (const __local ECP_H4*)mem + (kt & 1)*81;
      const __local ECP_H4* tb = ta + 17;
      ECP_H4 part[1][1];
      #pragma unroll 1
      for (int i = 0; i < 1; ++i) {
        #pragma unroll 1
        for (int v = 0; v < 1; ++v) { part[i][v] = (ECP_H4)(0); }
      }
      #pragma unroll 1
      for (int kk = 0; kk < 1; ++kk) {
        ECP_H4 x[1];
        #pragma unroll 1
        for (int i = 0; i < 1; ++i) x[i] = ta[(ty + i*1)*17 + set*1 + kk];
         {
          const ECP_H4 y0 = tb[(set*4 + kk*4 + 0)*1 + tx + 0];
          #pragma unroll 1
          for (int i = 0; i < 1; ++i) { part[i][0] = ECP_MAD_H4((ECP_H4)(x[i].s0), y0, part[i][0]); }
        }
         {
          const ECP_H4 y0 = tb[(set*4 + kk*4 + 1)*1 + tx + 0];
          #pragma unroll 1
          for (int i = 0; i < 1; ++i) { part[i][0] = ECP_MAD_H4((ECP_H4)(x[i].s1), y0, part[i][0]); }
        }
         {
          const ECP_H4 y0 = tb[(set*4 + kk*4 + 2)*1 + tx + 0];
          #pragma unroll 1
          for (int i = 0; i < 1; ++i) { part[i][0] = ECP_MAD_H4((ECP_H4)(x[i].s2), y0, part[i][0]); }
        }
         {
          const ECP_H4 y0 = tb[(set*4 + kk*4 + 3)*1 + tx + 0];
          #pragma unroll 1
          for (int i = 0; i < 1; ++i) { part[i][0] = ECP_MAD_H4((ECP_H4)(x[i].s3), y0, part[i][0]); }
        }
      }
      #pragma unroll 1
      for (int i = 0; i < 1; ++i) {
        #pragma unroll 1
        for (int v = 0; v < 1; ++v) { acc[i][v] += ECP_FROM_H4(part[i][v]); }
      }
    }
    if (kt + 1 < 1) {
      __local ECP_H4* ta = (__local ECP_H4*)mem + ((kt + 1) & 1)*81;
      #pragma unroll 1
      for (int j = 0; j < 1; ++j) {
        const int i = lid/16 + j*1, q = lid%16;
        ta[i*17 + q] = ecp_to_h4(ra[j]);
      }
      __local ECP_H4* tb = ta + 17;
      #pragma unroll 4
      for (int j = 0; j < 4; ++j) {
        tb[lid + j*16] = ecp_to_h4(rb[j]);
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
   {
    #pragma unroll 1
    for (int i = 0; i < 1; ++i) {
      #pragma unroll 1
      for (int v = 0; v < 1; ++v) { mem[set*1 + (ty + i*1)*1 + tx + v*1] = acc[i][v]; }
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  #pragma unroll 2
  for (int e = lid; e < 1; e += 16) {
    const int line = block*1 + e/1, vec = column*1 + e%1;
    const float4 sum = mem[e] + mem[e + 1] + mem[e + 2] + mem[e + 3] + mem[e + 4] + mem[e + 5] + mem[e + 6] + mem[e + 7] + mem[e + 8] + mem[e + 9] + mem[e + 10] + mem[e + 11] + mem[e + 12] + mem[e + 13] + mem[e + 14] + mem[e + 15];
     {
      const float4 t3 = sum;
      const float4 t4 = vloada_half4(0, m2 + vec*4);
      const float4 t5 = t3 + t4;
      const float4 t6 = ecp_gelu_float4(t5);
      *(__global float4*)(m3 + (line*8+vec*4)) = t6;
    }
  }
}
