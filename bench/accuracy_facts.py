"""What an ONNX file says about its own pictures: the normalisation its network was trained with.

``bench train`` exports its networks with these facts as JSON under the metadata key ``ecp``; a network fed with
another mean would lose accuracy without any error, so the file's own word comes before everything else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from ecp.errors import ModelError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Normalisation:
    """Per channel, of pixels in [0, 1]; ``source`` says who said so."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


def normalisation(path: Path, info: Any) -> Normalisation:
    """From the file's metadata, else from the model registry (``info.mean``, ``info.std``), else ImageNet's.

    Raises :class:`ModelError` for metadata that is there and cannot be meant: nothing is guessed in its place.
    """
    facts = _facts(path)
    if "mean" in facts or "std" in facts:
        mean, std = (_channels(path, name, facts.get(name)) for name in ("mean", "std"))
        if min(std) <= 0:
            raise ModelError(f"{path}: metadata 'ecp' has std {list(std)}; every channel must be above 0")
        return Normalisation(mean, std, "metadata of the ONNX file")
    known = getattr(info, "mean", None), getattr(info, "std", None)
    if known[0] and known[1]:
        return Normalisation(tuple(known[0]), tuple(known[1]), "model registry")
    return Normalisation(IMAGENET_MEAN, IMAGENET_STD, "ImageNet's, because the file does not say")


def _facts(path: Path) -> dict[str, Any]:
    try:
        properties = onnx.load(str(path), load_external_data=False).metadata_props
    except Exception as error:
        raise ModelError(f"{path} is not a readable ONNX file: {' '.join(str(error).split())}") from error
    text = next((p.value for p in properties if p.key == "ecp"), "{}")
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ModelError(f"{path}: its metadata 'ecp' is not JSON ({error}); export it again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: its metadata 'ecp' is not a JSON object; export it again")
    return found


def _channels(path: Path, name: str, value: Any) -> tuple[float, ...]:
    numbers = isinstance(value, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in value
    )
    if not numbers or len(value) != 3:
        raise ModelError(
            f"{path}: metadata 'ecp' has {name} {value!r}; three numbers are needed, one a channel"
        )
    return tuple(float(v) for v in value)
