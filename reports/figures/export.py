"""Writing figures: SVG, PNG, CSV, and an SVG for the page whose colours follow the reader's theme."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib as mpl

from bench import escape
from reports.figures import style
from reports.figures.base import Figure

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"


def drawings(figure: Figure) -> tuple[str, bytes]:
    """The figure as SVG for print and as PNG at 200 dots per inch. Same data, same bytes: no date, fixed ids."""
    vector, pixels = io.StringIO(), io.BytesIO()
    with style.look(), mpl.rc_context({"svg.hashsalt": figure.id}):
        canvas = figure.canvas()
        canvas.savefig(vector, format="svg", metadata={"Date": None, "Creator": None})
        canvas.savefig(pixels, format="png", metadata={"Software": None})
    return vector.getvalue(), pixels.getvalue()


def csv_text(figure: Figure) -> str:
    """Everything the figure shows, one row per mark."""
    fields = list(dict.fromkeys(k for row in figure.rows for k in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(escape.csv_row, figure.rows))
    return stream.getvalue()


def write(figure: Figure, folder: Path) -> str:
    """``ID.svg``, ``ID.png`` and ``ID.csv`` in ``folder``; gives the SVG's text."""
    folder.mkdir(parents=True, exist_ok=True)
    svg, png = drawings(figure)
    (folder / f"{figure.id}.svg").write_text(svg, encoding="utf-8")
    (folder / f"{figure.id}.png").write_bytes(png)
    (folder / f"{figure.id}.csv").write_text(csv_text(figure), encoding="utf-8")
    return svg


def themed(figure: Figure, svg: str) -> str:
    """``svg`` for inlining: colours as CSS variables, ids of its own, a text alternative, no fixed size."""
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    root = ET.fromstring(svg)  # noqa: S314 - our own drawing
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    prefix = re.sub(r"[^a-zA-Z0-9]", "-", figure.id) + "-"
    for element in root.iter():
        for name, value in list(element.attrib.items()):
            element.set(name, _attribute(name, value, prefix))
    root.set("class", "chart")
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", figure.alt)
    return ET.tostring(root, encoding="unicode")


def _attribute(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    value = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}\1)", value)
    if name.endswith("href") and value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    if "#" in value and name in ("style", "fill", "stroke", "stop-color"):
        value = re.sub(r"#[0-9a-f]{6}", lambda m: _variable(m.group(0)), value)
    # matplotlib quotes each font family; the page's own font is better than one the reader may not have.
    return re.sub(r"(font: [^']*)('[^']+',? ?)+(, sans-serif)?", r"\1var(--font)", value)


def _variable(colour: str) -> str:
    variable = style.VARIABLES.get(colour)
    return f"var({variable})" if variable else colour
