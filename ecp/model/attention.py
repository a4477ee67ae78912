"""Core-periphery attention, equation 2 of the paper, as two dense products over one QKV projection.

Queries of core tokens see every key; queries of periphery tokens see core keys only. Tokens are ordered
core first, so each part is a slice and nothing is gathered. The masked form is the definition the
two-product form is tested against, the form with self loops, and the form whose shapes do not depend on
the core ratio (one compiled graph trains every ratio).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ecp.errors import UsageError


def dense_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Softmax attention of ``[batch, heads, queries, d]`` over ``keys`` rows; q is already scaled."""
    return (q @ k.transpose(-2, -1)).softmax(dim=-1) @ v


def cp_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, core: int) -> torch.Tensor:
    """Equation 2 on ``[batch, heads, tokens, d]``, the first ``core`` tokens being core; q is already scaled.

    Exports as four slices, two MatMul-Softmax-MatMul chains and one Concat.
    """
    seen_by_core = dense_attention(q[:, :, :core], k, v)
    seen_by_periphery = dense_attention(q[:, :, core:], k[:, :, :core], v[:, :, :core])
    return torch.cat([seen_by_core, seen_by_periphery], dim=2)


def masked_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Dense attention without the pairs outside ``mask``, bool ``[tokens, tokens]``; q is already scaled."""
    return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)


class CPAttention(nn.Module):
    """Multi-head CP attention with the parameters of a timm ``Attention`` module (shared, not copied).

    ``core`` counts prefix tokens too. Input and output ``[batch, tokens, dim]``, core tokens first.
    ``use_mask`` switches to the masked form with ``mask``; the results agree to rounding.
    """

    mask: torch.Tensor

    def __init__(self, source: Any, core: int, mask: torch.Tensor, use_mask: bool = False) -> None:
        super().__init__()
        for part in ("gate", "norm"):
            extra = getattr(source, part, None)
            if extra is not None and not isinstance(extra, nn.Identity):
                raise UsageError(f"attention with '{part}' has no core-periphery form here; use a plain ViT")
        self.num_heads = int(source.num_heads)
        self.scale = float(source.scale)
        self.core = core if core < mask.shape[0] else None  # None: every token is core, plain attention
        self.use_mask = use_mask
        self.qkv = source.qkv
        self.q_norm, self.k_norm = source.q_norm, source.k_norm
        self.attn_drop, self.proj, self.proj_drop = source.attn_drop, source.proj, source.proj_drop
        self.register_buffer("mask", mask, persistent=False)

    def forward(
        self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        """``[batch, tokens, dim]`` to the same shape; the graph is fixed, so no other mask is accepted."""
        if attn_mask is not None or is_causal:
            raise ValueError("the core-periphery graph is the mask: attn_mask and is_causal are not accepted")
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        q, k = self.q_norm(q) * self.scale, self.k_norm(k)
        if self.use_mask:
            out = masked_attention(q, k, v, self.mask)
        elif self.core is None:
            out = dense_attention(q, k, v)
        else:
            out = cp_attention(q, k, v, self.core)
        out = out.transpose(1, 2).reshape(batch, tokens, -1)
        return self.proj_drop(self.proj(out))
