"""What a data set is to the evaluation: named items with labels that decode to RGB pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ecp.errors import UsageError

ITEMS, PIXELS = "items.json", "pixels.npy"


class DatasetError(UsageError):
    """The folder is not the data set asked for, or it is damaged; the message says what to do."""


class CorruptImage(Exception):
    """One picture cannot be decoded; its item is named, counted and never silently skipped."""


@dataclass(frozen=True)
class Item:
    """One labelled picture. ``name`` identifies it in every report (a path below the root, or file and row).

    ``source``: the file, or the pixels, uint8 ``[h, w]`` or ``[h, w, 3]``.
    """

    name: str
    label: int
    source: Path | np.ndarray = field(repr=False, compare=False)

    def picture(self) -> Image.Image:
        """The picture as RGB (grey ones are widened). Raises :class:`CorruptImage` naming the item."""
        try:
            if isinstance(self.source, np.ndarray):
                return Image.fromarray(np.ascontiguousarray(self.source, dtype=np.uint8)).convert("RGB")
            with Image.open(self.source) as image:
                return image.convert("RGB")
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            raise CorruptImage(f"{self.name}: {error}") from error


@dataclass(frozen=True)
class Dataset:
    """A split of a data set. ``content`` is the SHA-256 of its items' names, labels and bytes.

    ``expected``: how many items a complete copy has, ``None`` for a folder of unknown origin. ``problems``:
    sentences that make this copy incomplete or different; ``notes``: facts a reader should know.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    content: str
    expected: int | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """For the record."""
        return {
            "dataset": self.name,
            "split": self.split,
            "classes": len(self.classes),
            "items": len(self.items),
            "expected_items": self.expected,
            "content_sha256": self.content,
            "problems": list(self.problems),
            "notes": list(self.notes),
        }


def write_items(items: Sequence[Item], folder: Path) -> None:
    """For a worker of another process: names, labels and files as JSON, pixels (all of one shape) as an array."""
    rows = [
        [i.name, i.label, None if isinstance(i.source, np.ndarray) else str(i.source.resolve())]
        for i in items
    ]
    folder.mkdir(exist_ok=True)
    pixels = [i.source for i in items if isinstance(i.source, np.ndarray)]
    np.save(folder / PIXELS, np.stack(pixels) if pixels else np.zeros(0, np.uint8), allow_pickle=False)
    (folder / ITEMS).write_text(json.dumps(rows))


def read_items(folder: Path) -> list[Item]:
    """What :func:`write_items` wrote."""
    pixels = iter(np.load(folder / PIXELS, mmap_mode="r", allow_pickle=False))
    rows = json.loads((folder / ITEMS).read_text())
    return [Item(name, label, next(pixels) if path is None else Path(path)) for name, label, path in rows]


def subset(items: tuple[Item, ...], limit: int | None, seed: int) -> tuple[Item, ...]:
    """The first ``limit`` of a seeded permutation, in the original order; all where ``limit`` is None."""
    if limit is None or limit >= len(items):
        return items
    chosen = np.sort(np.random.default_rng(seed).permutation(len(items))[:limit])
    return tuple(items[i] for i in chosen)
