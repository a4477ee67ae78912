"""Weights of products in the order in which kernels read them."""

from __future__ import annotations

from functools import partial
from math import ceil

import numpy as np

from ecp.codegen.reader import Env
from ecp.ir.mapped import release
from ecp.passes.storage import Buffer, storage_dtype


def pack_weights(weights: np.ndarray, width: int) -> np.ndarray:
    """[batch, K, N] -> [batch, ceil(N/width), K, width], zero-filled past N."""
    batch, k, n = weights.shape
    panels = ceil(n / width)
    padded = np.zeros((batch, k, panels * width), weights.dtype)
    padded[:, :, :n] = weights
    return np.ascontiguousarray(padded.reshape(batch, k, panels, width).transpose(0, 2, 1, 3))


def packed_buffer(env: Env, key: str, weights: np.ndarray, width: int) -> Buffer:
    """The weights buffer ``key`` with ``weights`` in panels of ``width`` columns (added on first use).

    They are packed when the pool is written and not before: a compile then holds one copy of a large model and
    one packed tensor at a time instead of two copies.
    """
    if key not in env.buffers:
        batch, k, n = weights.shape
        dtype = storage_dtype(weights.dtype.name, env.half)
        make = partial(_packed, weights, width)
        env.buffers[key] = Buffer(key, batch * ceil(n / width) * k * width, dtype, "weights", make=make)
    return env.buffers[key]


def _packed(weights: np.ndarray, width: int) -> np.ndarray:
    packed = pack_weights(weights, width).reshape(-1)
    release(weights)
    return packed
