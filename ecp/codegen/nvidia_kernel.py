"""A whole Vision Transformer as the text of one persistent OpenCL kernel for NVIDIA GPUs (sm_90).

One group per multiprocessor walks through the network's phases; a grid-wide barrier (0.9 us on an H200)
stands where others launch again (6 us queued from Python). PERFORMANCE.md has the measurements.
"""

# ruff: noqa: E501  (most lines are C)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ecp.codegen.nvidia_attention import attention_bytes, attention_phase, prefetch_proj
from ecp.codegen.nvidia_attention import tiles as attention_tiles
from ecp.codegen.nvidia_desc import HEAD, Tile, Tuning, VitDesc
from ecp.codegen.nvidia_gemm import Gemm, gemm_phase, prefetch_gemm
from ecp.codegen.nvidia_load import load_act, load_ln, load_patch
from ecp.codegen.nvidia_mlp import head_phase, mlp_bytes, mlp_phase, mlp_weights, prefetch_mlp
from ecp.codegen.nvidia_pack import PAGE
from ecp.codegen.nvidia_ptx import HELPERS, LOCAL_BYTES, TWIN

BIAS_BYTES = 4096
MBAR_BYTES = 256
LOCAL = LOCAL_BYTES // 1024 * 1024 - BIAS_BYTES - 1024  # then bias values, then the mbarriers
MARKS = 8  # time stamps a group leaves in one phase


def _top(size: int) -> int:
    """Offset of an area of ``size`` bytes at the end of local memory."""
    return (LOCAL - size) // 1024 * 1024


def _guard(count: int, text: str) -> str:
    """``text`` only for groups that have a tile."""
    return f"\n  if (g < {count}) {{{text}\n  }}"


def _plus(other: str) -> str:
    return "".join(f"v[{i}] += {other}[{i}]; " for i in range(4))


@dataclass(frozen=True)
class Placed:
    """A product phase and the local offset of its operand A."""

    gemm: Gemm
    aoff: int

    @property
    def free(self) -> int:
        """What lies below is free once the phase's products are done."""
        return _top(self.gemm.scratch)


