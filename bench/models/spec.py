"""Names of models and what they ask for; no torch here, so that names can be checked quickly."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.names import check_name
from ecp.errors import UsageError

DEFAULT_RATIO = 0.8
_SIZES = ("tiny", "small", "base", "large")


@dataclass(frozen=True)
class ModelSpec:
    """A parsed name. ``maker`` says which builder, ``source`` what it builds (a timm name, a size, a path)."""

    name: str
    maker: str
    source: str
    family: str
    core_ratio: float | None = None
    size: int | None = None
    batch: int = 1


def _registry() -> dict[str, tuple[str, str, str]]:
    """Base name -> (maker, source, family)."""
    table: dict[str, tuple[str, str, str]] = {}
    for size in _SIZES:
        table[f"vit_{size}"] = ("timm", f"vit_{size}_patch16_224", "vit")
        table[f"ecp_vit_{size}"] = ("ecp", f"vit_{size}_patch16_224", "ecp_vit")
        table[f"pvt_{'medium' if size == 'base' else size}"] = (
            "pvt",
            "medium" if size == "base" else size,
            "pvt",
        )
    for size in _SIZES[:3]:
        table[f"deit_{size}"] = ("timm", f"deit_{size}_patch16_224", "deit")
        table[f"deit_{size}_distilled"] = ("timm", f"deit_{size}_distilled_patch16_224", "deit")
        table[f"ecp_deit_{size}"] = ("ecp", f"deit_{size}_patch16_224", "ecp_deit")
        table[f"swin_{size}"] = ("timm", f"swin_{size}_patch4_window7_224", "swin")
        table[f"convit_{size}"] = ("timm", f"convit_{size}", "convit")
    for size in ("s12", "s24", "s36", "m36", "m48"):
        table[f"poolformer_{size}"] = ("timm", f"poolformer_{size}", "poolformer")
    table |= {
        "beit_base": ("timm", "beit_base_patch16_224", "beit"),
        "tnt_s": ("timm", "tnt_s_patch16_224", "tnt"),
        "tnt_b": ("timm", "tnt_b_patch16_224", "tnt"),
        "t2t_vit_14": ("t2t", "14", "t2t_vit"),
        "crossformer_s": ("crossformer", "s", "crossformer"),
        "cswin_tiny": ("cswin", "tiny", "cswin"),
        "resnet50": ("timm", "resnet50", "resnet"),
        "vgg16": ("timm", "vgg16", "vgg"),
    }
    return table


REGISTRY = _registry()


def names() -> list[str]:
    """The registered base names, sorted."""
    return sorted(REGISTRY)


def parse(name: str) -> ModelSpec:
    """The meaning of a name. Raises :class:`UsageError` with the nearest names or what is wrong."""
    if name.startswith("onnx:"):
        path = name.removeprefix("onnx:")
        if not path:
            raise UsageError("'onnx:' needs a path: onnx:PATH")
        return ModelSpec(name, "onnx", path, "onnx")
    base, *suffixes = name.split("@")
    ratio, size, batch = _suffixes(name, suffixes)
    if base.startswith("timm:"):
        maker, source, family = "timm", base.removeprefix("timm:"), "timm"
    else:
        maker, source, family = REGISTRY[check_name("model", base, REGISTRY)]
    if maker == "ecp":
        ratio = DEFAULT_RATIO if ratio is None else ratio
    elif ratio is not None:
        raise UsageError(f"model '{name}': only ecp_ models have a core ratio (ecp_{base}@{ratio:g}?)")
    return ModelSpec(name, maker, source, family, ratio, size, batch)


def _suffixes(name: str, suffixes: list[str]) -> tuple[float | None, int | None, int]:
    ratio: float | None = None
    size: int | None = None
    batch = 1
    for text in suffixes:
        if re.fullmatch(r"b[1-9][0-9]{0,3}", text):
            batch = int(text[1:])
        elif re.fullmatch(r"[0-9]{2,4}", text) and int(text) >= 32:
            size = int(text)
        elif re.fullmatch(r"0|1|0?\.[0-9]+|1\.0+|0\.", text):
            ratio = float(text)
        else:
            raise UsageError(
                f"model '{name}': '@{text}' is not a core ratio in [0, 1] (@0.8), an image size of 32 or more "
                "(@384) or a batch (@b8)"
            )
    return ratio, size, batch
