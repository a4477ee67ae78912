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
    """One row per image, one column per core set (one set: its images side by side); core patches are bright."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    single = len(orders) == 1
    rows, columns = (1, len(images)) if single else (len(images), len(orders))
    size = (max(4.0, 2.2 * columns), 2.3 * rows + 0.5)
    figure, axes = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    grid = axes.T if single else axes
    for line, image in zip(grid, images):
        for axis, order in zip(line, orders):
            axis.imshow(shade(image, order, ratio))
            axis.set_axis_off()
    if not single:
        for axis, order in zip(grid[0], orders):
            axis.set_title(order.method, fontsize=9)
    chosen = f", chosen by {orders[0].method}" if single else ""
    figure.suptitle(f"core patches (bright) at core ratio {ratio:g}{chosen}", fontsize=10)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
