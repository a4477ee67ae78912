"""Two processes that take turns: order on the clock, sides that fail or drop out, time limit, the pair's estimate."""

import itertools
import math
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from bench import compare_judge, interleave, turns, validity
from bench.protocol import Request
from bench.records import BlockRecord, CellKey
from bench.stats.adjacent import split, turn_difference
from bench.stats.simulate_turns import Burst, block_differences, turn_differences

WORKER = """
import json, os, sys, time
from bench import turns
request = json.load(sys.stdin)
behave = request["options"].get(os.path.basename(os.getcwd()), "good")
if behave == "crash":
    sys.exit(3)
if behave == "hang":
    time.sleep(600)
turn = turns.channel()
log = []
def execute():
    start = time.monotonic()
    time.sleep(0.004)
    log.append((start, time.monotonic()))
reply = {"status": "measured", "compile_s": 1.0}
if behave == "refuse":
    reply = {"status": "unsupported", "reason": "no such operator"}
else:
    turn.prepared()
    assert turn.others or behave == "alone"
    if behave != "own clock":
        found, wall = turn.sample(execute, 5.0)
        reply |= {"samples_ms": [t for one in found for t in one], "extra": {"turn_lengths": [len(t) for t in found]}}
    turn.finished()
reply.setdefault("extra", {})["log"] = log
print(json.dumps(reply))
"""


@pytest.fixture
def trees(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(turns.__file__).parent.parent))
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        (folder / "bench").mkdir(parents=True)
        (folder / "bench/__init__.py").write_text("")
        shutil.copy(turns.__file__, folder / "bench/turns.py")
        (folder / "bench/worker.py").write_text(WORKER)
    return folders


def pair(trees, order="AB", timeout=120, **options):
    request = Request("latency", "ecp", "m", "0", "o", "i", "r", options=options, min_seconds=0.08)
    return interleave.run_pair((request, request), trees, order, timeout)


@pytest.mark.parametrize(("order", "wanted"), [("AB", "ABBABAAB"), ("BA", "BAABABBA")])
def test_turns_alternate_and_never_overlap(trees, order, wanted):
    replies = pair(trees, order)
    assert [(r.status, r.reason) for r in replies] == [("measured", "")] * 2
    spans = sorted((*span, side) for side, r in zip("AB", replies, strict=True) for span in r.extra["log"])
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(spans))
    (length,) = {n for r in replies for n in r.extra["turn_lengths"]}
    assert length >= interleave.LEAST_ITERATIONS
    per_turn = length + interleave.LEAD_IN
    assert "".join(s[2] for s in spans[::per_turn])[:8] == wanted
    counts = [len(r.extra["turn_lengths"]) for r in replies]
    assert counts[0] == counts[1] >= 2 * interleave.LEAST_ROUNDS
    # Both loaded at once: neither load time is a figure of its own.
    assert {r.compile_s for r in replies} == {None}
    assert [r.extra["leads"] for r in replies] == [order == "AB", order == "BA"]


def test_a_side_that_cannot_run_leaves_the_other_alone(trees):
    a, b = pair(trees, a="refuse")
    assert (a.status, a.reason, b.status) == ("unsupported", "no such operator", "measured")
    a, b = pair(trees, b="crash")
    assert a.status == "measured"
    assert b.status == "failed" and "exit status 3" in b.reason
    a, b = pair(trees, a="own clock")
    assert a.samples_ms == [] and len(b.samples_ms) > 10


SERIES = """
import json, os, sys, time
from bench import turns
turn = turns.channel()
for request in json.load(sys.stdin):
    behave = request["options"].get(os.path.basename(os.getcwd()), "good")
    log = []
    def execute():
        start = time.monotonic()
        time.sleep(0.004)
        log.append((start, time.monotonic()))
    reply = {"status": "measured", "extra": {"model": request["model"], "pid": os.getpid()}}
    if behave == "crash":
        sys.exit(3)
    if behave == "hang":
        time.sleep(600)
    if behave == "refuse":
        reply |= {"status": "unsupported", "reason": "no such operator"}
    else:
        turn.prepared()
        if behave != "own clock":
            found, _ = turn.sample(execute, 5.0)
            reply["samples_ms"] = [t for one in found for t in one]
        turn.finished()
    reply["extra"]["log"] = log
    print(json.dumps(reply), flush=True)
    turn.over()
"""


