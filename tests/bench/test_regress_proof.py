"""The campaign that measures the gate: planting, shares, interruption, counting. Measuring itself is faked."""

import json
import subprocess

import pytest

from bench import planted, regress_proof, regress_proof_table
from bench.compare_judge import CellVerdict
from ecp.errors import EcpError, UsageError


def row(name, kind, target, verdict="inconclusive", ratio=1.0, share=0.0):
    verdict = CellVerdict(
        "local", "ecp", "m", "fp32", "latency", verdict, ratio=ratio, lo=ratio, hi=ratio, mde=0.03
    )
    more = {"name": name, "kind": kind, "target": target, "share_of_tiles": share, "pair_wall_s": [2.0]}
    return {**verdict.to_dict(), **more}


def test_the_place_for_the_slow_down_is_still_there_and_the_emitted_code_differs_only_by_it():
    source = (planted.ROOT / planted.SOURCE).read_text()
    changed = planted.plant(source, 0.25)
    assert "% 1009 < 252" in changed
    compile(changed, planted.SOURCE, "exec")
    assert len(changed) - len(source) == len(planted.PLANT.format(per_1009=252)) - len(planted.ANCHOR)
    with pytest.raises(UsageError, match="has changed"):
        planted.plant(source.replace("self._loop_views()", "self._other()"), 0.25)


def test_planted_commit_holds_one_changed_file_and_moves_no_branch(tmp_path, monkeypatch):
    def git(*arguments):
        names = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        done = subprocess.run(
            ["git", *names, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    (tmp_path / "other").write_text("kept\n")
    path = tmp_path / planted.SOURCE
    path.parent.mkdir(parents=True)
    path.write_text((planted.ROOT / planted.SOURCE).read_text())
    git("add", ".")
    git("commit", "-q", "-m", "one")
    (tmp_path / "other").write_text("uncommitted\n")
    monkeypatch.setattr(planted, "ROOT", tmp_path)
    monkeypatch.setattr("bench.compare_sides.ROOT", tmp_path)
    before = git("rev-parse", "HEAD"), git("status", "--porcelain")
    commit = planted.planted_commit(0.1, "HEAD")
    assert (git("rev-parse", "HEAD"), git("status", "--porcelain")) == before
    assert git("diff", "--name-only", "HEAD", commit) == planted.SOURCE
    assert "% 1009 < 101" in git("show", f"{commit}:{planted.SOURCE}")


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    monkeypatch.setattr(regress_proof, "git", lambda *a: "c" * 40)
    return regress_proof.Campaign.open(tmp_path / "p", "HEAD", "m", "local")


def test_shares_follow_what_was_measured(campaign):
    plan = {s.name: s for s in regress_proof.steps(1, 1, (0.05, 0.01))}
    assert list(plan) == [
        *("aa-0", "first", "trim-0.05", "size-0.05", "trim-0.01", "size-0.01", "gate-0.05-0", "gate-0.01-0")
    ]  # fmt: skip
    assert campaign.share(plan["aa-0"]) == 0.0
    assert campaign.share(plan["first"]) == 0.3
    campaign.add(row("first", "first", None, ratio=1.15, share=0.3))
    assert campaign.share(plan["trim-0.05"]) == pytest.approx(0.1)
    campaign.add(row("trim-0.05", "trim", 0.05, ratio=1.04, share=0.1))
    assert campaign.share(plan["size-0.05"]) == campaign.share(plan["gate-0.05-0"]) == pytest.approx(0.125)
    assert campaign.share(plan["trim-0.01"]) == pytest.approx(0.025)
    campaign.add(row("trim-0.01", "trim", 0.01, ratio=0.999, share=0.025))
    assert campaign.share(plan["gate-0.01-0"]) == pytest.approx(0.05)
    campaign.add(row("first", "first", None, ratio=1.01, share=0.3))
    del campaign.done["trim-0.05"], campaign.done["trim-0.01"]
    with pytest.raises(EcpError, match="nothing to plant with"):
        campaign.share(plan["trim-0.05"])


def test_an_interrupted_campaign_goes_on_with_its_own_revision(campaign, monkeypatch, capsys):
    campaign.add(row("aa-0", "aa", 0.0))
    with campaign.path.open("a") as stream:
        stream.write('{"name": "aa-1", "ki')
    monkeypatch.setattr(regress_proof, "git", lambda *a: "d" * 40)
    again = regress_proof.Campaign.open(campaign.folder, "HEAD", "m", "local")
    assert (again.base, list(again.done)) == ("c" * 40, ["aa-0"])
    assert "incomplete line" in capsys.readouterr().err
    again.add(row("aa-1", "aa", 0.0))
    third = regress_proof.Campaign.open(campaign.folder, "HEAD", "m", "local")
    assert list(third.done) == ["aa-0", "aa-1"]
    with pytest.raises(UsageError, match="choose --out"):
        regress_proof.Campaign.open(campaign.folder, "HEAD", "other", "local")


def test_done_steps_are_not_measured_again_and_the_exit_code_says_whether_the_gate_held(
    campaign, monkeypatch
):
    seen = []
    answers = {"gate-0.05-0": ("regressed", 1.05), "gate-0.01-0": ("inconclusive", 1.01)}

    def fake(step, campaign, prepared, target, tell):
        seen.append(step.name)
        tell("m", 0, step.pairs)
        tell("m", step.pairs, step.pairs)
        verdict, ratio = answers.get(step.name, ("unchanged", 1.0 + (step.target or 0.2)))
        campaign.add(row(step.name, step.kind, step.target, verdict, ratio, 0.1))

    monkeypatch.setattr(regress_proof, "run_step", fake)
    monkeypatch.setattr(regress_proof, "reach", lambda device: None)
    monkeypatch.setattr(regress_proof, "prepare", lambda model: None)
    plan = list(regress_proof.steps(2, 1, (0.05, 0.01)))
    campaign.add(row("aa-0", "aa", 0.0))
    assert regress_proof._carry_out(campaign, plan) == 0
    assert seen[:2] == ["aa-1", "first"]
    text = (campaign.folder / "README.md").read_text()
    assert "0 false alarms in 2 comparisons" in text
    assert "| 5 % | +5.0 % (+5.0 % to +5.0 %, 0) | 1 of 0 pairs | 1 regressed | +5.0 % | 3.0 % |" in text
    assert json.loads((campaign.folder / "noise-local.json").read_text())["comparisons"] == 2
    for name, verdict in (("gate-0.05-0", "inconclusive"), ("gate-0.01-0", "regressed")):
        rows = [r if r["name"] != name else {**r, "verdict": verdict} for r in campaign.done.values()]
        assert not regress_proof_table.holds(rows)
    rows = [*campaign.done.values(), row("aa-9", "aa", 0.0, "improved", 0.9)]
    assert not regress_proof_table.holds(rows)
