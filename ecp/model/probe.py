"""A class head for a pretrained backbone in closed form: ridge regression on its frozen features."""

from __future__ import annotations

from typing import Any

import torch


def ridge(
    features: torch.Tensor, labels: torch.Tensor, classes: int, l2: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight ``[classes, dim]`` and bias ``[classes]`` fitting one-hot labels; ``l2`` is per sample, in fp64.

    Features ``[samples, dim]`` are centred, so the bias is not penalised.
    """
    x, targets = features.double(), torch.nn.functional.one_hot(labels.long(), classes).double()
    mean_x, mean_y = x.mean(0), targets.mean(0)
    x = x - mean_x
    gram = x.T @ x + l2 * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weight = torch.linalg.solve(gram, x.T @ (targets - mean_y)).T
    return weight.to(features.dtype), (mean_y - weight @ mean_x).to(features.dtype)


def set_ridge_head(
    model: Any,
    features: torch.Tensor,
    labels: torch.Tensor,
    classes: int,
    l2: float = 0.1,
    scale: float = 1.0,
) -> None:
    """Give ``model`` a linear head fitted on its features; ``scale`` turns the fit into logits."""
    weight, bias = ridge(features, labels, classes, l2)
    model.reset_classifier(classes)
    head = model.get_classifier()
    with torch.no_grad():
        head.weight.copy_(weight * scale)
        head.bias.copy_(bias * scale)
