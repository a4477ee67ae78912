"""Reading a built site back: broken links and anchors, requests to elsewhere, missing text alternatives, figures
without their data, and tables that scroll out of the keyboard's reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADING = {"src", "srcset", "poster", "data"}


@dataclass
class Page(HTMLParser):
    """What one page refers to and offers."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _svg_depth: int = 0
    _figure: set[str] | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect links, loads and ids; note images without a text alternative."""
        values = {k: v or "" for k, v in attrs}
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and "href" in values:
            self.loads.append(values["href"])
        self.loads += [v for k, v in values.items() if k in LOADING and tag != "a"]
        if tag in ("use", "image"):
            self.loads += [v for k, v in values.items() if k.endswith("href") and not v.startswith("#")]
        if (
            tag == "svg"
            and self._svg_depth == 0
            and not (values.get("role") == "img" and values.get("aria-label"))
        ):
            self.problems.append("a drawing without a text alternative")
        if tag == "img" and "alt" not in values:
            self.problems.append("an image without alt")
        if "scroll" in values.get("class", "").split() and not (
            values.get("tabindex") == "0" and values.get("role") == "region" and values.get("aria-label")
        ):
            self.problems.append("a table that scrolls and cannot be reached by keyboard")
        self._inside_figure(tag, values)
        self._svg_depth += tag == "svg"

    def _inside_figure(self, tag: str, values: dict[str, str]) -> None:
        if tag == "figure":
            self._figure = set()
        elif self._figure is not None:
            self._figure.add(tag)
            if tag == "a" and values.get("href", "").endswith(".csv"):
                self._figure.add("data")

    def handle_endtag(self, tag: str) -> None:
        """Leave a drawing; a figure must have had its table and its data."""
        self._svg_depth -= tag == "svg"
        if tag == "figure":
            if not {"table", "data"} <= (self._figure or set()):
                self.problems.append("a figure without its table or its data")
            self._figure = None


def check(folder: Path) -> list[str]:
    """One sentence per problem; an empty list means that the site is whole and asks nothing of other hosts."""
    parsed: dict[Path, Page] = {}
    for path in sorted(folder.rglob("*.html")):
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        parsed[path.resolve()] = page
    problems = []
    for path, page in parsed.items():
        name = path.relative_to(folder.resolve())
        problems += [f"{name}: {p}" for p in page.problems]
        twice = {i for i in page.ids if page.ids.count(i) > 1}
        problems += [f"{name}: id {i!r} stands twice" for i in sorted(twice)]
        for target in page.links + page.loads:
            problem = _target(path, target, parsed)
            if problem:
                problems.append(f"{name}: {target}: {problem}")
    for sheet in folder.rglob("*.css"):
        if "url(" in sheet.read_text(encoding="utf-8") or "@import" in sheet.read_text(encoding="utf-8"):
            problems.append(f"{sheet.relative_to(folder)}: loads another file")
    return problems


def _target(page: Path, target: str, parsed: dict[Path, Page]) -> str:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return "leads to another host"
    file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not file.is_file():
        return "there is no such file"
    if parts.fragment and file in parsed and unquote(parts.fragment) not in parsed[file].ids:
        return "there is no such place on that page"
    return ""