def series(trees, *rows, timeout=120):
    """Replies of models in one process per side; each row says how side a and side b behave, None: not asked."""
    for tree in trees:
        (tree / "bench/worker.py").write_text(SERIES)

    def request(model, name, behave):
        options = {name: behave}
        return behave and Request("versus", "x", model, "0", "o", "i", "r", options=options, min_seconds=0.08)

    asked = [[request(f"m{k}", n, b) for n, b in zip("ab", row, strict=True)] for k, row in enumerate(rows)]
    orders = [lambda n: [n % 2, 1 - n % 2]] * len(rows)
    return list(interleave.run_series(asked, trees, orders, timeout))


def rows_in_order(found):
    """Spans of each row; no side is ahead in another model."""
    spans = [[span for r in row if r is not None for span in r.extra["log"]] for row in found]
    for one, two in itertools.pairwise(spans):
        assert max(end for _, end in one) <= min(begin for begin, _ in two)
    return spans


def test_models_of_a_series_meet_in_the_same_two_processes(trees):
    found = series(trees, ("good", "good"), ("good", "good"), ("good", "good"))
    assert [[r.extra["model"] for r in row] for row in found] == [[f"m{k}"] * 2 for k in range(3)]
    pids = [[r.extra["pid"] for r in row] for row in found]
    assert pids[0] == pids[1] == pids[2] and len(set(pids[0])) == 2
    flat = sorted(span for row in rows_in_order(found) for span in row)
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(flat))


def test_a_model_that_one_side_refuses_does_not_stop_the_series(trees):
    found = series(
        trees, ("refuse", "good"), ("good", "good"), ("own clock", "good"), (None, "good"), ("good", "good")
    )
    statuses = [[r and r.status for r in row] for row in found]
    assert statuses[0] == ["unsupported", "measured"] and statuses[3] == [None, "measured"]
    assert statuses[1] == statuses[4] == ["measured", "measured"]
    assert [len(row[0].samples_ms) > 10 for row in (found[1], found[2], found[4])] == [True, False, True]
    assert [row[1].extra["model"] for row in found] == ["m0", "m1", "m2", "m3", "m4"]
    rows_in_order(found)


def test_two_words_that_arrive_together_are_two_answers():
    hear, say = os.pipe()
    side = interleave._Side(0, None, os.fdopen(hear, "rb", buffering=0), -1, None)
    os.write(say, b"out\nprepared\nwar")
    deadline = time.monotonic() + 5
    assert side.answer(deadline) == [] and side.out
    assert side.answer(deadline) == ["prepared"] and not side.out
    os.write(say, b"m 1.5\n")
    assert side.answer(deadline) == ["warm", "1.5"]
    os.close(say)
    assert side.answer(deadline) == [] and side.gone


def test_a_process_that_dies_answers_for_its_model_only(trees):
    found = series(trees, ("good", "good"), ("good", "crash"), ("good", "good"), ("good", "good"))
    assert [row[0].status for row in found] == ["measured"] * 4
    assert [row[1].status for row in found] == ["measured", "failed", "not-run", "not-run"]
    assert "exit status 3" in found[1][1].reason and "ended in a model before" in found[2][1].reason


def test_a_model_that_hangs_ends_the_series(trees):
    found = series(trees, ("good", "good"), ("good", "hang"), ("good", "good"), timeout=4)
    assert [{r.status for r in row} for row in found] == [{"measured"}, {"failed"}, {"not-run"}]
    assert [p for p in Path("/proc").iterdir() if p.name.isdigit() and _runs(p, trees)] == []


def test_a_hanging_side_ends_both_and_leaves_no_process(trees):
    replies = pair(trees, timeout=3, b="hang")
    assert {r.status for r in replies} == {"failed"} and "within 3 s" in replies[0].reason
    assert [p for p in Path("/proc").iterdir() if p.name.isdigit() and _runs(p, trees)] == []


def _runs(process, trees):
    try:
        return (process / "cwd").readlink() in trees
    except OSError:
        return False


def test_an_older_revision_is_known_to_know_no_turns(trees):
    assert interleave.can_take_turns(trees[0])
    (trees[0] / "bench/turns.py").unlink()
    assert not interleave.can_take_turns(trees[0])
    assert interleave.can_take_turns(Path(turns.__file__).parent.parent)


