float4 ecp_exp_float4(float4 given) {
  float4 x = select(given, (float4)(-88.0f), given < (float4)(-88.0f));
  x = select(x, (float4)(88.0f), x > (float4)(88.0f));
  const float4 shifted = fma(x, (float4)(1.44269504f), (float4)(12582912.0f));
  const float4 r = fma(x, (float4)(1.44269504f), (float4)(12582912.0f) - shifted);
  float4 p = fma(r, (float4)(0.0013266970636323094f), (float4)(0.009675459936261177f));
  p = fma(p, r, (float4)(0.05550742521882057f)); p = fma(p, r, (float4)(0.24022121727466583f));
  p = fma(p, r, (float4)(0.6931469440460205f)); p = fma(p, r, (float4)(1.0000001192092896f));
  return p * as_float4((as_int4(shifted) << 23) + 0x3f800000);
}
float4 ecp_sigmoid_float4(float4 x) {
  const float4 q = (float4)(1.0f) + ecp_exp_float4(-x);
  const float4 r = native_recip(q);
  return fma(r, fma(-q, r, (float4)(1.0f)), r);
}

__kernel 
void map_d3f9c24f6d(__global const float* restrict m0, __global float* m1)
{
  const int item = get_global_id(0);
  if (item >= 6) return;
  const float4 t1 = vload4(0, m0 + item*4);
  vstore4(t1*ecp_sigmoid_float4(2.0f*(0.7978845608f*t1*(1.0f+0.044715f*t1*t1))), 0, m1 + item*4);
}
