"""Parameters and MACs of a model: from the ViT formula, else from the newest run that counted its ONNX graph."""

from __future__ import annotations

from dataclasses import dataclass

from reports.audit import vit_math
from reports.measured import Store
from reports.model_names import base_name, core_ratio, image_size

# The paper's names for networks that the registry calls otherwise.
ALIASES = {
    "tnt_base": "tnt_b",
    "cswin": "cswin_tiny",
    "crossformer_small": "crossformer_s",
}


@dataclass(frozen=True)
class Cost:
    """``params_m`` in 10^6, ``macs_g`` in 10^9, and how they were counted."""

    params_m: float
    macs_g: float
    source: str


def of(model: str, store: Store) -> Cost | None:
    """The cost of one image, or None where no run has counted it."""
    name = base_name(model)
    size = name.removeprefix("ecp_").removeprefix("vit_").removeprefix("deit_")
    if name.startswith(("vit_", "ecp_vit_", "deit_")) and size in vit_math.WIDTH and image_size(model) == 224:
        ratio = core_ratio(model)
        counted = vit_math.macs(size, 1.0 if ratio is None else ratio)
        return Cost(vit_math.params(size), counted, "counted (formula)")
    name = ALIASES.get(model, model)
    info = store.model_info(name)
    cells = {c.metric: c for c in store.find(model=name) if c.metric in ("params", "macs") and c.ok}
    params = cells["params"].value if "params" in cells else info.get("params")
    macs = cells["macs"].value if "macs" in cells else info.get("macs")
    if not isinstance(params, int | float) or not isinstance(macs, int | float) or not params or not macs:
        return None
    return Cost(params / 1e6, macs / 1e9, "counted (ONNX graph)")
