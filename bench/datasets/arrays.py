"""Data sets that come as arrays: CIFAR-10, CIFAR-100, STL-10 in torchvision's layouts, scikit-learn's digits.

CIFAR files are Python pickles; they are read with an unpickler that knows numpy arrays and nothing else, and only
after their published MD5 was compared (torchvision's ``cifar.py`` and ``stl10.py`` name the same sums).
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.datasets.base import Dataset, DatasetError, Item

CIFAR10_TEST = {"test_batch": "40351d587109b95175f43aff81a1287e"}
CIFAR10_TRAIN = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
CIFAR100_TEST = {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"}
CIFAR100_TRAIN = {"train": "16019d7e3df5f24257cddd939b257f8d"}
STL10 = {
    "test": ("test_X.bin", "7f263ba9f9e0b06b93213547f721ac82", "test_y.bin", "36f9794fa4beb8a2c72628de14fa638e"),
    "train": ("train_X.bin", "918c2871b30a85fa023e0c44e0bee87f", "train_y.bin", "5a34089d4802c674881badbb80307741"),
}  # fmt: skip
CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
STL10_CLASSES = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
STL10_SHAPE = (3, 96, 96)
DIGITS = {"test": slice(1400, None), "train": slice(1400), "all": slice(None)}
ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


class Restricted(pickle.Unpickler):
    """Arrays, text, numbers and containers; any other class in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """The few functions that rebuild a numpy array."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"the file wants to call {module}.{name}")
        return super().find_class(module, name)


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


def _md5_problem(name: str, content: bytes, wanted: str) -> list[str]:
    got = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return [] if got == wanted else [f"{name} has MD5 {got}, the published file {wanted}"]


def _unpickle(name: str, content: bytes) -> dict[str, Any]:
    try:
        data: dict[str, Any] = Restricted(io.BytesIO(content), encoding="latin1").load()
        return data
    except Exception as error:
        raise DatasetError(
            f"{name} is damaged or not a data file ({error}); unpack the archive again"
        ) from error


def _items(name: str, pixels: np.ndarray, labels: Sequence[int]) -> tuple[Item, ...]:
    return tuple(Item(f"{name}#{row}", int(label), pixels[row]) for row, label in enumerate(labels))


def _cifar(
    root: Path, name: str, folder: str, files: dict[str, str], key: str, split: str, expected: int
) -> Dataset:
    base = _find(root, folder, next(iter(files)))
    items: list[Item] = []
    problems: list[str] = []
    total = hashlib.sha256()
    for file, md5 in files.items():
        content = _bytes(base / file)
        total.update(content)
        problems += _md5_problem(file, content, md5)
        data = _unpickle(file, content)
        try:
            pixels = np.asarray(data["data"], np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            labels = list(data[key])
        except (KeyError, ValueError) as error:
            raise DatasetError(f"{file} is not a {name} file: {error}") from error
        if len(labels) != len(pixels):
            raise DatasetError(f"{file} has {len(pixels)} pictures and {len(labels)} labels")
        items += _items(file, pixels, labels)
    if len(items) != expected:
        problems.append(f"{len(items)} pictures, a complete copy has {expected}")
    count = 10 if name == "cifar10" else 100
    classes = CIFAR10_CLASSES if name == "cifar10" else [str(i) for i in range(count)]
    return Dataset(name, split, tuple(classes), tuple(items), total.hexdigest(), expected, tuple(problems))


def cifar10(root: Path, split: str | None = None) -> Dataset:
    """``cifar-10-batches-py``, split ``test`` (default) or ``train``."""
    files, expected = (CIFAR10_TRAIN, 50_000) if split == "train" else (CIFAR10_TEST, 10_000)
    return _cifar(root, "cifar10", "cifar-10-batches-py", files, "labels", split or "test", expected)


def cifar100(root: Path, split: str | None = None) -> Dataset:
    """``cifar-100-python`` with its 100 fine labels, split ``test`` (default) or ``train``."""
    files, expected = (CIFAR100_TRAIN, 50_000) if split == "train" else (CIFAR100_TEST, 10_000)
    return _cifar(root, "cifar100", "cifar-100-python", files, "fine_labels", split or "test", expected)


def stl10(root: Path, split: str | None = None) -> Dataset:
    """``stl10_binary``, split ``test`` (default, 8,000 pictures) or ``train`` (5,000)."""
    chosen = split or "test"
    if chosen not in STL10:
        raise DatasetError(f"STL-10 has the splits test and train, not '{chosen}'")
    x_name, x_md5, y_name, y_md5 = STL10[chosen]
    base = _find(root, "stl10_binary", x_name)
    x, y = _bytes(base / x_name), _bytes(base / y_name)
    problems = _md5_problem(x_name, x, x_md5) + _md5_problem(y_name, y, y_md5)
    if len(x) % int(np.prod(STL10_SHAPE)) or len(x) // int(np.prod(STL10_SHAPE)) != len(y):
        raise DatasetError(f"{x_name} ({len(x)} bytes) and {y_name} ({len(y)} labels) do not belong together")
    # The file holds column-major pictures: [N, 3, W, H].
    pixels = np.frombuffer(x, np.uint8).reshape(-1, *STL10_SHAPE).transpose(0, 3, 2, 1)
    labels = [int(v) - 1 for v in y]
    expected = 8_000 if chosen == "test" else 5_000
    if len(labels) != expected:
        problems.append(f"{len(labels)} pictures, a complete copy has {expected}")
    digest = hashlib.sha256(x + y).hexdigest()
    items = _items(x_name, pixels, labels)
    return Dataset("stl10", chosen, tuple(STL10_CLASSES), items, digest, expected, tuple(problems))


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
