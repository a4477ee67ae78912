"""Product phases of the persistent ViT kernel (OpenCL C with inline PTX).

Each emitter returns the statements of one phase for one work-group: a loop over the phase's tiles
``t = g, g + groups, ...``. Weights (operand B) arrive by bulk copies into the low part of local memory and
are asked for before the grid barrier, because they do not depend on activations; activations (operand A)
go to the high part after it. Rows are 64 halves (128 bytes), 16-byte units swizzled by ``row & 7``.
"""

# ruff: noqa: E501  (most lines are C)

from __future__ import annotations

from dataclasses import dataclass
from string import Template

from ecp.codegen.nvidia_desc import Tile
from ecp.codegen.nvidia_load import load_bias


@dataclass(frozen=True)
class Gemm:
    """One product phase: out[M, N] = A[M, K] W[N, K]^T with its operand source and epilogue."""

    name: str
    m: int
    n: int
    k: int
    tile: Tile
    source: str  # C text that fills A (see load_*)
    groups_a: int  # cp.async groups the source leaves pending
    epilogue: str  # C text for one quad v[4] at (row, col), bias bb[4], with `ks`
    heavy: bool = False  # a long epilogue: run it rolled up, from local memory
    bias: bool = True  # b_<name> [N] is added (by the first K part)

    @property
    def mt(self) -> int:
        """Row tiles."""
        return -(-self.m // self.tile.bm)

    @property
    def nt(self) -> int:
        """Column tiles."""
        return self.n // self.tile.bn

    @property
    def tiles(self) -> int:
        """All tiles, those of split K counted apart."""
        return self.mt * self.nt * self.tile.split

    @property
    def chunks(self) -> int:
        """64-column chunks of K that one tile multiplies."""
        return self.k // self.tile.split // 64

    @property
    def chunk_bytes(self) -> int:
        """Local bytes of one chunk of weights."""
        return self.tile.bn * 128

    @property
    def scratch(self) -> int:
        """Bytes in which the WK partial sums meet."""
        t = self.tile
        return t.wk * t.bm * t.bn * 4 if t.wk > 1 or self.heavy else 0

    @property
    def a_bytes(self) -> int:
        """Local bytes of operand A, which the partial sums may use after it."""
        return max(self.chunks * self.tile.bm * 128, self.scratch)


def mma_loop(
    tile: Tile, aoff: int, chunks: int, b_addr: str, slot: str, top: str = "", after: str = ""
) -> str:
    """acc += A chunks x B chunks.  WK warps share the chunks, or the inside of each chunk.

    `slot` maps chunk `c` to its mbarrier, `b_addr` (of slot `s`) to local memory; `top` runs
    before and `after` after the chunks of one step (first chunk `c0`).
    """
    mf, nf = tile.bm // tile.wm // 16, tile.bn // tile.wn // 8
    pairs, odd = nf // 2, nf % 2
    whole = chunks % tile.wk == 0
    step = tile.wk if whole else 1
    turn = "".join(f"{{ const uint c = c0 + {i}; par ^= 1u << ({slot}); }}" for i in range(step))
    return Template(
        """
  #pragma unroll 1
  for (uint c0 = 0; c0 < $CHUNKS; c0 += $STEP) {
    $TOP
    const uint c = c0 + $MINE, s = $SLOT;
    mwait(mb + s * 8, (par >> s) & 1);
    $TURN
    const uint ba = $BADDR + bro, aa = sb + $AOFF + c * ($BM * 128) + aro;
    #pragma unroll
    for (uint kk = 0; kk < $KK; kk++) {
      const uint ku = ($KBASE + kk) * 2;
      uint af[$MF][4], bf[$NF1][2];
      #pragma unroll
      for (uint i = 0; i < $MF; i++) LDM4(af[i], aa + i * 2048 + (((ku + (lane >> 4)) ^ sw) << 4));
      #pragma unroll
      for (uint j = 0; j < $PAIRS; j++) LDM4(bf[2 * j], ba + j * 2048 + (((ku + ((lane >> 3) & 1)) ^ sw) << 4));
      $ODD
      #pragma unroll
      for (uint i = 0; i < $MF; i++)
        #pragma unroll
        for (uint j = 0; j < $NF; j++) MMA(acc[i * $NF + j], af[i], bf[j]);
    }
    $AFTER
  }
"""
    ).substitute(
        CHUNKS=chunks,
        STEP=step,
        MINE="kg" if whole and step > 1 else "0",
        SLOT=slot,
        TURN=turn,
        TOP=top,
        KK=4 if whole else 4 // tile.wk,
        KBASE="0" if whole else f"kg * {4 // tile.wk}",
        BADDR=b_addr,
        AOFF=aoff,
        BM=tile.bm,
        MF=mf,
        NF=nf,
        NF1=nf + odd,
        PAIRS=pairs,
        AFTER=after,
        ODD=f"LDM2(bf[{nf - 1}], ba + {pairs * 2048} - ((lane >> 4) << 10) + (((ku + ((lane >> 3) & 1)) ^ sw) << 4));"
        if odd
        else "",
    )


def warp_layout(tile: Tile) -> str:
    """Which rows, columns and part of K this warp has; zeroed accumulators."""
    mf, nf = tile.bm // tile.wm // 16, tile.bn // tile.wn // 8
    return Template(
        """
  const uint kg = warp / ($WM * $WN), wr = warp % ($WM * $WN), wm = wr % $WM, wn = wr / $WM;
  const uint sw = lane & 7, aro = (wm * ($MF * 16) + (lane & 15)) * 128;
  const uint bro = (wn * ($NF * 8) + (lane & 7) + ((lane >> 4) << 3)) * 128;
  float acc[$MF * $NF][4];
  #pragma unroll
  for (uint i = 0; i < $MF * $NF; i++) { acc[i][0] = 0.0f; acc[i][1] = 0.0f; acc[i][2] = 0.0f; acc[i][3] = 0.0f; }
"""
    ).substitute(WM=tile.wm, WN=tile.wn, MF=mf, NF=nf)


def epilogue(tile: Tile, soff: int, body: str, before: str, local: bool, boff: int | None) -> str:
    """Run `body` on quads v at (rl, cl) of the tile, with bias bb from local memory at `boff`.

    `before` runs once A is dead (it asks for the next weights).  With `local` the WK parts
    meet in local memory and the loop stays rolled: straight-line code that runs once a
    layer costs more in instruction fetches than in arithmetic.
    """
    mf, nf, wmn = tile.bm // tile.wm // 16, tile.bn // tile.wn // 8, tile.wm * tile.wn
    frags = mf * nf
    place = f"""
      const uint fi = f / {nf}, fj = f % {nf};
      const uint rl = wm * {mf * 16} + fi * 16 + QROW(lane), cl = wn * {nf * 8} + fj * 8 + QCOL(lane);
      quad(v, lane);"""
    if boff is not None:
        place += f"""
      float bb[4]; LDS4F(bb, sb + {boff} + cl * 4); v[0] += bb[0]; v[1] += bb[1]; v[2] += bb[2]; v[3] += bb[3];"""
    if not local:
        return f"""
  SYNC();
  {before}
  #pragma unroll
  for (uint f = 0; f < {frags}; f++) {{
      float *v = acc[f];{place}
      {body}
  }}
"""
    return f"""
  SYNC();
  {before}
  {{
    const uint sc = sb + {soff} + lane * 16;
    #pragma unroll
    for (uint f = 0; f < {frags}; f++) STS4F(sc + ((kg * {wmn} + wr) * {frags} + f) * 512, acc[f]);
    {"SYNC();" if tile.wk > 1 else ""}
    #pragma unroll 2
    for (uint f = kg; f < {frags}; f += {tile.wk}) {{
      float v[4] = {{0.0f, 0.0f, 0.0f, 0.0f}};
      #pragma unroll
      for (uint p = 0; p < {tile.wk}; p++) {{
        float q[4];
        LDS4F(q, sc + ((p * {wmn} + wr) * {frags} + f) * 512);
        v[0] += q[0]; v[1] += q[1]; v[2] += q[2]; v[3] += q[3];
      }}{place}
      {body}
    }}
  }}
"""


def prefetch_gemm(p: Gemm, t: str, slots: int) -> str:
    """Lanes of the last warp ask for the first chunks of tile t's weights (thread 0 has the barrier)."""
    return f"""
    if (NT - 1 - tid < {slots}) {{
      const uint pi = NT - 1 - tid, pn = (({t}) / {p.mt}) % {p.nt}, pk = ({t}) / {p.mt * p.nt};
      bulk(sb + pi * {p.chunk_bytes}, w_{p.name} + (ulong)((pn * {p.k // 64} + pk * {p.chunks} + pi) * {p.chunk_bytes}), {p.chunk_bytes}, mb + pi * 8);
    }}"""


def gemm_phase(p: Gemm, slots: int, aoff: int, soff: int, boff: int, next_prefetch: str) -> str:
    """All tiles of one product phase for group g."""
    t, slot = p.tile, f"c % {slots}" if slots < p.chunks else "c"
    step = t.wk if p.chunks % t.wk == 0 else 1
    top = after = ""
    if p.groups_a:
        per = p.chunks // p.groups_a
        for i in range(p.groups_a):
            top += f"if (c0 == {i * per}) {{ CP_WAIT({p.groups_a - 1 - i}); SYNC(); MARK(2); }}\n    "
    if slots < p.chunks:
        after = f"""if (c0 + {slots} < {p.chunks}) {{
      SYNC();
      if (tid < {step} && c0 + tid + {slots} < {p.chunks}) {{
        const uint r = (c0 + tid) % {slots};
        bulk(sb + r * {p.chunk_bytes}, w_{p.name} + (ulong)((nt * {p.k // 64} + ks * {p.chunks} + c0 + tid + {slots}) * {p.chunk_bytes}), {p.chunk_bytes}, mb + r * 8);
      }}
    }}"""
    loop = mma_loop(t, aoff, p.chunks, f"sb + s * {p.chunk_bytes}", slot, top, after)
    ready = "" if p.groups_a else "CP_COMMIT(); CP_WAIT(0); SYNC(); MARK(2);"
    before = f"""if (t + NGROUPS < {p.tiles}) {{{prefetch_gemm(p, "t + NGROUPS", slots)}
  }} else {{{next_prefetch}
  }}"""
    body = f"const uint row = m0 + rl, col = n0 + cl; if (row < {p.m}) {{ {p.epilogue} }}"
    return f"""
/* {p.name}: {p.m}x{p.n}x{p.k}, {p.tiles} tiles */
if (g >= {p.tiles}) {{{next_prefetch}
}}
#pragma unroll 1
for (uint t = g; t < {p.tiles}; t += NGROUPS) {{
  const uint mt = t % {p.mt}, nt = (t / {p.mt}) % {p.nt}, ks = t / {p.mt * p.nt};
  const uint m0 = mt * {t.bm}, n0 = nt * {t.bn}, k0 = ks * {p.chunks * 64};
  if (t != g) SYNC();
  {load_bias(f"b_{p.name} + n0", t.bn, boff, "ks == 0") if p.bias else ""}
  {p.source}
  {warp_layout(t)}
  {ready}
  {loop}
  MARK(3);
  {epilogue(t, soff, body, before, p.scratch > 0, boff if p.bias else None)}
}}
"""
