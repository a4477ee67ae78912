"""Tables 1-7 rebuilt from records in the paper's layout, published and measured side by side with a verdict.

``build`` makes the data, ``specs`` says per table where a cell's measurement and its reference cell come
from,
``render`` writes Markdown, LaTeX and CSV.
"""

from __future__ import annotations

from reports.tables.build import RebuiltTable, TableCell, build, groups

__all__ = ["RebuiltTable", "TableCell", "build", "groups"]
