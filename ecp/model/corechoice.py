"""Which patches are core: a ranking of the patch grid with its provenance, saved as a small JSON file.

Methods behind one type: ``grad-cam`` (the grad-cam package on the last block's norm1, predicted class,
averaged over training images), ``rollout`` (attention rollout), ``centre``, ``random``, and
``oracle (leaky)``: Grad-CAM with the true labels of the images that are then scored, an upper bound that
no fair result may use. ``per-image`` needs no set at all and is in :mod:`ecp.model.perimage`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ecp.errors import UsageError
from ecp.model.graph import centre_first, check_ranking

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]
Maps = Callable[[torch.Tensor, torch.Tensor], np.ndarray]
ORACLE = "oracle (leaky)"
# Methods that give one fixed set; those of BY_GRADIENT need a class head that means something.
METHODS = ("grad-cam", "rollout", "centre", "random", ORACLE)
BY_GRADIENT = ("grad-cam", ORACLE)
# No fixed set: the network ranks each image's own patches (:mod:`ecp.model.perimage`).
PER_IMAGE = "per-image"
_FORMAT = "ecp-core-order"


@dataclass(frozen=True)
class CoreOrder:
    """A ranking of all patches (raster index, most important first) and where it came from.

    ``scores`` are the values it was sorted by, in raster order, empty where there are none.
    """

    method: str
    grid: tuple[int, int]
    ranking: list[int]
    scores: list[float] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the JSON file."""
        path.write_text(json.dumps({"format": _FORMAT, "version": 1, **asdict(self)}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> CoreOrder:
        """Read and check a JSON file; raises :class:`UsageError` naming what is wrong."""
        try:
            data = json.loads(Path(path).read_text())
            if data["format"] != _FORMAT or data["version"] != 1:
                raise UsageError(f"{path}: not a core order of version 1")
            rows, columns = (int(n) for n in data["grid"])
            ranking = check_ranking(data["ranking"], rows * columns)
            return cls(data["method"], (rows, columns), ranking, data["scores"], data["provenance"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}: not a core order file ({type(error).__name__}: {error})") from error


def _ranked(scores: np.ndarray) -> list[int]:
    return [int(i) for i in np.argsort(-scores.ravel(), kind="stable")]


def centre(grid: tuple[int, int]) -> CoreOrder:
    """Patches by distance to the middle; needs no data."""
    return CoreOrder("centre", grid, centre_first(grid))


def random(grid: tuple[int, int], seed: int) -> CoreOrder:
    """A uniformly random ranking; the control every other choice must beat."""
    ranking = np.random.default_rng(seed).permutation(grid[0] * grid[1])
    return CoreOrder("random", grid, [int(i) for i in ranking], provenance={"seed": seed})


def _grid(model: Any) -> tuple[int, int]:
    rows, columns = model.patch_embed.grid_size
    return int(rows), int(columns)


def _average(maps: Maps, batches: Batches) -> tuple[np.ndarray, dict[str, Any]]:
    """Mean of per-image maps ``[batch, rows, columns]``, and a count and hash of the images seen."""
    total, count, digest = None, 0, hashlib.sha256()
    for images, labels in batches:
        digest.update(images.cpu().numpy().tobytes())
        part = maps(images, labels).sum(axis=0)
        total = part if total is None else total + part
        count += len(images)
    if total is None:
        raise UsageError("no images were given to choose core patches from")
    return total / count, {"images": count, "images_sha256": digest.hexdigest()}


def grad_cam(model: Any, batches: Batches, *, leak_labels: bool = False) -> CoreOrder:
    """Grad-CAM on the last block's norm1 for the predicted class, averaged over the images.

    ``model`` is a dense ViT with a class head; ``batches`` yields normalised images ``[batch, 3, H, W]`` and
    labels, which are read only with ``leak_labels`` (the method is then named "oracle (leaky)").
    """
    try:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    except ImportError as error:  # OpenCV, which it brings, wants libGL on some systems
        raise UsageError(
            f"grad-cam cannot be used here ({error}): pip install grad-cam, or choose rollout"
        ) from error

    rows, columns = _grid(model)
    prefix = int(model.num_prefix_tokens)
    target = model.blocks[-1].norm1
    before = {p: p.requires_grad for p in model.parameters()}
    for parameter in before:
        parameter.requires_grad_(False)
    for parameter in target.parameters():  # the gradient starts here: the earlier blocks need none
        parameter.requires_grad_(True)

    def reshape(tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, prefix:].reshape(len(tokens), rows, columns, -1).permute(0, 3, 1, 2)

    def maps(images: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
        targets = [ClassifierOutputTarget(int(label)) for label in labels] if leak_labels else None
        pixels = cam(images, targets=targets)
        height, width = pixels.shape[1] // rows, pixels.shape[2] // columns
        shape = (len(pixels), rows, height, columns, width)
        return pixels[:, : rows * height, : columns * width].reshape(shape).mean(axis=(2, 4))

    try:
        with GradCAM(model=model.eval(), target_layers=[target], reshape_transform=reshape) as cam:
            scores, seen = _average(maps, batches)
    finally:
        for parameter, needed in before.items():
            parameter.requires_grad_(needed)
    provenance = {"layer": "blocks[-1].norm1", "class": "true label" if leak_labels else "predicted", **seen}
    name = ORACLE if leak_labels else "grad-cam"
    return CoreOrder(name, (rows, columns), _ranked(scores), scores.ravel().tolist(), provenance)


def _attention_maps(model: Any, images: torch.Tensor) -> list[torch.Tensor]:
    """Head-mean attention ``[batch, tokens, tokens]`` of every block, recomputed from its norm1 output."""
    maps: list[torch.Tensor] = []

    def record(attention: Any, inputs: tuple[torch.Tensor, ...], _: object) -> None:
        x = inputs[0]
        qkv = attention.qkv(x).reshape(*x.shape[:2], 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k = attention.q_norm(qkv[0]) * attention.scale, attention.k_norm(qkv[1])
        maps.append((q @ k.transpose(-2, -1)).softmax(dim=-1).mean(dim=1))

    hooks = [block.attn.register_forward_hook(record) for block in model.blocks]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return maps


def rollout_maps(model: Any, images: torch.Tensor) -> np.ndarray:
    """Attention rollout from the class token, ``[batch, rows, columns]``: products of (A + I) / 2."""
    maps = _attention_maps(model, images)
    eye = torch.eye(maps[0].shape[-1], dtype=maps[0].dtype, device=maps[0].device)
    product = eye.expand(len(images), -1, -1)
    for attention in maps:
        product = ((attention + eye) / 2) @ product
    rows, columns = _grid(model)
    return product[:, 0, int(model.num_prefix_tokens) :].reshape(-1, rows, columns).cpu().numpy()


def rollout(model: nn.Module, batches: Batches) -> CoreOrder:
    """Attention rollout averaged over the images; needs neither labels nor a head."""
    scores, seen = _average(lambda images, _: rollout_maps(model.eval(), images), batches)
    return CoreOrder("rollout", _grid(model), _ranked(scores), scores.ravel().tolist(), dict(seen))


def choose(method: str, model: Any, batches: Batches = (), seed: int = 0) -> CoreOrder:
    """The core order of ``model`` by a name in :data:`METHODS`; :class:`UsageError` for another."""
    if method == "centre":
        return centre(_grid(model))
    if method == "random":
        return random(_grid(model), seed)
    if method == "rollout":
        return rollout(model, batches)
    if method in BY_GRADIENT:
        return grad_cam(model, batches, leak_labels=method == ORACLE)
    raise unknown(method)


def unknown(method: str) -> UsageError:
    """The error for a name that gives no fixed set."""
    if method == PER_IMAGE:
        return UsageError(
            f"'{method}' has no fixed core set: train it with `bench train --set model.core={method}`"
        )
    return UsageError(
        f"unknown core choice '{method}': use one of {', '.join(METHODS)}, or the path of a core-order JSON"
    )
