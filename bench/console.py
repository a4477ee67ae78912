"""The terminal: text is text. No markup is read in it, and what a terminal would obey is spelled out."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from bench.escape import visible


class _Plain(Console):
    """Every string that is printed, in tables, titles and status lines too, passes here."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


def terminal(stderr: bool = False) -> Console:
    """A console for standard output or standard error; colour is given as :class:`rich.text.Text` only."""
    return _Plain(stderr=stderr, markup=False, emoji=False)
