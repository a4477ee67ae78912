"""What a figure is: a drawing function, a caption, a text for people who cannot see it, and its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure as Canvas

Data = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Figure:
    """A figure of one device. ``draw`` fills an empty matplotlib figure; ``rows`` is everything it shows.

    ``size`` is in inches; ``alt`` says what is to be seen, in one or two sentences.
    """

    id: str
    title: str
    caption: str
    alt: str
    rows: Data
    draw: Callable[[Canvas], None]
    size: tuple[float, float] = (6.8, 3.6)
    group: str = ""

    def canvas(self) -> Canvas:
        """The drawn figure."""
        canvas = Canvas(figsize=self.size, layout="constrained")
        self.draw(canvas)
        return canvas


@dataclass(frozen=True)
class Missing:
    """A figure that the records do not allow yet."""

    id: str
    title: str
    why: str
    command: str
