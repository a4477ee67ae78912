"""The worker's side of an interleaved pair: two processes are ready at once, the harness says whose turn it is.

Blocks run one after the other see the machine some seconds apart; turns of a twentieth of a second see it at the
same time, so that a neighbour's burst falls on both sides and drops out of their ratio (MATH.md, section 3).
The harness (:mod:`bench.interleave`) opens two pipes and names them in the environment. Lines, worker's left:

    prepared             warm PID...     loaded; may warm up, nobody else runs (PID: the other side's process)
    warm TYPICAL_MS      go LEAD COUNT   steady; run LEAD unrecorded iterations, then COUNT recorded ones
    done                 go ... | end
    finished             leave           the state after the stretch is captured
    out                                  no (further) turns in this model: it failed, or clocks itself

A worker that measures several models one after the other has this conversation once for each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cache
from typing import TextIO

from ecp.errors import EcpError

VARIABLE = "ECP_BENCH_TURNS"
# Before the machine's state is captured: the other side's threads spin a little after their last iteration.
SETTLE_S = 0.05


class Turn:
    """One worker's channel. ``others``: process ids whose processor time is not a stranger's."""

    def __init__(self, hear: TextIO, say: TextIO) -> None:
        self._hear_stream, self._say_stream = hear, say
        self._left = False
        self.others: tuple[int, ...] = ()

    def prepared(self) -> None:
        """Say so and wait until the machine is this worker's."""
        self._say("prepared")
        self.others = tuple(int(word) for word in self._hear("warm"))
        time.sleep(SETTLE_S)

    def sample(
        self, execute: Callable[[], None], typical_ms: float, between: Callable[[], None] = lambda: None
    ) -> tuple[list[list[float]], float]:
        """``(times in ms of each turn, wall seconds of all turns)``; ``typical_ms``: an iteration's usual time.

        ``between`` is called before each iteration, outside its time.
        """
        self._say(f"warm {typical_ms:.6f}")
        turns: list[list[float]] = []
        wall = 0.0
        while words := self._hear("go", "end"):
            lead, count = int(words[0]), int(words[1])
            begin = time.perf_counter()
            for _ in range(lead):
                between()
                execute()
            times = []
            for _ in range(count):
                between()
                start = time.perf_counter_ns()
                execute()
                times.append((time.perf_counter_ns() - start) / 1e6)
            turns.append(times)
            wall += time.perf_counter() - begin
            self._say("done")
        time.sleep(SETTLE_S)
        return turns, wall

    def finished(self) -> None:
        """Say that the state after the stretch is captured; wait, so that what follows disturbs nobody."""
        self._say("finished")
        self._hear("leave")
        self._left = True

    def over(self) -> None:
        """This model is done with; says so where the harness may still wait for a turn."""
        if not self._left:
            self._say("out")
        self._left = False

    def _say(self, line: str) -> None:
        self._say_stream.write(line + "\n")
        self._say_stream.flush()

    def _hear(self, *known: str) -> list[str]:
        """The words after the next line's first, which must be one of ``known``; none after ``end``."""
        words = self._hear_stream.readline().split()
        if not words or words[0] not in known:
            raise EcpError(f"the harness said {' '.join(words) or 'nothing'} instead of {' or '.join(known)}")
        return words[1:]


@cache
def channel() -> Turn | None:
    """This worker's channel, or None where it runs alone. Read once: children must not find it."""
    named = os.environ.pop(VARIABLE, "")
    if not named:
        return None
    hear, say = (int(number) for number in named.split(","))
    for descriptor in (hear, say):
        os.set_inheritable(descriptor, False)
    return Turn(os.fdopen(hear, "r"), os.fdopen(say, "w"))
