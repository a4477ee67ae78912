"""From a picture to a model's input: the view that is scored, normalised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ecp.model.pictures import evaluation_view


def to_input(picture: Image.Image, size: int, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """RGB picture -> float32 [3, size, size], ``(x/255 - mean) / std`` of its evaluation view."""
    pixels = np.asarray(evaluation_view(picture, size), dtype=np.float32) / 255.0
    normal = (pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1))
