"""Bounds of what an imported file may make of this machine: each refuses in one line that says how to raise it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np

from ecp.errors import ModelError

# Addresses in kernels are 32 bits wide.
MAX_ELEMENTS = 2**31 - 1
# Functions within functions; exporters nest a handful.
MAX_DEPTH = 64
_DEFAULTS = {"ECP_IMPORT_NODES": 200_000, "ECP_IMPORT_CONSTANT_MIB": 4096}


def limit(name: str) -> int:
    """The value of a limit: the environment's, or the default. Raises :class:`ModelError` for no number."""
    text = os.environ.get(name, "")
    if text and not text.isdecimal():
        raise ModelError(f"{name}={text!r} is not a whole number")
    return int(text) if text else _DEFAULTS[name]


def check_nodes(count: int) -> None:
    """Refuse a model of too many nodes, counted as its functions expand."""
    if count > limit("ECP_IMPORT_NODES"):
        raise ModelError(
            f"more than {limit('ECP_IMPORT_NODES'):,} nodes once its functions are expanded; "
            "set ECP_IMPORT_NODES to compile it all the same"
        )


def check_shape(shape: Sequence[int], what: str = "a value") -> None:
    """Refuse a tensor that kernels could not address."""
    if any(d < 0 for d in shape):
        raise ModelError(f"{what} has the negative size {min(shape)}")
    if math.prod(shape) > MAX_ELEMENTS:
        raise ModelError(
            f"{what} has {math.prod(shape):,} elements; the greatest that kernels can address is {MAX_ELEMENTS:,}"
        )


def check_constant(shape: Sequence[int], dtype: str) -> None:
    """Refuse a constant, before it is computed, that would fill the memory."""
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    allowed = limit("ECP_IMPORT_CONSTANT_MIB") << 20
    if nbytes > allowed:
        raise ModelError(
            f"it makes a constant of {nbytes >> 20:,} MiB, more than {allowed >> 20:,}; "
            "set ECP_IMPORT_CONSTANT_MIB to compile it all the same"
        )
