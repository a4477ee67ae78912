"""A known fault in one side of a comparison: the slow-down or the wrong output that the gate has to find.

Two options of a request, off by default. Only :mod:`bench.regress_proof` asks for them; the worker carries them out
and says so in the record (``options`` and ``planted``), so that no such record passes for a measurement:

``plant.slow=SHARE``    every ``execute`` takes SHARE (0.05: 5 %) of its own time longer, the processor is kept busy
``plant.wrong=AMOUNT``  one value of every ``fetch`` is off by AMOUNT times its output's largest magnitude
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from baselines.base import Backend, Unsupported
from bench.records import BlockRecord
from ecp.errors import UsageError

PREFIX = "plant."
SLOW, WRONG = f"{PREFIX}slow", f"{PREFIX}wrong"

Arrays = dict[str, np.ndarray]


def planted(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that plant something."""
    return {k: v for k, v in options.items() if k.startswith(PREFIX)}


def without(options: Mapping[str, Any]) -> dict[str, Any]:
    """The other options: those that a backend may see."""
    return {k: v for k, v in options.items() if not k.startswith(PREFIX)}


def into(backend: Backend, options: Mapping[str, Any]) -> Backend:
    """The backend with what ``options`` plant in it; untouched where they plant nothing.

    Raises :class:`UsageError` for an unknown fault or an impossible size, :class:`Unsupported` for a program that
    clocks itself, whose ``execute`` is not what is measured.
    """
    asked = planted(options)
    for name, size in asked.items():
        if name not in (SLOW, WRONG):
            raise UsageError(f"{name} is nothing that can be planted; there are {SLOW} and {WRONG}")
        if isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size < math.inf:
            raise UsageError(f"{name}={size!r}: write a number above 0")
    if asked and getattr(backend, "own_latency", None) is not None:
        raise Unsupported(f"{backend.name} clocks itself: nothing can be planted in what it times")
    # On the object, so that whatever it calls on itself (run) meets the fault too.
    if SLOW in asked:
        vars(backend)["execute"] = _slowed(backend.execute, float(asked[SLOW]))
    if WRONG in asked:
        vars(backend)["fetch"] = _falsified(backend.fetch, float(asked[WRONG]))
    return backend


def _slowed(execute: Callable[[], None], share: float) -> Callable[[], None]:
    def slow() -> None:
        begin = time.perf_counter_ns()
        execute()
        end = time.perf_counter_ns()
        until = end + share * (end - begin)
        while time.perf_counter_ns() < until:
            pass

    return slow


def _falsified(fetch: Callable[[], Arrays], amount: float) -> Callable[[], Arrays]:
    def wrong() -> Arrays:
        outputs = dict(fetch())
        name = next(name for name, value in outputs.items() if np.asarray(value).size)
        value = np.array(outputs[name])
        off = amount * (float(np.abs(value.astype(np.float64)).max()) or 1.0)
        first = value.reshape(-1)
        if value.dtype.kind == "b":
            first[0] = not first[0]
        else:
            first[0] += off if value.dtype.kind == "f" else max(1, round(off))
        return {**outputs, name: first.reshape(value.shape)}

    return wrong


def comparable(records: Sequence[BlockRecord]) -> list[BlockRecord]:
    """The records as if nothing had been asked to be planted: else a judge refuses to compare unlike options."""
    return [replace(r, extra={**r.extra, "options": without(r.extra.get("options") or {})}) for r in records]
