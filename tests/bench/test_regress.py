"""Comparison and gate with made-up launchers: every verdict, exit codes, outputs, worktrees, A/A, two runs."""

import io
import json
import math
import subprocess
import xml.etree.ElementTree as Xml
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from bench import (
    compare_judge,
    compare_run,
    compare_sides,
    regress_aa,
    regress_margin,
    regress_output,
    validity,
)
from bench.options import RunOptions
from bench.plan import Case
from bench.prepare import Prepared
from bench.protocol import Reply
from bench.records import BlockRecord, CellKey
from bench.runner import Target
from bench.stats.paired import MARGIN
from bench.stats.simulate_turns import Burst, turn_differences
from ecp.errors import UsageError

CASE = Case("local", "ecp", "vit_tiny", "latency")
SIDE = compare_sides.Side(".", "tree", "a" * 40)


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))


def machine(seed, noise=0.01, drift=0.0):
    """Two launchers that share one made-up machine: its noise and its drift per block."""
    rng = np.random.default_rng(seed)
    state = {"n": 0}

    def side(factor=1.0, status="measured", **more):
        def launch(request, timeout_s):
            state["n"] += 1
            level = 10.0 * factor * math.exp(rng.normal(0, noise)) * (1 + drift * state["n"])
            if status not in ("measured", "unstable"):
                return Reply(status, f"made up {status}")
            samples = [float(x) for x in level * np.exp(rng.normal(0, 0.002, 20))]
            values = {"samples_ms": samples, "error": {"ok": True}, **more}
            return Reply(status, "" if status == "measured" else "shaky", backend_version="1", **values)

        return launch

    return side


def run(tmp_path, a, b, pairs=10, cases=(CASE,), seed=0):
    measured = compare_run.measure_sides(
        (SIDE, SIDE),
        list(cases),
        {c.model: Prepared(c.model, "x.onnx", "0" * 64, "i", "r") for c in cases},
        device="local",
        target=Target(),
        pairs=pairs,
        seed=seed,
        out=tmp_path,
        launchers=(a, b),
    )
    return measured, compare_judge.judge(measured.a, measured.b, measured.run_a, measured.run_b)


@pytest.mark.parametrize(("factor", "verdict"), [(1.06, "regressed"), (0.93, "improved"), (1.0, "unchanged")])
def test_planted_change_is_judged(tmp_path, factor, verdict):
    side = machine(1, noise=0.006)
    _, (found,) = run(tmp_path, side(), side(factor), pairs=12)
    assert found.verdict == verdict
    assert found.ratio == pytest.approx(factor, abs=0.01)
    assert found.mde > MARGIN


def test_drift_that_would_fool_a_sequential_gate_is_not_a_regression(tmp_path):
    side = machine(2, noise=0.004, drift=0.004)
    measured, (found,) = run(tmp_path, side(), side(), pairs=14, seed=3)
    assert found.verdict in ("unchanged", "inconclusive")
    # The same numbers, all of A before all of B, would have shown the drift as a slow-down of 5 %.
    medians = sorted(np.median(r.samples_ms) for r in measured.a + measured.b)
    assert np.median(medians[14:]) / np.median(medians[:14]) > 1.03


def test_one_percent_is_not_claimed_at_a_two_percent_margin(tmp_path):
    for seed in range(5):
        side = machine(seed, noise=0.006)
        _, (found,) = run(tmp_path / str(seed), side(), side(1.01))
        assert found.verdict in ("unchanged", "inconclusive")


@pytest.mark.parametrize(
    ("status_a", "status_b", "verdict"),
    [
        ("failed", "measured", "failed"),
        ("unsupported", "measured", "no-baseline"),
        ("measured", "failed", "failed"),
        ("measured", "unavailable", "not-run"),
        ("failed", "failed", "failed"),
        ("unsupported", "unsupported", "not-run"),
        ("unstable", "measured", "unstable-device"),
    ],
)
def test_sides_without_a_measurement(tmp_path, status_a, status_b, verdict):
    side = machine(4)
    _, (found,) = run(tmp_path, side(status=status_a), side(status=status_b))
    assert found.verdict == verdict
    assert found.reason


def test_other_driver_is_incomparable_and_wrong_output_failed(tmp_path):
    side = machine(5)
    one, two = ({"extra": {"details": {"driver": d}}} for d in ("1.0", "2.0"))
    _, (found,) = run(tmp_path / "a", side(**one), side(**two))
    assert found.verdict == "incomparable"
    assert "driver: '1.0' against '2.0'" in found.reason
    _, (found,) = run(tmp_path / "b", side(), side(error={"ok": False}))
    assert found.verdict == "failed"
    assert "output" in found.reason