def test_worker_alone_has_no_channel(monkeypatch):
    monkeypatch.delenv(turns.VARIABLE, raising=False)
    assert turns.channel() is None


def test_a_neighbours_processor_time_is_not_a_strangers():
    import subprocess
    import sys

    busy = "import time, sys\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\nsys.stdin.read()"
    alone = validity.capture()["own_cpu_s"]["value"]
    process = subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE)
    try:
        for _ in range(600):
            seconds = validity.capture((process.pid,))["own_cpu_s"]["value"]
            if seconds - alone > 0.4:
                break
        assert seconds - validity.capture()["own_cpu_s"]["value"] == pytest.approx(0.4, abs=0.3)
    finally:
        process.kill()
        process.wait()
    gone = validity.capture((process.pid,))["own_cpu_s"]
    assert gone["value"] is None and gone["unknown"]
    gates = validity.gates(validity.capture(), validity.capture((process.pid,)))
    assert next(g for g in gates if g.name == "load-by-others").status == "unknown"


def test_bursts_drop_out_of_the_ratio_of_neighbours():
    # Turn by turn the machine changes level, now and then inside a turn; B is 5 % slower all along.
    levels = [10.0, 10.0, 15.0, 15.0, 15.0, 12.0, 10.0, 10.0, 14.0, 10.0]
    a = [[x, x * 1.4, x * 1.01] for x in levels]
    b = [[x * 1.05, x * 1.06, x * 1.9] for x in levels]
    b[3] = [30.0, 31.0, 30.0]
    assert turn_difference(a, b) == pytest.approx(math.log(1.05))
    assert turn_difference(b, a) == pytest.approx(-math.log(1.05))
    assert split([1.0, 2.0, 3.0], [2, 1]) == [[1.0, 2.0], [3.0]]
    with pytest.raises(ValueError, match="do not cut"):
        split([1.0], [2])
    with pytest.raises(ValueError, match="neighbours"):
        turn_difference(a, b[1:])


def test_turns_are_twenty_times_quieter_than_blocks_under_bursts():
    still = Burst(process=0.0)
    blocks = np.std(block_differences(np.random.default_rng(1), 2000, still))
    assert np.std(turn_differences(np.random.default_rng(1), 2000, still)) < blocks / 20


def record(block, samples, status="measured", **extra):
    cell = CellKey("local", "ecp", "1", "m", "0", "fp32", "latency")
    gate = [{"name": "load-by-others", "status": "failed", "detail": "busy", "decides": True}]
    more = {"gates": gate, **extra} if status == "unstable" else extra
    return BlockRecord("r", block, block, cell, status, samples_ms=samples, error={"ok": True}, extra=more)


def sides(slower, status, **extra):
    rng = np.random.default_rng(5)
    level = rng.uniform(10, 15, (10, 12)).repeat(2, axis=1)
    noise = rng.normal(1.0, 0.004, (2, 10, 24))
    a, b = level * noise[0], level * slower * noise[1]
    return [
        [record(i, list(map(float, row)), status, **extra) for i, row in enumerate(side)] for side in (a, b)
    ]


def test_pairs_that_took_turns_are_judged_under_load_and_block_pairs_are_not():
    turned = {"turn_lengths": [2] * 12, "steady": True}
    (found,) = compare_judge.judge(*sides(1.05, "unstable", **turned), {}, {})
    assert (found.verdict, found.pairs, found.disturbed) == ("regressed", 10, 10)
    assert found.ratio == pytest.approx(1.05, abs=0.01)
    (found,) = compare_judge.judge(*sides(1.0, "unstable", **turned), {}, {})
    assert found.verdict == "unchanged"
    (found,) = compare_judge.judge(*sides(1.05, "unstable"), {}, {})
    assert found.verdict == "unstable-device"
    # Pairs that never became steady: a slow-down is one, but "as fast as before" is not said of them.
    for factor, verdict in ((1.05, "regressed"), (1.0, "unstable-device"), (0.9, "unstable-device")):
        (found,) = compare_judge.judge(*sides(factor, "unstable", **turned | {"steady": False}), {}, {})
        assert found.verdict == verdict
