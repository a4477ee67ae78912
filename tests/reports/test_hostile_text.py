"""Hostile names and reasons in records, through every writer of the reports, read back by real parsers."""

import csv
import html
import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from bench import escape, regress_output
from bench.compare_judge import CellVerdict
from bench.records import BlockRecord, CellKey
from reports import measured
from reports.audit import render as audit_render
from reports.audit.base import Audited, Claim, Outcome, Verdict
from reports.report import write
from tests.reports import synthetic

HOSTILE = (
    "a|b",
    "two\nlines",
    "`code` ``x`",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x1b[31mred\x1b[0m",
    "=cmd|' /C calc'!A0",
    "[red]x[/red]",
    "\\input{/etc/passwd}",
    "[x](javascript:alert(1))",
    "nul\x00bell\x07\u202e",
    "$x$ %& #_{}~^",
)
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")
ALLOWED = ("table", "thead", "tbody", "tr", "th", "td", "p", "ul", "li", "code", "strong", "h1", "h2", "h3")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The whole report of records in which the texts stand for a model, backend, version, device and reason."""
    folder = tmp_path_factory.mktemp("hostile")
    records = []
    for text in HOSTILE:
        for cell in (
            CellKey("local", "mnn", "1", text, "", "fp32", "latency"),
            CellKey("local", text, text, "vit_tiny", "", "fp32", "latency"),
            CellKey(text, "mnn", "1", "vit_tiny", "", "fp32", "latency"),
        ):
            records.append(BlockRecord("h", len(records), 0, cell, "failed", text))
            ok = CellKey(cell.device, cell.backend, "1", cell.model, "", "fp32", "memory")
            more = {"unit": "MiB", "source": "rss"}
            records.append(BlockRecord("h", len(records), 0, ok, "measured", samples_ms=[7.0], extra=more))
    synthetic.write_run(folder / "r" / "2026-01-01-latency", records, "latency", "20260101")
    write(measured.load(folder / "r"), folder / "out")
    return folder / "out"


def rendered(source):
    page = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough").render(source)
    return page, [t for t in re.findall(r"<\s*/?\s*([a-z0-9]+)", page) if t not in ALLOWED]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.bad = []

    def handle_starttag(self, tag, attributes):
        self.bad += [(tag, k, v) for k, v in attributes if k.startswith("on")]
        self.bad += [(tag, k, v) for k, v in attributes if (v or "").lower().startswith("javascript:")]
        if tag == "img" and dict(attributes).get("src") == "x":
            self.bad.append((tag, attributes))


def test_markdown_holds_the_text_as_text(out):
    for path in out.rglob("*.md"):
        text = path.read_text()
        page, tags = rendered(text)
        assert not tags and not CONTROL.search(text), (path, tags)
        for table in re.findall("<table>.*?</table>", page, re.S):
            widths = {len(re.findall("<t[hd]", row)) for row in re.findall("<tr>.*?</tr>", table, re.S)}
            assert len(widths) == 1, path


def test_csv_computes_nothing(out):
    for path in out.rglob("*.csv"):
        for row in csv.reader(io.StringIO(path.read_text(), newline="")):
            for cell in row:
                assert not CONTROL.search(cell), (path, cell)
                assert not re.match(r"[=@]|[-+](?![\d.])", cell) or len(cell) < 2, (path, cell)


def test_latex_runs_no_macro_of_a_text(out):
    for path in out.rglob("*.tex"):
        assert "\\input" not in path.read_text() and not CONTROL.search(path.read_text())


def test_pages_have_no_tag_of_a_text(out):
    pages = [p for p in out.rglob("*.html")]
    for path in pages:
        parser, text = Tags(), path.read_text()
        parser.feed(text)
        assert not parser.bad and "<script>alert" not in text and not CONTROL.search(text), path
    together = html.unescape("".join(p.read_text() for p in pages))
    assert all(escape.line(text).split()[0] in together for text in HOSTILE)


def test_the_audit_keeps_its_columns():
    for text in HOSTILE:
        outcome = Outcome({text: 1.0}, Verdict.HOLDS, text)
        claim = Claim("c", text, text, text, lambda _, found=outcome: found)
        row = Audited(claim, outcome, (text,))
        page, tags = rendered(audit_render.markdown([row]))
        assert not tags and page.count("<td") == 5, text
        assert len(list(csv.reader(io.StringIO(audit_render.csv_text([row]))))) == 2


def test_verdicts_are_one_table_and_one_document():
    found = [CellVerdict(t, t, t, "fp32", "latency", "failed", t) for t in HOSTILE]
    page, tags = rendered(regress_output.markdown(found, HOSTILE[0]))
    assert not tags and page.count("<tr>") == 1 + len(HOSTILE)
    root = ElementTree.fromstring(regress_output.junit(found, HOSTILE[5]))
    assert len(root.findall(".//error")) == len(HOSTILE)
