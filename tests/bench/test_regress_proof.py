"""The campaign that measures the gate: what it plants, what it counts, how it goes on. Measuring itself is faked."""

import json
from dataclasses import replace

import pytest

from bench import regress_proof, regress_proof_table
from bench.compare_judge import CellVerdict, disturbed, pairs_of
from bench.compare_run import Measured
from bench.records import BlockRecord, CellKey
from ecp.errors import EcpError, UsageError


def row(name, kind, target=0.0, verdict="inconclusive", ratio=1.0, disturb=0.0, wrong=(0, 0)):
    found = CellVerdict(
        "local", "ecp", "m", "fp32", "latency", verdict, ratio=ratio, lo=ratio, hi=ratio, mde=0.03, pairs=7
    )
    more = {"name": name, "kind": kind, "target": target, "pair_wall_s": [2.0], "wrong_outputs": list(wrong)}
    more |= {"disturb": disturb, "disturbed_by": disturb or None}
    return {**found.to_dict(), **more, "exit_code": int(verdict in ("regressed", "failed"))}


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    monkeypatch.setattr(regress_proof, "git", lambda *a: "c" * 40)
    return regress_proof.Campaign.open(tmp_path / "p", "HEAD", "m", "local")


def test_every_step_says_what_it_plants_and_what_runs_beside_it():
    plan = list(regress_proof.steps(1, 2, (0.05, 0.21), wrong=1))
    assert {s.name: s.planted for s in plan} == {
        "aa-0": {},
        "slow-0.05-0": {"plant.slow": 0.05},
        "slow-0.21-0": {"plant.slow": 0.21},
        "slow-0.05-1": {"plant.slow": 0.05},
        "slow-0.21-1": {"plant.slow": 0.21},
        "wrong-0": {"plant.wrong": 1.0},
    }
    beside = list(regress_proof.steps(1, 2, (0.05, 0.21), wrong=1, disturb=0.5))
    assert not {s.name for s in plan} & {s.name for s in beside}
    assert {s.disturb for s in beside} == {0.5}


def test_an_interrupted_campaign_goes_on_with_its_own_revision(campaign, monkeypatch, capsys):
    campaign.add(row("aa-0", "aa"))
    with campaign.path.open("a") as stream:
        stream.write('{"name": "aa-1", "ki')
    monkeypatch.setattr(regress_proof, "git", lambda *a: "d" * 40)
    again = regress_proof.Campaign.open(campaign.folder, "HEAD", "m", "local")
    assert (again.base, list(again.done)) == ("c" * 40, ["aa-0"])
    assert "incomplete line" in capsys.readouterr().err
    again.add(row("aa-1", "aa"))
    third = regress_proof.Campaign.open(campaign.folder, "HEAD", "m", "local")
    assert list(third.done) == ["aa-0", "aa-1"]
    with pytest.raises(UsageError, match="choose --out"):
        regress_proof.Campaign.open(campaign.folder, "HEAD", "other", "local")


def test_a_campaign_that_planted_in_another_way_is_not_continued(tmp_path):
    head = {"base": "c" * 40, "model": "m", "device": "local", "margin": 0.02}
    (tmp_path / "campaign.jsonl").write_text(json.dumps(head) + "\n")
    with pytest.raises(UsageError, match="another way"):
        regress_proof.Campaign.open(tmp_path, "HEAD", "m", "local")


ANSWERS = {0.05: ("regressed", 1.05), 0.21: ("regressed", 1.21), 0.01: ("inconclusive", 1.01)}


def faked(seen):
    def run_step(step, campaign, prepared, target, tell):
        seen.append(step.name)
        tell("m", 0, step.pairs)
        tell("m", step.pairs, step.pairs)
        if step.kind == "wrong":
            found = row(step.name, "wrong", 0.0, "failed", None, step.disturb, (0, 1))
        else:
            verdict, ratio = ANSWERS.get(step.target, ("unchanged", 1.001))
            found = row(step.name, step.kind, step.target, verdict, ratio, step.disturb)
        campaign.add(found)

    return run_step