@pytest.mark.parametrize("wrong_side", ["A", "B"])
@pytest.mark.parametrize("wrong", [1, 2, 5, 9, 10])
def test_one_wrong_output_fails_the_cell_however_many_blocks_were_right_and_fast(tmp_path, wrong_side, wrong):
    """Whatever else was measured, and also where the bad block was measured again and was right then."""
    side, left = machine(30, noise=0.004), {"n": wrong}

    def sometimes(good):
        def launch(request, timeout_s):
            reply = good(request, timeout_s)
            left["n"] -= 1
            problem = {"ok": False, "reason": "wrong output: max abs error 3 against the float64 reference"}
            return reply if left["n"] < 0 else replace(reply, status="failed", error=problem)

        return launch

    good, fast = side(), side(0.7)
    sides = (sometimes(good), fast) if wrong_side == "A" else (good, sometimes(fast))
    measured, (found,) = run(tmp_path, *sides)
    assert (
        found.verdict == "failed" and f"side {wrong_side}" in found.reason and "wrong output" in found.reason
    )
    # All pairs were measured anyhow (an older harness, two finished runs): the same verdict.
    bad = measured.a if wrong_side == "A" else measured.b
    problem = {"ok": False, "reason": "wrong output"}
    left["n"] = 0
    full, (fine,) = run(tmp_path / "full", good, fast)
    assert fine.verdict == "improved"
    for status in ("measured", "failed", "unstable"):
        for seq in (0, 99):
            sides = {"A": list(full.a), "B": list(full.b)}
            sides[wrong_side] += [replace(bad[0], seq=seq, block=3, status=status, error=problem)]
            (found,) = compare_judge.judge(sides["A"], sides["B"], full.run_a, full.run_b)
            assert found.verdict == "failed"
            assert regress_output.exit_code([found]) == 1


def test_unchecked_outputs_and_half_a_side_do_not_pass(tmp_path):
    side = machine(31, noise=0.004)
    _, (found,) = run(tmp_path / "a", side(error={}), side(0.7))
    assert found.verdict == "inconclusive" and "not compared with the reference" in found.reason
    full, _ = run(tmp_path / "b", side(), side(0.7))
    late = replace(full.b[3], status="unsupported", reason="no such operator", samples_ms=[], error={})
    (found,) = compare_judge.judge(full.a, [*full.b[:3], late, *full.b[4:]], full.run_a, full.run_b)
    assert found.verdict == "not-run"
    key = {"metric": "accuracy"}
    accurate = [[replace(r, cell=replace(r.cell, **key)) for r in s] for s in (full.a, full.b)]
    (found,) = compare_judge.judge(*accurate, full.run_a, full.run_b)
    assert found.verdict == "incomparable" and "accuracy" in found.reason


def disturbance():
    gate = validity.Gate("load-by-others", "failed", "1.7 processors busy for others")
    return {"gates": validity.to_json([gate])}


def test_disturbed_pairs_are_measured_again_and_the_value_never_decides(tmp_path):
    side, count = machine(32, noise=0.004), {"n": 0}
    slow, noisy = side(1.21), side(1.21, status="unstable", extra=disturbance())

    def at_first(request, timeout_s):
        count["n"] += 1
        return (noisy if count["n"] in (2, 5, 6, 7, 8, 9, 13) else slow)(request, timeout_s)

    measured, (found,) = run(tmp_path, side(), at_first)
    # Six disturbed at first, the repeat of the third of them once more.
    assert [r.block for r in measured.b[10:]] == [1, 4, 5, 6, 7, 8, 5]
    assert len({r.seq for r in measured.b}) == 17 and len(measured.run_b["orders"]) == 17
    assert (found.verdict, found.pairs, found.disturbed, found.repeated) == ("regressed", 10, 0, 7)
    assert "7 disturbed pairs were measured again" in found.note
    count["n"] = 20
    measured, _ = run(tmp_path / "odd", side(), lambda request, _: side(5.0)(request, 1.0))
    assert len(measured.b) == 10


def test_repeats_are_bounded_and_what_stays_disturbed_is_said(tmp_path):
    side, calls = machine(33), {"n": 0}

    def noisy(good_every):
        def launch(request, timeout_s):
            calls["n"] += 1
            extra = {} if calls["n"] % good_every == 0 else disturbance()
            return side(1.0, extra=extra)(request, timeout_s)

        return launch

    measured, (found,) = run(tmp_path / "a", side(), noisy(4))
    assert len(measured.b) <= 10 * (1 + compare_run.REPEATS)
    assert found.disturbed and f"{found.disturbed} of 10 pairs stayed disturbed" in found.note
    assert found.note in regress_output.markdown([found], "t")
    assert found.note in regress_output.junit([found], "t").decode()
    measured, _ = run(tmp_path / "b", side(), noisy(10_000))
    assert len(measured.b) == 20, "a round that changes nothing is the last"


