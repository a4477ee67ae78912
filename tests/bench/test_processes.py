"""A worker and all that it started end with the harness; a complete answer is taken whoever holds its pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ecp import children, guardian
from tests.bench.kill_campaign import TOKEN, alive, campaign, wait


def test_short_kill_campaign(workplace):
    figures = campaign([workplace], 2, spread_s=1.5)
    assert (figures.lost, figures.left, figures.unreadable) == (0, 0, 0)


@pytest.mark.slow
def test_kill_campaign(workplace):
    figures = campaign([workplace], 200)
    assert sum(figures.kills.values()) >= 200 and figures.reported > 0
    assert (figures.lost, figures.left, figures.unreadable) == (0, 0, 0)


def test_a_hung_worker_ends_at_its_limit(workplace):
    """One that ignores signals and one that is stopped; the guardian, too, is gone a moment after the harness."""
    start = time.monotonic()
    hung = ("--backends", "fake-deaf,fake-stopped", "--blocks", "1", "--timeout", "3", "--json", "-")
    done = subprocess.run(
        [*workplace.campaign_command(), *hung],
        env={**workplace.environment, TOKEN: "hung"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    cells = json.loads(done.stdout)
    assert [c["status"] for c in cells] == ["failed", "failed"]
    assert all("no answer within 3 s" in c["reason"] for c in cells)
    assert time.monotonic() - start < 60
    wait(lambda: not alive("hung"), 3)
    assert not alive("hung")


def test_an_answer_is_taken_when_it_is_complete(workplace):
    start = time.monotonic()
    done = workplace.latency("--backends", "fake-clinging", "--blocks", "1", "--timeout", "60", "--json", "-")
    (cell,) = json.loads(done.stdout)
    assert cell["status"] == "measured"
    assert time.monotonic() - start < 50


def test_a_child_that_holds_the_pipe_open_is_not_waited_for():
    start = time.monotonic()
    done = children.run(["sh", "-c", "setsid sleep 60 & echo whole"], timeout_s=30)
    assert done.stdout == b"whole\n" and done.returncode == 0
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL, signal.SIGINT]
)
def test_whatever_ends_the_parent_ends_its_family(number):
    """Without a word to its children: the guardian alone sees it."""
    # What nohup and a shell's background jobs ignore, their children would ignore too.
    program = "import signal, sys, time; "
    program += "[signal.signal(n, signal.SIG_DFL) for n in (1, 2, 3, 15)]; "
    program += "from ecp import children; p = children.start(['sh', '-c', "
    program += "'trap \"\" TERM HUP INT QUIT; setsid sleep 99 & (sleep 99) & sleep 99']); "
    program += "print(children._family.mark, flush=True); time.sleep(99)"
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    mark = parent.stdout.readline().strip()
    # The shell, its daemon and its sleepers; shells differ in how many processes that takes.
    wait(lambda: len(guardian.marked(mark)) >= 3, 30)
    assert len(guardian.marked(mark)) >= 3
    parent.send_signal(number)
    parent.wait(10)
    parent.stdout.close()
    wait(lambda: not guardian.marked(mark), 3)
    assert not guardian.marked(mark)


def test_end_takes_daemons_along_and_nobody_else():
    one, other = (children.start(["sh", "-c", "setsid sleep 99 & sleep 99"]) for _ in range(2))
    try:
        marks = [children._family.marks[p.pid] for p in (one, other)]
        wait(lambda: all(len(guardian.marked(m)) == 3 for m in marks), 30)
        children.end(one)
        assert not guardian.marked(marks[0]) and len(guardian.marked(marks[1])) == 3
    finally:
        children.end(one)
        children.end(other)


@pytest.mark.parametrize(
    ("command", "limits", "error"),
    [
        (["yes"], {"limit": 10_000}, children.TooMuch),
        (["sh", "-c", "yes >&2"], {"limit": 10_000}, children.TooMuch),
        (["sh", "-c", "while :; do printf .; done"], {"timeout_s": 0.5, "limit": 1 << 40}, children.TooLate),
        (["sh", "-c", "exec >&- 2>&-; sleep 60"], {"timeout_s": 0.5}, children.TooLate),
        (["sleep", "60"], {"timeout_s": 0.2, "given": b"x" * 1_000_000}, children.TooLate),
    ],
)
def test_endless_children_are_ended(command, limits, error):
    start = time.monotonic()
    with pytest.raises(error):
        children.run(command, **limits)
    assert time.monotonic() - start < 5


def test_input_and_both_outputs_are_whole():
    given = os.urandom(3_000_000)
    done = children.run(["sh", "-c", "tee /dev/stderr; exit 3"], given=given)
    assert (done.returncode, done.stdout, done.stderr) == (3, given, given[-children.ERRORS_KEPT :])


def test_lines_end_with_the_child_and_not_with_the_pipe():
    process = children.start(["sh", "-c", "setsid sleep 60 & echo a; printf b"], stdout=subprocess.PIPE)
    try:
        assert list(children.lines(process, 30)) == ["a"]
    finally:
        children.end(process)
    silent = children.start(["sleep", "60"], stdout=subprocess.PIPE)
    try:
        with pytest.raises(children.TooLate, match="said nothing"):
            list(children.lines(silent, 0.1))
    finally:
        children.end(silent)
