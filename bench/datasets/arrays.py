"""Data sets that come as arrays: CIFAR-10, CIFAR-100, STL-10 in torchvision's layouts, scikit-learn's digits.

A file is read only where its MD5 is the published one (torchvision's ``cifar.py`` and ``stl10.py`` name the same
sums); CIFAR's, which are Python pickles, are read without unpickling (:mod:`ecp.model.cifar`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.datasets.base import Dataset, DatasetError, Item
from ecp.errors import UsageError
from ecp.model import cifar

STL10 = {
    "test": ("test_X.bin", "7f263ba9f9e0b06b93213547f721ac82", "test_y.bin", "36f9794fa4beb8a2c72628de14fa638e"),
    "train": ("train_X.bin", "918c2871b30a85fa023e0c44e0bee87f", "train_y.bin", "5a34089d4802c674881badbb80307741"),
}  # fmt: skip
CIFAR_ITEMS = {cifar.TEST: 10_000, cifar.TRAIN: 50_000}
CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
STL10_CLASSES = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
STL10_SHAPE = (3, 96, 96)
DIGITS = {"test": slice(1400, None), "train": slice(1400), "all": slice(None)}


def _find(root: Path, folder: str, probe: str) -> Path:
    for candidate in (root / folder, root):
        if (candidate / probe).is_file():
            return candidate
    raise DatasetError(
        f"{root} holds no {folder}/{probe}; give the folder that torchvision unpacked the data set into with --data"
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error


def _check_md5(path: Path, content: bytes, wanted: str) -> None:
    got = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if got != wanted:
        raise DatasetError(
            f"{path} has MD5 {got}, the published file {wanted}: nothing of it was read; "
            "unpack the archive again"
        )


def _items(name: str, pixels: np.ndarray, labels: Sequence[int]) -> tuple[Item, ...]:
    return tuple(Item(f"{name}#{row}", int(label), pixels[row]) for row, label in enumerate(labels))


def _cifar(root: Path, name: str, split: str | None, classes: Sequence[str]) -> Dataset:
    chosen = split or cifar.TEST
    if chosen not in (cifar.TEST, cifar.TRAIN):
        raise DatasetError(f"{name} has the splits test and train, not '{chosen}'")
    try:
        batches = cifar.read_batches(root, name, chosen)
    except UsageError as error:
        raise DatasetError(str(error)) from error
    items = [item for b in batches for item in _items(b.file, b.pixels, b.labels)]
    digest = hashlib.sha256(b"".join(b.content for b in batches)).hexdigest()
    return Dataset(name, chosen, tuple(classes), tuple(items), digest, CIFAR_ITEMS[chosen])


def cifar10(root: Path, split: str | None = None) -> Dataset:
    """``cifar-10-batches-py``, split ``test`` (default) or ``train``."""
    return _cifar(root, "cifar10", split, CIFAR10_CLASSES)


def cifar100(root: Path, split: str | None = None) -> Dataset:
    """``cifar-100-python`` with its 100 fine labels, split ``test`` (default) or ``train``."""
    return _cifar(root, "cifar100", split, [str(i) for i in range(100)])


def stl10(root: Path, split: str | None = None) -> Dataset:
    """``stl10_binary``, split ``test`` (default, 8,000 pictures) or ``train`` (5,000)."""
    chosen = split or "test"
    if chosen not in STL10:
        raise DatasetError(f"STL-10 has the splits test and train, not '{chosen}'")
    x_name, x_md5, y_name, y_md5 = STL10[chosen]
    base = _find(root, "stl10_binary", x_name)
    x, y = _bytes(base / x_name), _bytes(base / y_name)
    _check_md5(base / x_name, x, x_md5)
    _check_md5(base / y_name, y, y_md5)
    if len(x) % int(np.prod(STL10_SHAPE)) or len(x) // int(np.prod(STL10_SHAPE)) != len(y):
        raise DatasetError(f"{x_name} ({len(x)} bytes) and {y_name} ({len(y)} labels) do not belong together")
    # The file holds column-major pictures: [N, 3, W, H].
    pixels = np.frombuffer(x, np.uint8).reshape(-1, *STL10_SHAPE).transpose(0, 3, 2, 1)
    labels = [int(v) - 1 for v in y]
    expected = 8_000 if chosen == "test" else 5_000
    digest = hashlib.sha256(x + y).hexdigest()
    items = _items(x_name, pixels, labels)
    return Dataset("stl10", chosen, tuple(STL10_CLASSES), items, digest, expected)


def digits(split: str | None = None) -> Dataset:
    """scikit-learn's 1,797 handwritten digits (8x8 grey, inside its wheel): the default without any download.

    Split ``test`` (default): the last 397, which ``bench train`` does not see; ``train``: the first 1,400; ``all``.
    """
    from sklearn.datasets import load_digits

    chosen = split or "test"
    if chosen not in DIGITS:
        raise DatasetError(f"digits has the splits {', '.join(DIGITS)}, not '{chosen}'")
    data = load_digits()
    part = DIGITS[chosen]
    grey = (data.images[part] * (255.0 / 16.0)).round().astype(np.uint8)
    pixels, labels = np.repeat(grey[..., None], 3, axis=3), data.target[part].astype(np.int64)
    digest = hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()
    items = _items("digits", pixels, labels)
    return Dataset("digits", chosen, tuple("0123456789"), items, digest, expected=len(labels))
