"""Memory in whole pages: arrays that are views of a mapped file, and zeroed memory that devices use in place."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np


def pages(size: int) -> np.ndarray:
    """``size`` > 0 zeroed bytes that begin at a page: a CPU device copies host memory that does not."""
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        return np.zeros(size, np.uint8)
    return np.frombuffer(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)


def release(array: np.ndarray) -> None:
    """Drop the pages of an array that lies in a mapped file; a later read fetches them again from the file.

    Nothing happens for other arrays, nor for writable ones, whose pages nobody could fetch. It keeps the peak of
    a compile near one copy of the weights.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    if not isinstance(owner, mmap.mmap) or array.flags.writeable or not array.nbytes:
        return
    if not hasattr(mmap, "MADV_DONTNEED"):
        return
    start = np.frombuffer(owner, np.uint8).ctypes.data
    low, high = np.lib.array_utils.byte_bounds(array)
    first = (low - start) // mmap.PAGESIZE * mmap.PAGESIZE
    owner.madvise(mmap.MADV_DONTNEED, first, min(high - start, len(owner)) - first)
