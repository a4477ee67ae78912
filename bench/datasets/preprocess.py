"""From a picture to a model's input, the way timm evaluates: resize, centre crop, normalise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

# timm's crop fraction of the ViT family; the short side is resized to size / CROP before cropping.
CROP = 0.9


def to_input(
    picture: Image.Image, size: int, mean: Sequence[float], std: Sequence[float], crop: float = CROP
) -> np.ndarray:
    """RGB picture -> float32 [3, size, size], bicubic, ``(x/255 - mean) / std``.

    A picture smaller than the input (CIFAR, Tiny-ImageNet, digits) is enlarged whole, without cropping.
    """
    width, height = picture.size
    if min(width, height) < size:
        resized = picture.resize((size, size), Image.Resampling.BICUBIC)
    else:
        short = round(size / crop)
        scale = short / min(width, height)
        wide, high = max(size, round(width * scale)), max(size, round(height * scale))
        grown = picture.resize((wide, high), Image.Resampling.BICUBIC)
        left, top = (wide - size) // 2, (high - size) // 2
        resized = grown.crop((left, top, left + size, top + size))
    pixels = np.asarray(resized, dtype=np.float32) / 255.0
    normal = (pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1))