@pytest.mark.parametrize("slower", [1.05, 1.21])
def test_a_slow_down_is_found_by_turns_on_a_machine_that_is_never_quiet(tmp_path, slower):
    """Every pair is disturbed and none gets steady; the known truth is found, and nothing is called unchanged."""
    rng, found = np.random.default_rng(34), []
    for true in [slower] * 20 + [1.0] * 20:
        d = turn_differences(rng, 10, Burst(), rounds=12)
        verdict = compare_judge.judge(*_turned(tmp_path, d + math.log(true)), {}, {})[0]
        assert verdict.disturbed == 10 and "never became steady" in verdict.note
        found.append(verdict.verdict)
    assert found[:20].count("regressed") >= 18
    assert set(found[20:]) <= {"unstable-device"}


def _turned(tmp_path, differences):
    """Records of pairs that took turns on a disturbed machine, with these differences."""
    cell = CellKey("local", "ecp", "1", "m", "0" * 64, "fp32", "latency")

    def side(letter, factors):
        extra = {"turn_lengths": [2] * 4, "steady": False, **disturbance()}
        return [
            BlockRecord(
                run_id=letter, seq=n, block=n, cell=cell, status="unstable", samples_ms=[10.0 * f] * 8,
                extra=extra, error={"ok": True},
            )
            for n, f in enumerate(factors)
        ]  # fmt: skip

    return side("a", [1.0] * len(differences)), side("b", np.exp(differences).tolist())


def test_a_busy_machine_is_unstable_and_not_a_regression(tmp_path):
    side = machine(6)
    _, (found,) = run(tmp_path, side(), side(1.5, extra=disturbance()))
    assert found.verdict == "unstable-device"
    assert found.disturbed == 10


def test_holm_needs_more_pairs_for_many_cells(tmp_path):
    cases = [Case("local", "ecp", f"m{i}", "latency") for i in range(20)]
    assert compare_judge.default_pairs(1) == 10
    assert compare_judge.default_pairs(20) == 14
    assert (compare_judge.quick_pairs(1), compare_judge.quick_pairs(20)) == (9, 13)
    side = machine(7, noise=0.002)
    _, found = run(tmp_path, side(), side(1.10), pairs=8, cases=cases)
    assert {v.verdict for v in found} == {"inconclusive"}
    assert "Holm" in found[0].reason


def test_two_separate_runs_claim_only_unchanged(tmp_path):
    side = machine(8, noise=0.003)
    first, _ = run(tmp_path, side(), side(1.0))
    second, _ = run(tmp_path, side(1.2), side(1.2))
    apart = compare_run.load(first.folders[0], second.folders[0])
    assert not compare_run.are_interleaved(apart)
    (found,) = compare_judge.judge(apart.a, apart.b, apart.run_a, apart.run_b, interleaved=False)
    assert found.verdict == "inconclusive"
    assert found.ratio == pytest.approx(1.2, abs=0.02)
    same = compare_judge.judge(first.a, first.b, first.run_a, first.run_b, interleaved=False)
    assert same[0].verdict == "unchanged"
    again = compare_run.load(*first.folders)
    assert compare_run.are_interleaved(again)


def test_order_inside_pairs_is_random_and_recorded(tmp_path):
    seen = []

    def spy(letter, launch):
        return lambda request, timeout: (seen.append(letter), launch(request, timeout))[1]

    side = machine(9)
    measured, _ = run(tmp_path, spy("A", side()), spy("B", side()), pairs=30)
    orders = ["".join(seen[i : i + 2]) for i in range(0, 60, 2)]
    assert orders == measured.run_a["orders"]
    assert 5 < orders.count("AB") < 25


def test_ctrl_c_keeps_and_judges_the_complete_pairs(tmp_path):
    side = machine(10)
    inner, calls = side(1.3), {"n": 0}

    def stops(request, timeout):
        calls["n"] += 1
        if calls["n"] > 8:
            raise KeyboardInterrupt
        return inner(request, timeout)

    measured, (found,) = run(tmp_path, side(), stops, pairs=20)
    assert measured.interrupted
    assert measured.run_a["state"] == "interrupted"
    assert found.pairs == 8
    assert found.verdict == "regressed"


def _verdict(name, **more):
    return compare_judge.CellVerdict("local", "ecp", f"m-{name}", "fp32", "latency", name, **more)


def test_exit_codes():
    for name in compare_judge.VERDICTS:
        assert regress_output.exit_code([_verdict(name)], ci=False) == (name in ("regressed", "failed"))
        fine = name in ("unchanged", "improved")
        assert regress_output.exit_code([_verdict(name)], ci=True) == (not fine)
        assert regress_output.exit_code([_verdict("unchanged"), _verdict(name)], ci=True) == (not fine)
    assert regress_output.exit_code([_verdict("a verdict of tomorrow")], ci=True) == 1
    assert regress_output.exit_code([], ci=False) == 1, "nothing was compared"


