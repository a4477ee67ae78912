"""What a data set is to the evaluation: named items with labels that decode to RGB pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from ecp.errors import UsageError


class DatasetError(UsageError):
    """The folder is not the data set asked for, or it is damaged; the message says what to do."""


class CorruptImage(Exception):
    """One picture cannot be decoded; its item is named, counted and never silently skipped."""


@dataclass(frozen=True)
class Item:
    """One labelled picture. ``name`` identifies it in every report (a path below the root, or file and row)."""

    name: str
    label: int
    load: Callable[[], Image.Image] = field(repr=False, compare=False)

    def picture(self) -> Image.Image:
        """The picture as RGB (grey ones are widened). Raises :class:`CorruptImage` naming the item."""
        try:
            return self.load().convert("RGB")
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


def from_array(pixels: np.ndarray) -> Image.Image:
    """uint8 [H, W, 3] or [H, W] -> picture."""
    return Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))


def subset(items: tuple[Item, ...], limit: int | None, seed: int) -> tuple[Item, ...]:
    """The first ``limit`` of a seeded permutation, in the original order; all where ``limit`` is None."""
    if limit is None or limit >= len(items):
        return items
    chosen = np.sort(np.random.default_rng(seed).permutation(len(items))[:limit])
    return tuple(items[i] for i in chosen)
