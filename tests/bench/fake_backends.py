"""Backends that behave in one known way each, found through a real entry point (see ``conftest.workplace``)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from baselines.base import Backend, Description, RunConfig, Unavailable, Unsupported


class Right(Backend):
    """Computes the model of ``conftest.tiny_model`` correctly: ``x @ W``."""

    name: ClassVar[str] = "fake-right"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        import onnx
        from onnx import numpy_helper

        self.options = dict(config.options)
        self.weight = numpy_helper.to_array(onnx.load(str(onnx_path)).graph.initializer[0])

    def describe(self) -> Description:
        return Description("1.0", "numpy", {"launches": 1, "layout_launches": 0})

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        self.x = feeds["input"]

    def execute(self) -> None:
        time.sleep(0.002)
        self.y = self.x @ self.weight

    def fetch(self) -> dict[str, np.ndarray]:
        return {"logits": self.y}


class Wrong(Right):
    name: ClassVar[str] = "fake-wrong"

    def fetch(self) -> dict[str, np.ndarray]:
        return {"logits": self.y + 1}


class NotANumber(Right):
    name: ClassVar[str] = "fake-nan"

    def fetch(self) -> dict[str, np.ndarray]:
        return {"logits": self.y * np.nan}


class Chatty(Right):
    """Writes to standard output as frameworks do: from Python and from below it."""

    name: ClassVar[str] = "fake-chatty"

    def execute(self) -> None:
        print("{not json}")
        sys.stdout.flush()
        os.write(1, b"from native code\n")
        super().execute()


class Killed(Right):
    name: ClassVar[str] = "fake-killed"

    def execute(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class Hangs(Right):
    name: ClassVar[str] = "fake-hangs"

    def execute(self) -> None:
        time.sleep(600)


class Slow(Right):
    """Slow enough to be interrupted in the middle of a run."""

    name: ClassVar[str] = "fake-slow"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        super().prepare(onnx_path, config)
        time.sleep(0.5)


class Twice(Right):
    """Takes more than twice the time of the right one."""

    name: ClassVar[str] = "fake-twice"

    def execute(self) -> None:
        time.sleep(0.004)
        super().execute()


class Remembers(Right):
    """Computes once for every input it has seen."""

    name: ClassVar[str] = "fake-remembers"

    def execute(self) -> None:
        self.seen = getattr(self, "seen", {})
        key = self.x.tobytes()
        if key not in self.seen:
            super().execute()
            self.seen[key] = self.y
        self.y = self.seen[key]


class Early(Right):
    """Returns while a thread still computes, for which only fetch waits."""

    name: ClassVar[str] = "fake-early"

    def execute(self) -> None:
        import threading

        self.thread = threading.Thread(target=super().execute)
        self.thread.start()

    def fetch(self) -> dict[str, np.ndarray]:
        self.thread.join()
        return super().fetch()


class Greedy(Right):
    """Uses a second processor where one was asked."""

    name: ClassVar[str] = "fake-greedy"

    def execute(self) -> None:
        import threading

        def spin() -> None:
            end = time.perf_counter() + 0.02
            block = np.ones((200, 200), np.float32)
            while time.perf_counter() < end:
                block @ block

        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        helpers = [threading.Thread(target=spin) for _ in range(2)]
        for helper in helpers:
            helper.start()
        for helper in helpers:
            helper.join()
        super().execute()


class CannotRun(Right):
    name: ClassVar[str] = "fake-unsupported"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        raise Unsupported("no Softmax on Tuesdays")


class NotThere(Right):
    name: ClassVar[str] = "fake-unavailable"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        raise Unavailable("the framework is not installed; pip install fake")


class Raises(Right):
    name: ClassVar[str] = "fake-raises"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        raise RuntimeError("kernel panic\nin two lines")


def _fork(seconds: float, *ignored: signal.Signals) -> None:
    """A copy of this process, as frameworks make helpers: it holds every pipe open."""
    if os.fork() == 0:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
        time.sleep(seconds)
        os._exit(0)


IGNORED = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT)


class Family(Right):
    """Has a helper that ignores what asks it to end, and a daemon in a session of its own."""

    name: ClassVar[str] = "fake-family"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        super().prepare(onnx_path, config)
        _fork(120, *IGNORED)
        subprocess.Popen(["sleep", "120"], start_new_session=True)


class Clinging(Right):
    """A helper outlives the worker by far and holds the pipe of its answer."""

    name: ClassVar[str] = "fake-clinging"

    def fetch(self) -> dict[str, np.ndarray]:
        _fork(120)
        return super().fetch()


class Deaf(Right):
    """Hangs and ignores what asks it to end."""

    name: ClassVar[str] = "fake-deaf"

    def execute(self) -> None:
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        time.sleep(600)


class Stopped(Right):
    """Stops itself as a debugger would."""

    name: ClassVar[str] = "fake-stopped"

    def execute(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)
