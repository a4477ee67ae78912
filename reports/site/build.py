"""Writing the site."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.escape import visible
from ecp.errors import UsageError
from reports import versus
from reports.audit import audit_all
from reports.audit import render as audit_render
from reports.figures import Figure, Missing, catalogue, export
from reports.measured import Store, slug
from reports.site import sections, shape
from reports.tables import groups, render
from reports.tables.build import every

MARK = ".ecp-site"
HERE = Path(__file__).parent
NAV = (
    ("Overview", "index.html"),
    ("Published vs measured", "published.html"),
    ("Audit", "audit.html"),
    ("Figures", "figures.html"),
    ("Devices", "devices/index.html"),
    ("Models", "models/index.html"),
    ("Runs", "runs/index.html"),
    ("History", "history.html"),
    ("Method", "method.html"),
)
ACCURACY_TABLES = ("t2", "t3", "t4", "t5")


@dataclass
class Built:
    """What was written."""

    folder: Path
    pages: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Size of everything in the folder."""
        return sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file())


class Builder:
    """One build: the records, the output folder and what several pages share."""

    def __init__(self, store: Store, out: Path) -> None:
        self.store, self.out = store, out
        self.built = Built(out)
        self.env = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            finalize=_shown,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.env.globals |= {
            "tone": shape.tone,
            "symbol": shape.symbol,
            "plain": shape.plain,
            "columns": shape.columns,
            "number": audit_render.value_text,
        }
        self.pairs = groups(store) if store.cells else []
        self.turns = shape.bout_rows(versus.bouts(store.find(metric=versus.METRIC)))
        self.tables = list(every(store))
        self.shaped = [shape.rebuilt(t) for t in self.tables]
        self.audited = audit_all()
        self.figures: list[shape.DrawnFigure] = []
        self.gaps: dict[str, list[Missing]] = {}
        self.kinds: set[str] = set()

    def page(self, name: str, template: str, section: str, **values: Any) -> None:
        """Render one page; ``name`` is its path below the site."""
        target = self.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        root = "../" * name.count("/")
        text = self.env.get_template(template).render(
            root=root, nav=NAV, section=section, run_count=len(self.store.runs), **values
        )
        target.write_text(text, encoding="utf-8")
        self.built.pages.append(name)

    def data(self, name: str, text: str) -> None:
        """Write one data file below the site."""
        target = self.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def draw_figures(self) -> None:
        """Draw each figure once, into files and for inlining."""
        self._draw("", catalogue.shared(self.store))
        for device, precision in catalogue.places(self.store, self.pairs):
            self._draw(f"{device}, {precision}", catalogue.of_device(self.store, device, precision))

    def _draw(self, where: str, some: Iterable[Figure | Missing]) -> None:
        for figure in some:
            if isinstance(figure, Missing):
                self.gaps.setdefault(where, []).append(figure)
                self.built.missing.append(figure)
                continue
            self.kinds.add(self._kind(figure, where))
            svg = export.write(figure, self.out / "figures")
            self.figures.append(shape.drawn(figure, export.themed(figure, svg), where))

    @staticmethod
    def _kind(figure: Figure | Missing, where: str) -> str:
        """The figure's id without its device and precision."""
        return figure.id.removesuffix(slug("-" + where.replace(", ", "-")))

    def gaps_everywhere(self) -> list[Missing]:
        """Figures that no device has, each once."""
        found: dict[str, Missing] = {}
        for where, some in self.gaps.items():
            for gap in some:
                found.setdefault(self._kind(gap, where), gap)
        return [gap for kind, gap in found.items() if kind not in self.kinds]

    def write_tables(self) -> None:
        """Each rebuilt table as CSV, Markdown and LaTeX."""
        for table in self.tables:
            name = slug(table.id)
            self.data(f"tables/{name}.csv", render.to_csv(render.csv_rows(table)))
            self.data(f"tables/{name}.md", render.markdown(table))
            self.data(f"tables/{name}.tex", render.latex(table))


SECTIONS = (
    sections.overview,
    sections.published,
    sections.audit,
    sections.figures,
    sections.devices,
    sections.models,
    sections.runs,
    sections.history,
    sections.method,
    sections.newest_cells,
)


def _shown(value: Any) -> Any:
    """What a page cannot hold is spelled out; Jinja escapes the rest."""
    return visible(value) if type(value) is str else value


def build(store: Store, out: Path) -> Built:
    """Write the whole site into ``out`` (emptied of an earlier site first) and say what was written."""
    _clear(out)
    b = Builder(store, out)
    shutil.copytree(HERE / "static", out / "static")
    b.draw_figures()
    b.write_tables()
    for section in SECTIONS:
        section(b)
    return b.built


def _clear(out: Path) -> None:
    """Empty ``out`` only if an earlier build made it: a mistyped --out must not delete anything."""
    if out.exists() and any(out.iterdir()):
        if not (out / MARK).is_file():
            raise UsageError(f"--out {out}: not empty and not a site of this program; choose an empty folder")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).write_text("made by python -m reports site\n")
