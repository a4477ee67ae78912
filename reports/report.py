"""``report``: audit, tables, site (with figures) and the one-page summary in one folder, from records alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ecp.errors import EcpError
from reports import summary
from reports.audit import audit_all
from reports.audit import render as audit_render
from reports.measured import Store, slug
from reports.site import Built, build
from reports.site.check import check
from reports.tables import RebuiltTable, render
from reports.tables.build import every


@dataclass(frozen=True)
class Report:
    """What was written."""

    site: Built
    tables: int
    claims: int


def write_text(path: Path, text: str) -> None:
    """Write one file, its folder made where needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_audit(out: Path) -> int:
    """``audit.md``, ``.csv`` and ``.json``; the number of claims."""
    rows = audit_all()
    write_text(out / "audit.md", audit_render.markdown(rows))
    write_text(out / "audit.csv", audit_render.csv_text(rows))
    write_text(out / "audit.json", audit_render.json_text(rows))
    return len(rows)


def write_tables(built: list[RebuiltTable], out: Path) -> int:
    """Each table as Markdown, LaTeX and CSV; how many."""
    for table in built:
        name = slug(table.id)
        write_text(out / f"{name}.md", render.markdown(table))
        write_text(out / f"{name}.tex", render.latex(table))
        write_text(out / f"{name}.csv", render.to_csv(render.csv_rows(table)))
    return len(built)


def write_site(store: Store, out: Path) -> Built:
    """The site, read back and checked; EcpError if anything in it is broken."""
    built = build(store, out)
    problems = check(out)
    if problems:
        raise EcpError(f"{len(problems)} problems in the site, first: {problems[0]}")
    return built


def write(store: Store, out: Path) -> Report:
    """Everything."""
    claims = write_audit(out / "audit")
    tables = write_tables(list(every(store)), out / "tables")
    site = write_site(store, out / "site")
    write_text(out / "summary.md", summary.markdown(store))
    return Report(site, tables, claims)
