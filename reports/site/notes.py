"""What a run's folder holds beside its cells: the notes of whoever measured, pictures and printed reports."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from reports.measured import Run, slug

NOTES = "README.md"
_TABLE = '<div class="scroll" tabindex="0" role="region" aria-label="Table in the notes"><table>'


def _markdown() -> MarkdownIt:
    """Text, lists, code and tables; no HTML, and no links, which would lead out of the site."""
    found = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])
    found.add_render_rule("table_open", lambda *_: _TABLE)
    found.add_render_rule("table_close", lambda *_: "</table></div>")
    return found


def text(run: Run) -> str:
    """The notes as HTML without their title, which the page has; empty where there are none."""
    try:
        source = (run.path / NOTES).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    markdown = _markdown()
    tokens = markdown.parse(source)
    if tokens and tokens[0].type == "heading_open" and tokens[0].tag == "h1":
        tokens = tokens[3:]
    return str(markdown.renderer.render(_lower(tokens), markdown.options, {}))


def _lower(tokens: list[Token]) -> list[Token]:
    """Headings one level down: the notes are a section of the page."""
    for token in tokens:
        if token.type.startswith("heading_"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
    return tokens


def pictures(run: Run, out: Path) -> list[dict[str, Any]]:
    """The folder's PNG files, copied into ``out``."""
    found = []
    for path in sorted(run.path.glob("*.png")):
        name = f"{slug(run.id)}-{slug(path.name)}"
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / name)
        found.append({"file": name, "name": path.stem.replace("_", " ").replace("-", " ")})
    return found


def printed(run: Run) -> list[dict[str, str]]:
    """The folder's text files, as a command printed them."""
    texts = []
    for path in sorted(run.path.glob("*.txt")):
        try:
            texts.append({"name": path.name, "text": path.read_text(encoding="utf-8")})
        except (OSError, ValueError):
            continue
    return texts
