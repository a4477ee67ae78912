float2 ecp_unpack2(uint v) {
  float2 r;
  asm("{.reg .b16 a,b; mov.b32 {a,b},%2; cvt.f32.f16 %0,a; cvt.f32.f16 %1,b;}" : "=f"(r.x), "=f"(r.y) : "r"(v));
  return r;
}
uint ecp_pack(float2 v) {
  uint r; asm("cvt.rn.f16x2.f32 %0,%1,%2;" : "=r"(r) : "f"(v.y), "f"(v.x)); return r;
}
float4 ecp_load_half4(const __global half* p) {
  const uint2 v = *(const __global uint2*)p;
  return (float4)(ecp_unpack2(v.x), ecp_unpack2(v.y));
}
float8 ecp_load_half8(const __global half* p) {
  const uint4 v = *(const __global uint4*)p;
  return (float8)(ecp_unpack2(v.x), ecp_unpack2(v.y), ecp_unpack2(v.z), ecp_unpack2(v.w));
}
void ecp_store_half4(float4 v, __global half* p) {
  *(__global uint2*)p = (uint2)(ecp_pack(v.lo), ecp_pack(v.hi));
}
void ecp_store_half8(float8 v, __global half* p) {
  *(__global uint4*)p = (uint4)(ecp_pack(v.s01), ecp_pack(v.s23), ecp_pack(v.s45), ecp_pack(v.s67));
}
#define vloada_half4(at, p) ecp_load_half4((p) + 4*(at))
#define vloada_half8(at, p) ecp_load_half8((p) + 8*(at))
#define vstorea_half4(v, at, p) ecp_store_half4(v, (p) + 4*(at))
#define vstorea_half8(v, at, p) ecp_store_half8(v, (p) + 8*(at))
#define ECP_LDM4(r, a) asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];" : "=r"((r)[0]),"=r"((r)[1]),"=r"((r)[2]),"=r"((r)[3]) : "r"(a) : "memory")
#define ECP_LDM4T(r, s, a) asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];" : "=r"((r)[0]),"=r"((r)[1]),"=r"((s)[0]),"=r"((s)[1]) : "r"(a) : "memory")
#define ECP_MMA(c, a, b) asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};" : "+f"((c)[0]),"+f"((c)[1]),"+f"((c)[2]),"+f"((c)[3]) : "r"((a)[0]),"r"((a)[1]),"r"((a)[2]),"r"((a)[3]),"r"((b)[0]),"r"((b)[1]))
void ecp_copy16(uint to, const __global void* from, uint bytes) {
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" :: "r"(to), "l"(from), "r"(bytes) : "memory");
}
#define ECP_COMMIT() asm volatile("cp.async.commit_group;" ::: "memory")
#define ECP_WAIT(n) asm volatile("cp.async.wait_group " #n ";" ::: "memory")
float ecp_shfl_xor(float v, uint m) {
  float r; asm volatile("shfl.sync.bfly.b32 %0,%1,%2,31,0xffffffff;" : "=f"(r) : "f"(v), "r"(m)); return r;
}
uint ecp_pack2(float lo, float hi) {
  uint r; asm("cvt.rn.f16x2.f32 %0,%1,%2;" : "=r"(r) : "f"(hi), "f"(lo)); return r;
}
float ecp_exp2(float v) { float r; asm("ex2.approx.ftz.f32 %0,%1;" : "=f"(r) : "f"(v)); return r; }
void ecp_quad(float* c, int lane) {
  const int odd = lane & 1;
  const float s0 = odd ? c[0] : c[2], s1 = odd ? c[1] : c[3];
  const float r0 = ecp_shfl_xor(s0, 1), r1 = ecp_shfl_xor(s1, 1);
  if (odd) { c[0] = r0; c[1] = r1; } else { c[2] = r0; c[3] = r1; }
}

