"""What is timed is what is checked: the input changes before every timed inference, and its output must follow.

Every timed inference gets an input that was never seen before (a cut through two of the test inputs at a random
place), handed over outside the clock; a framework that remembers what it computed has nothing to remember. After some
inferences, drawn at random, the outputs are fetched at once and kept. When the clocks are done, the same inputs are run
again and compared with what was kept; the reference of :mod:`bench.accuracy_gate` says that these runs are right.

An ``execute`` that returns before its work is done is seen twice: its outputs are those of an earlier input, or
fetching them takes as long as the work does.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from baselines.base import Backend
from bench import inputs
from bench.expected import Expected

Arrays = Mapping[str, np.ndarray]

# Share of the timed inferences whose outputs are fetched, and how many of them are kept.
LOOK = 0.25
KEPT = 4
# Outputs that arrive later than this after execute returned (ms; share of an inference) were not complete.
LATE_MS, LATE_SHARE = 0.05, 0.1
# An inference on an input seen before that takes less than this share of one on a new input was not computed.
REMEMBERED = 0.1
SLOW_MS = 1000.0


@dataclass(frozen=True)
class Look:
    """One timed inference: what it was fed and what it gave."""

    feeds: Arrays
    outputs: Arrays


@dataclass
class TimedPath:
    """The inputs of one backend's timed inferences. ``feeds``: test inputs by name [rows, ...]."""

    backend: Backend
    feeds: Arrays
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    looks: list[Look] = field(default_factory=list)
    fetch_ms: list[tuple[float, float]] = field(default_factory=list)
    times_ms: Sequence[float] = ()
    _staged: Arrays | None = None
    _drawn: bool = False
    _looked: int = 0

    def between(self) -> None:
        """Outside the clock, before each timed inference: look at the one before if drawn, stage a new input."""
        if self._drawn:
            self._look(timed=True)
        self._staged = mixed(self.feeds, self.rng)
        self.backend.stage(self._staged)
        self._drawn = bool(self.rng.random() < LOOK)

    def finish(self, times_ms: Sequence[float], own_clock: bool = False) -> None:
        """After the last timed inference, whose outputs are always looked at. ``times_ms``: all that were timed.

        ``own_clock``: the program clocks itself, so ``execute`` was not what took these times.
        """
        if self._staged is not None:
            self._look(timed=not own_clock)
        self.times_ms = () if own_clock else times_ms

    def _look(self, timed: bool) -> None:
        assert self._staged is not None
        first, outputs = _clocked(self.backend.fetch)
        if timed:
            again, _ = _clocked(self.backend.fetch)
            self.fetch_ms.append((first, again))
        look = Look(self._staged, {name: np.array(value) for name, value in outputs.items()})
        # Every look of the whole run has the same chance to be kept.
        self._looked += 1
        if len(self.looks) < KEPT:
            self.looks.append(look)
        elif (place := int(self.rng.integers(self._looked))) < KEPT:
            self.looks[place] = look
        self._drawn = False

    def verify(self, expected: Expected) -> dict[str, Any]:
        """Judge what was seen: ``looks``, ``late_ms``, largest ``max_abs`` between timed run and repetition, and a
        ``reason`` where the times are not those of inferences. Runs the backend, after everything was timed."""
        found: dict[str, Any] = {"looks": self._looked, "max_abs": None}
        if not self.looks:
            return found
        found["late_ms"] = late = self._late_ms()
        if late is not None:
            return {
                **found,
                "reason": f"execute returned before its work was done: outputs came {late:.3g} ms later",
            }
        slow = statistics.median(self.times_ms or (SLOW_MS,)) >= SLOW_MS
        for look in self.looks[:1] if slow else self.looks:
            reason, worst = self._repeated(look, expected)
            found["max_abs"] = max(worst, found["max_abs"] or 0.0)
            if reason:
                return {**found, "reason": reason}
        problem = self._constant(expected) or self._remembers(1 if slow else 3) or self._ahead(expected)
        return {**found, "reason": problem}

    def _late_ms(self) -> float | None:
        """How much longer outputs took right after ``execute`` than once they were there; None where they were."""
        if not self.fetch_ms or not self.times_ms:
            return None
        first, again = (statistics.median(column) for column in zip(*self.fetch_ms, strict=True))
        limit = max(LATE_MS, LATE_SHARE * statistics.median(self.times_ms), again / 2)
        return first - again if first - again > limit else None

    def _repeated(self, look: Look, expected: Expected) -> tuple[str, float]:
        """(why the timed inference's outputs are not those of its input, largest difference to a repetition)."""
        if problem := expected.problem(look.outputs):
            return f"timed inference: {problem}", 0.0
        self.backend.stage(look.feeds)
        self.backend.execute()
        again = self.backend.fetch()
        if problem := expected.problem(again):
            return f"a timed inference repeated: {problem}", 0.0
        errors = expected.errors(look.outputs, again)
        bad = expected.too_far(errors, times=2.0)
        worst = max(errors.values(), default=0.0)
        if not bad:
            return "", worst
        words = f"differs by {errors[bad[0]]:.3g} from the same inference repeated"
        return f"wrong output: '{bad[0]}' of a timed inference {words}: it does not follow its input", worst

    def _constant(self, expected: Expected) -> str:
        """Whether all timed inferences gave one answer where the model's answers differ from input to input."""
        rows = [
            inputs.row(expected.reference, n) for n in range(len(next(iter(expected.reference.values()))))
        ]
        apart = [expected.too_far(expected.errors(a, b), times=4.0) for a, b in combinations(rows, 2)]
        seen = [look.outputs for look in self.looks]
        if len(seen) < 3 or not apart or not all(apart):
            return ""
        if any(expected.too_far(expected.errors(a, b)) for a, b in combinations(seen, 2)):
            return ""
        return f"wrong output: {len(seen)} timed inferences on different inputs gave the same outputs"

    def _remembers(self, repeats: int) -> str:
        """Whether ``execute`` gets its answer faster than computing where the input is the one it has just had."""
        if not self.times_ms:
            return ""
        again = min(_clocked(self.backend.execute)[0] for _ in range(repeats))
        new = min(self.times_ms)
        if again >= REMEMBERED * new or new - again < LATE_MS:
            return ""
        return f"execute remembers its outputs: {again:.3g} ms on the same input again, {new:.3g} ms on a new one"

    def _ahead(self, expected: Expected) -> str:
        """Whether outputs follow an input on which nothing was executed: then the work is done outside the clock."""
        rows = len(next(iter(expected.reference.values())))
        if rows < 2:
            return ""
        old, new = (inputs.row(expected.reference, index) for index in (0, 1))
        if not expected.too_far(expected.errors(old, new), times=4.0):
            return ""
        self.backend.run(inputs.row(self.feeds, 0))
        self.backend.stage(inputs.row(self.feeds, 1))
        got = self.backend.fetch()
        if expected.problem(got) or expected.too_far(expected.errors(got, new)):
            return ""
        return "outputs follow an input before execute was called: the work is done outside the clock"


def mixed(feeds: Arrays, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A new input: the beginning of one test input and the end of another, cut at a random place.

    Values stay those of valid inputs, whatever they mean (pixels, token ids). The number at the cut is a blend of both,
    so that small inputs do not repeat either. ``feeds``: by name [rows, ...].
    """
    rows = len(next(iter(feeds.values())))
    one, other = rng.choice(rows, size=2, replace=False) if rows > 1 else (0, 0)
    share = rng.uniform(0.25, 0.75)
    found = {}
    for name, stacked in feeds.items():
        values = np.array(stacked[one], order="C")
        cut = round(share * values.size)
        values.reshape(-1)[cut:] = stacked[other].reshape(-1)[cut:]
        if values.dtype.kind == "f" and values.size:
            at = min(cut, values.size - 1)
            blend = share * stacked[one].reshape(-1)[at] + (1.0 - share) * stacked[other].reshape(-1)[at]
            values.reshape(-1)[at] = blend
        found[name] = values
    return found


def _clocked(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter_ns()
    found = work()
    return (time.perf_counter_ns() - start) / 1e6, found
