"""Build the PyTorch module of a spec, with weights from a fixed seed. torch is imported here."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bench.models.spec import ModelSpec
from bench.models.weights import randomize
from ecp.errors import UsageError

SEED = 0
DEFAULT_SIZE = 224
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def build(spec: ModelSpec) -> nn.Module:
    """The module in eval mode. The same spec gives the same weights in every process."""
    makers: dict[str, Callable[[ModelSpec], nn.Module]] = {
        "timm": _timm,
        "ecp": _ecp,
        "pvt": _pvt,
        "t2t": _t2t,
        "crossformer": _crossformer,
        "cswin": _cswin,
    }
    if spec.maker not in makers:
        raise UsageError(f"model '{spec.name}' is an ONNX file: it has no PyTorch module")
    return makers[spec.maker](spec).eval()


def input_shape(spec: ModelSpec, module: nn.Module) -> tuple[int, int, int, int]:
    """[batch, channels, height, width]."""
    config = getattr(module, "default_cfg", None) or {}
    channels, height, width = config.get("input_size", (3, DEFAULT_SIZE, DEFAULT_SIZE))
    if spec.size is not None:
        height = width = spec.size
    return spec.batch, channels, height, width


def normalisation(module: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that the network's authors preprocess with (ImageNet's where unknown)."""
    config = getattr(module, "default_cfg", None) or {}
    return tuple(config.get("mean", IMAGENET_MEAN)), tuple(config.get("std", IMAGENET_STD))


def _seeded(make: Callable[[], nn.Module], spec: ModelSpec) -> nn.Module:
    """Construct without disturbing the caller's generator, then give it numerically telling weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module = make().eval()
        shape = input_shape(spec, module)
        randomize(module, (2, *shape[1:]))
    return module


def _timm(spec: ModelSpec) -> nn.Module:
    import timm

    known = timm.list_models()
    architecture = spec.source.partition(".")[0]
    if architecture not in known:
        near = difflib.get_close_matches(architecture, known, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(f"timm has no network '{spec.source}'{hint}")

    def make() -> nn.Module:
        options: dict[str, Any] = {}
        if spec.size is not None and _takes_size(architecture):
            options["img_size"] = spec.size
        return timm.create_model(architecture, pretrained=False, **options)

    return _seeded(make, spec)


def _takes_size(architecture: str) -> bool:
    """Transformers are built for one size (``img_size``); convolutional networks take any."""
    import timm

    config = timm.get_pretrained_cfg(architecture)
    fixed = bool(config and config.fixed_input_size)
    entry = inspect.getsource(timm.model_entrypoint(architecture))
    return fixed or "vit" in architecture or "VisionTransformer" in entry


def _ecp(spec: ModelSpec) -> nn.Module:
    from ecp.model.convert import to_ecp

    assert spec.core_ratio is not None
    return to_ecp(_timm(spec), spec.core_ratio)


class _Logits(nn.Module):
    """A transformers classifier as a function from image to logits."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [batch, classes]."""
        return self.inner(x).logits


#: PVT v1, table 1 of its paper (Wang et al., ICCV 2021): blocks per stage.
_PVT_DEPTHS = {"tiny": [2, 2, 2, 2], "small": [3, 4, 6, 3], "medium": [3, 4, 18, 3], "large": [3, 8, 27, 3]}


def _pvt(spec: ModelSpec) -> nn.Module:
    from transformers import PvtConfig, PvtForImageClassification

    def make() -> nn.Module:
        config = PvtConfig(
            depths=_PVT_DEPTHS[spec.source], image_size=spec.size or DEFAULT_SIZE, num_labels=1000
        )
        return _Logits(PvtForImageClassification(config))

    return _seeded(make, spec)


def _t2t(spec: ModelSpec) -> nn.Module:
    from bench.models.t2t import T2TViT

    return _seeded(lambda: T2TViT(image_size=spec.size or DEFAULT_SIZE), spec)


def _crossformer(spec: ModelSpec) -> nn.Module:
    from vit_pytorch.crossformer import CrossFormer

    def make() -> nn.Module:
        # CrossFormer-S of the paper (Wang et al., ICLR 2022). vit-pytorch counts pairs of a short and a long
        # distance block where the paper counts blocks: depths 2, 2, 6, 2 are 1, 1, 3, 1 pairs.
        return CrossFormer(
            num_classes=1000,
            dim=(96, 192, 384, 768),
            depth=(1, 1, 3, 1),
            global_window_size=(8, 4, 2, 1),
            local_window_size=7,
        )

    return _seeded(make, spec)


def _cswin(spec: ModelSpec) -> nn.Module:
    from bench.models.cswin import CSWin

    return _seeded(lambda: CSWin(image_size=spec.size or DEFAULT_SIZE), spec)
