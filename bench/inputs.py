"""What a model is fed: one real photograph, preprocessed as its authors ask, and random inputs for the error check.

The photograph comes out of scikit-learn's wheel, so no download is needed and everyone times the same pixels.
Several test inputs are stacked along a new leading axis; row 0 is the photograph.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ecp import checked
from ecp.errors import ModelError

RANDOM_ROWS = 2
# timm's default evaluation transform: resize the short side to size / 0.875 by bicubic, then crop the centre.
CROP = 0.875


def photograph(
    height: int, width: int, mean: Sequence[float], std: Sequence[float], name: str = "china.jpg"
) -> np.ndarray:
    """The photograph as float32 ``[3, height, width]``, normalized by per-channel ``mean`` and ``std`` (of 0..1)."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    image = Image.fromarray(load_sample_image(name))
    scale = max(height, width) / CROP / min(image.size)
    resized = image.resize(
        (round(image.width * scale), round(image.height * scale)), resample=Image.Resampling.BICUBIC
    )
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    pixels = np.asarray(resized.crop((left, top, left + width, top + height)), dtype=np.float32) / 255.0
    normalized = (pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(normalized.transpose(2, 0, 1))


def make_inputs(
    shape: Sequence[int], mean: Sequence[float], std: Sequence[float], seed: int = 0
) -> np.ndarray:
    """Test inputs ``[1 + RANDOM_ROWS, *shape]`` float32 for an image model of ``shape`` ``[N, 3, H, W]``."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((1 + RANDOM_ROWS, *shape)).astype(np.float32)
    if len(shape) == 4 and shape[1] == 3:
        rows[0] = photograph(shape[2], shape[3], mean, std)
    return rows


def save(path: Path, feeds: Mapping[str, np.ndarray]) -> None:
    """Keep stacked arrays by name with their checksum; the file appears whole or not at all."""
    whole = io.BytesIO()
    np.savez(whole, allow_pickle=False, **dict(feeds))
    checked.write(path, whole.getvalue())


def load(path: Path) -> dict[str, np.ndarray]:
    """Stacked arrays by name, as :func:`save` kept them; ModelError where they are not there or damaged."""
    whole = checked.read(path)
    if whole is None:
        raise ModelError(f"{path} is missing or damaged; run again, and it is made again")
    with np.load(io.BytesIO(whole), allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


def row(stacked: Mapping[str, np.ndarray], index: int) -> dict[str, np.ndarray]:
    """One test input (or output) of a stack."""
    return {name: np.ascontiguousarray(values[index]) for name, values in stacked.items()}