__kernel __attribute__((reqd_work_group_size(128,1,1)))
void matmul_9c5082fa4a(__global const half* restrict m0, __global const float* restrict m1, __global half* m2)
{
  const int lid = get_local_id(0);
  const int column = get_group_id(0), block = get_group_id(1);
  __local float4 mem[960] __attribute__((aligned(128)));
  const uint base = (uint)(size_t)mem;
  const uint lane = lid & 31, warp = lid >> 5;
  const uint set = warp/2, wm = warp%1, wn = warp/1%2;
  const __global uchar* b = (const __global uchar*)m0 + (size_t)column*2048;
  float4 ra[1];
   {
    const uint to = base + (uint)((0)%4)*3840u;
    #pragma unroll 1
    for (int j = 0; j < 1; ++j) {
      const int e = lid + j*128;
      ecp_copy16(to + 1280u + e/4*80 + e%4*16, b + (size_t)((0)*128 + e)*16, 16);
    }
    #pragma unroll 1
    for (int j = 0; j < 1; ++j) {
      const int i = lid/8 + j*16, q = lid%8;
      const int step = (0)*8 + q;
      const int row = min(block*16 + i, 97);
       {
        const float4 t1 = *(const __global float4*)(m1 + (row*32+step*4));
        ra[j] = t1;
      }
    }
    __local uchar* ta = (__local uchar*)mem + ((0)%4)*3840;
    #pragma unroll 1
    for (int j = 0; j < 1; ++j) {
      const int i = lid/8 + j*16, q = lid%8;
      vstore_half4(ra[j], 0, (__local half*)(ta + i*80 + q*8));
    }
  }
  ECP_COMMIT();
  ECP_COMMIT();
  ECP_COMMIT();
  float acc[2][4];
  #pragma unroll 2
  for (int i = 0; i < 2; ++i) { acc[i][0] = 0.0f; acc[i][1] = 0.0f; acc[i][2] = 0.0f; acc[i][3] = 0.0f; }
  for (int kt = 0; kt < 1; ++kt) {
    ECP_WAIT(2);
    barrier(CLK_LOCAL_MEM_FENCE);
    const int next = kt + 3;
    if (next < 1) {
      const uint to = base + (uint)((next)%4)*3840u;
      #pragma unroll 1
      for (int j = 0; j < 1; ++j) {
        const int e = lid + j*128;
        ecp_copy16(to + 1280u + e/4*80 + e%4*16, b + (size_t)((next)*128 + e)*16, 16);
      }
      #pragma unroll 1
      for (int j = 0; j < 1; ++j) {
        const int i = lid/8 + j*16, q = lid%8;
        const int step = (next)*8 + q;
        const int row = min(block*16 + i, 97);
         {
          const float4 t2 = *(const __global float4*)(m1 + (row*32+step*4));
          ra[j] = t2;
        }
      }
    }
    ECP_COMMIT();
     {
      const int side = kt%4;
      const uint ta = base + (uint)side*3840u;
      const uint tb = ta + 1280u;
      const uint a0 = ta + (wm*16 + (lane & 15))*80 + (lane >> 4)*16 + set*32;
      const uint b0 = tb + ((lane & 7) + ((lane >> 3) & 1)*8 + set*16)*80 + (wn*16 + (lane >> 4)*8)*2;
      #pragma unroll 1
      for (int kk = 0; kk < 1; ++kk) {
        uint af[1][4], bf[2][2];
        #pragma unroll 1
        for (int i = 0; i < 1; ++i) ECP_LDM4(af[i], a0 + i*1280 + kk*32);
        #pragma unroll 1
        for (int j = 0; j < 1; ++j) ECP_LDM4T(bf[2*j], bf[2*j + 1], b0 + kk*1280 + j*32);
        #pragma unroll 1
        for (int i = 0; i < 1; ++i) {
          #pragma unroll 2
          for (int j = 0; j < 2; ++j) ECP_MMA(acc[i*2 + j], af[i], bf[j]);
        }
      }
    }
    if (next < 1) {
      __local uchar* ta = (__local uchar*)mem + ((next)%4)*3840;
      #pragma unroll 1
      for (int j = 0; j < 1; ++j) {
        const int i = lid/8 + j*16, q = lid%8;
        vstore_half4(ra[j], 0, (__local half*)(ta + i*80 + q*8));
      }
    }
  }
  ECP_WAIT(0);
  barrier(CLK_LOCAL_MEM_FENCE);
  __local float* sums = (__local float*)mem + set*512;
  #pragma unroll 1
  for (int i = 0; i < 1; ++i) {
    #pragma unroll 2
    for (int j = 0; j < 2; ++j) {
      __local float* s = sums + (wm*16 + i*16 + (lane >> 2))*32 + wn*16 + j*8 + (lane & 3)*2;
      vstore2((float2)(acc[i*2 + j][0], acc[i*2 + j][1]), 0, s + 0);
      vstore2((float2)(acc[i*2 + j][2], acc[i*2 + j][3]), 0, s + 256);
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  #pragma unroll 2
  for (int e = lid; e < 128; e += 128) {
    const int line = block*16 + e/8, vec = column*8 + e%8;
    const float4 sum = mem[e] + mem[e + 128];
    if (line < 98) {
      const float4 t3 = sum;
      vstorea_half4(t3, 0, m2 + (line*32+vec*4));
    }
  }
}

__kernel __attribute__((reqd_work_group_size(128,1,1)))
void matmul_78586fd44b(__global const half* restrict m0, __global const float* restrict m1, __global half* m2)
{
  const int lid = get_local_id(0);
  const int column = get_group_id(0), block = get_group_id(1);
  __local float4 mem[960] __attribute__((aligned(128)));
  const uint base = (uint)(size_t)mem;
  const uint lane = lid & 31, warp = lid >> 5;
  const uint set = warp/2, wm = warp%1, wn = warp/1%2;
  const __global uchar* b = (const __global uchar*)m0 + (size_t)column*2048;
  float4 ra[1];
   {
    const uint to = base + (uint)((0)%4)*3840u;
    #pragma unroll 1
    for (int j = 0; j < 1; ++j) {
      const int e = lid + j*128;
      ecp_copy16(to + 1280u + e/4*80 + e%4*16, b + (size_t)((0)*128 + e)*16, 16);
    }
    #pragma unroll 1
    for (int j = 0; j < 1; ++j) {
      const int i = lid/8 + j*16, q = lid%8;
      const int step = (0)*8 + q;
      const int row = min(block*16 + i, 97);
       {
        const float4 t1 = *(const __global float4*)(m1 + (row*32+step*4));
        ra[j] = t1;
      }
    }
    __local uchar* ta = (__local uchar*)mem + ((0)%4)*3840;
    #pragma unroll 1
    for (int j = 0; j < 1; ++j) {
      const int i = lid/8 + j*16, q = lid%8;
      vstore_half4(ra[j], 0, (__local half*)(ta + i*80 + q*8));
    }
  }
  ECP_COMMIT();
  ECP_COMMIT();
  ECP_COMMIT();
  float acc[2][4];
  #pragma unroll 2
  for (int i = 0; i < 2; ++i) { acc[i][0] = 0.0f; acc[i][1] = 0.0f; acc[i][2] = 0.0f; acc[i][3] = 0.0f; }
  for (int kt = 0; kt < 1; ++kt) {
    ECP_WAIT(2);
    barrier(CLK_LOCAL_MEM_FENCE);
    const int next = kt + 3;
    if (next < 1) {
      const uint to = base + (uint)((next)%4)*3840u;
      #pragma unroll 1
      for (int j = 0; j < 1; ++j) {
        const int e = lid + j*128;
        ecp_copy16(to + 1280u + e/4*80 + e%4*16, b + (size_t)((next)*128 + e)*16, 16);
      }
      #pragma unroll 1
      for (int j = 0; j < 1; ++j) {
        const int i = lid/8 + j*16, q = lid%8;
        const int step = (next)*8 + q;
        const int row = min(block*16 + i, 97);
         {
          const float4 t2 = *(const __global float4*)(m1 + (row*32+step*4));
          ra[j] = t2;
        }
      }
    }
    ECP_COMMIT();
     {
      const int side = kt%4;
      const uint ta = base + (uint)side*3840u;
      const uint tb = ta + 1280u;
      const uint a0 = ta + (wm*16 + (lane & 15))*80 + (lane >> 4)*16 + set*32;
      const uint b0 = tb + ((lane & 7) + ((lane >> 3) & 1)*8 + set*16)*80 + (wn*16 + (lane >> 4)*8)*2;
      #pragma unroll 1
      for (int kk = 0; kk < 1; ++kk) {
        uint af[1][4], bf[2][2];
        #pragma unroll 1
        for (int i = 0; i < 1; ++i) ECP_LDM4(af[i], a0 + i*1280 + kk*32);
        #pragma unroll 1
        for (int j = 0; j < 1; ++j) ECP_LDM4T(bf[2*j], bf[2*j + 1], b0 + kk*1280 + j*32);
        #pragma unroll 1
        for (int i = 0; i < 1; ++i) {
          #pragma unroll 2
          for (int j = 0; j < 2; ++j) ECP_MMA(acc[i*2 + j], af[i], bf[j]);
        }
      }
    }
    if (next < 1) {
      __local uchar* ta = (__local uchar*)mem + ((next)%4)*3840;
      #pragma unroll 1
      for (int j = 0; j < 1; ++j) {
        const int i = lid/8 + j*16, q = lid%8;
        vstore_half4(ra[j], 0, (__local half*)(ta + i*80 + q*8));
      }
    }
  }
  ECP_WAIT(0);
  barrier(CLK_LOCAL_MEM_FENCE);
  __local float* sums = (__local float*)mem + set*512;
  #pragma unroll 1
  for (int i = 0; i < 1; ++i) {
    #pragma unroll 2
    for (int j = 0; j < 2; ++j) {
      __local float* s = sums + (wm*16 + i*16 + (lane >> 2))*32 + wn*16 + j*8 + (lane & 3)*2;
      vstore2((float2)(acc[i*2 + j][0], acc[i*2 + j][1]), 0, s + 0);
      vstore2((float2)(acc[i*2 + j][2], acc[i*2 + j][3]), 0, s + 256);
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  #pragma unroll 2
  for (int e = lid; e < 128; e += 128) {
    const int line = block*16 + e/8, vec = column*8 + e%8;
    const float4 sum = mem[e] + mem[e + 128];
    if (line < 98) {
      const float4 t3 = sum;
      vstorea_half4(t3, 0, m2 + (line*32+(vec/8)*3136+(vec%8)*4));
    }
  }
}

__kernel __attribute__((reqd_work_group_size(32,1,1)))
void attention_a0efa24887(__global const half* restrict m0, __global const half* restrict m1, __global const half* restrict m2, __global float* m3)
{
  __local float4 mem[720] __attribute__((aligned(128)));
  const uint base = (uint)(size_t)mem;
  const int lid = get_local_id(0), lane = lid & 31, warp = lid >> 5;
  int block = get_group_id(0);
  const int head = get_group_id(1);
   {
    const int first = block*16, mine = first + warp*16 + (lane >> 2);
    float o[4][4], top[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};
    uint qf[2][4];
    #pragma unroll 4
    for (int f = 0; f < 4; ++f) { o[f][0] = 0.0f; o[f][1] = 0.0f; o[f][2] = 0.0f; o[f][3] = 0.0f; }
    for (int e = lid; e < 64; e += 32) {
      const int i = e/4, c = e%4, row = min(first + i, 48);
      ecp_copy16(base + i*80 + c*16, (m0 + (c*8+head*1568+row*32)), first + i < 49 ? 16 : 0);
    }
     {
      const uint to = base + 1280u + (uint)(0%1)*10240u;
      #pragma unroll 8
      for (int j = 0; j < 8; ++j) {
        const int e = lid + j*32, i = e/4, c = e%4;
        const int at = 0*64 + i, row = min(at, 48);
        ecp_copy16(to + 0 + i*80 + c*16, (m1 + (c*8+head*1568+row*32)), at < 49 ? 16 : 0);
        ecp_copy16(to + 5120 + i*80 + c*16, (m1 + (c*8+head*1568+row*32+3136)), at < 49 ? 16 : 0);
      }
    }
    ECP_COMMIT();
    for (int kt = 0; kt < 1; ++kt) {
      ECP_WAIT(0);
      barrier(CLK_LOCAL_MEM_FENCE);
      ECP_COMMIT();
      if (first + warp*16 < 49) {
        const uint sk = base + 1280u + (uint)(kt%1)*10240u;
        if (kt == 0) {
          #pragma unroll 2
          for (int f = 0; f < 2; ++f) { ECP_LDM4(qf[f], base + (warp*16 + (lane & 15))*80 + (lane >> 4)*16 + f*32); }
        }
        float s[8][4];
        #pragma unroll 8
        for (int f = 0; f < 8; ++f) { s[f][0] = 0.0f; s[f][1] = 0.0f; s[f][2] = 0.0f; s[f][3] = 0.0f; }
        #pragma unroll 2
        for (int f = 0; f < 2; ++f) {
          #pragma unroll 4
          for (int b = 0; b < 4; ++b) {
            uint kf[4];
            ECP_LDM4(kf, sk + (b*16 + (lane & 7) + (lane >> 4)*8)*80 + f*32 + ((lane >> 3) & 1)*16);
            ECP_MMA(s[2*b], qf[f], kf); ECP_MMA(s[2*b + 1], qf[f], (kf + 2));
          }
        }
        #pragma unroll 8
        for (int j = 0; j < 8; ++j) if (kt < 0 || j < 7) {
          #pragma unroll 4
          for (int e = 0; e < 4; ++e) {
            const int at = kt*64 + j*8 + (lane & 3)*2 + (e & 1);
            const int key = min(at, 48);
            const int query = min(mine + (e >> 1)*8, 48);
            const float t1 = (0.1767766922712326f);
            const float t2 = s[j][e] * t1;
            const float t3 = vload_half((head*2401+key+query*49), m2);
            const float t4 = t2 + t3;
            s[j][e] = t4;
          }
        }
        if (kt == 0) {
          #pragma unroll 4
          for (int e = 0; e < 4; ++e) {
            if ((lane & 3)*2 + (e & 1) >= 1) s[6][e] = -INFINITY;
          }
        }
        #pragma unroll 2
        for (int h = 0; h < 2; ++h) {
          float peak = top[h];
          #pragma unroll 8
          for (int f = 0; f < 8; ++f) if (kt < 0 || f < 7) { peak = fmax(peak, fmax(s[f][2*h], s[f][2*h + 1])); }
          peak = fmax(peak, ecp_shfl_xor(peak, 2));
          peak = fmax(peak, ecp_shfl_xor(peak, 1));
          const float low = fmax(peak, -FLT_MAX);
          const float keep = ecp_exp2((fmax(top[h], -FLT_MAX) - low)*1.44269504f);
          float sum = 0.0f;
          #pragma unroll 8
          for (int f = 0; f < 8; ++f) if (kt < 0 || f < 7) { s[f][2*h] = ecp_exp2((s[f][2*h] - low)*1.44269504f); s[f][2*h + 1] = ecp_exp2((s[f][2*h + 1] - low)*1.44269504f); sum += s[f][2*h] + s[f][2*h + 1]; }
          total[h] = fma(total[h], keep, sum); top[h] = peak;
          #pragma unroll 4
          for (int f = 0; f < 4; ++f) { o[f][2*h] *= keep; o[f][2*h + 1] *= keep; }
        }
        #pragma unroll 4
        for (int b = 0; b < 4; ++b) {
          uint pf[4];
          pf[0] = ecp_pack2(s[2*b][0], s[2*b][1]); pf[1] = ecp_pack2(s[2*b][2], s[2*b][3]); pf[2] = ecp_pack2(s[2*b + 1][0], s[2*b + 1][1]); pf[3] = ecp_pack2(s[2*b + 1][2], s[2*b + 1][3]);
          #pragma unroll 2
          for (int f = 0; f < 2; ++f) {
            uint vf[4];
            ECP_LDM4T(vf, (vf + 2), sk + 5120 + (b*16 + (lane & 15))*80 + f*32 + (lane >> 4)*16);
            ECP_MMA(o[2*f], pf, vf); ECP_MMA(o[2*f + 1], pf, (vf + 2));
          }
        }
      }
    }
    if (first + warp*16 < 49) {
      #pragma unroll 2
      for (int h = 0; h < 2; ++h) {
        float sum = total[h];
        sum = (sum + ecp_shfl_xor(sum, 2));
        sum = (sum + ecp_shfl_xor(sum, 1));
        const float scale = top[h] == -INFINITY ? NAN : 1.0f / sum;
        #pragma unroll 4
        for (int f = 0; f < 4; ++f) { o[f][2*h] *= scale; o[f][2*h + 1] *= scale; }
      }
      const int query = mine + (lane & 1)*8;
      #pragma unroll 4
      for (int f = 0; f < 4; ++f) {
        ecp_quad(o[f], lane);
        if (query < 49) {
          const int c = f*2 + ((lane >> 1) & 1);
          const float4 out = (float4)(o[f][0], o[f][1], o[f][2], o[f][3]);
          *(__global float4*)(m3 + (c*4+head*1568+query*32)) = out;
        }
      }
    }
  }
}
