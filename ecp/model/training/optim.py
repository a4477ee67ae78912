"""The optimiser of the paper's recipe: AdamW with a cosine from the initial to the minimal learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


def cosine(step: int, steps: int, warmup: int, minimum: float) -> float:
    """Learning-rate factor in (0, 1] of a 0-based step: linear warm-up, then a cosine down to ``minimum``."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - 1 - warmup)
    return minimum + (1 - minimum) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def adamw(
    model: nn.Module, lr: float, weight_decay: float, head_lr_scale: float = 1.0, fused: bool = False
) -> torch.optim.AdamW:
    """AdamW; vectors, tokens and position tables are not decayed, the head's rate may be scaled.

    Every group keeps its full rate in ``base_lr`` for :func:`set_lr`.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decayed = parameter.ndim >= 2 and not name.endswith(("pos_embed", "_token"))
            groups.setdefault((name.startswith("head"), decayed), []).append(parameter)
    listed: list[dict[str, Any]] = [
        {
            "params": parameters,
            "base_lr": lr * (head_lr_scale if head else 1.0),
            "weight_decay": weight_decay if decayed else 0.0,
        }
        for (head, decayed), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]
    return torch.optim.AdamW(listed, lr=lr, fused=fused)


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Scale every group's ``base_lr``."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
