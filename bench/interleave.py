"""Fresh processes that take turns: A B C C B A, B C A A C B, ... (the worker's side: :mod:`bench.turns`).

All load at once, then warm up one after the other, then take turns of a few iterations. A round goes through them
there and back, so that a straight drift cancels inside it. A side that has nothing to take turns with (unsupported,
failed, or a program that clocks itself) simply drops out, the others go on.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from bench.launch import WORKER, kill, parse_reply
from bench.protocol import Reply, Request
from bench.turns import VARIABLE
from ecp.errors import EcpError

# The first iteration of a turn finds the other side's data in the caches and its threads still spinning.
LEAD_IN = 1
LEAST_ITERATIONS = 2
LEAST_ROUNDS = 5


# Places of the sides in the order of the first half of round n; the second half is the same backwards.
Orders = Callable[[int], Sequence[int]]


@dataclass(frozen=True)
class Turns:
    """How long a turn lasts (seconds). ``alike``: as many iterations on every side, so that minima compare."""

    seconds: float
    alike: bool


# Two builds of nearly equal speed: the clock of a shared machine moves by a third within a tenth of a second, and
# turns are shorter than that.
PAIR = Turns(0.025, alike=True)
# Frameworks of different speeds: their medians are compared, over as many iterations as fit.
GROUP = Turns(0.1, alike=False)


class _Late(EcpError):
    """A worker did not answer in time."""


@dataclass
class _Side:
    """One worker while it runs. ``gone``: it takes no (further) turns."""

    place: int
    process: subprocess.Popen[bytes]
    hear: IO[bytes]
    say: int
    errors: IO[bytes]
    gone: bool = False
    typical_ms: float = 0.0
    turns: list[int] = field(default_factory=list)

    def tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self.say, line.encode() + b"\n")

    def answer(self, deadline: float) -> list[str]:
        """Words of the next line; none where the worker has closed its end (it has answered or died)."""
        ready, _, _ = select.select([self.hear], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise _Late
        # One line per message and one message at a time: a line never shares a buffer with the next.
        words = self.hear.readline().decode().split()
        self.gone = self.gone or not words or words[0] == "finished"
        return words


def can_take_turns(tree: Path) -> bool:
    """Whether the code in ``tree`` knows this protocol; an older revision is measured block after block."""
    return (tree / "bench" / "turns.py").is_file()


def run_pair(
    requests: tuple[Request, Request], trees: tuple[Path, Path], order: str, timeout_s: float
) -> tuple[Reply, Reply]:
    """Replies of A and B. ``order``: ``"AB"`` or ``"BA"``, who leads the first round; then by turns."""
    lead = ["AB".index(letter) for letter in order]
    first, second = run_group(requests, trees, lambda n: lead if n % 2 == 0 else lead[::-1], timeout_s, PAIR)
    return first, second


def run_group(
    requests: Sequence[Request], trees: Sequence[Path], orders: Orders, timeout_s: float, turns: Turns = GROUP
) -> list[Reply]:
    """Replies in the order of ``requests``; request i runs the code of ``trees[i]``. No process survives."""
    sides: list[_Side] = []
    begin = time.perf_counter()
    try:
        for place, (request, tree) in enumerate(zip(requests, trees, strict=True)):
            sides.append(_start(place, request, tree))
        deadline = time.monotonic() + timeout_s
        try:
            _converse(sides, orders, turns, requests[0].min_seconds, deadline)
            replies = [_reply(side, deadline) for side in sides]
        except (_Late, subprocess.TimeoutExpired):
            words = f"no answer within {timeout_s:g} s; the workers were stopped (raise --timeout)"
            replies = [Reply("failed", words)] * len(requests)
    finally:
        for side in sides:
            kill(side.process)
            _close(side)
    wall = time.perf_counter() - begin
    return [_finish(r, side, orders, wall) for r, side in zip(replies, sides, strict=True)]


def _start(place: int, request: Request, tree: Path) -> _Side:
    hear, child_says = os.pipe()
    child_hears, say = os.pipe()
    path = os.environ.get("PYTHONPATH")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tree}{os.pathsep}{path}" if path else str(tree),
        VARIABLE: f"{child_hears},{child_says}",
    }
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the side
    try:
        process = subprocess.Popen(
            WORKER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            pass_fds=(child_hears, child_says),
            cwd=tree,
            env=environment,
        )
    finally:
        os.close(child_hears)
        os.close(child_says)
    if process.stdin is None:
        raise RuntimeError("a pipe was asked for")
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(request.to_dict()).encode())
        process.stdin.close()
    return _Side(place, process, os.fdopen(hear, "rb"), say, errors)


def _converse(sides: Sequence[_Side], orders: Orders, turns: Turns, seconds: float, deadline: float) -> None:
    for side in sides:
        side.answer(deadline)
    for side in sides:
        if not side.gone:
            side.tell("warm " + " ".join(str(s.process.pid) for s in sides if s is not side))
            words = side.answer(deadline)
            side.typical_ms = float(words[1]) if words[:1] == ["warm"] else 0.0
    _take_turns([s for s in sides if not s.gone], orders, turns, seconds, deadline)
    for side in sides:
        if not side.gone:
            side.tell("end")
            side.answer(deadline)
    for side in sides:
        side.tell("leave")


def _take_turns(
    sides: Sequence[_Side], orders: Orders, turns: Turns, seconds: float, deadline: float
) -> None:
    """``seconds`` of recorded time a side, in rounds of two turns each."""
    if not sides:
        return
    by_place = {side.place: side for side in sides}
    slowest = max(side.typical_ms for side in sides) / 1e3
    counts = {
        side.place: max(
            LEAST_ITERATIONS, round(turns.seconds / (slowest if turns.alike else side.typical_ms / 1e3))
        )
        for side in sides
    }
    longest = max(counts[side.place] * side.typical_ms / 1e3 for side in sides)
    rounds = max(LEAST_ROUNDS, math.ceil(seconds / (2 * longest)))
    for number in range(rounds):
        lead = list(orders(number))
        for place in lead + lead[::-1]:
            side = by_place.get(place)
            if side is not None and not side.gone:
                side.tell(f"go {LEAD_IN} {counts[place]}")
                side.answer(deadline)


def _reply(side: _Side, deadline: float) -> Reply:
    left = max(0.0, deadline - time.monotonic())
    # Not communicate(): it would reap the process, whose processor time the other side still reads.
    out = b""
    stream: Any = side.process.stdout
    end = time.monotonic() + left
    while True:
        ready, _, _ = select.select([stream], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise _Late
        piece = os.read(stream.fileno(), 1 << 16)
        if not piece:
            break
        out += piece
    code = side.process.wait(timeout=max(1.0, end - time.monotonic()))
    side.errors.seek(0)
    return parse_reply(out, code, side.errors.read().decode(errors="replace"))


def _close(side: _Side) -> None:
    side.hear.close()
    os.close(side.say)
    side.errors.close()
    if side.process.stdout is not None:
        side.process.stdout.close()


def _finish(reply: Reply, side: _Side, orders: Orders, wall_s: float) -> Reply:
    """What only the group knows. All loaded at once, so no load time is that of a process alone."""
    extra = {**reply.extra, "pair_wall_s": wall_s, "leads": orders(0)[0] == side.place}
    if reply.compile_s is not None:
        extra["compile_beside_other_s"] = reply.compile_s
    return replace(reply, compile_s=None, extra=extra)
