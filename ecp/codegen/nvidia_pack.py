"""Weights of a ViT, folded and packed into the tiles that the persistent kernel copies.

A chunk is ``rows x 64`` halves (128 bytes a row) whose 16-byte units are permuted by ``unit ^ (row & 7)``,
the order in which ldmatrix reads local memory without bank conflicts; so a chunk is one bulk copy.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ecp.codegen.nvidia_desc import HEAD, Tuning, VitDesc

PAGE = 4096  # alignment of sub-buffers in a bundle; also the room of the barrier's counters


def fold_norm(
    weight: np.ndarray, bias: np.ndarray, gamma: np.ndarray, beta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """LayerNorm's scale and shift moved into the product after it: ``W * gamma`` [N, K], ``b + W beta`` [N]."""
    shift = weight.astype(np.float64) @ beta.astype(np.float64)
    return weight * gamma[None, :], (bias + shift).astype(np.float32)


def swizzle(chunks: np.ndarray) -> np.ndarray:
    """``[..., rows, 64]`` with the 8-half units of each row permuted by ``unit ^ (row & 7)``."""
    rows = np.arange(chunks.shape[-2])[:, None]
    units = chunks.reshape(*chunks.shape[:-1], 8, 8)
    return units[..., rows, np.arange(8)[None, :] ^ (rows & 7), :].reshape(chunks.shape)


def pack(weight: np.ndarray, bn: int) -> bytes:
    """``W [N, K]`` as bytes ordered ``[N/bn][K/64][bn][64]``, swizzled halves."""
    n, k = weight.shape
    if n % bn or k % 64:
        raise ValueError(f"weight {n}x{k} does not divide into {bn}x64 tiles")
    tiles = weight.astype(np.float16).reshape(n // bn, bn, k // 64, 64).transpose(0, 2, 1, 3)
    return swizzle(np.ascontiguousarray(tiles)).tobytes()


def pack_columns(weight: np.ndarray) -> bytes:
    """``W [N, K]`` as ``[K/64][N][64]``: all rows of a 64-column slice (a head's or a hidden slice's)."""
    return pack(weight, weight.shape[0])


class Pool:
    """Bytes under construction; ``at`` maps a part's name to its offset (256-byte aligned)."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.at: dict[str, int] = {}

    def add(self, name: str, data: bytes) -> None:
        """Append a part."""
        self.at[name] = self.size
        pad = -len(data) % 256
        self.parts += [data, bytes(pad)]
        self.size += len(data) + pad


def _floats(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values, dtype=np.float32).tobytes()


def _layer(tuning: Tuning, w: Mapping[str, np.ndarray], block: str) -> Pool:
    layer = Pool()
    linear = {n: (w[f"{block}{n}.weight"], w[f"{block}{n}.bias"]) for n in ("qkv", "proj", "fc1", "fc2")}
    qkv, up = (
        fold_norm(*linear[product], w[f"{block}{norm}.weight"], w[f"{block}{norm}.bias"])
        for product, norm in (("qkv", "norm1"), ("fc1", "norm2"))
    )
    proj, down = linear["proj"], linear["fc2"]
    layer.add("w_qkv", pack(qkv[0], tuning.qkv.bn))
    layer.add("w_proj", pack_columns(proj[0]) if tuning.fuse_proj else pack(proj[0], tuning.proj.bn))
    layer.add("w_up", pack(up[0], tuning.up.bn))
    layer.add("w_down", pack_columns(down[0]) if tuning.fuse_mlp else pack(down[0], tuning.down.bn))
    for name, pair in (("qkv", qkv), ("proj", proj), ("up", up), ("down", down)):
        layer.add(f"b_{name}", _floats(pair[1]))
    return layer


def pack_weights(
    desc: VitDesc, tuning: Tuning, w: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, int], int]:
    """(pool bytes, offset of each part, bytes from one layer to the next).

    ``w`` holds what :func:`ecp.codegen.nvidia_match.match_vit` names. Offsets of a layer's parts are
    relative to ``layer0``. The first page is the grid barrier's counters, zero between launches.
    """
    pool = Pool()
    pool.add("sync", bytes(PAGE))
    pool.add("order", np.ascontiguousarray(w["order"], dtype=np.int32).tobytes())
    pool.add("w_patch", pack(w["patch"], tuning.patch.bn))
    pool.add("b_patch", _floats(w["add"]))
    head, bias = fold_norm(w["head.weight"], w["head.bias"], w["norm.weight"], w["norm.bias"])
    pool.add("w_head", head.astype(np.float16).tobytes())
    pool.add("b_head", _floats(bias))
    within: dict[str, int] = {}
    stride = 0
    for index in range(desc.depth):
        layer = _layer(tuning, w, f"blocks.{index}.")
        within, stride = layer.at, layer.size
        pool.add(f"layer{index}", b"".join(layer.parts))
    if desc.dim % HEAD:
        raise ValueError(f"dim {desc.dim} is not a multiple of {HEAD}")
    return np.frombuffer(b"".join(pool.parts), np.uint8), {**pool.at, **within}, stride
