float8 ecp_exp_float8(float8 given) {
  float8 x = select(given, (float8)(-88.0f), given < (float8)(-88.0f));
  x = select(x, (float8)(88.0f), x > (float8)(88.0f));
  const float8 shifted = fma(x, (float8)(1.44269504f), (float8)(12582912.0f));
  const float8 r = fma(x, (float8)(1.44269504f), (float8)(12582912.0f) - shifted);
  float8 p = fma(r, (float8)(0.0013266970636323094f), (float8)(0.009675459936261177f));
  p = fma(p, r, (float8)(0.05550742521882057f)); p = fma(p, r, (float8)(0.24022121727466583f));
  p = fma(p, r, (float8)(0.6931469440460205f)); p = fma(p, r, (float8)(1.0000001192092896f));
  return p * as_float8((as_int8(shifted) << 23) + 0x3f800000);
}
float8 ecp_sigmoid_float8(float8 x) {
  const float8 q = (float8)(1.0f) + ecp_exp_float8(-x);
  const float8 r = native_recip(q);
  return fma(r, fma(-q, r, (float8)(1.0f)), r);
}

__kernel __attribute__((reqd_work_group_size(1,1,1))) __attribute__((intel_vec_len_hint(1)))
void map_749b5f9318(__global const float* restrict m0, __global float* m1)
{
  const int item = get_global_id(0);
  if (item >= 3) return;
  const float8 t1 = vload8(0, m0 + item*8);
  vstore8(t1*ecp_sigmoid_float8(2.0f*(0.7978845608f*t1*(1.0f+0.044715f*t1*t1))), 0, m1 + item*8);
}