def test_outputs_hold_every_verdict():
    verdicts = [_verdict(n, reason=f"because | {n}") for n in compare_judge.VERDICTS]
    verdicts[0] = _verdict("regressed", a=1.0, b=1.1, ratio=1.1, lo=1.08, hi=math.inf, mde=0.03, pairs=10)
    root = Xml.fromstring(regress_output.junit(verdicts, "t", ci=False))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("9", "1", "1")
    assert len(suite.findall("testcase/skipped")) == 5
    (suite,) = Xml.fromstring(regress_output.junit(verdicts, "t", ci=True))
    assert (suite.get("failures"), suite.get("errors")) == ("6", "1")
    assert not suite.findall("testcase/skipped")
    text = regress_output.markdown(verdicts, "t")
    assert "1 regressed" in text
    assert "+8.0% .. +inf" in text
    assert "because \\| no-baseline" in text
    data = json.loads(regress_output.as_json(verdicts, {"margin": 0.02}))
    assert [c["verdict"] for c in data["cells"]] == list(compare_judge.VERDICTS)
    assert data["cells"][0]["hi"] is None
    assert regress_output.table(verdicts, "t").row_count == 9
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(regress_output.table(verdicts, "t"))
    text = console.export_text()
    assert all(v.verdict in text for v in verdicts) and "…" not in text


def test_aa_campaign_counts_and_sets_the_margin(tmp_path):
    side = machine(11, noise=0.01)
    prepared = {"vit_tiny": Prepared("vit_tiny", "x", "0" * 64, "i", "r")}
    options = RunOptions(out=tmp_path, models="vit_tiny", backends="ecp")
    verdicts = regress_aa.compare_with_itself(
        20, options, 7, MARGIN, prepared, Target(), launchers=(side(), side())
    )
    found = regress_margin.profile("local", verdicts, MARGIN)
    assert (found.comparisons, found.false_alarms) == (20, 0)
    assert found.interval[1] < 0.2
    assert regress_margin.device_margin("local", tmp_path) == (
        MARGIN, "default; `regress --aa 20` measures this device's own"
    )  # fmt: skip
    regress_margin.save(found, tmp_path)
    assert regress_margin.device_margin("local", tmp_path)[0] == found.suggested >= 2 * found.largest
    (tmp_path / "noise-local.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        regress_margin.device_margin("local", tmp_path)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    root = tmp_path / "repo"
    root.mkdir()

    def git(*arguments):
        names = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run(["git", *names, *arguments], cwd=root, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    for text in ("one", "two"):
        (root / "file").write_text(text)
        git("add", "file")
        git("commit", "-q", "-m", text)
    monkeypatch.setattr(compare_sides, "ROOT", root)
    return root


def test_revisions_are_checked_out_and_removed(repository, tmp_path):
    old = compare_sides.resolve("main~1", tmp_path)
    assert (old.kind, len(old.commit)) == ("revision", 40)
    with compare_sides.checkout(old) as tree:
        assert (tree / "file").read_text() == "one"
        assert (repository / "file").read_text() == "two"
    assert not tree.exists()
    listed = subprocess.run(["git", "worktree", "list"], cwd=repository, capture_output=True, text=True)
    assert len(listed.stdout.splitlines()) == 1
    with compare_sides.checkout(compare_sides.resolve(".", tmp_path)) as tree:
        assert tree == repository


def test_a_dirty_tree_says_so_and_leftovers_of_killed_runs_go(repository, tmp_path):
    (repository / "file").write_text("three")
    assert "with changes" in compare_sides.resolve(".", tmp_path).label
    dead = subprocess.Popen(["true"])
    dead.wait()
    old = compare_sides.cache_dir("worktrees") / f"0123456789ab-{dead.pid}"
    old.mkdir()
    assert compare_sides.remove_leftovers() == [old.name]
    assert not old.exists()


def test_unknown_revision_names_the_nearest(repository, tmp_path):
    with pytest.raises(UsageError, match="did you mean main"):
        compare_sides.resolve("mian", tmp_path)
    with pytest.raises(UsageError):
        compare_sides.resolve("--output=/tmp/x", tmp_path)


def test_worker_runs_with_the_code_of_its_tree(tmp_path, monkeypatch):
    from bench import launch
    from bench.protocol import Request

    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/__init__.py").write_text("")
    (tmp_path / "bench/worker.py").write_text(
        "import json, sys; sys.stdin.read(); print(json.dumps({'status': 'measured', 'reason': __file__}))"
    )
    request = Request("latency", "ecp", "m", "0", "o", "i", "r")
    reply = compare_run.launch_in(tmp_path, request, 30)
    assert reply.reason == str(tmp_path / "bench/worker.py")
    assert launch.WORKER
