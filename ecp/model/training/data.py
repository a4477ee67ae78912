"""Image classification data from folders that the user names, checked before the first step.

Layouts: ``imagefolder`` (train/CLASS/*.jpg and val/CLASS/*.jpg; ImageNet-1K), ``tiny-imagenet`` (the
published folder), ``cifar10``, ``cifar100`` and ``stl10`` (torchvision's), ``digits`` (in scikit-learn).
Augmentation of an image depends only on (seed, epoch, index): the number of workers, the number of devices
and an interruption change nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import datasets
from torchvision.transforms import v2

from ecp.errors import UsageError
from ecp.model import cifar
from ecp.model.pictures import evaluation_view
from ecp.model.training.config import DataConfig

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
_CONTENT_LIMIT = 2 << 30


@dataclass(frozen=True)
class Source:
    """One split: where each image is (a file, or pixels in memory ``[h, w, 3]``) and its class index."""

    images: Sequence[Path | np.ndarray]
    labels: list[int]


@dataclass(frozen=True)
class Data:
    """A checked data set. ``sha256`` covers names, sizes and labels, and contents up to 2 GiB (``hashed``)."""

    classes: list[str]
    train: Source
    test: Source
    sha256: str
    hashed: str
    notes: dict[str, int]


def _files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in _SUFFIXES)


def _need(path: Path, layout: str) -> None:
    if not path.exists():
        raise UsageError(f"{path} is missing: {layout}")


def _labelled(folders: dict[str, Path], classes: list[str], split: str) -> Source:
    images: list[Path | np.ndarray] = []
    labels: list[int] = []
    for index, name in enumerate(classes):
        files = _files(folders[name])
        if not files:
            raise UsageError(f"{folders[name]}: no images ({split} class '{name}')")
        images += files
        labels += [index] * len(files)
    return Source(images, labels)


def _image_folder(root: Path) -> tuple[list[str], Source, Source]:
    layout = f"the imagefolder layout is {root}/train/CLASS/*.jpg and {root}/val/CLASS/*.jpg"
    for split in ("train", "val"):
        _need(root / split, layout)
    found = {s: {d.name: d for d in sorted((root / s).iterdir()) if d.is_dir()} for s in ("train", "val")}
    classes = sorted(found["train"])
    if not classes:
        raise UsageError(f"{root}/train has no class folders: {layout}")
    difference = sorted(set(classes) ^ set(found["val"]))
    if difference:
        shown = ", ".join(difference[:5])
        raise UsageError(f"{root}: {len(difference)} classes stand in only one of train and val: {shown}")
    return classes, _labelled(found["train"], classes, "train"), _labelled(found["val"], classes, "val")


def _names(names: list[str], where: Path) -> None:
    """Refuse names that lead out of the folder they are looked up in."""
    outside = [n for n in names if Path(n).name != n]
    if outside:
        raise UsageError(f"{where} names {outside[0]!r}, which is not the name of a file")


def _tiny_imagenet(root: Path) -> tuple[list[str], Source, Source]:
    layout = f"the tiny-imagenet-200 layout is {root}/wnids.txt, train/WNID/images, val/val_annotations.txt"
    for part in ("wnids.txt", "train", "val/images", "val/val_annotations.txt"):
        _need(root / part, layout)
    classes = sorted((root / "wnids.txt").read_text().split())
    _names(classes, root / "wnids.txt")
    missing = [w for w in classes if not (root / "train" / w / "images").is_dir()]
    if missing:
        raise UsageError(f"{root}/train: {len(missing)} of {len(classes)} classes are missing: {missing[:5]}")
    train = _labelled({w: root / "train" / w / "images" for w in classes}, classes, "train")
    images: list[Path | np.ndarray] = []
    labels = []
    for line in (root / "val/val_annotations.txt").read_text().splitlines():
        name, wnid = line.split("\t")[:2]
        _names([name], root / "val/val_annotations.txt")
        if wnid not in classes:
            raise UsageError(f"{root}/val/val_annotations.txt: {name} has class {wnid}, not in wnids.txt")
        images.append(root / "val/images" / name)
        labels.append(classes.index(wnid))
    return classes, train, Source(images, labels)


def _cifar(kind: str, root: Path) -> tuple[list[str], Source, Source]:
    sources = []
    for split in (cifar.TRAIN, cifar.TEST):
        batches = cifar.read_batches(root, kind, split)
        sources.append(Source([p for b in batches for p in b.pixels], [n for b in batches for n in b.labels]))
    return cifar.class_names(root, kind), sources[0], sources[1]


def _stl10(root: Path) -> tuple[list[str], Source, Source]:
    try:
        parts = [datasets.STL10(root, split=s) for s in ("train", "test")]
    except (RuntimeError, OSError) as error:
        raise UsageError(f"{root}: not torchvision's stl10 layout ({error})") from error
    sources = [Source(list(p.data.transpose(0, 2, 3, 1)), [int(n) for n in p.labels]) for p in parts]
    return list(parts[0].classes), sources[0], sources[1]


def _digits() -> tuple[list[str], Source, Source]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.repeat((digits.images * (255 / 16)).round().astype(np.uint8)[..., None], 3, axis=3)
    labels = [int(x) for x in digits.target]
    train, test = Source(list(pixels[:1400]), labels[:1400]), Source(list(pixels[1400:]), labels[1400:])
    return [str(i) for i in range(10)], train, test


def _fault(image: Path | np.ndarray, decode: bool) -> str | None:
    if isinstance(image, np.ndarray):
        return None
    try:
        with Image.open(image) as opened:
            if decode:
                opened.load()
            else:
                opened.verify()
    except (OSError, SyntaxError, ValueError) as error:
        return f"{image} ({error})"
    return None


def _check(source: Source, config: DataConfig, split: str) -> tuple[Source, int]:
    with ThreadPoolExecutor() as pool:
        faults = list(pool.map(lambda image: _fault(image, config.check == "decode"), source.images))
    bad = [fault for fault in faults if fault is not None]
    if bad and not config.skip_corrupt:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise UsageError(
            f"{len(bad)} corrupt {split} images: {'; '.join(bad[:3])}{more}. Repair them, or set data.skip_corrupt=true"
        )
    keep = [i for i, fault in enumerate(faults) if fault is None]
    return Source([source.images[i] for i in keep], [source.labels[i] for i in keep]), len(bad)


def _content(image: Path | np.ndarray) -> bytes:
    return image.tobytes() if isinstance(image, np.ndarray) else image.read_bytes()


def _remove_leaks(train: Source, test: Source) -> tuple[Source, int]:
    """Test images that are byte-identical to a training image are dropped."""
    seen = {hashlib.sha256(_content(image)).digest() for image in train.images}
    keep = [i for i, image in enumerate(test.images) if hashlib.sha256(_content(image)).digest() not in seen]
    dropped = len(test.images) - len(keep)
    return Source([test.images[i] for i in keep], [test.labels[i] for i in keep]), dropped


def _hash(root: Path | None, train: Source, test: Source, small: bool) -> str:
    digest = hashlib.sha256()
    for source in (train, test):
        for image, label in zip(source.images, source.labels):
            if isinstance(image, Path):
                digest.update(f"{image.relative_to(root or '/')} {image.stat().st_size} {label}\n".encode())
            else:
                digest.update(f"{image.shape} {label}\n".encode())
            if small:
                digest.update(_content(image))
    return digest.hexdigest()


def _subset(source: Source, per_class: int, seed: int) -> Source:
    labels = np.array(source.labels)
    random = np.random.default_rng(seed)
    chosen = [random.permutation(np.flatnonzero(labels == c))[:per_class] for c in np.unique(labels)]
    keep = np.sort(np.concatenate(chosen))
    return Source([source.images[i] for i in keep], [int(labels[i]) for i in keep])


def load(config: DataConfig, seed: int = 0) -> Data:
    """Find, check and hash a data set; :class:`UsageError` says what is wrong with the folder."""
    root = config.path
    if config.kind != "digits" and root is None:
        raise UsageError(f"data.path is not set: name the folder of the {config.kind} data")
    if root is not None and not root.is_dir():
        raise UsageError(f"data.path {root}: no such folder")
    if config.kind == "digits":
        classes, train, test = _digits()
    elif config.kind == "imagefolder":
        classes, train, test = _image_folder(Path(str(root)))
    elif config.kind == "tiny-imagenet":
        classes, train, test = _tiny_imagenet(Path(str(root)))
    elif config.kind == "stl10":
        classes, train, test = _stl10(Path(str(root)))
    else:
        classes, train, test = _cifar(config.kind, Path(str(root)))
    train, bad_train = _check(train, config, "training")
    test, bad_test = _check(test, config, "test")
    sizes = sum(i.stat().st_size if isinstance(i, Path) else i.nbytes for i in (*train.images, *test.images))
    small = sizes <= _CONTENT_LIMIT
    leaked = 0
    if small:
        test, leaked = _remove_leaks(train, test)
    if config.per_class is not None:
        train = _subset(train, config.per_class, seed)
    notes = {"corrupt_skipped": bad_train + bad_test, "test_images_in_train_dropped": leaked}
    return Data(
        classes, train, test, _hash(root, train, test, small), "content" if small else "listing", notes
    )


class Images(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Normalised images ``[3, size, size]`` and labels.

    With ``crop`` augmented per (seed, epoch, index), else as in :func:`~ecp.model.pictures.evaluation_view`.
    """

    def __init__(
        self,
        source: Source,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        crop: tuple[float, float] | None = None,
        flip: bool = False,
        seed: int = 0,
    ) -> None:
        self.source, self.seed, self.epoch = source, seed, 0
        to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(mean), list(std))]
        if crop is None:
            view = v2.Lambda(partial(evaluation_view, size=size))
            self.transform = v2.Compose([view, *to_tensor])
        else:
            mirror = [v2.RandomHorizontalFlip()] if flip else []
            self.transform = v2.Compose(
                [v2.RandomResizedCrop(size, scale=crop, antialias=True), *mirror, *to_tensor]
            )
        self.augmented = crop is not None

    def __len__(self) -> int:
        return len(self.source.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Image and label ``index`` of the current ``epoch``."""
        raw = self.source.images[index]
        image = Image.fromarray(raw) if isinstance(raw, np.ndarray) else Image.open(raw)
        with image, torch.random.fork_rng(devices=[], enabled=self.augmented):
            if self.augmented:
                torch.manual_seed(hash((self.seed, self.epoch, index)) & 0x7FFFFFFF)
            return self.transform(image.convert("RGB")), self.source.labels[index]
