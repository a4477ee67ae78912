"""Conversion of a timm ViT or DeiT into its ECP form.

The patches are put in core-first order once, after patch embedding, and never restored; the position
embedding is permuted at conversion, so each patch keeps its own. In the exported ONNX the order is one
Gather with a constant index on the patch axis (none when it is the identity, as at core ratio 1.0 without
a core order), which the compiler folds into the patch embedding's view.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ecp.errors import UsageError
from ecp.model.attention import CPAttention
from ecp.model.graph import CorePeripheryGraph, centre_first


class PermutedPatchEmbed(nn.Module):
    """A patch embedding whose ``[batch, patches, dim]`` output is reordered by a constant index."""

    order: torch.Tensor

    def __init__(self, embed: nn.Module, order: torch.Tensor) -> None:
        super().__init__()
        self.embed = embed
        self.register_buffer("order", order)

    def __getattr__(self, name: str) -> Any:
        # timm reads grid_size, num_patches, ... off its patch embedding
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("embed"), name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``[batch, 3, H, W]`` to patches in core-first order."""
        return self.embed(x)[:, self.order]


def _check_convertible(vit: nn.Module) -> None:
    needed = ("blocks", "patch_embed", "pos_embed", "num_prefix_tokens")
    missing = [name for name in needed if getattr(vit, name, None) is None]
    if missing:
        raise UsageError(
            f"{type(vit).__name__} has no {', '.join(missing)}: only timm VisionTransformer and DeiT models "
            "have an ECP form"
        )
    if getattr(vit, "dynamic_img_size", False):
        raise UsageError("a model with dynamic_img_size has no fixed patch grid: create it with img_size=...")
    for block in vit.blocks:  # type: ignore[union-attr]
        if not all(
            hasattr(getattr(block, "attn", None), part) for part in ("qkv", "q_norm", "scale", "proj")
        ):
            raise UsageError(f"block {type(block).__name__} has no plain QKV attention to convert")


def to_ecp(
    vit: nn.Module,
    core_ratio: float,
    core_order: Sequence[int] | None = None,
    *,
    nodes: int | None = None,
    self_loop: bool = False,
    masked: bool = False,
) -> nn.Module:
    """The ECP form of a timm ViT or DeiT; the given model is left as it was.

    ``core_ratio`` in [0, 1]; ``core_order`` ranks all patches (raster index, most important first) and
    defaults to centre-first, which needs no data. ``nodes`` groups patches (default: one per node).
    ``self_loop`` lets periphery nodes see themselves (ablation; masked form only). ``masked`` computes
    dense attention with pruned pairs excluded, for training. The model's ``ecp`` attribute says what was
    chosen; prefix tokens (class, distillation, registers) are always core. Raises
    :class:`~ecp.errors.UsageError` for a model, ratio or order that does not fit.
    """
    _check_convertible(vit)
    if self_loop and not masked:
        raise UsageError("self_loop is an ablation of the masked form: ask for masked=True with it")
    model: Any = copy.deepcopy(vit)
    prefix = int(model.num_prefix_tokens)
    rows, columns = model.patch_embed.grid_size
    default = core_order is None
    identity = default and core_ratio == 1.0
    ranking = centre_first((rows, columns)) if core_order is None else core_order
    graph = CorePeripheryGraph.build(rows * columns, core_ratio, ranking, nodes)

    order = torch.from_numpy(graph.permutation)
    if not identity and not torch.equal(order, torch.arange(len(order))):
        model.patch_embed = PermutedPatchEmbed(model.patch_embed, order)
        lead = model.pos_embed.shape[1] - len(order)  # prefix rows of the table, 0 with no_embed_class
        with torch.no_grad():
            model.pos_embed.copy_(
                torch.cat([model.pos_embed[:, :lead], model.pos_embed[:, lead:][:, order]], 1)
            )

    mask = torch.from_numpy(graph.token_mask(prefix, self_loop))
    core = prefix + graph.num_core
    for block in model.blocks:
        block.attn = CPAttention(block.attn, core, mask, use_mask=masked)
    model.ecp = {
        "core_ratio": core_ratio,
        "core_patches": graph.num_core,
        "patches": graph.num_patches,
        "prefix_tokens": prefix,
        "nodes": graph.nodes,
        "self_loop": self_loop,
        "core_order": "none needed" if identity else "centre-first (no data)" if default else "given",
        "permutation": [int(i) for i in (range(len(order)) if identity else order)],
    }
    return model


def set_masked(model: nn.Module, masked: bool) -> nn.Module:
    """Switch every CP attention of a converted model between the masked and the two-product form."""
    for module in model.modules():
        if isinstance(module, CPAttention):
            module.use_mask = masked
    return model
