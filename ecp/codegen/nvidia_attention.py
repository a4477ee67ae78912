"""Attention phase of the persistent ViT kernel, plain or core-periphery, with or without the projection.

One group per (head, query tile). Warps split the queries by 16 rows and share the keys; each keeps its own
maximum, and their partial outputs meet in local memory. Tokens below ``core`` attend to all keys, the
others to the core's keys only: a tile reads the keys that its rows can see, and writes its own rows.
"""

# ruff: noqa: E501  (most lines are C)

from __future__ import annotations

from string import Template

from ecp.codegen.nvidia_desc import HEAD, Tile, VitDesc
from ecp.codegen.nvidia_gemm import epilogue, mma_loop, warp_layout
from ecp.codegen.nvidia_load import load_bias

# Scores of one warp: 16 queries x its share of the keys; then its part of the output.
_ATTEND = Template(
    """
  const uint h = t % $H, q0 = (t / $H) * $BQ;
  const uint kblocks = ($REACH + 15) >> 4;
  if (t != g) SYNC();
  $BIAS
  for (uint i = tid; i < $BQ * 8; i += NT) {
    const uint r = i >> 3, u = i & 7, ok = (q0 + r < $N);
    cp16(sb + $QO + r * 128 + ((u ^ (r & 7)) << 4), qkv + ((ulong)((ok ? q0 + r : 0) * ${D3} + h * 64 + u * 8)) * 2, ok ? 16 : 0);
  }
  #pragma unroll 4
  for (uint i = tid; i < kblocks * 128; i += NT) {
    const uint r = i >> 3, u = i & 7, ok = (r < $N);
    cp16(sb + $KO + r * 128 + ((u ^ (r & 7)) << 4), qkv + ((ulong)((ok ? r : 0) * ${D3} + $D + h * 64 + u * 8)) * 2, ok ? 16 : 0);
  }
  CP_COMMIT();
  #pragma unroll 4
  for (uint i = tid; i < kblocks * 128; i += NT) {
    const uint r = i >> 3, u = i & 7, ok = (r < $N);
    cp16(sb + $VO + r * 128 + ((u ^ (r & 7)) << 4), qkv + ((ulong)((ok ? r : 0) * ${D3} + 2 * $D + h * 64 + u * 8)) * 2, ok ? 16 : 0);
  }
  CP_COMMIT();
  {
    const uint mw = warp % $MWA, kw = warp / $MWA, b0 = (kw * kblocks) / $KWA, b1 = ((kw + 1) * kblocks) / $KWA, sw = lane & 7;
    float s[$KB * 2][4], o[8][4];
    uint qf[4][4];
    CP_WAIT(1); SYNC(); MARK(2);
    #pragma unroll
    for (uint k = 0; k < 4; k++) LDM4(qf[k], sb + $QO + (mw * 16 + (lane & 15)) * 128 + (((k * 2 + (lane >> 4)) ^ sw) << 4));
    #pragma unroll
    for (uint b = 0; b < $KB; b++) {
      #pragma unroll
      for (uint e = 0; e < 4; e++) { s[2 * b][e] = 0.0f; s[2 * b + 1][e] = 0.0f; }
      if (b0 + b < b1) {
        #pragma unroll
        for (uint k = 0; k < 4; k++) {
          uint kf[4];
          LDM4(kf, sb + $KO + ((b0 + b) * 16 + (lane & 7) + ((lane >> 4) << 3)) * 128 + (((k * 2 + ((lane >> 3) & 1)) ^ sw) << 4));
          MMA(s[2 * b], qf[k], kf); MMA(s[2 * b + 1], qf[k], kf + 2);
        }
      }
    }
    float mx[2], sum[2];
    #pragma unroll
    for (uint e = 0; e < 2; e++) {
      const uint r = q0 + mw * 16 + (lane >> 2) + e * 8, lim = b0 < b1 ? $LIMIT : 0, top = b1 * 16 < lim ? b1 * 16 : lim;
      float m = -1e30f, l = 0.0f;
      #pragma unroll
      for (uint j = 0; j < $KB * 2; j++)
        #pragma unroll
        for (uint i = 0; i < 2; i++) {
          const uint key = b0 * 16 + j * 8 + (lane & 3) * 2 + i;
          s[j][e * 2 + i] = key < top ? s[j][e * 2 + i] * 0.18033688011112042f : -1e30f;
          m = fmax(m, s[j][e * 2 + i]);
        }
      m = fmax(m, shfl_xor(m, 1)); m = fmax(m, shfl_xor(m, 2));
      #pragma unroll
      for (uint j = 0; j < $KB * 2; j++)
        #pragma unroll
        for (uint i = 0; i < 2; i++) { s[j][e * 2 + i] = exp2a(s[j][e * 2 + i] - m); l += s[j][e * 2 + i]; }
      l += shfl_xor(l, 1); sum[e] = l + shfl_xor(l, 2); mx[e] = m;
    }
    #pragma unroll
    for (uint j = 0; j < 8; j++) { o[j][0] = 0.0f; o[j][1] = 0.0f; o[j][2] = 0.0f; o[j][3] = 0.0f; }
    CP_WAIT(0); SYNC();
    #pragma unroll
    for (uint b = 0; b < $KB; b++) if (b0 + b < b1) {
      uint pf[4];
      pf[0] = pack2(s[2 * b][0], s[2 * b][1]); pf[1] = pack2(s[2 * b][2], s[2 * b][3]);
      pf[2] = pack2(s[2 * b + 1][0], s[2 * b + 1][1]); pf[3] = pack2(s[2 * b + 1][2], s[2 * b + 1][3]);
      #pragma unroll
      for (uint d = 0; d < 4; d++) {
        uint vf[4];
        LDM4T(vf, sb + $VO + ((b0 + b) * 16 + (lane & 15)) * 128 + (((d * 2 + (lane >> 4)) ^ sw) << 4));
        MMA(o[2 * d], pf, vf); MMA(o[2 * d + 1], pf, vf + 2);
      }
    }
    SYNC(); MARK(3);
    #pragma unroll
    for (uint f = 0; f < 8; f++) STS4F(sb + $KO + ((kw * $MWA + mw) * 8 + f) * 512 + lane * 16, o[f]);
    if ((lane & 3) == 0) {
      const uint ml = sb + $MO + (kw * $BQ + mw * 16 + (lane >> 2)) * 8;
      STS1F(ml, mx[0]); STS1F(ml + 4, sum[0]); STS1F(ml + 64, mx[1]); STS1F(ml + 68, sum[1]);
    }
  }
"""
)

