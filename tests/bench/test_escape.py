"""Hostile text through the escapers, read back by real parsers: intact or neutral, never at work."""

import csv
import html
import io
import re
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.table import Table

from bench import escape
from bench.compare_judge import CellVerdict
from bench.console import terminal
from bench.devices import load_devices
from bench.regress_output import junit, markdown
from ecp.errors import UsageError

PIECES = [
    "|",
    "\n",
    "`",
    "**",
    "_",
    "<script>",
    "[red]",
    "[x](y)",
    "&lt;",
    "\\",
    "=1+1",
    "@a",
    "# h",
    "- i",
    "\x1b[31m",
]
PIECES += [
    "\x00",
    "\ud800",
    "\u202e",
    "$x$",
    "~~",
    "1. x",
    "\r",
    "a",
    "vit_tiny",
    "'",
    '"',
    "]]>",
    "\ufffe",
    "{%",
]
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8).map("".join)


def _rendered(source):
    text = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough").render(source)
    return re.findall(r"<(?!/?(?:table|thead|tbody|tr|th|td|p|ul|li|code|strong|h3)\b)[^>]*>", text), text


@given(HOSTILE)
@example("\ta")
@example("1. x")
def test_markdown_shows_the_text_and_nothing_else(text):
    shown = escape.line(text)
    for source in (f"- {escape.markdown(text)}\n", f"| a |\n| --- |\n| x{escape.markdown(text)} |\n"):
        tags, page = _rendered(source)
        assert not tags, page
        assert shown.replace(" ", "") in html.unescape(re.sub("<[^>]*>", "", page)).replace(" ", "")


@given(HOSTILE)
def test_a_code_span_holds_the_text(text):
    tags, page = _rendered(f"| a |\n| --- |\n| {escape.markdown_code(text)} |\n")
    assert not tags and page.count("<td") == 1


@given(st.lists(HOSTILE, min_size=1, max_size=3))
def test_csv_has_no_formula_and_numbers_stay(texts):
    stream = io.StringIO()
    csv.writer(stream).writerow(escape.csv_row([*texts, -1.5, "-2.5e-3"]))
    (row,) = csv.reader(io.StringIO(stream.getvalue()))
    assert row[-2:] == ["-1.5", "-2.5e-3"]
    for cell, text in zip(row, texts):
        assert (
            len(cell) < 2 or cell.lstrip()[:1] not in ("=", "+", "-", "@") or escape._NUMBER.fullmatch(cell)
        )
        assert cell.removeprefix("'") == escape.visible(text).removeprefix("'")


@given(HOSTILE)
def test_the_terminal_prints_text(text):
    console = terminal()
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    with console.capture() as got:
        console.print(table)
        console.print(text)
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", got.get().replace("\x1b[1m", "").replace("\x1b[0m", "")
    )
    with console.capture() as got:
        console.print("[red]x[/red]", markup=None)
    assert "[red]x[/red]" in got.get()


def verdict(text):
    return CellVerdict("local", text, text, "fp32", "latency", "failed", text)


@given(HOSTILE)
def test_junit_is_xml_and_markdown_one_table(text):
    root = ElementTree.fromstring(junit([verdict(text)], text))
    error = root.find(".//error")
    assert error is not None and error.get("message").startswith("failed: ")
    assert root.find("testsuite").get("name").split() == escape.visible(text).split()
    tags, page = _rendered(markdown([verdict(text)], text))
    assert not tags and page.count("<tr>") == 2, page


@given(HOSTILE)
def test_latex_leaves_no_special_character_alone(text):
    told = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|textquotedbl)\{\}",
        "",
        escape.latex(text),
    )
    assert not re.search(r"(?<!\\)[&%$#_{}~^]|\\(?![&%$#_{}])", told)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: " + b"[" * 5000, "nested too deeply"),
        ("title: caf\xe9".encode("latin-1"), "not UTF-8 at byte"),
        (b"a: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n", "aliases"),
        (b"#" * (2 << 20), "at most"),
        (b"a: 2026-13-45\n", "devices.yaml"),
    ],
)
def test_a_hostile_devices_file_is_one_line(tmp_path, content, said):
    path = tmp_path / "devices.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said) as caught:
        load_devices(path)
    assert "\n" not in str(caught.value)