def test_done_steps_are_not_measured_again_and_both_kinds_share_a_table(campaign, monkeypatch):
    seen = []
    monkeypatch.setattr(regress_proof, "run_step", faked(seen))
    monkeypatch.setattr(regress_proof, "reach", lambda device: None)
    monkeypatch.setattr(regress_proof, "prepare", lambda model: None)
    campaign.add(row("aa-0", "aa", verdict="unchanged"))
    sizes = (0.05, 0.21, 0.01)
    assert regress_proof._carry_out(campaign, list(regress_proof.steps(2, 1, sizes, 2))) == 0
    assert seen == ["aa-1", "slow-0.05-0", "slow-0.21-0", "slow-0.01-0", "wrong-0", "wrong-1"]
    assert regress_proof._carry_out(campaign, list(regress_proof.steps(1, 1, sizes, 1, 0.5))) == 0
    text = (campaign.folder / "README.md").read_text()
    assert (
        "| disturber | A/A: false alarms | +1 % found | +5 % found | +21 % found | wrong outputs found |"
        in text
    )
    assert "| none | 0 of 2 | 0 of 1 | 1 of 1 | 1 of 1 | 2 of 2 |" in text
    assert "| 50% of one processor (used 50%) | 0 of 1 | 0 of 1 | 1 of 1 | 1 of 1 | 1 of 1 |" in text
    assert "0 false alarms in 2 comparisons of 7 pairs" in text
    # Only a quiet machine's differences make the device's own margin.
    assert json.loads((campaign.folder / "noise-local.json").read_text())["comparisons"] == 2


@pytest.mark.parametrize("disturb", [0.0, 0.5])
@pytest.mark.parametrize(
    "bad",
    [
        row("s", "slow", 0.05, "inconclusive", 1.05),
        row("s", "slow", 0.21, "unstable-device", 1.21),
        row("s", "slow", 0.01, "regressed", 1.01),
        row("w", "wrong", verdict="inconclusive", wrong=(0, 1)),
        row("w", "wrong", verdict="failed", wrong=(0, 0)),
        row("w", "wrong", verdict="failed", wrong=(1, 1)),
        {**row("w", "wrong", verdict="failed", wrong=(0, 1)), "exit_code": 0},
        row("aa-9", "aa", verdict="improved", ratio=0.9),
    ],
)
def test_the_gate_does_not_hold_where_one_comparison_went_wrong(bad, disturb):
    good = [row(f"aa-{n}", "aa", verdict="unchanged") for n in range(20)]
    good += [row("s-0", "slow", 0.05, "regressed", 1.05), row("w-0", "wrong", 0.0, "failed", wrong=(0, 1))]
    good += [{**r, "disturb": 0.5} for r in good if r["kind"] != "aa"]
    assert regress_proof_table.holds(good)
    rows = [*good, {**bad, "disturb": disturb}]
    # One alarm in twenty is what the gate's level allows; one in one is not.
    assert regress_proof_table.holds(rows) == (bad["kind"] == "aa" and not disturb)


def record(block, seq, ms, planted=None, status="measured", ok=True):
    cell = CellKey("local", "ecp", "1", "m", "0" * 64, "fp32", "latency")
    extra = {"options": dict(planted or {}), "turn_lengths": [4, 4]}
    extra |= {"planted": planted} if planted else {}
    more = {"samples_ms": [ms + 0.001 * n for n in range(8)], "error": {"ok": ok}, "extra": extra}
    return BlockRecord(run_id="r", seq=seq, block=block, cell=cell, status=status, **more)


def measured(tmp_path, a, b):
    return Measured(a, b, {}, {}, (tmp_path / "A", tmp_path / "B"))


def step_of(name):
    return next(s for s in regress_proof.steps(1, 1, (0.21,), 1) if s.name == name)


def test_pairs_measured_again_stand_once_in_the_row_with_the_latest_of_both_sides(tmp_path):
    fault = {"plant.slow": 0.21}
    a = [record(n, n, 10.0) for n in range(10)] + [record(3, 10, 20.0)]
    b = [record(n, n, 12.1, fault) for n in range(10)] + [record(3, 10, 20.0, fault)]
    assert not disturbed(a[0]) and len(pairs_of(a, b)) == 10
    found = regress_proof.row_of(step_of("slow-0.21-0"), measured(tmp_path, a, b))
    assert found["verdict"] == "regressed"
    assert len(found["differences"]) == len(found["statuses"]) == len(found["pair_wall_s"]) == 10
    assert found["differences"][3] == pytest.approx(0.0, abs=1e-6)
    assert found["differences"][4] == pytest.approx(0.1906, abs=1e-3)


def test_a_wrong_output_counts_where_only_side_b_gave_one(tmp_path):
    fault = {"plant.wrong": 1.0}
    a, b = [record(0, 0, 10.0)], [record(0, 0, 10.0, fault, "failed", ok=False)]
    found = regress_proof.row_of(step_of("wrong-0"), measured(tmp_path, a, b))
    assert (found["verdict"], found["exit_code"], found["wrong_outputs"]) == ("failed", 1, [0, 1])
    assert regress_proof_table.caught(found)


def test_code_that_knows_no_planting_is_no_proof(tmp_path):
    a = [record(n, n, 10.0) for n in range(10)]
    b = [replace(r, extra={**r.extra, "options": {"plant.slow": 0.21}}) for r in a]
    with pytest.raises(EcpError, match="was asked to plant"):
        regress_proof.row_of(step_of("slow-0.21-0"), measured(tmp_path, a, b))
