"""What a model's name says: one spelling, core ratio, image size, base network."""

from __future__ import annotations

import re

DEFAULT_RATIO = 0.8


def canonical(model: str) -> str:
    """One spelling per model: ``ecp_vit_tiny@0.80`` is ``ecp_vit_tiny``; order is ratio, image size, batch."""
    if model.startswith("onnx:"):
        return model
    name, ratio, size, batch = _parts(model)
    if name.startswith("ecp_") and ratio == DEFAULT_RATIO:
        ratio = None
    texts = [
        f"{ratio:g}" if ratio not in (None, 1.0) else "1.0" if ratio == 1.0 else "",
        str(size or ""),
        batch,
    ]
    return "@".join([name, *filter(None, texts)])


def _parts(model: str) -> tuple[str, float | None, int | None, str]:
    """(base name, core ratio, image size, ``bN``) of a registry name; unknown suffixes stay with the base name."""
    name, *suffixes = model.split("@")
    ratio, size, batch = None, None, ""
    for text in suffixes:
        if re.fullmatch(r"b\d+", text):
            batch = "" if text == "b1" else text
        elif re.fullmatch(r"\d{2,4}", text):
            size = int(text)
        elif re.fullmatch(r"\d?\.?\d+|\d\.", text):
            ratio = float(text)
        else:
            name += f"@{text}"
    return name, ratio, size, batch


def core_ratio(model: str) -> float | None:
    """The core ratio in a model's name; None for a model without core-periphery attention."""
    name, ratio, _, _ = _parts(model)
    if not name.startswith("ecp_"):
        return None
    return DEFAULT_RATIO if ratio is None else ratio


def base_name(model: str) -> str:
    """The registry's name without ratio, size and batch."""
    return model if model.startswith("onnx:") else _parts(model)[0]


def image_size(model: str) -> int:
    """The input's side in pixels, 224 where the name does not say."""
    return _parts(model)[2] or 224
