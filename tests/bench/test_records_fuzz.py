"""Changed lines of real records through everything that reads records: never a traceback, every bad line counted."""

import json
import random
import tracemalloc

import pytest

from bench import archive
from bench.cells import make_cells
from bench.cli import main as bench
from bench.plan import Case
from bench.records import read_facts, read_records
from bench.strict_json import parse_json
from reports import measured, summary
from reports.cli import main as reports

from .fake_runs import make_run
from .hostile import COMMITTED, mutate, real_lines

BATCH = 40
FACTS = [p.read_bytes() for p in sorted(COMMITTED.rglob("run.json"))]
ROWS = [
    json.dumps(row).encode()
    for p in sorted(COMMITTED.rglob("cells.json"))
    for row in parse_json(p.read_bytes(), infinite=True)
]


def _through_everything(folder, lines, capsys, *, site=False):
    """Bench's and the reports' readers over runs of these lines; the number of lines that were no records."""
    results = folder / "results"
    for start in range(0, len(lines), BATCH):
        run = make_run(results, f"20260101T0000{start // BATCH:02d}Z-latency-x", [1.0])
        with (run / "records.jsonl").open("ab") as stream:
            stream.write(b"".join(line + b"\n" for line in lines[start : start + BATCH]))
        found = read_records(run / "records.jsonl")
        asked = len([line for line in lines[start : start + BATCH] if line.strip()])
        assert len(found.records) + found.bad == asked + 1
        make_cells(
            [Case(r.cell.device, r.cell.backend, r.cell.model, r.cell.metric) for r in found.records],
            found.records,
            1,
        )
    bad = sum(read_records(p).bad for p in results.glob("*/records.jsonl"))
    capsys.readouterr()
    for arguments in (["--metric", "latency", "--rebuild"], ["--metric", "latency", "--json", "-"]):
        assert bench(["history", "--out", str(results), *arguments]) == 0
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        if arguments[-1] == "-":
            json.loads(said.out)
        elif bad:
            assert "line" in said.out
    for command in ("tables", *(("figures", "site") if site else ())):
        assert reports([command, "--records", str(results), "--out", str(folder / command)]) == 0
        assert not bad or "no record" in capsys.readouterr().err
    summary.markdown(measured.load(results))
    return bad


def test_changed_lines_are_counted_and_never_a_traceback(tmp_path, capsys):
    rng = random.Random(20261129)
    lines = real_lines()
    bad = _through_everything(tmp_path, [mutate(rng.choice(lines), rng) for _ in range(320)], capsys)
    assert 100 < bad < 320


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_many_changed_lines_through_the_site_too(tmp_path, capsys, seed):
    rng = random.Random(seed)
    lines = real_lines()
    _through_everything(tmp_path, [mutate(rng.choice(lines), rng) for _ in range(400)], capsys, site=True)


def test_changed_facts_and_cells_are_named_and_never_a_traceback(tmp_path, capsys):
    rng = random.Random(1129)
    results = tmp_path / "results"
    for n in range(40):
        run = make_run(results, f"20260101T0000{n:02d}Z-latency-x", [1.0])
        (run / "run.json").write_bytes(mutate(rng.choice(FACTS), rng))
        rows = [mutate(rng.choice(ROWS), rng) for _ in range(3)]
        (run / "cells.json").write_bytes(b"[" + b",".join(rows) + b"]")
    assert bench(["history", "--out", str(results)]) == 0
    assert "run.json cannot be read" in capsys.readouterr().out
    assert reports(["tables", "--records", str(results), "--out", str(tmp_path / "tables")]) == 0
    said = capsys.readouterr().err
    assert "cells.json cannot be read" in said.replace(":", "") and "left out" in said
    summary.markdown(measured.load(results))


BAD = {
    "1e999": (b'"first_ms":1e999', "too large"),
    "-1e999 in facts": (b'"extra":{"details":{"x":-1e999}}', "too large"),
    "deep": (b'"extra":' + b"[" * 200_000, "deeper"),
    "deep but closed": (b'"extra":{"x":' + b"[" * 500 + b"]" * 500 + b"}", "deeper"),
    "NaN": (b'"samples_ms":[NaN]', "NaN is not a number"),
    "half a character": (b'"reason":"\\ud800"', "lone surrogate"),
    "NUL": (b'"reason":"a\\u0000b"', "NUL"),
    "raw NUL": (b'"reason":"a\x00b"', "control character"),
    "not UTF-8": (b'"reason":"\xff"', "UTF-8"),
    "a key twice": (b'"seq":1,"seq":2', "twice"),
    "65 bits": (b'"extra":{"x":18446744073709551616}', "64 bits"),
    "text for a number": (b'"samples_ms":["1.0"]', "samples_ms.0"),
    "a list for an object": (b'"cell":[]', "cell"),
    "a time of zero": (b'"samples_ms":[0.0]', "no time above zero"),
    "a negative place": (b'"seq":-1', "seq"),
    "a long name": (b'"run_id":"' + b"x" * 300 + b'"', "run_id"),
    "a truth for a number": (b'"block":true', "block"),
}


@pytest.mark.parametrize(("change", "why"), BAD.values(), ids=BAD)
def test_each_kind_of_damage_is_named_with_file_line_and_reason(tmp_path, change, why):
    run = make_run(tmp_path, "20260101T000000Z-latency-x", [1.0, 2.0])
    path = run / "records.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    name = change.partition(b":")[0]
    data = {k: v for k, v in json.loads(first).items() if k != json.loads(name)}
    bad = json.dumps(data).encode()[:-1] + b"," + change + b"}\n"
    path.write_bytes(first + bad + second)
    found = read_records(path)
    assert (len(found.records), found.lines, found.bad) == (2, [1, 3], 1)
    (told,) = found.findings
    assert told.startswith("records.jsonl line 2: not a record (") and why in told and len(told) < 400


def test_a_line_of_100_mb_is_never_held_and_many_bad_lines_are_counted(tmp_path):
    run = make_run(tmp_path, "20260101T000000Z-latency-x", [1.0, 2.0])
    path = run / "records.jsonl"
    with path.open("ab") as stream:
        stream.write(b"[" * 100_000_000 + b"\n" + b"{}\n" * 500)
    tracemalloc.start()
    found = read_records(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.records) == 2 and found.bad == 501
    assert "line 3: longer than 16 MiB" in found.findings[0]
    assert len(found.findings) == 21 and "481 further lines" in found.findings[-1]
    assert most < 60 << 20


def test_all_committed_records_are_read():
    found = [read_records(p) for p in archive.record_files(COMMITTED)]
    assert sum(len(f.records) for f in found) >= 2951 and not any(f.findings for f in found)
    assert all(read_facts(p) for p in COMMITTED.rglob("run.json"))
