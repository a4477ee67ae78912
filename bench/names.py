"""Unknown names answered with the nearest known ones, the same way for devices, models, backends and runs."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from ecp.errors import UsageError


def check_name(kind: str, name: str, known: Collection[str]) -> str:
    """``name`` if it is known; else :class:`UsageError` naming the nearest (exit code 2)."""
    if name in known:
        return name
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"
    raise UsageError(f"unknown {kind} '{name}'; {hint}")


def split_names(text: str | None, default: Sequence[str]) -> list[str]:
    """``"a, b,a"`` -> ``["a", "b"]``; ``None`` gives the default. An empty list is an error."""
    if text is None:
        return list(default)
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise UsageError(f"an empty list of names was given ({text!r}); separate names by commas")
    return names
