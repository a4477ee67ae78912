"""Text that comes from outside (a model, a compiler, a device, a record) on its way into a format: one escaper each.

Every writer of ``bench`` and ``reports`` uses these. The text stays readable and stays text: it cannot end its cell,
start a formula, a tag, a macro or a terminal command. HTML is Jinja's business (autoescape), JSON that of ``json``.
"""

from __future__ import annotations

import re
from typing import Any

# C0 and C1 controls, delete, line separators, marks that change the direction of reading, lone surrogates, and
# the two codes that are no characters: nothing of it may reach a terminal, an XML file or a page.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_MARKDOWN = re.compile(r"[\\`*\[\]<>|~&]|(?<![^\W_])_|_(?![^\W_])")
_MARKDOWN_START = re.compile(r"^(\d+(?=[.)](?:\s|$)))|^(?=[-+#=:](?:[\s\-+#=:]|$))|^(?=#{1,6}(?:\s|$))")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
# What a spreadsheet takes for the beginning of a formula, wide forms included.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"}


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def visible(text: object, keep: str = "\n\t") -> str:
    """``text`` with what cannot be seen spelled out (ESC becomes ``\\x1b``), apart from the characters in ``keep``."""
    return _HIDDEN.sub(lambda m: m[0] if m[0] in keep else _shown(m), str(text))


def line(text: object) -> str:
    """:func:`visible` on one line: each run of white space is one space."""
    return visible(" ".join(str(text).split()), keep="")


def brief(text: object, longest: int = 300) -> str:
    """:func:`line` for a message: of a longer text the first ``longest`` characters and three dots."""
    told = line(str(text)[: 4 * longest])
    return told if len(told) <= longest and len(str(text)) <= 4 * longest else told[:longest] + "..."


def markdown(text: object) -> str:
    """Inline Markdown whose rendering is the text: no emphasis, link, tag, entity, cell or block of its own.

    Fit for a table's cell, a list's item and a paragraph.
    """
    told = _MARKDOWN.sub(lambda m: "\\" + m[0], line(text))
    return _MARKDOWN_START.sub(lambda m: (m[1] or "") + "\\", told, count=1)


def markdown_code(text: object) -> str:
    """A code span (in which nobody is mentioned and nothing is a link), also within a table."""
    told = line(text).replace("|", "\\|")
    if not told:
        return ""
    longest = max((len(run) for run in re.findall("`+", told)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{told}{pad}{fence}"


def csv_cell(value: Any) -> Any:
    """A number as it is; text that a spreadsheet would compute gets an apostrophe before it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = visible(value)
    if len(text) > 1 and text.lstrip(" ").startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


def csv_row(values: Any) -> Any:
    """:func:`csv_cell` of a sequence's or a mapping's values."""
    if isinstance(values, dict):
        return {name: csv_cell(value) for name, value in values.items()}
    return [csv_cell(value) for value in values]


def latex(text: object) -> str:
    """Text with LaTeX's special characters escaped, on one line."""
    return "".join(_LATEX.get(c, "\\" + c if c in "&%$#_{}" else c) for c in line(text))


def xml(text: object) -> str:
    """Text that XML 1.0 can hold; entities are the business of whoever writes the document."""
    return visible(text)
