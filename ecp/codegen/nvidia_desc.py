"""What the persistent ViT kernel is made for: the model's shape and the tuned tiles."""

from __future__ import annotations

from dataclasses import dataclass, field

HEAD = 64  # the only head size the attention phase is written for


@dataclass(frozen=True)
class VitDesc:
    """Shape of a pre-norm ViT with exact GELU, batch 1; ``dim`` is ``heads * 64``.

    Tokens below ``core`` attend to all keys, the others to the core's keys only; ``core == tokens`` is
    plain attention. ``row`` is the token that the classifier reads. ``eps``: of every LayerNorm.
    """

    depth: int
    dim: int
    heads: int
    hidden: int
    tokens: int = 197
    core: int = 197
    patch: int = 16
    channels: int = 3
    image: int = 224
    classes: int = 1000
    row: int = 0
    eps: float = 1e-6

    @property
    def patch_values(self) -> int:
        """Values of one patch."""
        return self.channels * self.patch**2

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        pairs = self.core * self.tokens + (self.tokens - self.core) * self.core
        block = self.tokens * self.dim * (4 * self.dim + 2 * self.hidden) + 2 * pairs * self.dim
        patches = (self.image // self.patch) ** 2
        return self.depth * block + patches * self.patch_values * self.dim + self.dim * self.classes


@dataclass(frozen=True)
class Tile:
    """A product's tiling: ``bm x bn`` outputs a group, K in ``split`` parts, ``wm x wn x wk`` warps."""

    bm: int
    bn: int
    split: int = 1
    wm: int = 1
    wn: int = 4
    wk: int = 2

    @property
    def warps(self) -> int:
        """Warps that the tile is made for."""
        return self.wm * self.wn * self.wk


@dataclass(frozen=True)
class Tuning:
    """Shapes chosen by measurement.

    ``bq``: queries of an attention tile. ``fuse_proj`` multiplies each head's output by its slice of the
    projection at once; ``fuse_mlp`` keeps a slice of the hidden layer in local memory between its two
    products. Both save a grid barrier and cost more additions into the residual. ``marks`` adds time
    stamps (:func:`ecp.codegen.nvidia_kernel.phase_times`).
    """

    groups: int = 132
    threads: int = 256
    bq: int = 16
    fuse_proj: bool = True
    fuse_mlp: bool = False
    a_groups: int = 3
    patch: Tile = field(default=Tile(16, 64))
    qkv: Tile = field(default=Tile(16, 64))
    proj: Tile = field(default=Tile(32, 64))
    up: Tile = field(default=Tile(16, 64))
    down: Tile = field(default=Tile(32, 64))
    marks: bool = False


#: By model width, measured on an H200 (PERFORMANCE.md has the alternatives).
TUNED = {
    192: Tuning(
        fuse_mlp=True, patch=Tile(16, 32, 1, 1, 2, 4), qkv=Tile(16, 64, 1, 1, 4, 2), up=Tile(16, 128, 1, 1, 4, 2)
    ),
    384: Tuning(
        patch=Tile(16, 48, 1, 1, 2, 4), qkv=Tile(16, 128, 1, 1, 4, 2), up=Tile(16, 192, 1, 1, 4, 2),
        down=Tile(32, 64, 3, 2, 2, 2),
    ),
    768: Tuning(
        bq=32, fuse_proj=False, patch=Tile(16, 96, 1, 1, 4, 2), qkv=Tile(48, 96, 1, 1, 2, 4),
        proj=Tile(64, 96, 4, 2, 2, 2), up=Tile(48, 128, 1, 1, 2, 4), down=Tile(48, 96, 3, 1, 2, 4),
    ),
}  # fmt: skip


def tuning_for(desc: VitDesc) -> Tuning:
    """The measured row of this width, or one that fits any width that is a multiple of 64."""
    return TUNED.get(
        desc.dim,
        Tuning(
            bq=32, fuse_proj=False, patch=Tile(16, 64), qkv=Tile(32, 64), proj=Tile(32, 64), up=Tile(32, 64),
            down=Tile(32, 64),
        ),
    )  # fmt: skip
