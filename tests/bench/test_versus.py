"""Contenders that take turns: groups, orders, the ratio under a machine that changes speed, the command itself."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from bench import versus_report, versus_run
from bench.plan import Case
from bench.records import BlockRecord, CellKey, read_records
from bench.stats.adjacent import round_difference
from bench.stats.median_interval import median_interval
from tests.bench.conftest import Workplace


def case(backend: str, model: str = "m") -> Case:
    return Case("local-cpu", backend, model, versus_run.METRIC)


def test_backends_of_a_model_meet_or_the_models_of_one_backend() -> None:
    a, b, c, d = case("x", "m"), case("y", "m"), case("x", "n"), case("y", "n")
    assert versus_run.make_groups([a, b, c, d]) == [(a, b), (c, d)]
    assert versus_run.make_groups([a, c]) == [(a, c)]


def test_plan_is_the_seeds_and_orders_change_by_round() -> None:
    groups = [(case("x", m), case("y", m)) for m in "abcdefg"]
    one, two = (versus_run.make_plan(groups, 3, seed) for seed in (0, 1))
    assert one == versus_run.make_plan(groups, 3, 0) != two
    assert [s.seq for block in one for s in block] == list(range(42))
    order = versus_run.orders_of(5, 3)
    rounds = [tuple(order(n)) for n in range(200)]
    assert rounds == [tuple(order(n)) for n in range(200)]
    assert all(sorted(r) == [0, 1, 2, 3, 4] for r in rounds)
    for place in range(5):
        leads = sum(r[0] == place for r in rounds)
        assert 15 < leads < 70


def record(
    backend: str, block: int, turns: list[list[float]], status: str = "measured", model: str = "m"
) -> BlockRecord:
    cell = CellKey("local-cpu", backend, "1", model, "0" * 64, "fp32", versus_run.METRIC)
    extra = {"turn_lengths": [len(t) for t in turns], "threads": 2}
    samples = [t for one in turns for t in one]
    return BlockRecord("r", block, block, cell, status, samples_ms=samples, error={"ok": True}, extra=extra)


def drifting(rng: np.random.Generator, scale: float, levels: np.ndarray, per_turn: int) -> list[list[float]]:
    return [list(scale * level * rng.normal(1.0, 0.01, per_turn)) for level in levels]


def test_ratio_holds_while_the_machine_changes_speed() -> None:
    rng = np.random.default_rng(4)
    records = []
    for block in range(10):
        # Neighbours see one level; levels wander by a third between rounds, and by more between blocks.
        levels = rng.uniform(8, 14) * rng.uniform(1.0, 1.5, 10).repeat(2)
        records += [
            record("x", block, drifting(rng, 0.8, levels, 9), "unstable" if block == 3 else "measured"),
            record("y", block, drifting(rng, 1.0, levels, 7)),
        ]
    groups = [(case("x"), case("y"), case("z"))]
    first, other, missing = versus_report.make_cells(groups, records, 10)
    assert (first.value, first.extra["unsteady_blocks"]) == (1.0, 1)
    assert other.value == pytest.approx(0.8, rel=0.01) and other.unit == "ratio"
    assert other.ci is not None and other.ci[0] < 0.8 < other.ci[1] and other.ci[1] - other.ci[0] < 0.02
    assert len(other.blocks) == 10
    assert (missing.status, missing.value) == ("not-run", None)


def test_models_on_one_backend_are_compared_by_the_least_of_neighbouring_turns() -> None:
    # The second is 1 % slower; two of its three iterations are preempted in every other round, none of the first's.
    one = [[10.0, 10.0, 10.0]] * 8
    two = [[10.1, 15.0, 15.0] if k % 4 < 2 else [10.1, 10.1, 10.1] for k in range(8)]
    groups = [(case("x", "m"), case("x", "n"))]
    records = [
        record("x", b, turns, model=model) for b in range(6) for model, turns in (("m", one), ("n", two))
    ]
    _, other = versus_report.make_cells(groups, records, 6)
    assert other.value == pytest.approx(1 / 1.01, rel=1e-9)


def test_long_names_leave_the_numbers_whole() -> None:
    names = ("vit_small@384", "ecp_vit_small@0.8@384")
    records = [record("x", b, [[123.456, 123.456]] * 8, model=model) for b in range(6) for model in names]
    groups = [tuple(case("x", name) for name in names)]
    console = Console(width=80, record=True, file=io.StringIO())
    versus_report.print_cells(groups, versus_report.make_cells(groups, records, 6), console)
    (line,) = [line for line in console.export_text().splitlines() if line.strip().startswith(names[1])]
    assert line.split() == [names[1], "123.46", "1.000", "1.000", "-", "1.000", "6"]


def test_rounds_need_two_turns_each() -> None:
    a, b = [[1.0, 1.0], [2.0]], [[2.0], [4.0, 4.0, 4.0]]
    assert round_difference(a, b) == pytest.approx(math.log(4.0))
    with pytest.raises(ValueError, match="rounds of two turns"):
        round_difference(a[:1], b[:1])


def test_interval_of_a_median_covers_it_and_few_values_have_none() -> None:
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None
    assert median_interval(list(range(10))) == (4.5, 1, 8)
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        found = median_interval(list(rng.standard_exponential(10)))
        assert found is not None
        hits += found[1] <= math.log(2) <= found[2]
    assert hits / 400 >= 0.95
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


def versus(workplace: Workplace, *arguments: str, blocks: int = 6) -> tuple[int, list[dict], str]:
    common = ("--device", "local-cpu", "--models", workplace.model, "--quick", "--threads", "1")
    done = workplace.bench("versus", *common, "--blocks", str(blocks), "--json", "-", *arguments)
    return done.returncode, json.loads(done.stdout) if done.stdout else [], done.stderr


def test_command_gives_the_ratio_and_drops_who_cannot_run(workplace: Workplace) -> None:
    code, cells, words = versus(workplace, "--backends", "fake-right,fake-twice,fake-unsupported")
    assert code == 0, words
    ours, twice, refused = cells
    assert (ours["metric"], ours["unit"], ours["value"]) == ("versus", "ratio", 1.0)
    # 2 ms against 6 ms of sleep, plus what a sleep costs on a busy machine.
    assert 0.2 < twice["value"] < 0.5 and twice["ci"][0] <= twice["value"] <= twice["ci"][1]
    assert (refused["status"], refused["reason"]) == ("unsupported", "no Softmax on Tuesdays")
    assert "fake-right / this" in words
    (path,) = (workplace.folder / "results").glob("*-versus-*/records.jsonl")
    asked = [r for r in read_records(path).records if r.cell.backend == "fake-unsupported"]
    assert len(asked) == 1


def test_a_device_with_a_name_of_its_own_is_found_by_its_selector(workplace: Workplace) -> None:
    code, cells, words = versus(
        workplace, "--backends", "ecp,onnxruntime", "--device", "desk", "--blocks", "1"
    )
    assert code == 0, words
    assert [c["status"] for c in cells] == ["measured", "measured"], cells
    assert {c["device"] for c in cells} == {"desk"}


def test_shared_processes_take_models_of_one_round_only() -> None:
    groups = [(case("x", m), case("y", m)) for m in "abcde"]
    plan = versus_run.make_plan(groups, 2, 0)
    pieces = list(versus_run.shared(plan, 3))
    assert [len(p) for p in pieces] == [3, 2, 3, 2]
    assert [steps for piece in pieces for steps in piece] == plan
    assert all(len({steps[0].block for steps in piece}) == 1 for piece in pieces)
    assert [len(p) for p in versus_run.shared(plan, 1)] == [1] * 10


def test_models_that_share_a_process_have_ratios_of_their_own(workplace: Workplace) -> None:
    other = workplace.folder / "other.onnx"
    other.write_bytes((workplace.folder / "tiny.onnx").read_bytes())
    models = f"{workplace.model},onnx:{other}"
    code, cells, words = versus(
        workplace, "--backends", "fake-right,fake-twice,fake-unsupported", "--models", models, "--share", "2"
    )
    assert code == 0, words
    assert [c["status"] for c in cells] == ["measured", "measured", "unsupported"] * 2
    assert all(0.2 < c["value"] < 0.5 and len(c["blocks"]) == 6 for c in (cells[1], cells[4]))
    (path,) = (workplace.folder / "results").glob("*-versus-*/records.jsonl")
    for block in range(6):
        ran = [r for r in read_records(path).records if r.block == block and r.cell.backend == "fake-right"]
        assert len({r.extra["python_pid"] for r in ran}) == 1
        assert sorted(r.extra["place_in_process"] for r in ran) == [0, 1]


def test_interrupted_run_is_finished_by_resume(workplace: Workplace) -> None:
    arguments = ("--backends", "fake-right,fake-twice")
    assert versus(workplace, *arguments, blocks=2)[0] == 0
    (folder,) = (workplace.folder / "results").glob("*-versus-*")
    run = json.loads((folder / "run.json").read_text())
    lines = (folder / "records.jsonl").read_text().splitlines(keepends=True)
    # As a kill leaves it: the second block is half there.
    (folder / "run.json").write_text(json.dumps({**run, "state": "interrupted"}))
    (folder / "records.jsonl").write_text("".join(lines[:3]))
    code, cells, words = versus(workplace, *arguments, "--resume", blocks=2)
    assert code == 0, words
    assert [len(c["blocks"]) for c in cells] == [2, 2]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--backends", "fake-right"), 2, "two contenders"),
        (("--backends", "fake-right,fake-twice", "--device", "oneplus11"), 2, "this computer only"),
        (("--backends", "fake-right,fake-twice", "--device", "other-card"), 3, "not NVIDIA H200; ask for"),
        (("--backends", "fake-right,fake-twice", "--share", "0"), 2, "--share"),
        (("--backends", "fake-right,fake-twics"), 2, "did you mean fake-twice"),
    ],
)
def test_a_mistake_is_one_line(
    workplace: Workplace, arguments: tuple[str, ...], code: int, said: str
) -> None:
    found, _, words = versus(workplace, *arguments)
    assert found == code and said in words and "Traceback" not in words
