"""The learning curve of one run as a picture."""

from __future__ import annotations

from pathlib import Path


def plot(curve: list[dict[str, float]], path: Path) -> None:
    """Loss and top-1 by epoch, two axes, written to ``path``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, left = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    epochs = [entry["epoch"] for entry in curve]
    left.plot(epochs, [entry["loss"] for entry in curve], "o-", color="tab:blue", markersize=3)
    left.set_xlabel("epoch")
    left.set_ylabel("training loss", color="tab:blue")
    right = left.twinx()
    right.plot(epochs, [entry["top1"] for entry in curve], "s-", color="tab:orange", markersize=3)
    right.set_ylabel("test top-1 (%)", color="tab:orange")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
