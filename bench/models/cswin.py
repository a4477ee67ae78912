"""CSWin-T, written from its paper (Dong et al., "CSWin Transformer", CVPR 2022, section 3 and table 1).

Half of the heads attend in horizontal stripes, half in vertical ones; positions enter by LePE, a depthwise
convolution of the values inside each stripe.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

#: Blocks, stripe width and heads per stage.
_DEPTHS = (1, 2, 21, 1)
_STRIPES = (1, 2, 7, 7)
_HEADS = (2, 4, 8, 16)


class _StripeAttention(nn.Module):
    """Attention in windows of ``height`` x ``width`` tokens, with LePE."""

    def __init__(self, dim: int, heads: int, side: int, height: int, width: int) -> None:
        super().__init__()
        self.heads, self.side, self.window = heads, side, (height, width)
        self.lepe = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def _windows(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, side * side, c] to [batch * windows, c, height, width]."""
        batch, _, c = x.shape
        h, w = self.window
        x = x.reshape(batch, self.side // h, h, self.side // w, w, c).permute(0, 1, 3, 5, 2, 4)
        return x.reshape(-1, c, h, w)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        return x.reshape(n, self.heads, c // self.heads, h * w).transpose(2, 3)

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        batch, tokens, c = q.shape
        h, w = self.window
        values = self._windows(v)
        position = self._split(self.lepe(values))
        out = functional.scaled_dot_product_attention(
            self._split(self._windows(q)), self._split(self._windows(k)), self._split(values)
        )
        out = (out + position).transpose(1, 2).reshape(-1, self.side // h, self.side // w, h, w, c)
        return out.permute(0, 1, 3, 2, 4, 5).reshape(batch, tokens, c)


class _Block(nn.Module):
    """Cross-shaped window attention and an MLP; the last stage attends to the whole image at once."""

    def __init__(self, dim: int, heads: int, side: int, stripe: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        if side == stripe:
            self.branches = nn.ModuleList([_StripeAttention(dim, heads, side, side, side)])
        else:
            self.branches = nn.ModuleList(
                _StripeAttention(dim // 2, heads // 2, side, *window)
                for window in ((side, stripe), (stripe, side))
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [p.chunk(len(self.branches), dim=-1) for p in self.qkv(self.norm1(x)).chunk(3, dim=-1)]
        out = [branch(*(p[i] for p in parts)) for i, branch in enumerate(self.branches)]
        x = x + self.proj(torch.cat(out, dim=-1))
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class _Merge(nn.Module):
    """Half the side, other width: a strided convolution and a LayerNorm."""

    def __init__(self, dim_in: int, dim_out: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(dim_in, dim_out, kernel, stride, padding), nn.LayerNorm(dim_out)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(image).flatten(2).transpose(1, 2))


class CSWin(nn.Module):
    """Images [batch, 3, S, S] to logits [batch, classes]; S must be a multiple of 224."""

    def __init__(self, image_size: int = 224, dim: int = 64, classes: int = 1000) -> None:
        super().__init__()
        side = image_size // 4
        self.sides = tuple(side >> i for i in range(len(_DEPTHS)))
        stages, merges = [], [_Merge(3, dim, 7, 4, 2)]
        for index, (depth, stripe, heads) in enumerate(zip(_DEPTHS, _STRIPES, _HEADS)):
            if index:
                merges.append(_Merge(dim, 2 * dim, 3, 2, 1))
                side, dim = side // 2, 2 * dim
            last = index == len(_DEPTHS) - 1
            stages.append(
                nn.Sequential(*(_Block(dim, heads, side, side if last else stripe) for _ in range(depth)))
            )
        self.merges, self.stages = nn.ModuleList(merges), nn.ModuleList(stages)
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        for side, merge, stage in zip(self.sides, self.merges, self.stages):
            tokens = stage(merge(x))
            x = tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], side, side)
        return self.head(self.norm(tokens).mean(dim=1))
