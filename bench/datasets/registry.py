"""Data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.datasets import arrays, folders
from bench.datasets.base import Dataset, DatasetError
from bench.names import check_name

BY_PATH: dict[str, Callable[[Path, str | None], Dataset]] = {
    "imagenet-1k": folders.imagenet_1k,
    "tiny-imagenet-200": folders.tiny_imagenet,
    "imagefolder": folders.image_folder,
    "cifar10": arrays.cifar10,
    "cifar100": arrays.cifar100,
    "stl10": arrays.stl10,
}
DEFAULT = "digits"
# The short names of `bench train`.
ALIASES = {"imagenet": "imagenet-1k", "tiny-imagenet": "tiny-imagenet-200"}
WHERE = {
    "imagenet-1k": "image-net.org (registration), validation pictures sorted into synset folders",
    "tiny-imagenet-200": "the published tiny-imagenet-200 archive",
    "imagefolder": "any folder with one folder of pictures per class",
    "cifar10": "torchvision.datasets.CIFAR10(root, download=True)",
    "cifar100": "torchvision.datasets.CIFAR100(root, download=True)",
    "stl10": "torchvision.datasets.STL10(root, download=True)",
}


def names() -> list[str]:
    """Known data sets."""
    return [DEFAULT, *BY_PATH]


def open_dataset(name: str, path: Path | None, split: str | None) -> Dataset:
    """The data set as it lies on disk, checked. Never another one than asked.

    Raises :class:`DatasetError` where the folder is missing or is something else.
    """
    name = check_name("data set", ALIASES.get(name, name), names())
    if name == DEFAULT:
        if path is not None:
            raise DatasetError("the data set 'digits' comes with scikit-learn: it takes no --data")
        return arrays.digits(split)
    if path is None:
        raise DatasetError(f"--dataset {name} needs its folder: --data DIR ({WHERE[name]})")
    if not path.is_dir():
        raise DatasetError(f"{path} is not a folder; {name}: {WHERE[name]}")
    return BY_PATH[name](path, split)
