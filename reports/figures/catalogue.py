"""Every figure, in the order in which a reader meets them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reports.figures import access, accuracy, length, paper, roofline, speed, turns
from reports.figures.base import Figure, Missing
from reports.measured import Store, slug
from reports.versus import METRIC

PER_DEVICE = (
    speed.latency,
    turns.versus,
    paper.figure1,
    paper.figure7,
    speed.breakdown,
    access.plan,
    speed.ablation,
    roofline.roofline,
    length.against_length,
    length.taking_turns,
)


def shared(store: Store) -> Iterator[Figure | Missing]:
    """Figures that do not belong to a device."""
    yield paper.figure4()
    yield accuracy.table3(store)
    yield speed.macs_by_ratio()
    yield access.access()


def places(store: Store, pairs: list[tuple[str, str]], device: str | None = None) -> list[tuple[str, str]]:
    """(device, precision) pairs that have figures: those with tables, and those with ratios alone."""
    more = ((c.device, c.precision) for c in store.find(metric=METRIC) if device in (None, c.device))
    return list(dict.fromkeys([*pairs, *more]))


def of_device(store: Store, device: str, precision: str) -> Iterator[Figure | Missing]:
    """Figures of one device and precision; their ids end with both."""
    for build in PER_DEVICE:
        figure = build(store, device, precision)
        yield replace(figure, id=slug(f"{figure.id}-{device}-{precision}"))


def build_all(store: Store, pairs: list[tuple[str, str]]) -> list[Figure | Missing]:
    """The shared figures and those of each (device, precision) pair."""
    found = list(shared(store))
    for device, precision in pairs:
        found += of_device(store, device, precision)
    return found
