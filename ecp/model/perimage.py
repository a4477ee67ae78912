"""Per-image core choice without labels: each picture's own patches are ranked at run time, inside the network.

The score is the squared distance of a patch embedding from the picture's mean embedding: flat background
scores low. Selection (TopK) and reordering (Gather) are part of the model and of its export, so a latency
measured on it includes them; a fixed core set folds both away.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from ecp.errors import UsageError
from ecp.model.convert import to_ecp


class PerImageOrder(nn.Module):
    """Patch embedding, position embedding and per-image core-first order in one.

    Ranking all patches (not only the core) makes the permutation complete, so every patch stays.
    """

    def __init__(self, embed: nn.Module, positions: torch.Tensor) -> None:
        super().__init__()
        self.embed = embed
        self.positions = nn.Parameter(positions)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("embed"), name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``[batch, 3, H, W]`` to patches with positions, most distinct first."""
        patches = self.embed(x)
        score = (patches - patches.mean(dim=1, keepdim=True)).square().sum(dim=-1)
        order = score.topk(self.positions.shape[1], dim=1).indices
        placed = patches + self.positions
        return placed.gather(1, order.unsqueeze(-1).expand(-1, -1, placed.shape[-1]))


def to_ecp_per_image(vit: nn.Module, core_ratio: float, *, masked: bool = False) -> nn.Module:
    """The ECP form whose core set is chosen per image; the given model is left as it was.

    Raises :class:`~ecp.errors.UsageError` where :func:`~ecp.model.convert.to_ecp` does.
    """
    source: Any = copy.deepcopy(vit)
    patches = int(source.patch_embed.num_patches)
    model: Any = to_ecp(source, core_ratio, range(patches), masked=masked)
    if model.pos_embed is None:
        raise UsageError("a model without a position table has no per-image form here")
    lead = model.pos_embed.shape[1] - patches
    with torch.no_grad():
        rows = model.pos_embed[:, lead:].clone()
        model.pos_embed[:, lead:] = 0  # added before the reordering instead
    model.patch_embed = PerImageOrder(model.patch_embed, rows)
    model.ecp |= {"core_order": "per image (label-free)", "permutation": []}
    return model
