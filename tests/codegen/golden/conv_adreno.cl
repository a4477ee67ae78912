
__kernel __attribute__((reqd_work_group_size(8,1,1)))
void conv_d9cc1c05aa(__read_only image2d_t m0, __global const float* restrict m1, __global const float* restrict m2, __global float* m3)
{
  const int lid = get_local_id(0);
  const int column = get_group_id(0), block = get_group_id(1);
  const int tx = lid%1, ty = lid/1;
  float4 c0_0 = 0.0f, c0_1 = 0.0f;
  float4 c1_0 = 0.0f, c1_1 = 0.0f;
  float4 c2_0 = 0.0f, c2_1 = 0.0f;
  float4 c3_0 = 0.0f, c3_1 = 0.0f;
  const int row0 = min(block*32 + ty*4 + 0, 49);
  const int row1 = min(block*32 + ty*4 + 1, 49);
  const int row2 = min(block*32 + ty*4 + 2, 49);
  const int row3 = min(block*32 + ty*4 + 3, 49);
  for (int step = 0; step < 36; ++step) {
    float g1 = (0.0f);
    if ((uint)((((step/3)%3)+((row0/5)%5)-1)) < 5u && (uint)(((step%3)+(row0%5)-1)) < 5u) {
      const int t2 = (((step/3)%3)+((row0/5)%5)-1);
      const int t3 = ((step%3)+(row0%5)-1);
      const float t4 = m1[(t2*5+t3+(step/9)*25+(row0/25)*100)];
      g1 = t4;
    }
    const float a0 = g1;
    float g5 = (0.0f);
    if ((uint)((((step/3)%3)+((row1/5)%5)-1)) < 5u && (uint)(((step%3)+(row1%5)-1)) < 5u) {
      const int t6 = (((step/3)%3)+((row1/5)%5)-1);
      const int t7 = ((step%3)+(row1%5)-1);
      const float t8 = m1[(t6*5+t7+(step/9)*25+(row1/25)*100)];
      g5 = t8;
    }
    const float a1 = g5;
    float g9 = (0.0f);
    if ((uint)((((step/3)%3)+((row2/5)%5)-1)) < 5u && (uint)(((step%3)+(row2%5)-1)) < 5u) {
      const int t10 = (((step/3)%3)+((row2/5)%5)-1);
      const int t11 = ((step%3)+(row2%5)-1);
      const float t12 = m1[(t10*5+t11+(step/9)*25+(row2/25)*100)];
      g9 = t12;
    }
    const float a2 = g9;
    float g13 = (0.0f);
    if ((uint)((((step/3)%3)+((row3/5)%5)-1)) < 5u && (uint)(((step%3)+(row3%5)-1)) < 5u) {
      const int t14 = (((step/3)%3)+((row3/5)%5)-1);
      const int t15 = ((step%3)+(row3%5)-1);
      const float t16 = m1[(t14*5+t15+(step/9)*25+(row3/25)*100)];
      g13 = t16;
    }
    const float a3 = g13;
     {
      const int kk = step*1 + 0;
      const float4 b0 = read_imagef(m0, (int2)(column*2 + tx + 0, kk));
      const float4 b1 = read_imagef(m0, (int2)(column*2 + tx + 1, kk));
      c0_0 = mad((float4)(a0), b0, c0_0); c0_1 = mad((float4)(a0), b1, c0_1);
      c1_0 = mad((float4)(a1), b0, c1_0); c1_1 = mad((float4)(a1), b1, c1_1);
      c2_0 = mad((float4)(a2), b0, c2_0); c2_1 = mad((float4)(a2), b1, c2_1);
      c3_0 = mad((float4)(a3), b0, c3_0); c3_1 = mad((float4)(a3), b1, c3_1);
    }
  }
  const int line0 = block*32 + ty*4 + 0;
   {
    const int vec0 = column*2 + tx + 0;
    if (line0 < 50) {
      const float4 t17 = *(const __global float4*)(m2 + vec0*4);
      const float4 t18 = c0_0 + t17;
      const float4 t19 = select((float4)(t18), (float4)(0.0f), t18 < 0.0f);
      const float4 t20 = t19;
      m3[(vec0*100+(line0/25)*200+(line0%25))] = t20.s0;
      m3[(vec0*100+(line0/25)*200+(line0%25)+25)] = t20.s1;
      m3[(vec0*100+(line0/25)*200+(line0%25)+50)] = t20.s2;
      m3[(vec0*100+(line0/25)*200+(line0%25)+75)] = t20.s3;
    }
    const int vec1 = column*2 + tx + 1;
    if (line0 < 50) {
      const float4 t21 = *(const __global float4*)(m2 + vec1*4);
      const float4 t22 = c0_1 + t21;
      const float4 t23 = select((float4)(t22), (float4)(0.0f), t22 < 0.0f);
      const float4 t24 = t23;
      m3[(vec1*100+(line0/25)*200+(line0%25))] = t24.s0;
      m3[(vec1*100+(line0/25)*200+(line0%25)+25)] = t24.s1;
      m3[(vec1*100+(line0/25)*200+(line0%25)+50)] = t24.s2;
      m3[(vec1*100+(line0/25)*200+(line0%25)+75)] = t24.s3;
    }
  }
  const int line1 = block*32 + ty*4 + 1;
   {
    const int vec0 = column*2 + tx + 0;
    if (line1 < 50) {
      const float4 t25 = *(const __global float4*)(m2 + vec0*4);
      const float4 t26 = c1_0 + t25;
      const float4 t27 = select((float4)(t26), (float4)(0.0f), t26 < 0.0f);
      const float4 t28 = t27;
      m3[(vec0*100+(line1/25)*200+(line1%25))] = t28.s0;
      m3[(vec0*100+(line1/25)*200+(line1%25)+25)] = t28.s1;
      m3[(vec0*100+(line1/25)*200+(line1%25)+50)] = t28.s2;
      m3[(vec0*100+(line1/25)*200+(line1%25)+75)] = t28.s3;
    }
    const int vec1 = column*2 + tx + 1;
    if (line1 < 50) {
      const float4 t29 = *(const __global float4*)(m2 + vec1*4);
      const float4 t30 = c1_1 + t29;
      const float4 t31 = select((float4)(t30), (float4)(0.0f), t30 < 0.0f);
      const float4 t32 = t31;
      m3[(vec1*100+(line1/25)*200+(line1%25))] = t32.s0;
      m3[(vec1*100+(line1/25)*200+(line1%25)+25)] = t32.s1;
      m3[(vec1*100+(line1/25)*200+(line1%25)+50)] = t32.s2;
      m3[(vec1*100+(line1/25)*200+(line1%25)+75)] = t32.s3;
    }
  }
  const int line2 = block*32 + ty*4 + 2;
   {
    const int vec0 = column*2 + tx + 0;
    if (line2 < 50) {
      const float4 t33 = *(const __global float4*)(m2 + vec0*4);
      const float4 t34 = c2_0 + t33;
      const float4 t35 = select((float4)(t34), (float4)(0.0f), t34 < 0.0f);
      const float4 t36 = t35;
      m3[(vec0*100+(line2/25)*200+(line2%25))] = t36.s0;
      m3[(vec0*100+(line2/25)*200+(line2%25)+25)] = t36.s1;
      m3[(vec0*100+(line2/25)*200+(line2%25)+50)] = t36.s2;
      m3[(vec0*100+(line2/25)*200+(line2%25)+75)] = t36.s3;
    }
    const int vec1 = column*2 + tx + 1;
    if (line2 < 50) {
      const float4 t37 = *(const __global float4*)(m2 + vec1*4);
      const float4 t38 = c2_1 + t37;
      const float4 t39 = select((float4)(t38), (float4)(0.0f), t38 < 0.0f);
      const float4 t40 = t39;
      m3[(vec1*100+(line2/25)*200+(line2%25))] = t40.s0;
      m3[(vec1*100+(line2/25)*200+(line2%25)+25)] = t40.s1;
      m3[(vec1*100+(line2/25)*200+(line2%25)+50)] = t40.s2;
      m3[(vec1*100+(line2/25)*200+(line2%25)+75)] = t40.s3;
    }
  }
  const int line3 = block*32 + ty*4 + 3;
   {
    const int vec0 = column*2 + tx + 0;
    if (line3 < 50) {
      const float4 t41 = *(const __global float4*)(m2 + vec0*4);
      const float4 t42 = c3_0 + t41;
      const float4 t43 = select((float4)(t42), (float4)(0.0f), t42 < 0.0f);
      const float4 t44 = t43;
      m3[(vec0*100+(line3/25)*200+(line3%25))] = t44.s0;
      m3[(vec0*100+(line3/25)*200+(line3%25)+25)] = t44.s1;
      m3[(vec0*100+(line3/25)*200+(line3%25)+50)] = t44.s2;
      m3[(vec0*100+(line3/25)*200+(line3%25)+75)] = t44.s3;
    }
    const int vec1 = column*2 + tx + 1;
    if (line3 < 50) {
      const float4 t45 = *(const __global float4*)(m2 + vec1*4);
      const float4 t46 = c3_1 + t45;
      const float4 t47 = select((float4)(t46), (float4)(0.0f), t46 < 0.0f);
      const float4 t48 = t47;
      m3[(vec1*100+(line3/25)*200+(line3%25))] = t48.s0;
      m3[(vec1*100+(line3/25)*200+(line3%25)+25)] = t48.s1;
      m3[(vec1*100+(line3/25)*200+(line3%25)+50)] = t48.s2;
      m3[(vec1*100+(line3/25)*200+(line3%25)+75)] = t48.s3;
    }
  }
}