# The parts of the warps that share a query tile, weighted by their maxima.
_MERGE = Template(
    """  SYNC();
  #pragma unroll 1
  for (uint idx = warp; idx < $MWA * 8; idx += NT / 32) {
    const uint mw = idx % $MWA, f = idx / $MWA;
    float w[2][$KWA], v[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    #pragma unroll
    for (uint e = 0; e < 2; e++) {
      float top = -1e30f, den = 0.0f, l[$KWA];
      #pragma unroll
      for (uint p = 0; p < $KWA; p++) {
        const uint ml = sb + $MO + (p * $BQ + mw * 16 + (lane >> 2) + e * 8) * 8;
        LDS1F(w[e][p], ml); LDS1F(l[p], ml + 4); top = fmax(top, w[e][p]);
      }
      #pragma unroll
      for (uint p = 0; p < $KWA; p++) { w[e][p] = exp2a(w[e][p] - top); den += w[e][p] * l[p]; }
      den = 1.0f / den;
      #pragma unroll
      for (uint p = 0; p < $KWA; p++) w[e][p] *= den;
    }
    #pragma unroll
    for (uint p = 0; p < $KWA; p++) {
      float q[4];
      LDS4F(q, sb + $KO + ((p * $MWA + mw) * 8 + f) * 512 + lane * 16);
      v[0] += q[0] * w[0][p]; v[1] += q[1] * w[0][p]; v[2] += q[2] * w[1][p]; v[3] += q[3] * w[1][p];
    }
    quad(v, lane);
    const uint rl = mw * 16 + QROW(lane), cl = f * 8 + QCOL(lane);
    $PUT
  }
"""
)


