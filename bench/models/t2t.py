"""T2T-ViT-14, written from its paper (Yuan et al., "Tokens-to-Token ViT", ICCV 2021, section 3 and table 2).

vit-pytorch's module keeps the unfolded width (147, then 1323) in the token transformers; the paper projects
to 64, which is what gives T2T-ViT-14 its 21.5 M parameters, so it is written here.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

_TOKEN_DIM = 64


class _Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class _Attention(nn.Module):
    """Self-attention into ``inner`` features; with ``value_skip`` the values bypass it, as widths differ."""

    def __init__(self, dim: int, inner: int, heads: int, value_skip: bool) -> None:
        super().__init__()
        self.heads, self.inner, self.value_skip = heads, inner, value_skip
        self.qkv = nn.Linear(dim, inner * 3, bias=False)
        self.proj = nn.Linear(inner, inner)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, self.inner // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        out = functional.scaled_dot_product_attention(q, k, v)
        out = self.proj(out.transpose(1, 2).reshape(batch, tokens, self.inner))
        return v.squeeze(1) + out if self.value_skip else out


class _TokenTransformer(nn.Module):
    """One block between two soft splits: ``dim`` features in, 64 out."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(_TOKEN_DIM)
        self.attn = _Attention(dim, _TOKEN_DIM, 1, value_skip=True)
        self.mlp = _Mlp(_TOKEN_DIM, _TOKEN_DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = _Attention(dim, dim, heads, value_skip=False)
        self.mlp = _Mlp(dim, hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def _sinusoids(tokens: int, dim: int) -> torch.Tensor:
    """The fixed position table of "Attention is all you need"."""
    position = torch.arange(tokens, dtype=torch.float64)[:, None]
    angle = position / 10000 ** (2 * (torch.arange(dim) // 2) / dim)
    angle[:, 0::2], angle[:, 1::2] = angle[:, 0::2].sin(), angle[:, 1::2].cos()
    return angle.float()[None]


class T2TViT(nn.Module):
    """Images [batch, 3, S, S] to logits [batch, classes]; S must be a multiple of 16."""

    position: torch.Tensor

    def __init__(
        self, image_size: int = 224, dim: int = 384, depth: int = 14, heads: int = 6, classes: int = 1000
    ) -> None:
        super().__init__()
        self.side = image_size // 4
        self.split1, self.split2, self.split3 = (
            nn.Unfold(kernel_size=k, stride=s, padding=p) for k, s, p in ((7, 4, 2), (3, 2, 1), (3, 2, 1))
        )
        self.token1, self.token2 = _TokenTransformer(3 * 49), _TokenTransformer(_TOKEN_DIM * 9)
        self.project = nn.Linear(_TOKEN_DIM * 9, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.register_buffer("position", _sinusoids((image_size // 16) ** 2 + 1, dim))
        self.blocks = nn.ModuleList(_Block(dim, heads, 3 * dim) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = self.token1(self.split1(x).transpose(1, 2))
        x = self.token2(self.split2(_image(x, self.side)).transpose(1, 2))
        x = self.project(self.split3(_image(x, self.side // 2)).transpose(1, 2))
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def _image(tokens: torch.Tensor, side: int) -> torch.Tensor:
    """[batch, side * side, c] to [batch, c, side, side]."""
    batch, _, channels = tokens.shape
    return tokens.transpose(1, 2).reshape(batch, channels, side, side)
