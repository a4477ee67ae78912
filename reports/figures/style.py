"""One look for all figures: Okabe and Ito's colours, a marker and a hatch per series, print-sized text.

Their yellow is darkened, for it must be seen on paper. Colours are literal here and become CSS variables in the site
(see ``export.themed``), so that one drawing serves print, light and dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

INK, MUTED, GRID, PAPER = "#1b1f24", "#5b6570", "#d5dade", "#ffffff"
BLUE, ORANGE, GREEN, RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"
SKY, PURPLE, GREY, YELLOW = "#56b4e9", "#cc79a7", "#8a929a", "#8a8a1f"
CYCLE = (RED, BLUE, GREEN, ORANGE, PURPLE, SKY, GREY, YELLOW)
# CSS variable per colour; the site's stylesheet gives each a light and a dark value.
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    BLUE: "--c-blue",
    ORANGE: "--c-orange",
    GREEN: "--c-green",
    RED: "--c-red",
    SKY: "--c-sky",
    PURPLE: "--c-purple",
    GREY: "--c-grey",
    YELLOW: "--c-yellow",
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "--", "oo")
# A framework keeps its colour in every figure.
BACKENDS = ("ecp", "mnn", "tvm", "onnxruntime", "tnn", "openvino", "torch", "other")


def rank(backend: str) -> int:
    """Place of a backend's family in colours, markers and hatches."""
    family = backend.partition("-")[0]
    return BACKENDS.index(family) if family in BACKENDS else len(BACKENDS) - 1


def colour(backend: str) -> str:
    """The backend's colour."""
    return CYCLE[rank(backend)]


def marker(backend: str) -> str:
    """The backend's marker, so that colour is never the only difference."""
    return MARKERS[rank(backend)]


def size(backend: str, hollow: bool) -> float:
    """Area of the backend's marker in points; a star is mostly air."""
    return (24.0 if hollow else 30.0) * (2.2 if marker(backend) == "*" else 1.0)


def is_open(backend: str, among: Sequence[str]) -> bool:
    """Whether a backend is drawn open: it is not the first of its family (``mnn`` before ``mnn-opencl``)."""
    return any(rank(b) == rank(backend) for b in among[: among.index(backend)])


def hatch(backend: str) -> str:
    """The backend's hatch for bars."""
    return HATCHES[rank(backend)]


RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": PAPER,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "figure.facecolor": PAPER,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "hatch.linewidth": 0.6,
    "hatch.color": PAPER,
    # A dollar in a name is a dollar.
    "text.parse_math": False,
    "svg.fonttype": "none",
    "savefig.dpi": 200,
}


@contextmanager
def look() -> Iterator[None]:
    """Draw inside this."""
    with mpl.rc_context(RC):
        yield


def label_log_axis(axis: Axes, which: str = "x") -> None:
    """Plain numbers (1, 2, 5, 10 ...) instead of powers on a log axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    target = axis.xaxis if which == "x" else axis.yaxis
    target.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    target.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    target.set_minor_formatter(NullFormatter())
