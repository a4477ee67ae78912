"""Parameters and multiply-accumulates of a ViT/16 at 224 px, from its width alone.

Counted as the literature counts them: matmuls, patch embedding and head; no softmax, norm or bias additions.
"""

from __future__ import annotations

WIDTH = {"tiny": 192, "small": 384, "base": 768}
BLOCKS = 12
PATCHES = 196
PATCH_INPUTS = 16 * 16 * 3


def core_tokens(ratio: float, patches: int = PATCHES) -> int:
    """Core tokens at a core ratio: the rounded share of the patches, and the class token (always core)."""
    return round(ratio * patches) + 1


def attention_pairs(ratio: float, patches: int = PATCHES) -> int:
    """Query-key pairs of one head: core queries see all keys, periphery queries core keys (equation 2)."""
    cores, tokens = core_tokens(ratio, patches), patches + 1
    return cores * tokens + (tokens - cores) * cores


def macs(size: str, ratio: float = 1.0, classes: int = 1000) -> float:
    """Multiply-accumulates of one image, in G (10^9)."""
    d, tokens = WIDTH[size], PATCHES + 1
    block = 12 * tokens * d * d + 2 * attention_pairs(ratio) * d
    return (BLOCKS * block + PATCHES * PATCH_INPUTS * d + d * classes) / 1e9


def params(size: str, classes: int = 1000, distilled: bool = False) -> float:
    """Parameters in M (10^6). ``distilled``: DeiT's second token, its position and its second head."""
    d = WIDTH[size]
    embedding = PATCH_INPUTS * d + d + d + (PATCHES + 1) * d
    total = embedding + BLOCKS * (12 * d * d + 13 * d) + 2 * d + classes * d + classes
    if distilled:
        total += 2 * d + classes * d + classes
    return total / 1e6


def patches_per_node(nodes: int, patches: int = PATCHES) -> list[int]:
    """Section 3.2: ``patches mod nodes`` nodes get one patch more than the others."""
    base, extra = divmod(patches, nodes)
    return [base + 1] * extra + [base] * (nodes - extra)


def ratio_for_macs(size: str, target: float) -> float:
    """The core ratio whose MACs come nearest to ``target`` G."""
    candidates = [i / PATCHES for i in range(PATCHES + 1)]
    return min(candidates, key=lambda r: abs(macs(size, r) - target))
