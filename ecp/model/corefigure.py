"""A picture of core sets over images: a person would rather look than read a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ecp.model.corechoice import CoreOrder
from ecp.model.graph import core_count


def shade(image: np.ndarray, order: CoreOrder, ratio: float) -> np.ndarray:
    """``image`` ``[h, w, 3]`` in [0, 1] with periphery patches dimmed; sides must be multiples of the grid."""
    rows, columns = order.grid
    core = np.zeros(rows * columns, dtype=bool)
    core[order.ranking[: core_count(ratio, rows * columns)]] = True
    height, width = image.shape[0] // rows, image.shape[1] // columns
    cells = np.kron(core.reshape(rows, columns), np.ones((height, width)))[..., None]
    shown: np.ndarray = np.where(cells > 0, image[: rows * height, : columns * width], 0.25 * image)
    return shown


def draw(orders: Sequence[CoreOrder], ratio: float, images: Sequence[np.ndarray], path: Path) -> None:
    """One row per image, one column per core set, core patches bright; written to ``path``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (2.2 * len(orders), 2.3 * len(images))
    figure, axes = pyplot.subplots(
        len(images), len(orders), figsize=size, layout="constrained", squeeze=False
    )
    for line, image in zip(axes, images):
        for axis, order in zip(line, orders):
            axis.imshow(shade(image, order, ratio))
            axis.set_axis_off()
    for axis, order in zip(axes[0], orders):
        axis.set_title(order.method, fontsize=9)
    figure.suptitle(f"core patches (bright) at core ratio {ratio:g}", fontsize=10)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
