"""One measured cell: what every table, figure and page is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.records import BlockRecord

Key = tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """One cell of one run. ``value`` and ``ci`` are in ``unit``; ``blocks`` holds the raw samples, one list
    per process.

    ``variant``: settings that are not the usual ones. ``against``: whom a ratio is to (metric ``versus`` only).
    """

    device: str
    backend: str
    model: str
    precision: str
    metric: str
    status: str
    run: str
    value: float | None = None
    unit: str = ""
    ci: tuple[float, float] | None = None
    blocks: tuple[tuple[float, ...], ...] = ()
    source: str = ""
    reason: str = ""
    backend_version: str = ""
    model_sha256: str = ""
    variant: str = ""
    against: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    records: tuple[BlockRecord, ...] = ()

    @property
    def ok(self) -> bool:
        """Measured, with a value."""
        return self.status == "measured" and self.value is not None

    @property
    def key(self) -> Key:
        """What the cell is about; two runs' cells with equal keys measured the same thing."""
        return (
            self.device,
            self.backend,
            self.model,
            self.precision,
            self.metric,
            self.variant,
            self.against,
            self.dataset,
        )

    @property
    def dataset(self) -> str:
        """Name of the labelled data set, or an empty string."""
        found = self.extra.get("dataset", "")
        return str(found.get("name", "") if isinstance(found, Mapping) else found)

    @property
    def slug(self) -> str:
        """Name usable in a file or an anchor."""
        parts = (self.metric, self.model, self.backend, self.precision, self.variant, self.against)
        return slug("-".join(filter(None, parts)))


def slug(text: str) -> str:
    """Lower-case letters, digits, points, dashes and underscores only."""
    return "".join(c if c.isalnum() or c in "-._" else "-" for c in text.lower())
