"""Fused MLP and classifier phases of the persistent ViT kernel."""

# ruff: noqa: E501  (most lines are C)

from __future__ import annotations

from string import Template

from ecp.codegen.nvidia_desc import Tile, VitDesc
from ecp.codegen.nvidia_gemm import Gemm, epilogue, mma_loop, warp_layout
from ecp.codegen.nvidia_load import load_bias, load_ln


def prefetch_mlp(t: str, up: Gemm, dim: int) -> str:
    """Lanes of the last warp ask for both weight slices of fused-MLP tile t."""
    nc2 = up.tile.bn // 64
    b1 = up.chunks * up.chunk_bytes
    return f"""
    if (NT - 1 - tid < {up.chunks + nc2}) {{
      const uint pi = NT - 1 - tid, pn = ({t}) / {up.mt}, p2 = pi - {up.chunks};
      if (pi < {up.chunks}) bulk(sb + pi * {up.chunk_bytes}, w_up + (ulong)(pn * {b1} + pi * {up.chunk_bytes}), {up.chunk_bytes}, mb + pi * 8);
      else bulk(sb + {b1} + p2 * {dim * 128}, w_down + (ulong)((pn * {nc2} + p2) * {dim * 128}), {dim * 128}, mb + pi * 8);
    }}"""


def mlp_bytes(up: Gemm) -> int:
    """Local bytes beside the weights: A, then the slice of the hidden layer."""
    return up.a_bytes + up.tile.bm * up.tile.bn * 2


def mlp_weights(up: Gemm, dim: int) -> int:
    """Local bytes of both weight slices."""
    return up.chunks * up.chunk_bytes + up.tile.bn // 64 * dim * 128


def mlp_phase(up: Gemm, d: VitDesc, warps: int, aoff: int, boff: int, red: str, next_prefetch: str) -> str:
    """LayerNorm, MLP1, GELU, MLP2 of each (row tile, hidden slice), summed into the next residual."""
    t, dim = up.tile, d.dim
    b1, hoff = up.chunks * up.chunk_bytes, aoff + up.a_bytes
    tile2 = Tile(t.bm, dim, 1, 1, warps, 1)
    gelu = f"""STS2U(sb + {hoff} + ((cl >> 6) * {t.bm} + rl) * 128 + ((((cl & 63) >> 3) ^ (rl & 7)) << 4) + (cl & 7) * 2,
            pack2(gelu(v[0]), gelu(v[1])), pack2(gelu(v[2]), gelu(v[3])));"""
    before = f"if (t + NGROUPS < {up.tiles}) {{{prefetch_mlp('t + NGROUPS', up, dim)}\n  }} else {{{next_prefetch}\n  }}"
    body = f"const uint row = m0 + rl, col = cl; if (row < {up.m}) {{ {red} }}"
    return f"""
/* {up.name}: fused MLP, {up.tiles} tiles */
if (g >= {up.tiles}) {{{next_prefetch}
}}
#pragma unroll 1
for (uint t = g; t < {up.tiles}; t += NGROUPS) {{
  const uint mt = t % {up.mt}, ks = t / {up.mt}, m0 = mt * {t.bm}, n0 = ks * {t.bn};
  if (t != g) SYNC();
  {load_bias("b_up + n0", t.bn, boff)}{load_bias("b_down", dim, boff + t.bn * 4, "ks == 0")}
  {load_ln(d, t.bm, warps, aoff)}
  CP_COMMIT(); CP_WAIT(0); SYNC(); MARK(2);
  {{
  {warp_layout(t)}
  {mma_loop(t, aoff, up.chunks, f"sb + s * {up.chunk_bytes}", "c")}
  MARK(3);
  {epilogue(t, aoff, gelu, "", True, boff)}
  }}
  SYNC(); MARK(4);
  {{
  {warp_layout(tile2)}
  {mma_loop(tile2, hoff, t.bn // 64, f"sb + {b1} + c * {dim * 128}", f"{up.chunks} + c")}
  MARK(5);
  {epilogue(tile2, hoff, body, before, False, boff + t.bn * 4)}
  }}
}}
"""


def head_phase(d: VitDesc, warps: int) -> str:
    """Final LayerNorm of the classifier's token and the classifier, one output a warp."""
    vec = 4 if d.dim % 128 == 0 else 2
    steps = d.dim // (32 * vec)
    return Template(
        """
{
  uint wh[$STEPS][$HV];
  uint j = g * $NW + warp;
  #pragma unroll
  for (uint i = 0; i < $STEPS; i++) LDNCU$HV(wh[i], w_head + ((ulong)((j < $C ? j : 0) * $D + i * $W + lane * $VEC)) * 2);
  GRID_SYNC();
  float xv[$STEPS * $VEC], s = 0.0f, q = 0.0f;
  #pragma unroll
  for (uint i = 0; i < $STEPS; i++) LDCG$VEC(xv + i * $VEC, x0 + $ROW * $D + i * $W + lane * $VEC);
  #pragma unroll
  for (uint i = 0; i < $STEPS * $VEC; i++) s += xv[i];
  const float mean = warp_sum(s) * (1.0f / $D);
  #pragma unroll
  for (uint i = 0; i < $STEPS * $VEC; i++) { xv[i] -= mean; q += xv[i] * xv[i]; }
  const float rs = RSQRT(warp_sum(q) * (1.0f / $D) + ${EPS}f);
  for (; j < $C; j += NGROUPS * $NW) {
    float a = 0.0f;
    #pragma unroll
    for (uint i = 0; i < $STEPS; i++) {
      if (j >= NGROUPS * $NW) LDNCU$HV(wh[i], w_head + ((ulong)(j * $D + i * $W + lane * $VEC)) * 2);
      #pragma unroll
      for (uint e = 0; e < $HV; e++) a += xv[i * $VEC + 2 * e] * half_lo(wh[i][e]) + xv[i * $VEC + 2 * e + 1] * half_hi(wh[i][e]);
    }
    a = warp_sum(a);
    if (lane == 0) out[j] = a * rs + b_head[j];
  }
}
"""
    ).substitute(
        STEPS=steps,
        HV=vec // 2,
        VEC=vec,
        NW=warps,
        C=d.classes,
        D=d.dim,
        W=32 * vec,
        ROW=d.row,
        EPS=repr(d.eps),
    )
