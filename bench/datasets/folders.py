"""Folder layouts: ``ImageFolder`` (one folder per class), ImageNet-1K and Tiny-ImageNet-200."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from bench.datasets.base import Dataset, DatasetError, Item

SUFFIXES = {".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm"}
IMAGENET_VAL, IMAGENET_CLASSES = 50_000, 1000
TINY_VAL, TINY_CLASSES = 10_000, 200
SPLIT_NAMES = ("val", "test", "valid", "validation")


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def _classes(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []


def _split(root: Path, split: str | None) -> tuple[Path, str]:
    """The folder that holds the classes: ``root/split``, a known evaluation split, or ``root`` itself."""
    if split is not None:
        if not (root / split).is_dir():
            found = ", ".join(p.name for p in _classes(root)[:8]) or "no folders"
            raise DatasetError(f"{root} has no split '{split}'; it has {found}")
        return root / split, split
    for name in SPLIT_NAMES:
        if (root / name).is_dir():
            return root / name, name
    return root, "all"


def image_folder(root: Path, split: str | None = None, name: str = "imagefolder") -> Dataset:
    """One folder per class, classes numbered by sorted folder name, as torchvision's ImageFolder does."""
    folder, chosen = _split(root, split)
    classes = _classes(folder)
    labelled = [(p, label) for label, c in enumerate(classes) for p in _pictures(c)]
    if not labelled:
        raise DatasetError(
            f"{folder} holds no pictures in class folders (expected {folder}/CLASS/PICTURE.jpg); "
            "give the data set's folder with --data"
        )
    return _make(name, chosen, [c.name for c in classes], labelled, folder)


def imagenet_1k(root: Path, split: str | None = None) -> Dataset:
    """ILSVRC2012 validation pictures sorted into folders by synset (``val/n01440764/...``)."""
    data = image_folder(root, split, "imagenet-1k")
    problems = []
    if len(data.classes) != IMAGENET_CLASSES:
        problems.append(f"{len(data.classes)} class folders, ImageNet-1K has {IMAGENET_CLASSES}")
    strange = [c for c in data.classes if not (c.startswith("n") and c[1:].isdigit() and len(c) == 9)]
    if strange:
        problems.append(f"class folders are not synsets: {', '.join(strange[:3])}")
    return _checked(data, IMAGENET_VAL, problems)


def tiny_imagenet(root: Path, split: str | None = None) -> Dataset:
    """Tiny-ImageNet-200 as published (``val/images`` with ``val_annotations.txt``) or sorted by class.

    Classes are numbered by sorted synset. Validation pictures whose bytes also stand under another class or
    in the training folder are left out and named: they can only be answered by chance or by memory.
    """
    annotations = root / "val" / "val_annotations.txt"
    if split not in (None, "val") or not annotations.is_file():
        data = image_folder(root, split, "tiny-imagenet-200")
        return _checked(data, TINY_VAL, _tiny_problems(data.classes))
    rows = [line.split("\t") for line in annotations.read_text().splitlines() if line.strip()]
    if any(len(row) < 2 for row in rows):
        raise DatasetError(f"{annotations} is damaged: a line has no class; unpack the archive again")
    outside = [row[0] for row in rows if Path(row[0]).name != row[0]]
    if outside:
        raise DatasetError(f"{annotations} names {outside[0]!r}, which is not a file of val/images")
    words = root / "wnids.txt"
    classes = sorted(words.read_text().split()) if words.is_file() else sorted({r[1] for r in rows})
    unknown = {r[1] for r in rows} - set(classes)
    if unknown:
        raise DatasetError(
            f"{annotations} names classes that wnids.txt lacks: {', '.join(sorted(unknown)[:3])}"
        )
    number = {c: i for i, c in enumerate(classes)}
    labelled = [(root / "val" / "images" / r[0], number[r[1]]) for r in rows]
    gone = [p.name for p, _ in labelled if not p.is_file()]
    problems = _tiny_problems(classes)
    if gone:
        problems.append(f"{len(gone)} annotated pictures are missing, the first {gone[0]}")
        labelled = [(p, label) for p, label in labelled if p.is_file()]
    data = _make("tiny-imagenet-200", "val", classes, labelled, root, train=root / "train")
    return _checked(data, TINY_VAL, problems)


def _tiny_problems(classes: Sequence[str]) -> list[str]:
    return (
        [] if len(classes) == TINY_CLASSES else [f"{len(classes)} classes, Tiny-ImageNet has {TINY_CLASSES}"]
    )


def _checked(data: Dataset, expected: int, problems: list[str]) -> Dataset:
    """With the expected count; what was left out on purpose counts as present."""
    left_out = sum(int(note.split()[0]) for note in data.notes)
    if len(data.items) + left_out != expected:
        problems = [*problems, f"{len(data.items) + left_out} pictures, a complete copy has {expected}"]
    return Dataset(
        data.name, data.split, data.classes, data.items, data.content, expected, tuple(problems), data.notes
    )


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _make(
    name: str,
    split: str,
    classes: Sequence[str],
    labelled: Sequence[tuple[Path, int]],
    root: Path,
    train: Path | None = None,
) -> Dataset:
    """Items with their content hash; pictures that stand under two classes or in ``train`` are left out."""
    hashes = [_digest(path) for path, _ in labelled]
    labels: dict[str, set[int]] = defaultdict(set)
    for digest, (_, label) in zip(hashes, labelled, strict=True):
        labels[digest].add(label)
    ambiguous = {d for d, found in labels.items() if len(found) > 1}
    leaked = _leaks(labelled, hashes, train) if train is not None and train.is_dir() else set()
    items, total = [], hashlib.sha256()
    counted = {"ambiguous": 0, "leaked": 0}
    for digest, (path, label) in zip(hashes, labelled, strict=True):
        shown = path.relative_to(root).as_posix()
        total.update(f"{shown}\0{label}\0{digest}\n".encode())
        if digest in ambiguous or digest in leaked:
            counted["ambiguous" if digest in ambiguous else "leaked"] += 1
            continue
        items.append(Item(shown, label, path))
    notes = []
    if counted["ambiguous"]:
        notes.append(f"{counted['ambiguous']} pictures left out: the same bytes stand under two classes")
    if counted["leaked"]:
        notes.append(f"{counted['leaked']} pictures left out: the same bytes stand in the training folder")
    return Dataset(name, split, tuple(classes), tuple(items), total.hexdigest(), notes=tuple(notes))


def _leaks(labelled: Sequence[tuple[Path, int]], hashes: Sequence[str], train: Path) -> set[str]:
    """Hashes of evaluation pictures that are also training pictures; only files of equal size are hashed."""
    sizes = {path.stat().st_size for path, _ in labelled}
    wanted = set(hashes)
    same_size = (p for p in train.rglob("*") if p.suffix.lower() in SUFFIXES and p.stat().st_size in sizes)
    return {d for p in same_size if (d := _digest(p)) in wanted}
