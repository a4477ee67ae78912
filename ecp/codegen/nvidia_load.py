"""Loads of the persistent ViT kernel: activations into the swizzled tiles of operand A, and bias values."""

# ruff: noqa: E501  (most lines are C)

from __future__ import annotations

from string import Template

from ecp.codegen.nvidia_desc import VitDesc


def load_act(base: str, ld: int, bm: int, m: int, chunks: int, groups: int, aoff: int) -> str:
    """cp.async of A rows [m0, m0+bm) x columns [k0, k0 + 64*chunks) of a half matrix."""
    per = chunks // groups
    return Template(
        """
  #pragma unroll 1
  for (uint gi = 0; gi < $GROUPS; gi++) {
    #pragma unroll 4
    for (uint i = tid; i < $PER * $BM * 8; i += NT) {
      const uint c = gi * $PER + i / ($BM * 8), r = (i >> 3) % $BM, u = i & 7;
      const uint ok = (m0 + r < $M);
      cp16(sb + $AOFF + (c * $BM + r) * 128 + ((u ^ (r & 7)) << 4),
           $BASE + ((ulong)((ok ? m0 + r : 0) * $LD + k0 + c * 64 + u * 8)) * 2, ok ? 16 : 0);
    }
    CP_COMMIT();
  }
"""
    ).substitute(GROUPS=groups, PER=per, BM=bm, M=m, AOFF=aoff, BASE=base, LD=ld)


def load_ln(d: VitDesc, bm: int, warps: int, aoff: int) -> str:
    """Normalise rows of the fp32 residual on load: two-pass statistics in registers, halves to local."""
    k = d.dim
    vec = 4 if k % 128 == 0 else 2
    steps = k // (32 * vec)
    per_warp = bm // warps
    batch = max(b for b in range(1, per_warp + 1) if per_warp % b == 0 and b * (k // 32) <= 144)
    store = (
        "STS2U(ad, pack2(w[0], w[1]), pack2(w[2], w[3]));" if vec == 4 else "STS1U(ad, pack2(w[0], w[1]));"
    )
    return Template(
        """
  #pragma unroll 1
  for (uint ps = 0; ps < $PASSES; ps++) {
    float xv[$BATCH][$STEPS * $VEC];
    const uint r0 = warp * $PERW + ps * $BATCH;
    #pragma unroll
    for (uint r = 0; r < $BATCH; r++) {
      const uint row = (m0 + r0 + r < $M) ? m0 + r0 + r : 0;
      #pragma unroll
      for (uint j = 0; j < $STEPS; j++) LDCG$VEC(xv[r] + j * $VEC, x0 + row * $K + j * ${W} + lane * $VEC);
    }
    #pragma unroll
    for (uint r = 0; r < $BATCH; r++) {
      float s = 0.0f, q = 0.0f;
      #pragma unroll
      for (uint j = 0; j < $STEPS * $VEC; j++) s += xv[r][j];
      const float mean = warp_sum(s) * (1.0f / $K);
      #pragma unroll
      for (uint j = 0; j < $STEPS * $VEC; j++) { xv[r][j] -= mean; q += xv[r][j] * xv[r][j]; }
      const float rs = RSQRT(warp_sum(q) * (1.0f / $K) + ${EPS}f) * ((m0 + r0 + r < $M) ? 1.0f : 0.0f);
      #pragma unroll
      for (uint j = 0; j < $STEPS; j++) {
        float *w = xv[r] + j * $VEC;
        const uint col = j * ${W} + lane * $VEC;
        #pragma unroll
        for (uint e = 0; e < $VEC; e++) w[e] *= rs;
        const uint ad = sb + $AOFF + ((col >> 6) * $BM + r0 + r) * 128 + ((((col & 63) >> 3) ^ ((r0 + r) & 7)) << 4) + (col & 7) * 2;
        $STORE
      }
    }
  }
"""
    ).substitute(
        PASSES=per_warp // batch,
        BATCH=batch,
        STEPS=steps,
        VEC=vec,
        W=32 * vec,
        PERW=per_warp,
        K=k,
        M=d.tokens,
        BM=bm,
        AOFF=aoff,
        EPS=repr(d.eps),
        STORE=store,
    )


def load_patch(d: VitDesc, bm: int, aoff: int) -> str:
    """Gather patch rows of the fp32 image; `order[token]` is the patch, negative for none."""
    return Template(
        """
  #pragma unroll 12
  for (uint i = tid; i < $BM * $K4; i += NT) {
    const uint r = i / $K4, k = (i % $K4) * 4;
    const int pi = (m0 + r < $M) ? order[m0 + r] : -1;
    float v[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (pi >= 0) {
      const uint c = k / $PP, y = (k / $P) % $P, x = k % $P;
      LDNC4(v, in + (c * $IMG + (pi / $SIDE) * $P + y) * $IMG + (pi % $SIDE) * $P + x);
    }
    STS2U(sb + $AOFF + ((k >> 6) * $BM + r) * 128 + ((((k & 63) >> 3) ^ (r & 7)) << 4) + (k & 7) * 2,
          pack2(v[0], v[1]), pack2(v[2], v[3]));
  }
"""
    ).substitute(
        BM=bm,
        K4=d.patch_values // 4,
        M=d.tokens,
        PP=d.patch**2,
        P=d.patch,
        IMG=d.image,
        SIDE=d.image // d.patch,
        AOFF=aoff,
    )


def load_bias(bias: str, n: int, boff: int, when: str = "1") -> str:
    """cp.async of n bias values to local memory (zeros where `when` is false); no commit."""
    return f"""
  for (uint i = tid; i < {n // 4}; i += NT) cp16(sb + {boff} + i * 16, (const GLB uchar *)({bias} + i * 4), ({when}) ? 16 : 0);"""
