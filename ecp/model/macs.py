"""Multiply-accumulates and parameters of plain and ECP Vision Transformers, counted analytically.

Counted are the matrix products (patch embedding, QKV, attention, projection, MLP, head), as the paper's
tables do; element-wise work is not. One MAC is one multiply and one add.
"""

from __future__ import annotations

from dataclasses import dataclass

from ecp.errors import UsageError
from ecp.model.graph import core_count


@dataclass(frozen=True)
class VitShape:
    """The sizes that determine a plain ViT: width, depth, heads, square image and patch in pixels."""

    dim: int
    depth: int
    heads: int
    image: int = 224
    patch: int = 16
    classes: int = 1000
    mlp_ratio: float = 4.0
    channels: int = 3
    prefix_tokens: int = 1

    def __post_init__(self) -> None:
        if self.image % self.patch or self.dim % self.heads:
            raise UsageError(
                f"image {self.image} must be a multiple of patch {self.patch}, and width {self.dim} of heads "
                f"{self.heads}"
            )

    @property
    def patches(self) -> int:
        """Patches of one image."""
        return (self.image // self.patch) ** 2

    @property
    def tokens(self) -> int:
        """Tokens N: patches and prefix tokens."""
        return self.patches + self.prefix_tokens


SHAPES = {
    "vit_tiny": VitShape(192, 12, 3),
    "vit_small": VitShape(384, 12, 6),
    "vit_base": VitShape(768, 12, 12),
}


def attention_macs(shape: VitShape, core_ratio: float = 1.0) -> int:
    """MACs of the two attention products over all blocks: core queries x N keys, the rest x core keys."""
    core = shape.prefix_tokens + core_count(core_ratio, shape.patches)
    pairs = core * shape.tokens + (shape.tokens - core) * core
    return shape.depth * 2 * pairs * shape.dim


def total_macs(shape: VitShape, core_ratio: float = 1.0) -> int:
    """MACs of one inference of one image."""
    hidden = int(shape.dim * shape.mlp_ratio)
    dense = shape.depth * shape.tokens * shape.dim * (4 * shape.dim + 2 * hidden)
    embed = shape.patches * shape.dim * shape.channels * shape.patch**2
    return dense + attention_macs(shape, core_ratio) + embed + shape.dim * shape.classes


def attention_share(shape: VitShape, core_ratio: float = 1.0) -> float:
    """Fraction of all MACs spent in the attention products: the most that core-periphery can save."""
    return attention_macs(shape, core_ratio) / total_macs(shape, core_ratio)


def parameters(shape: VitShape) -> int:
    """Parameters with biases, class token and learned position table; the ECP form adds none."""
    d, hidden = shape.dim, int(shape.dim * shape.mlp_ratio)
    block = (3 * d * d + 3 * d) + (d * d + d) + (d * hidden + hidden) + (hidden * d + d) + 4 * d
    embed = shape.channels * shape.patch**2 * d + d
    positions = (shape.tokens + shape.prefix_tokens) * d
    return shape.depth * block + embed + positions + 2 * d + d * shape.classes + shape.classes
