"""The site as files: whole, offline, complete; and the checker that says so finds planted faults."""

import json
import shutil

import pytest

from ecp.errors import UsageError
from reports.measured import Store, load
from reports.site import build, spark
from reports.site.check import check
from tests.reports import synthetic


def test_nothing_is_broken_and_nothing_leads_elsewhere(site):
    assert check(site.folder) == []


def test_every_kind_of_page_is_there(site):
    expected = {"index.html", "published.html", "audit.html", "figures.html", "history.html", "method.html"}
    expected |= {"devices/local.html", "models/vit_tiny.html", "runs/2026-01-02-latency.html"}
    expected |= {"devices/index.html", "models/index.html", "runs/index.html"}
    assert expected <= set(site.pages)


def test_every_chart_has_its_data_and_its_table(site):
    page = (site.folder / "figures.html").read_text()
    charts = page.count("<svg xmlns")
    assert charts == page.count("The figure as a table") == page.count("Data (CSV") >= 10


def test_pages_show_what_the_records_say(site):
    model = (site.folder / "models" / "vit_tiny.html").read_text()
    assert "620" in model and "/head/Gather" in model and "only the class token is read" in model
    run = (site.folder / "runs" / "2026-01-02-latency.html").read_text()
    assert "invented processor" in run and "load_1min" in run and 'class="spark"' in run
    assert "TNN is not installed" in run
    cells = json.loads((site.folder / "data" / "2026-01-02-latency.json").read_text())
    assert len(next(c for c in cells if c["model"] == "vit_base" and c["backend"] == "mnn")["blocks"]) == 6


def test_text_from_records_is_escaped(site):
    page = (site.folder / "devices" / "local.html").read_text()
    assert "ecp &lt;b&gt;cpu&lt;/b&gt;" in page and "<b>cpu" not in page


def test_a_run_shows_its_notes_and_pictures_and_nothing_leads_out(tmp_path):
    records = synthetic.write_all(tmp_path / "records")
    run = records / "2026-01-03-various"
    notes = "# Title\n\n## What\n\n<b>bold</b> [link](http://example.org)\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n"
    (run / "README.md").write_text(notes)
    (run / "cores.png").write_bytes(b"\x89PNG")
    (run / "printed.txt").write_text("1 < 2\n")
    built = build(load(records), tmp_path / "site")
    page = (built.folder / "runs" / "2026-01-03-various.html").read_text()
    assert "<h3>What</h3>" in page and "<td>2</td>" in page and "Title" not in page
    assert "&lt;b&gt;" in page and "1 &lt; 2" in page and 'href="http' not in page
    assert (built.folder / "pictures" / "2026-01-03-various-cores.png").read_bytes() == b"\x89PNG"
    assert check(built.folder) == []


def test_every_page_is_written_once(tmp_path):
    """A device that a training calls "NVIDIA H200" and the harness "nvidia-h200" is one page and one line."""
    records = synthetic.write_all(tmp_path / "records")
    rows = synthetic.accuracy_cells()
    names = [row | {"device": name} for row, name in zip(rows, ("NVIDIA H200", "nvidia-h200"), strict=False)]
    (records / "2026-01-03-various" / "accuracy.json").write_text(json.dumps(names))
    built = build(load(records), tmp_path / "site")
    assert len(built.pages) == len(set(built.pages))
    assert (built.folder / "devices" / "index.html").read_text().count("nvidia-h200.html") == 1
    assert "<h1>nvidia-h200</h1>" in (built.folder / "devices" / "nvidia-h200.html").read_text()


def test_accuracies_of_two_data_sets_are_told_apart(site):
    page = (site.folder / "models" / "ecp_vit_base-0.9.html").read_text()
    assert '<span class="small">tiny-imagenet</span>' in page


def test_history_has_the_series_of_two_runs(site):
    page = (site.folder / "history.html").read_text()
    assert "-16." in page or "-17." in page
    assert "needs 6 runs" in page


def test_an_empty_store_still_gives_a_whole_site(tmp_path):
    built = build(Store([]), tmp_path / "site")
    assert check(built.folder) == []
    assert "There are no records" in (built.folder / "index.html").read_text()


def test_a_folder_of_someone_elses_is_not_emptied(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="not a site"):
        build(Store([]), tmp_path)
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        ('<a href="nowhere.html">x</a>', "no such file"),
        ('<a href="index.html#nowhere">x</a>', "no such place"),
        ('<script src="https://example.org/x.js"></script>', "another host"),
        ('<img src="static/icon.svg">', "without alt"),
        ("<svg></svg>", "without a text alternative"),
        ('<p id="main"></p>', "stands twice"),
        ('<div class="scroll" role="region" aria-label="x"></div>', "reached by keyboard"),
        ('<figure><a href="data/published.csv">x</a></figure>', "without its table"),
        ("<figure><table></table></figure>", "or its data"),
    ],
)
def test_the_checker_finds(site, tmp_path, fault, finding):
    copy = tmp_path / "site"
    shutil.copytree(site.folder, copy)
    page = copy / "index.html"
    page.write_text(page.read_text().replace("</main>", fault + "</main>"))
    problems = check(copy)
    assert len(problems) == 1 and finding in problems[0]


def test_sparkline_holds_every_block():
    svg = spark.samples([[1.0, 2.0], [3.0, 1.0]])
    assert svg.count("M") == 2 + 1 + 2 and "4 samples in 2 blocks" in svg
    assert spark.samples([]) == "" and spark.samples([[1.0]]) == ""
