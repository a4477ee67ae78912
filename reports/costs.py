"""Parameters and MACs of a model: from the model registry where it has the model, else from the ViT
formula."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from reports.audit import vit_math
from reports.measured import core_ratio


@dataclass(frozen=True)
class Cost:
    """``params_m`` in 10^6, ``macs_g`` in 10^9, and how they were counted."""

    params_m: float
    macs_g: float
    source: str


# The paper's names for networks that the registry calls otherwise; the MetaFormer mapping is a guess.
ALIASES = {
    "beit_base": "timm:beit_base_patch16_224",
    "convit_base": "timm:convit_base",
    "tnt_base": "timm:tnt_b_patch16_224",
}


@cache
def of(model: str) -> Cost | None:
    """The cost of one image, or None where nothing can count it."""
    size = model.partition("@")[0].removeprefix("ecp_").removeprefix("vit_").replace("deit_", "")
    if model.startswith(("vit_", "ecp_vit_", "deit_base")) and size in vit_math.WIDTH:
        ratio = core_ratio(model)
        return Cost(
            vit_math.params(size), vit_math.macs(size, 1.0 if ratio is None else ratio), "counted (formula)"
        )
    return _from_registry(ALIASES.get(model, model))


def _from_registry(model: str) -> Cost | None:
    try:
        registry: Any = importlib.import_module("bench.models")
        info = registry.info(model)
    except Exception:  # the registry may lack the model, or the library that defines it
        return None
    if not info.params or not info.macs:
        return None
    return Cost(info.params / 1e6, info.macs / 1e9, "counted (model registry)")
