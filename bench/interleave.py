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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from bench.launch import WORKER, parse_reply
from bench.protocol import Reply, Request
from bench.turns import VARIABLE
from ecp import children
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
    """One worker while it runs. ``gone``: it takes no (further) turns in this model; ``out``: nor waits to leave it."""

    place: int
    process: subprocess.Popen[bytes]
    hear: IO[bytes]
    say: int
    errors: IO[bytes]
    gone: bool = False
    out: bool = False
    ended: bool = False
    typical_ms: float = 0.0
    unread: bytes = b""
    heard: bytes = b""

    def tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self.say, line.encode() + b"\n")

    def answer(self, deadline: float) -> list[str]:
        """Words of the next line; none where it is out: it has answered or died."""
        # Not readline(): who leaves one model may announce the next at once, and select does not see what was buffered.
        while b"\n" not in self.heard:
            ready, _, _ = select.select([self.hear], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise _Late
            piece = os.read(self.hear.fileno(), 1 << 12)
            if not piece:
                self.heard = b"\n"
            self.heard += piece
        line, _, self.heard = self.heard.partition(b"\n")
        words = line.decode().split()
        self.out = not words or words[0] == "out"
        self.gone = self.gone or self.out or words[0] == "finished"
        return [] if self.out else words


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
    (found,) = run_series([requests], trees, [orders], timeout_s, turns)
    return [reply for reply in found if reply is not None]


def run_series(
    rows: Sequence[Sequence[Request | None]],
    trees: Sequence[Path],
    orders: Sequence[Orders],
    timeout_s: float,
    turns: Turns = GROUP,
) -> Iterator[list[Reply | None]]:
    """Several models, each a row with one request per side (None: not of this side), with one process per side.

    Replies row by row. All sides meet at every model; ``timeout_s`` is for one. No process survives.
    """
    sides: list[_Side] = []
    try:
        begin = time.perf_counter()
        for place, tree in enumerate(trees):
            sides.append(_start(place, [row[place] for row in rows], tree))
        ended = ""
        for row, order in zip(rows, orders, strict=True):
            mine = [side for side in sides if row[side.place] is not None]
            replies, ended = _row(mine, row, order, turns, timeout_s, ended)
            wall, begin = time.perf_counter() - begin, time.perf_counter()
            found: list[Reply | None] = [None] * len(sides)
            for side, reply in zip(mine, replies, strict=True):
                found[side.place] = _finish(reply, side, order, wall)
            if row is rows[-1]:
                _end(sides)
            yield found
    finally:
        _end(sides)


def _row(
    sides: Sequence[_Side],
    row: Sequence[Request | None],
    orders: Orders,
    turns: Turns,
    timeout_s: float,
    ended: str,
) -> tuple[list[Reply], str]:
    """Replies of one model, and why nothing can run after it (empty: it can). ``ended``: the same from before."""
    if ended:
        return [Reply("not-run", ended)] * len(sides), ended
    deadline = time.monotonic() + timeout_s
    seconds = next(request.min_seconds for request in row if request is not None)
    try:
        _converse(sides, orders, turns, seconds, deadline)
        return [_reply(side, deadline) for side in sides], ""
    except (_Late, subprocess.TimeoutExpired):
        words = f"no answer within {timeout_s:g} s; the workers were stopped (raise --timeout)"
        return [Reply("failed", words)] * len(sides), "the model before it in these processes did not end"


def _start(place: int, requests: Sequence[Request | None], tree: Path) -> _Side:
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
        process = children.start(
            WORKER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
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
        asked = [request.to_dict() for request in requests if request is not None]
        # One request as it always was: an older revision's worker knows no lists.
        process.stdin.write(json.dumps(asked if len(asked) > 1 else asked[0]).encode())
        process.stdin.close()
    return _Side(place, process, os.fdopen(hear, "rb", buffering=0), say, errors)


def _converse(sides: Sequence[_Side], orders: Orders, turns: Turns, seconds: float, deadline: float) -> None:
    for side in sides:
        side.gone = side.out = False
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
        if not side.out:
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
    """The next line of its standard output; where that ends without one, its last words."""
    # Not communicate(): it would reap the process, whose processor time the other side still reads.
    stream: Any = side.process.stdout
    while b"\n" not in side.unread:
        ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise _Late
        piece = os.read(stream.fileno(), 1 << 16)
        if not piece:
            if side.ended:
                return Reply("not-run", "its process had ended in a model before this one")
            side.ended = True
            code = side.process.wait(timeout=max(1.0, deadline - time.monotonic()))
            return parse_reply(side.unread, code, _said(side))
        side.unread += piece
    line, _, side.unread = side.unread.partition(b"\n")
    return parse_reply(line, 0, _said(side))


def _said(side: _Side) -> str:
    """What it wrote to standard error so far. By position: the worker writes at the file's own one."""
    number = side.errors.fileno()
    return os.pread(number, os.fstat(number).st_size, 0).decode(errors="replace")


def _end(sides: list[_Side]) -> None:
    """End every process and close what was open; fine to call twice."""
    while sides:
        side = sides.pop()
        children.end(side.process)
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
