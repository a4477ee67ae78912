"""The history command on made-up runs: table, JSON, change points, merging, rebuild, unknown names."""

import json

import numpy as np
import pytest

from bench.cli import main

from .fake_runs import make_run


@pytest.fixture
def results(tmp_path):
    """Twelve runs at twelve commits; the seventh made it 8 % slower."""
    rng = np.random.default_rng(0)
    for n in range(12):
        level = 10.0 * (1.08 if n >= 6 else 1.0) * (1 + rng.normal(0, 0.004))
        medians = [float(level * (1 + e)) for e in rng.normal(0, 0.004, 5)]
        make_run(
            tmp_path / "r",
            f"202601{n + 1:02d}T000000Z-latency-x",
            medians,
            commit=f"{n:012d}" + "e" * 28,
            seed=n,
        )
    return tmp_path / "r"


def test_a_planted_step_is_found_with_its_commits_and_how_to_confirm(results, capsys):
    assert main(["history", "--out", str(results), "--json", "-"]) == 0
    captured = capsys.readouterr()
    (series,) = json.loads(captured.out)
    assert len(series["points"]) == 12
    (change,) = series["changes"]
    assert change["ratio"] == pytest.approx(1.08, abs=0.01)
    assert change["after"].startswith("20260107")
    assert change["confirm"] == "python -m bench compare 000000000005 000000000006"
    assert "+8" in captured.err


def test_index_is_kept_and_rebuilt(results, capsys):
    main(["history", "--out", str(results)])
    assert "12 runs indexed now" in capsys.readouterr().out
    main(["history", "--out", str(results)])
    assert "0 runs indexed now, 12 unchanged" in capsys.readouterr().out
    (results / "index.sqlite").unlink()
    main(["history", "--out", str(results)])
    assert "12 runs indexed now" in capsys.readouterr().out
    main(["history", "--out", str(results), "--rebuild"])
    assert "60 blocks of 12 runs in 1 comparable series" in capsys.readouterr().out


def test_the_table_fits_and_says_why_two_series_are_apart(results, tmp_path, capsys):
    make_run(tmp_path / "other", "20260201T000000Z-latency-y", [20.0], cpu="Another CPU")
    assert main(["history", "--out", str(results), "--also", str(tmp_path / "other")]) == 0
    text = capsys.readouterr().out
    table = text.splitlines()[:6]
    assert any(" #" in line and " 12 " in line for line in table) and all(len(line) <= 80 for line in table)
    assert any(" #" in line and "1 block " in line for line in table), "one process gives no interval"
    (why,) = [line for line in text.splitlines() if "cpu: " in line]
    assert "'Another CPU'" in why and "…" not in text


def test_a_renamed_folder_keeps_its_place_and_is_no_finding(results, capsys):
    oldest = sorted(results.glob("*/run.json"))[0].parent
    run = json.loads((oldest / "run.json").read_text())
    (oldest / "run.json").write_text(json.dumps({**run, "run_id": oldest.name}))
    oldest.rename(results / "the-first-one")
    assert main(["history", "--out", str(results), "--json", "-"]) == 0
    captured = capsys.readouterr()
    (series,) = json.loads(captured.out)
    assert series["points"][0]["run_id"] == "the-first-one"
    assert series["points"][0]["started_utc"] == "20260101T000000Z"
    assert "note:" not in captured.err


def test_another_machines_runs_are_another_series(results, tmp_path, capsys):
    make_run(tmp_path / "other", "20260201T000000Z-latency-y", [20.0] * 3, cpu="Another CPU")
    code = main(["history", "--out", str(results), "--also", str(tmp_path / "other"), "--json", "-"])
    assert code == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(len(s["points"]) for s in found) == [1, 12]
    assert len({s["key"] for s in found}) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--models", "vit_tinny"], "did you mean vit_tiny"),
        (["--metric", "latencyy"], "did you mean latency"),
        (["--backends", "ecpp"], "did you mean ecp"),
    ],
)
def test_unknown_names(results, capsys, arguments, said):
    assert main(["history", "--out", str(results), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_nothing_recorded_and_no_folder(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["history", "--out", str(tmp_path / "empty")]) == 2
    assert "nothing is recorded yet" in capsys.readouterr().err
    assert main(["history", "--out", str(tmp_path / "none")]) == 2
    assert "not a folder of runs" in capsys.readouterr().err


def test_damaged_records_are_told_and_the_rest_shown(results, capsys):
    with (results / "20260103T000000Z-latency-x/records.jsonl").open("a") as stream:
        stream.write('{"schema_version": 99, "kind": "block"}\n{"half')
    assert main(["history", "--out", str(results)]) == 0
    said = capsys.readouterr().out
    assert "schema 99" in said
    assert "60 blocks" in said
