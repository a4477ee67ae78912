"""One look for the tables of every command: no boxes, numbers to the right, made for 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table


def plain_table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    """An empty table. ``left``: headings of words, folded where they do not fit; ``right``: of numbers, never cut."""
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    for heading in left:
        table.add_column(heading, overflow="fold")
    for heading in right:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
