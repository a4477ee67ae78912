"""Figures from records and from the paper's numbers: SVG and PNG for print, the data beside each as CSV.

``build_all`` gives every figure that the records allow and, for the others, why not and what would measure it.
"""

from __future__ import annotations

from reports.figures.base import Figure, Missing
from reports.figures.catalogue import build_all

__all__ = ["Figure", "Missing", "build_all"]
