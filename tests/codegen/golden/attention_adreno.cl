float ecp_exp_float(float given) {
  float x = select(given, (float)(-88.0f), given < (float)(-88.0f));
  x = select(x, (float)(88.0f), x > (float)(88.0f));
  const float shifted = fma(x, (float)(1.44269504f), (float)(12582912.0f));
  const float r = fma(x, (float)(1.44269504f), (float)(12582912.0f) - shifted);
  float p = fma(r, (float)(0.0013266970636323094f), (float)(0.009675459936261177f));
  p = fma(p, r, (float)(0.05550742521882057f)); p = fma(p, r, (float)(0.24022121727466583f));
  p = fma(p, r, (float)(0.6931469440460205f)); p = fma(p, r, (float)(1.0000001192092896f));
  return p * as_float((as_int(shifted) << 23) + 0x3f800000);
}

__kernel __attribute__((reqd_work_group_size(128,1,1)))
void attention_93cc722781(__global const float* restrict m0, __global const float* restrict m1, __global const float* restrict m2, __global float* m3)
{
  __local float4 mem[214];
  const int lid = get_local_id(0);
  int block = get_group_id(0);
  const int head = get_group_id(1);
   {
    __local float4* lq = mem + 0;
    __local float4* lk = mem + 24;
    __local float4* lv = mem + 72;
    __local float4* lp = mem + 104;
    __local float* peaks = (__local float*)(mem + 144);
    __local float* sums = peaks + 128;
    __local float* top = sums + 128, *total = top + 8, *shrink = total + 8;
    if (lid < 8) {
      top[lid] = -INFINITY; total[lid] = 0.0f;
    }
    for (int e = lid; e < 16; e += 128) {
      const int i = e/2, c = e%2, row = min(block*8 + i, 4);
      const float4 t1 = *(const __global float4*)(m0 + (c*4+head*40+row*8));
      lq[i*3 + c] = t1;
    }
    float4 o[1][1];
    #pragma unroll 1
    for (int i = 0; i < 1; ++i) {
      #pragma unroll 1
      for (int v = 0; v < 1; ++v) { o[i][v] = 0.0f; }
    }
    float4 rk[1], rv[1];
    #pragma unroll 1
    for (int j = 0; j < 1; ++j) if (lid + j*128 < 32) {
      const int e = lid + j*128, c = e%2;
      const int row = min(0*16 + e/2, 4);
      const float4 t2 = (float4)(m1[(c*20+head*40+row)], m1[(c*20+head*40+row+5)], m1[(c*20+head*40+row+10)], m1[(c*20+head*40+row+15)]);
      rk[j] = t2;
    }
    #pragma unroll 1
    for (int j = 0; j < 1; ++j) if (lid + j*128 < 32) {
      const int e = lid + j*128, c = e%2;
      const int row = min(0*16 + e/2, 4);
      const float4 t3 = *(const __global float4*)(m2 + (c*4+head*40+row*8));
      rv[j] = t3;
    }
    for (int kt = 0; kt < 1; ++kt) {
      #pragma unroll 1
      for (int j = 0; j < 1; ++j) if (lid + j*128 < 32) {
        const int e = lid + j*128;
        lk[e/2*3 + e%2] = rk[j];
      }
      #pragma unroll 1
      for (int j = 0; j < 1; ++j) if (lid + j*128 < 32) {
        lv[lid + j*128] = rv[j];
      }
      barrier(CLK_LOCAL_MEM_FENCE);
      if (kt + 1 < 1) {
        #pragma unroll 1
        for (int j = 0; j < 1; ++j) if (lid + j*128 < 32) {
          const int e = lid + j*128, c = e%2;
          const int row = min((kt + 1)*16 + e/2, 4);
          const float4 t4 = (float4)(m1[(c*20+head*40+row)], m1[(c*20+head*40+row+5)], m1[(c*20+head*40+row+10)], m1[(c*20+head*40+row+15)]);
          rk[j] = t4;
        }
        #pragma unroll 1
        for (int j = 0; j < 1; ++j) if (lid + j*128 < 32) {
          const int e = lid + j*128, c = e%2;
          const int row = min((kt + 1)*16 + e/2, 4);
          const float4 t5 = *(const __global float4*)(m2 + (c*4+head*40+row*8));
          rv[j] = t5;
        }
      }
       {
        const int tx = lid%16, ty = lid/16;
        float s[1][1];
        #pragma unroll 1
        for (int i = 0; i < 1; ++i) {
          #pragma unroll 1
          for (int v = 0; v < 1; ++v) { s[i][v] = 0.0f; }
        }
        #pragma unroll 4
        for (int c = 0; c < 2; ++c) {
          float4 a[1], b[1];
          #pragma unroll 1
          for (int i = 0; i < 1; ++i) a[i] = lq[(ty + i*8)*3 + c];
          #pragma unroll 1
          for (int v = 0; v < 1; ++v) b[v] = lk[(tx + v*16)*3 + c];
          #pragma unroll 1
          for (int i = 0; i < 1; ++i) {
            #pragma unroll 1
            for (int v = 0; v < 1; ++v) { s[i][v] = fma(a[i].s0, b[v].s0, s[i][v]); s[i][v] = fma(a[i].s1, b[v].s1, s[i][v]); s[i][v] = fma(a[i].s2, b[v].s2, s[i][v]); s[i][v] = fma(a[i].s3, b[v].s3, s[i][v]); }
          }
        }
        #pragma unroll 1
        for (int i = 0; i < 1; ++i) {
          const int r = ty + i*8, query = min(block*8 + r, 4);
          #pragma unroll 1
          for (int v = 0; v < 1; ++v) {
            const int c = tx + v*16, at = kt*16 + c, key = min(at, 4);
            ((__local float*)lp)[r*20 + c] = at < 5 ? s[i][v] : -INFINITY;
          }
        }
      }
      barrier(CLK_LOCAL_MEM_FENCE);
       {
        const int r = lid/16, p = lid%16;
        __local float* row = (__local float*)lp + r*20 + p;
        float x[1], peak = top[r];
        #pragma unroll 1
        for (int j = 0; j < 1; ++j) {
          x[j] = row[j*16];
          peak = fmax(peak, x[j]);
        }
        peaks[lid] = peak;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int q = 0; q < 16; ++q) peak = fmax(peak, peaks[r*16 + q]);
        const float base = fmax(peak, -FLT_MAX);
        float sum = 0.0f;
        #pragma unroll 1
        for (int j = 0; j < 1; ++j) {
          const float y = ecp_exp_float(x[j] - base);
           {
            sum += y; row[j*16] = y;
          }
        }
        sums[lid] = sum;
        barrier(CLK_LOCAL_MEM_FENCE);
        if (p == 0) {
          const float keep = ecp_exp_float(fmax(top[r], -FLT_MAX) - base);
          for (int q = 1; q < 16; ++q) sum += sums[lid + q];
          total[r] = fma(total[r], keep, sum); shrink[r] = keep; top[r] = peak;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
      }
       {
        const int set = lid/32, tx = lid%2, ty = lid%32/2;
        #pragma unroll 1
        for (int i = 0; i < 1; ++i) {
          #pragma unroll 1
          for (int v = 0; v < 1; ++v) { o[i][v] *= shrink[min(ty + i*16, 7)]; }
        }
        #pragma unroll 4
        for (int c = set*1; c < (set + 1)*1; ++c) {
          float4 a[1];
          #pragma unroll 1
          for (int i = 0; i < 1; ++i) a[i] = lp[(min(ty + i*16, 7))*5 + c];
          #pragma unroll 1
          for (int v = 0; v < 1; ++v) {
            const float4 b = lv[(c*4 + 0)*2 + tx + v*2];
            #pragma unroll 1
            for (int i = 0; i < 1; ++i) o[i][v] = fma((float4)(a[i].s0), b, o[i][v]);
          }
          #pragma unroll 1
          for (int v = 0; v < 1; ++v) {
            const float4 b = lv[(c*4 + 1)*2 + tx + v*2];
            #pragma unroll 1
            for (int i = 0; i < 1; ++i) o[i][v] = fma((float4)(a[i].s1), b, o[i][v]);
          }
          #pragma unroll 1
          for (int v = 0; v < 1; ++v) {
            const float4 b = lv[(c*4 + 2)*2 + tx + v*2];
            #pragma unroll 1
            for (int i = 0; i < 1; ++i) o[i][v] = fma((float4)(a[i].s2), b, o[i][v]);
          }
          #pragma unroll 1
          for (int v = 0; v < 1; ++v) {
            const float4 b = lv[(c*4 + 3)*2 + tx + v*2];
            #pragma unroll 1
            for (int i = 0; i < 1; ++i) o[i][v] = fma((float4)(a[i].s3), b, o[i][v]);
          }
        }
      }
      barrier(CLK_LOCAL_MEM_FENCE);
    }
     {
      const int set = lid/32, tx = lid%2, ty = lid%32/2;
      #pragma unroll 1
      for (int i = 0; i < 1; ++i) {
        #pragma unroll 1
        for (int v = 0; v < 1; ++v) { if (ty + i*16 < 8 && 1) mem[set*16 + (ty + i*16)*2 + tx + v*2] = o[i][v]; }
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int e = lid; e < 16; e += 128) {
      const int r = e/2, c = e%2, query = block*8 + r;
      if (query < 5) {
        const float scale = top[r] == -INFINITY ? NAN : 1.0f / total[r];
        const float4 sum = (mem[e] + mem[e + 16] + mem[e + 32] + mem[e + 48]) * scale;
        const float4 t6 = sum;
        *(__global float4*)(m3 + (c*4+head*40+query*8)) = t6;
      }
    }
  }
}