def tiles(d: VitDesc, bq: int) -> int:
    """Tiles of the phase."""
    return d.heads * -(-d.tokens // bq)


def _areas(d: VitDesc, bq: int, warps: int) -> tuple[int, int, int]:
    """Bytes of Q, of K and V (later the warps' partial outputs), and of the per-row statistics."""
    keys = -(-d.tokens // 16) * 16
    return bq * 128, max(2 * keys * 128, warps * 4096), warps // (bq // 16) * bq * 8


def attention_bytes(d: VitDesc, bq: int, warps: int) -> int:
    """Local bytes of one tile."""
    return sum(_areas(d, bq, warps))


def prefetch_proj(t: str, d: VitDesc) -> str:
    """One lane asks for the projection slice of tile t's head."""
    size = d.dim * HEAD * 2
    return f"""
    if (tid == NT - 1) bulk(sb, w_proj + (ulong)((({t}) % {d.heads}) * {size}), {size}, mb);"""


def attention_phase(
    d: VitDesc, bq: int, warps: int, aoff: int, boff: int, extra: str, next_prefetch: str, red: str | None
) -> str:
    """All attention tiles for group g; ``extra`` runs first, in every group.

    ``red`` adds a quad of the projected output to the residual (fused projection); without it the
    normalised rows go to the half matrix ``att``.
    """
    q_bytes, kv_bytes, _ = _areas(d, bq, warps)
    keys, rows = -(-d.tokens // 16) * 16, bq // 16
    shared = warps // rows
    count = tiles(d, bq)
    qo, ko = aoff, aoff + q_bytes
    whole = d.core >= d.tokens
    if red is None:
        put = f"if (q0 + rl < {d.tokens}) STG2U(att + ((ulong)((q0 + rl) * {d.dim} + h * 64 + cl)) * 2, pack2(v[0], v[1]), pack2(v[2], v[3]));"
    else:
        put = f"STS2U(sb + {qo} + rl * 128 + (((cl >> 3) ^ (rl & 7)) << 4) + (cl & 7) * 2, pack2(v[0], v[1]), pack2(v[2], v[3]));"
    names = {
        "H": d.heads, "BQ": bq, "N": d.tokens, "D": d.dim, "D3": 3 * d.dim, "QO": qo, "KO": ko,
        "VO": ko + keys * 128, "MO": ko + kv_bytes, "MWA": rows, "KWA": shared, "KB": -(-(keys // 16) // shared),
        "REACH": d.tokens if whole else f"(q0 < {d.core} ? {d.tokens} : {d.core})",
        "LIMIT": d.tokens if whole else f"(r < {d.core} ? {d.tokens} : {d.core})",
        "BIAS": load_bias("b_proj", d.dim, boff, "h == 0") if red is not None else "", "PUT": put,
    }  # fmt: skip
    text = _ATTEND.substitute(names) + _MERGE.substitute(names)
    if red is None:
        return _loop(count, next_prefetch + extra, text)
    tile = Tile(bq, d.dim, 1, 1, warps, 1)
    again = (
        f"if (t + NGROUPS < {count}) {{{prefetch_proj('t + NGROUPS', d)}\n  }} else {{{next_prefetch}\n  }}"
    )
    body = f"const uint row = q0 + rl, col = cl; if (row < {d.tokens}) {{ {red} }}"
    project = f"""SYNC(); MARK(4);
{{{warp_layout(tile)}{mma_loop(tile, qo, 1, "sb", "c")} MARK(5); {epilogue(tile, qo, body, again, False, boff)}}}"""
    return _loop(count, f"if (g >= {count}) {{{next_prefetch}\n}}\n{extra}", text + project)


def _loop(count: int, first: str, text: str) -> str:
    return f"""
/* attention: {count} tiles */
{first}
#pragma unroll 1
for (uint t = g; t < {count}; t += NGROUPS) {{
{text}
}}
"""
