
__kernel __attribute__((reqd_work_group_size(2,16,1)))
void conv_43adad822f(__global const float* restrict m0, __global const float* restrict m1, __global const float* restrict m2, __global float* m3)
{
  const int tx = get_local_id(0), ty = get_local_id(1);
  const int column = get_group_id(0), block = get_group_id(1);
  const int lid = ty*2 + tx;
  float4 c0_0 = 0.0f;
  float4 c1_0 = 0.0f;
  float4 c2_0 = 0.0f;
  float4 c3_0 = 0.0f;
  __local float4 at4[272], bt[32];
  __local float* at = (__local float*)at4;
  const __global float4* b = (const __global float4*)m0 + column*72;
  for (int kt = 0; kt < 3; ++kt) {
    for (int e = lid; e < 1024; e += 32) {
      const int i = e%64, q = e/64, step = kt*16 + q;
      const int row = min(block*64 + i, 49);
      float a = 0.0f;
      if (step < 36) {
        float g1 = (0.0f);
        if ((uint)((((step/3)%3)+((row/5)%5)-1)) < 5u && (uint)(((step%3)+(row%5)-1)) < 5u) {
          const int t2 = (((step/3)%3)+((row/5)%5)-1);
          const int t3 = ((step%3)+(row%5)-1);
          const float t4 = m1[(t2*5+t3+(step/9)*25+(row/25)*100)];
          g1 = t4;
        }
        a = g1;
      }
      at[(q*1 + 0)*68 + i] = a;
    }
    for (int e = lid; e < 32; e += 32) {
      const int v = e%2, kb = kt*16 + e/2;
      float4 x = 0.0f;
      if (kb < 36) {
        x = b[kb*2 + v];
      }
      bt[e] = x;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    #pragma unroll 16
    for (int kk = 0; kk < 16; ++kk) {
      const float4 a0 = at4[kk*17 + ty*1 + 0];
      const float4 b0 = bt[kk*2 + tx + 0];
      c0_0 = fma((float4)(a0.s0), b0, c0_0);
      c1_0 = fma((float4)(a0.s1), b0, c1_0);
      c2_0 = fma((float4)(a0.s2), b0, c2_0);
      c3_0 = fma((float4)(a0.s3), b0, c3_0);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  const int line0 = block*64 + ty*4 + 0;
  if (line0 < 50) {
    const int vec0 = column*2 + tx + 0;
     {
      const float4 t5 = vload4(0, m2 + vec0*4);
      const float4 t6 = c0_0 + t5;
      const float4 t7 = fmax(t6, (float4)(0.0f));
      const float4 t8 = t7;
      m3[(vec0*100+(line0/25)*200+(line0%25))] = t8.s0;
      m3[(vec0*100+(line0/25)*200+(line0%25)+25)] = t8.s1;
      m3[(vec0*100+(line0/25)*200+(line0%25)+50)] = t8.s2;
      m3[(vec0*100+(line0/25)*200+(line0%25)+75)] = t8.s3;
    }
  }
  const int line1 = block*64 + ty*4 + 1;
  if (line1 < 50) {
    const int vec0 = column*2 + tx + 0;
     {
      const float4 t9 = vload4(0, m2 + vec0*4);
      const float4 t10 = c1_0 + t9;
      const float4 t11 = fmax(t10, (float4)(0.0f));
      const float4 t12 = t11;
      m3[(vec0*100+(line1/25)*200+(line1%25))] = t12.s0;
      m3[(vec0*100+(line1/25)*200+(line1%25)+25)] = t12.s1;
      m3[(vec0*100+(line1/25)*200+(line1%25)+50)] = t12.s2;
      m3[(vec0*100+(line1/25)*200+(line1%25)+75)] = t12.s3;
    }
  }
  const int line2 = block*64 + ty*4 + 2;
  if (line2 < 50) {
    const int vec0 = column*2 + tx + 0;
     {
      const float4 t13 = vload4(0, m2 + vec0*4);
      const float4 t14 = c2_0 + t13;
      const float4 t15 = fmax(t14, (float4)(0.0f));
      const float4 t16 = t15;
      m3[(vec0*100+(line2/25)*200+(line2%25))] = t16.s0;
      m3[(vec0*100+(line2/25)*200+(line2%25)+25)] = t16.s1;
      m3[(vec0*100+(line2/25)*200+(line2%25)+50)] = t16.s2;
      m3[(vec0*100+(line2/25)*200+(line2%25)+75)] = t16.s3;
    }
  }
  const int line3 = block*64 + ty*4 + 3;
  if (line3 < 50) {
    const int vec0 = column*2 + tx + 0;
     {
      const float4 t17 = vload4(0, m2 + vec0*4);
      const float4 t18 = c3_0 + t17;
      const float4 t19 = fmax(t18, (float4)(0.0f));
      const float4 t20 = t19;
      m3[(vec0*100+(line3/25)*200+(line3%25))] = t20.s0;
      m3[(vec0*100+(line3/25)*200+(line3%25)+25)] = t20.s1;
      m3[(vec0*100+(line3/25)*200+(line3%25)+50)] = t20.s2;
      m3[(vec0*100+(line3/25)*200+(line3%25)+75)] = t20.s3;
    }
  }
}