class Builder:
    """Plans local memory phase by phase and joins the texts; ``at`` and ``stride`` locate the weights."""

    def __init__(self, d: VitDesc, tuning: Tuning, at: Mapping[str, int], stride: int) -> None:
        self.d, self.tn, self.at, self.stride = d, tuning, at, stride
        self.warps = tuning.threads // 32
        self.acts = arena(d, tuning)
        self.slots: dict[str, int] = {}
        put = "STG2U({o} + (ulong)(row * {ld} + col) * 2, pack2({f}(v[0]), {f}(v[1])), pack2({f}(v[2]), {f}(v[3])));"
        self.red = f"RED4(x0 + row * {d.dim} + col, v);"
        start = f"float e[4]; LDNC4(e, b_patch + row * {d.dim} + col); {_plus('e')}STG4F(x0 + row * {d.dim} + col, v);"
        self.patch = self._product("patch", d.dim, d.patch_values, tuning.patch, start, "image")
        self.qkv = self._product(
            "qkv", 3 * d.dim, d.dim, tuning.qkv, put.format(o="qkv", ld=3 * d.dim, f=""), "ln"
        )
        self.proj = self._product("proj", d.dim, d.dim, tuning.proj, self.red, "att")
        self.up = self._product(
            "up", d.hidden, d.dim, tuning.up, put.format(o="hid", ld=d.hidden, f="gelu"), "ln"
        )
        self.down = self._product("down", d.dim, d.hidden, tuning.down, self.red, "hid")
        self.att_off = _top(attention_bytes(d, tuning.bq, self.warps))

    def _product(self, name: str, n: int, k: int, t: Tile, epi: str, source: str) -> Placed:
        proto = Gemm(name, self.d.tokens, n, k, t, "", 0, epi, heavy=name == "up", bias=source != "image")
        aoff, waits = _top(proto.a_bytes), 0
        if source == "ln":
            text = load_ln(self.d, t.bm, self.warps, aoff)
        elif source == "image":
            text = load_patch(self.d, t.bm, aoff)
        else:
            step = t.wk if proto.chunks % t.wk == 0 else 1
            fits = [
                i
                for i in range(1, self.tn.a_groups + 1)
                if proto.chunks % i == 0 and proto.chunks // i % step == 0
            ]
            waits = max(fits)
            text = load_act(source, k, t.bm, proto.m, proto.chunks, waits, aoff)
        return Placed(replace(proto, source=text, groups_a=waits), aoff)

    def check(self) -> None:
        """Raise ValueError where the tuning does not fit the model or the local memory."""
        d, tn = self.d, self.tn
        used = [self.patch, self.qkv, self.up]
        used += ([] if tn.fuse_proj else [self.proj]) + ([] if tn.fuse_mlp else [self.down])
        for p in used:
            g, t = p.gemm, p.gemm.tile
            if t.warps != self.warps or t.bm % (16 * t.wm) or t.bn % (8 * t.wn) or t.bm % self.warps:
                raise ValueError(f"{g.name}: {t} does not fit {self.warps} warps")
            if g.n % t.bn or g.k % (64 * t.split):
                raise ValueError(f"{g.name}: {g.n}x{g.k} does not divide into {t}")
            if p.aoff < 0 or t.bn * 4 > BIAS_BYTES:
                raise ValueError(f"{g.name}: {t} does not fit local memory")
        if (tn.fuse_proj or tn.fuse_mlp) and d.dim % (8 * self.warps):
            raise ValueError(f"fused phases share {d.dim} columns among {self.warps} warps")
        if d.dim != d.heads * HEAD or d.tokens > 16 * 16 * 2:
            raise ValueError(f"attention is written for head size {HEAD} and at most 512 tokens")

    def ask(self, p: Placed, free: int) -> str:
        """Prefetch of p's first weights while only what lies at ``free`` and above is in use."""
        name = p.gemm.name
        room = min(free, p.aoff) // p.gemm.chunk_bytes
        self.slots[name] = min(p.gemm.chunks, room, self.slots.get(name, p.gemm.chunks), MBAR_BYTES // 8)
        if self.slots[name] < min(p.gemm.chunks, p.gemm.tile.wk):
            raise ValueError(f"{name}: {free} bytes of local memory do not hold one step of its weights")
        return _guard(p.gemm.tiles, prefetch_gemm(p.gemm, "g", self.slots[name]))

    def product(self, p: Placed, following: str) -> str:
        """Text of a product phase."""
        return gemm_phase(p.gemm, self.slots[p.gemm.name], p.aoff, p.free, LOCAL, following)

    def phases(self) -> tuple[str, list[tuple[str, str]]]:
        """Text up to the first block, and (name, text) of each phase of a block."""
        d, tn = self.d, self.tn
        first_patch = self.ask(self.patch, LOCAL)
        # qkv follows the patch phase and the previous block alike: the smaller room counts for both.
        ask_qkv = self.ask(self.qkv, min(self.patch.free, LOCAL if tn.fuse_mlp else self.down.free))
        next_block = f"\n  if (layer + 1 < {d.depth}) {{ const GLB uchar *w_qkv = lw + {self.stride + self.at['w_qkv']}; {ask_qkv} }}"
        ask_mlp = self._ask_mlp()
        if tn.fuse_proj:
            self._fits(d.dim * 128, min(self.att_off, self.qkv.free), "the fused projection")
            after_qkv, after_att = _guard(attention_tiles(d, tn.bq), prefetch_proj("g", d)), ask_mlp
        else:
            after_qkv, after_att = "", self.ask(self.proj, self.att_off)
        block = [
            ("qkv", self.product(self.qkv, after_qkv)),
            ("attn", attention_phase(d, tn.bq, self.warps, self.att_off, LOCAL, self._clear(), after_att, self.red if tn.fuse_proj else None)),
        ]  # fmt: skip
        if not tn.fuse_proj:
            block.append(("proj", self.product(self.proj, ask_mlp)))
        if tn.fuse_mlp:
            off = _top(mlp_bytes(self.up.gemm))
            block.append(
                ("mlp", mlp_phase(self.up.gemm, d, self.warps, off, LOCAL, self._red_mlp(), next_block))
            )
        else:
            ask_down = self.ask(self.down, self.up.free)
            block += [("up", self.product(self.up, ask_down)), ("down", self.product(self.down, next_block))]
        start = f"""{{ const GLB uchar *w_qkv = wt + {self.at["layer0"] + self.at["w_qkv"]};
  {first_patch}
  {self.product(self.patch, ask_qkv)}
  }}"""
        return start, block

    def _ask_mlp(self) -> str:
        free = LOCAL if self.tn.fuse_proj else self.proj.free
        if not self.tn.fuse_mlp:
            return self.ask(self.up, free)
        up = self.up.gemm
        self._fits(mlp_weights(up, self.d.dim), min(_top(mlp_bytes(up)), free), "the fused MLP")
        return _guard(up.tiles, prefetch_mlp("g", up, self.d.dim))

    def _fits(self, need: int, free: int, what: str) -> None:
        if need > free or self.d.dim * 4 + self.tn.up.bn * 4 > BIAS_BYTES:
            raise ValueError(f"{what} needs {need} bytes of local memory for weights, {free} are free")

    def _clear(self) -> str:
        """The fused MLP reads one residual and adds to the other, which attention clears before."""
        if not self.tn.fuse_mlp:
            return ""
        return f"""
for (uint i = g * NT + tid; i < {self.d.tokens * self.d.dim // 4}; i += NGROUPS * NT) {{
  const float z[4] = {{0.0f, 0.0f, 0.0f, 0.0f}};
  STG4F(x1 + i * 4, z);
}}"""

    def _red_mlp(self) -> str:
        at = f"row * {self.d.dim} + col"
        return f"if (ks == 0) {{ float e[4]; LDCG4(e, x0 + {at}); {_plus('e')}}} RED4(x1 + {at}, v);"

    def source(self) -> tuple[str, list[str]]:
        """The whole kernel, and the names of its phases in order."""
        self.check()
        d, at = self.d, self.at
        start, block = self.phases()
        pointers = "".join(
            f"    const GLB uchar *w_{n} = lw + {at['w_' + n]};\n    const GLB float *b_{n} = (const GLB float *)(lw + {at['b_' + n]});\n"
            for n in ("qkv", "proj", "up", "down")
        )
        steps = "\n".join(f"    GRID_SYNC(); {{ {text} }}" for _, text in block)
        body = f"""
  {start}
  #pragma unroll 1
  for (uint layer = 0; layer < {d.depth}; layer++) {{
    const GLB uchar *lw = wt + {at["layer0"]} + (ulong)layer * {self.stride};
{pointers}{steps}
    {"{ GLB float *xs = x0; x0 = x1; x1 = xs; }" if self.tn.fuse_mlp else ""}
  }}
  {head_phase(d, self.warps)}
"""
        return self._frame(body), ["patch", *[n for n, _ in block] * d.depth, "head"]

    def _frame(self, body: str) -> str:
        at, acts, tn = self.at, self.acts, self.tn
        mark = "\n#define MARK(k)\n"
        if tn.marks:
            mark = f"""
#define MARK(k) if (tid == 0) {{ ulong c_; asm volatile("mov.u64 %0,%%globaltimer;" : "=l"(c_)); ((GLB ulong *)(act + {acts["marks"]}))[(nb * {tn.groups} + g) * {MARKS} + k] = c_; }}
"""
        return f"""/* Generated: a ViT as one persistent kernel. Launch exactly {tn.groups} groups of {tn.threads}. */
#define NT {tn.threads}
{TWIN}{HELPERS}{mark}
#define GRID_SYNC() {{ MARK(0); nb++; grid_sync(ctr, nb * NGROUPS, tid); MARK(1); }}

KERNEL vit(GLB uchar *wt, GLB uchar *act, const GLB float *in, GLB float *out) {{
  SMEM_BASE({LOCAL + BIAS_BYTES + MBAR_BYTES});
  const uint tid = LID, lane = tid & 31, warp = tid >> 5, g = GID;
  const uint mb = sb + {LOCAL + BIAS_BYTES};
  GLB uint *ctr = (GLB uint *)wt;
  const GLB int *order = (const GLB int *)(wt + {at["order"]});
  const GLB uchar *w_patch = wt + {at["w_patch"]}, *w_head = wt + {at["w_head"]};
  const GLB float *b_patch = (const GLB float *)(wt + {at["b_patch"]}), *b_head = (const GLB float *)(wt + {at["b_head"]});
  GLB float *x0 = (GLB float *)(act + {acts["x0"]}), *x1 = (GLB float *)(act + {acts["x1"]});
  GLB uchar *qkv = act + {acts["qkv"]}, *att = act + {acts["att"]}, *hid = act + {acts["hid"]};
  uint nb = 0, par = 0;
  if (tid < {MBAR_BYTES // 8}) {{
    asm volatile("mbarrier.init.shared::cta.b64 [%0],1;" :: "r"(mb + tid * 8) : "memory");
    asm volatile("fence.proxy.async;" ::: "memory");
  }}
  SYNC();
  MARK(1);
{body}
  MARK(0);
  /* The last group out resets the barrier for the next launch. */
  SYNC();
  if (tid == 0) {{
    uint old;
    asm volatile("atom.acq_rel.gpu.global.add.u32 %0,[%1],1;" : "=r"(old) : "l"(ctr + 32) : "memory");
    if (old == NGROUPS - 1) {{ ctr[0] = 0; ctr[32] = 0; }}
  }}
}}
"""


def arena(d: VitDesc, tn: Tuning) -> dict[str, int]:
    """Offsets of the activations between phases; ``end`` is their size."""
    x, half = d.tokens * d.dim * 4, d.tokens * 2
    phases = d.depth * 5 + 2
    sizes = {
        "x0": x, "x1": x if tn.fuse_mlp else 0, "qkv": half * 3 * d.dim, "att": 0 if tn.fuse_proj else half * d.dim,
        "hid": 0 if tn.fuse_mlp else half * d.hidden, "marks": phases * tn.groups * MARKS * 8 if tn.marks else 0,
    }  # fmt: skip
    at, end = {}, 0
    for name, size in sizes.items():
        at[name] = end
        end += -(-size // PAGE) * PAGE
    return {**at, "end": end}


def phase_times(names: list[str], stamps: np.ndarray) -> dict[str, dict[str, float]]:
    """Mean microseconds of each phase from one run's marks ``[phases, groups, MARKS]`` (uint64, ns).

    ``span``: from the last group's start to the next phase's; ``work``: the slowest group's own time.
    """
    t = stamps.astype(np.int64)
    begin, end = t[:, :, 1].max(1), np.append(t[1:, :, 1].max(1), t[-1, :, 0].max())
    work = (t[:, :, 0] - t[:, :, 1]).max(1)
    kinds = list(dict.fromkeys(names))
    where = {k: [i for i, n in enumerate(names) if n == k] for k in kinds}
    return {
        k: {"span": float((end - begin)[w].mean()) / 1e3, "work": float(work[w].mean()) / 1e3}
        for k, w in where.items()
    }
