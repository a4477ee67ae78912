"""The protocol every backend implements: stage, execute, fetch, describe, profile.

Only :meth:`Backend.execute` is timed. It must return after the outputs are complete on the device
(synchronised); ``stage`` and ``fetch`` move data and are never inside the clock. Another input is staged before every
timed ``execute``, so nothing may be compiled or bound per input inside it, and its outputs must follow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np


class Unsupported(Exception):
    """The framework cannot run this model, precision or device; the message is the framework's own words."""


class Unavailable(Exception):
    """The framework is not installed or its device is not there; the message says how to get it."""


@dataclass(frozen=True)
class RunConfig:
    """What was asked for; a backend either honours it exactly or raises.

    ``device`` is a key of devices.yaml, ``precision`` fp32 or fp16, ``threads`` CPU threads,
    ``options`` backend-specific settings (published in the record).
    """

    device: str = "local"
    precision: str = "fp32"
    threads: int = 2
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """What really ran: version, the framework's true execution backend, free-form details for the record."""

    version: str
    true_backend: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OpTime:
    """One operator of a profiled pass. ``ms`` is per inference; ``source`` says which clock."""

    name: str
    op_type: str
    ms: float
    source: str
    details: Mapping[str, Any] = field(default_factory=dict)


class Backend(ABC):
    """A framework under measurement. One instance serves one model in one process."""

    name: ClassVar[str]
    profiled_pass_ms: float | None = None
    """Wall time of one hooked inference in the last :meth:`profile`, where the adapter took it: what hooks cost."""

    @abstractmethod
    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Load and compile. Raises :class:`Unsupported` or :class:`Unavailable`; never falls back."""

    @abstractmethod
    def describe(self) -> Description:
        """Version and true backend; only valid after :meth:`prepare`."""

    @abstractmethod
    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Hand the inputs over."""

    @abstractmethod
    def execute(self) -> None:
        """Run one inference and wait until it is complete."""

    @abstractmethod
    def fetch(self) -> dict[str, np.ndarray]:
        """Outputs of the last :meth:`execute`, by ONNX output name."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """stage, execute, fetch."""
        self.stage(feeds)
        self.execute()
        return self.fetch()

    def profile(self, feeds: Mapping[str, np.ndarray], repeats: int) -> list[OpTime]:
        """Per-operator times of one inference (median over ``repeats``)."""
        raise Unsupported(f"{self.name} has no per-operator profile")

    def close(self) -> None:  # noqa: B027 - nothing to free is a fine default
        """Free everything."""
