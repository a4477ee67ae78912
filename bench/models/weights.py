"""Random weights under which a wrong kernel shows.

Fresh networks are degenerate: biases 0, norms 1 and 0, LayerScale 1e-5, attention logits near 0. An exporter
merges equal constants, a dropped bias changes nothing, a wrong softmax stays uniform. So every parameter
varies here, products keep unit variance, and BatchNorm's statistics are those of an input batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

_NORM_SPREAD = 0.1
_BIAS_SPREAD = 0.05
_LAYER_SCALE = 0.2
#: Tables of fewer input features than this (position encoders) keep their designed weights.
_MIN_FEATURES = 8


def randomize(module: nn.Module, calibration_shape: Sequence[int]) -> None:
    """Vary every parameter in place, from torch's generator; calibrate BatchNorm on a random batch."""
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Linear) and layer.in_features >= _MIN_FEATURES:
                layer.weight.normal_(0, 1 / math.sqrt(layer.in_features))
        for name, parameter in module.named_parameters():
            if parameter.numel() and bool((parameter == parameter.reshape(-1)[0]).all()):
                _vary(name, parameter)
    _calibrate(module, calibration_shape)


def _vary(name: str, parameter: torch.Tensor) -> None:
    """A constant parameter: a bias or table of zeros, a norm's ones, a LayerScale's tiny value."""
    value = float(parameter.reshape(-1)[0])
    noise = torch.randn(parameter.shape, dtype=parameter.dtype)
    if value == 0:
        parameter.copy_(noise * _BIAS_SPREAD)
    elif abs(value) < _LAYER_SCALE:
        parameter.copy_(_LAYER_SCALE * (1 + _NORM_SPREAD * noise))
    else:
        parameter.copy_(value * (1 + _NORM_SPREAD * noise))


def _calibrate(module: nn.Module, shape: Sequence[int]) -> None:
    """Running statistics of one float64 pass on one thread, so that every process gets the same ones."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    threads, momenta = torch.get_num_threads(), [m.momentum for m in norms]
    torch.set_num_threads(1)
    module.double()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        module(torch.randn(*shape, dtype=torch.float64))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    module.float().eval()
    torch.set_num_threads(threads)
