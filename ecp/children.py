"""Child processes that end with this one: the one place that starts workers, compilers and other people's programs.

A child runs in a session of its own (a terminal's Ctrl-C reaches this process alone) and carries a mark in its
environment, as do all that it starts in turn. :func:`end` kills a child with everything that carries its mark;
should this process be killed, by whatever signal, its guardian does that (:mod:`ecp.guardian`). The marks have a
fixed length: the size of the environment moves the stack, and with it what is measured.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import secrets
import select
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecp import guardian
from ecp.errors import EcpError
from ecp.guardian import VARIABLE

OUTPUT_LIMIT = 64 << 20
ERRORS_KEPT = 1 << 20
_PIECE = 1 << 18
_GUARDIAN_START_S = 10.0
# How long a child may take to end by itself after it has closed its outputs or given its answer.
_ENDING_S = 5.0


def line_is_complete(out: bytes | bytearray) -> bool:
    """For ``complete``: the answer is one line."""
    return b"\n" in out


class TooLate(EcpError):
    """A child was not done in time and was ended with all that it had started."""


class TooMuch(EcpError):
    """A child wrote more than anybody wants to keep and was ended."""


@dataclass(frozen=True)
class Done:
    """What a child wrote and how it ended; ``stderr`` holds the last part where there was much."""

    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output; bytes that are no UTF-8 are replaced."""
        return self.stdout.decode(errors="replace")

    @property
    def error_text(self) -> str:
        """Standard error; bytes that are no UTF-8 are replaced."""
        return self.stderr.decode(errors="replace")


class _Family:
    """This process's mark, its children's and its guardian; made anew in a forked copy of it."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.mark = secrets.token_hex(8)
        self.numbers = itertools.count()
        self.marks: dict[int, str] = {}
        self.guardian: subprocess.Popen[bytes] | None = None

    def next_mark(self) -> str:
        return f"{self.mark}.{next(self.numbers) % 10**6:06d}"

    def guard(self) -> None:
        """Start the guardian where nobody else looks after this process's children (who started it does)."""
        if (self.guardian is not None and self.guardian.poll() is None) or os.environ.get(VARIABLE):
            return
        environment = {k: v for k, v in os.environ.items() if k != VARIABLE}
        self.guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__, str(self.pid), self.mark],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env=environment,
        )
        assert self.guardian.stdout is not None
        ready, _, _ = select.select([self.guardian.stdout], [], [], _GUARDIAN_START_S)
        if not ready or not self.guardian.stdout.readline():
            raise EcpError("the process that ends workers after this one could not be started")


_family = _Family()


def start(
    command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[Any]:
    """``subprocess.Popen`` with a session and a mark; give it to :func:`end` whatever happens."""
    global _family
    if _family.pid != os.getpid():
        _family = _Family()
    _family.guard()
    mark = _family.next_mark()
    environment = dict(os.environ if env is None else env)
    environment[VARIABLE] = " ".join(filter(None, [os.environ.get(VARIABLE), mark]))
    process = subprocess.Popen([str(c) for c in command], env=environment, start_new_session=True, **options)
    _family.marks[process.pid] = mark
    return process


def end(process: subprocess.Popen[Any]) -> None:
    """Kill a child with everything it started, also where it has ended itself; fine to call twice."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    mark = _family.marks.pop(process.pid, None)
    if mark is not None:
        guardian.kill_marked(mark)
    process.wait()


def forget_outer(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without any mark: for programs that leave a daemon which belongs to the user (``adb``)."""
    return {k: v for k, v in (os.environ if environment is None else environment).items() if k != VARIABLE}


def run(
    command: Sequence[str | Path],
    *,
    given: bytes = b"",
    timeout_s: float | None = None,
    limit: int = OUTPUT_LIMIT,
    complete: Callable[[bytearray], bool] | None = None,
    stderr_to_stdout: bool = False,
    leaves_daemon: bool = False,
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
) -> Done:
    """Run to the end; nothing of the child is left, and no descendant that holds a pipe open is waited for.

    ``complete`` says of the output so far that it is the whole answer. ``leaves_daemon``: what the program puts in
    a session of its own may live on. Raises :class:`TooLate`, :class:`TooMuch` (more than ``limit`` bytes on
    standard output, or that and :data:`ERRORS_KEPT` on standard error) and OSError where it does not start.
    """
    options: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT if stderr_to_stdout else subprocess.PIPE,
        "cwd": cwd,
    }
    if leaves_daemon:
        process: subprocess.Popen[Any] = subprocess.Popen(
            [str(c) for c in command], env=forget_outer(env), start_new_session=True, **options
        )
    else:
        process = start(command, env=env, **options)
    try:
        return Conversation(process, limit, complete).hold(given, timeout_s)
    finally:
        end(process)
        for stream in (process.stdin, process.stdout, process.stderr):
            _close(stream)


class Conversation:
    """Writes a child's input and reads its outputs, each bounded, until it has ended or its answer is complete.

    A stream that is no pipe (``stderr`` to a file) is left alone.
    """

    def __init__(
        self,
        process: subprocess.Popen[Any],
        limit: int = OUTPUT_LIMIT,
        complete: Callable[[bytearray], bool] | None = None,
    ) -> None:
        self._process, self._limit, self._complete = process, limit, complete
        self._out, self._errors, self._errors_seen = bytearray(), bytearray(), 0

    def hold(self, given: bytes, timeout_s: float | None) -> Done:
        """The whole exchange. Raises :class:`TooLate` and :class:`TooMuch`; ends nobody."""
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        with selectors.DefaultSelector() as watched, _descriptor(self._process) as ending:
            if ending is not None:
                watched.register(ending, selectors.EVENT_READ)
            outputs = [s for s in (self._process.stdout, self._process.stderr) if s is not None]
            for stream in outputs:
                watched.register(stream, selectors.EVENT_READ)
            if self._process.stdin is not None:
                watched.register(self._process.stdin, selectors.EVENT_WRITE)
            self._exchange(watched, memoryview(given), set(outputs), ending, deadline)
        return Done(self._ending(deadline), bytes(self._out), bytes(self._errors))

    def _exchange(
        self,
        watched: selectors.BaseSelector,
        left: memoryview,
        outputs: set[Any],
        ending: int | None,
        deadline: float,
    ) -> None:
        while outputs and not self._answered():
            wait = max(0.0, deadline - time.monotonic())
            events = [key.fileobj for key, _ in watched.select(wait if wait < math.inf else None)]
            # Also while it goes on talking: endless output makes every select return at once.
            if time.monotonic() >= deadline:
                raise TooLate("not done in time")
            if self._process.stdin in events:
                left = _write(self._process.stdin, left)
                if not left:
                    watched.unregister(self._process.stdin)  # type: ignore[arg-type]
                    _close(self._process.stdin)
            told = [stream for stream in events if stream in outputs]
            for stream in told:
                if not self._take(stream):
                    watched.unregister(stream)
                    outputs.discard(stream)
            if not told and ending in events:
                return  # it has ended and all it wrote is read: whoever holds its pipes open is not waited for

    def _answered(self) -> bool:
        return self._complete is not None and self._complete(self._out)

    def _take(self, stream: Any) -> bool:
        """Read a piece; False at the end of the stream."""
        piece = os.read(stream.fileno(), _PIECE)
        if stream is self._process.stdout:
            self._out += piece
            if len(self._out) > self._limit:
                raise TooMuch(f"more than {self._limit} bytes of output")
        else:
            self._errors_seen += len(piece)
            self._errors = (self._errors + piece)[-ERRORS_KEPT:]
            if self._errors_seen > self._limit + ERRORS_KEPT:
                raise TooMuch(f"more than {self._limit + ERRORS_KEPT} bytes of messages")
        return bool(piece)

    def _ending(self, deadline: float) -> int:
        """The child's exit status. One that has answered is not waited for long; 0 stands for it then."""
        answered = self._answered()
        wait = min(_ENDING_S if answered else math.inf, max(0.0, deadline - time.monotonic()))
        try:
            return self._process.wait(wait if wait < math.inf else None)
        except subprocess.TimeoutExpired:
            if answered:
                return 0
            raise TooLate("not done in time") from None


def lines(process: subprocess.Popen[bytes], silence_s: float, limit: int = ERRORS_KEPT) -> Iterator[str]:
    """Lines of a child's standard output until it ends or closes it, whoever else holds that pipe open.

    Raises :class:`TooLate` after ``silence_s`` seconds without a line's piece and :class:`TooMuch` for a line of
    more than ``limit`` bytes. Ends nobody.
    """
    stream, unread = process.stdout, b""
    assert stream is not None
    with selectors.DefaultSelector() as watched, _descriptor(process) as ending:
        watched.register(stream, selectors.EVENT_READ)
        if ending is not None:
            watched.register(ending, selectors.EVENT_READ)
        while True:
            events = [key.fileobj for key, _ in watched.select(silence_s)]
            if not events:
                raise TooLate(f"it said nothing for {silence_s:g} s")
            piece = os.read(stream.fileno(), _PIECE) if stream in events else b""
            if not piece:
                return
            *whole, unread = (unread + piece).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
            if len(unread) > limit:
                raise TooMuch(f"a line of more than {limit} bytes")


@contextlib.contextmanager
def _descriptor(process: subprocess.Popen[Any]) -> Iterator[int | None]:
    """A descriptor that becomes readable when the child ends; None where the system has no such thing."""
    try:
        found: int | None = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        found = None
    try:
        yield found
    finally:
        if found is not None:
            os.close(found)


def _write(stream: Any, left: memoryview) -> memoryview:
    """Write what fits without waiting; what is left (nothing where nobody reads any more)."""
    try:
        return left[os.write(stream.fileno(), left[: select.PIPE_BUF]) :]
    except BrokenPipeError:
        return left[:0]


def _close(stream: Any) -> None:
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.close()
