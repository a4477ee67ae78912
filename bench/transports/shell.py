"""What adb and ssh share: an argument list becomes one line for a remote POSIX shell, and a proof of its end.

Both tools join their arguments with spaces and hand the text to a shell, and both report a lost connection
with exit codes that a command could have given as well. So every argument is quoted, and the line ends by
writing a random mark and the exit code to standard error: no mark, no result.
"""

from __future__ import annotations

import math
import re
import secrets
import shlex
from abc import abstractmethod
from collections.abc import Mapping, Sequence

from bench.escape import brief
from bench.transports.base import DEFAULT_TIMEOUT_S, Completed, DeviceLost, Transport, call, readable
from ecp import children
from ecp.errors import DeviceError, UsageError

# The device's own limit fires a little after ours, only to clean up what we could not stop from here.
GRACE_S = 5


def quote(argv: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """One shell line that runs exactly ``argv`` with the extra variables ``env``."""
    for text in [*argv, *(env or {}).values()]:
        if "\0" in text:
            raise UsageError("a program argument cannot hold a NUL character")
    for name in env or {}:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise UsageError(f"{name!r} is not the name of an environment variable")
    words = [f"{name}={value}" for name, value in (env or {}).items()]
    return " ".join(shlex.quote(word) for word in [*(["env", *words] if words else []), *argv])


def with_mark(line: str, mark: str, timeout_s: float | None) -> str:
    """``line``, stopped on the device after ``timeout_s``, followed by ``mark`` and its exit code on stderr."""
    if timeout_s is not None:
        line = f"timeout -s KILL {math.ceil(timeout_s) + GRACE_S} {line}"
    return f"{line}; printf '{mark}%d' $? >&2"


def split_mark(stderr: bytes, mark: str) -> tuple[bytes, int] | None:
    """(stderr without the mark, exit code), or None where the mark never came."""
    head, found, tail = stderr.rpartition(mark.encode())
    code = tail.strip()
    return (head, int(code)) if found and re.fullmatch(rb"\d{1,3}", code) else None


class ShellTransport(Transport):
    """A transport that sends lines to a shell. Subclasses say how, and what their tool's failures mean."""

    _has_timeout: bool | None = None
    # Whether the tool starts a server that other commands, and the user, go on using.
    _leaves_daemon = False

    @abstractmethod
    def _command(self, line: str) -> list[str]:
        """The local command that makes the device's shell execute ``line``."""

    @abstractmethod
    def _failed(self, code: int, stderr: str) -> Exception:
        """The error that a tool's exit without the mark means."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Completed:
        """Run ``argv`` on the device; see :meth:`Transport.run`."""
        if self._has_timeout is None:
            self._has_timeout = False  # for the question itself
            self._has_timeout = self.run(["sh", "-c", "command -v timeout"]).code == 0
        mark = f"ecp-{secrets.token_hex(8)}:"
        line = with_mark(quote(argv, env), mark, timeout_s if self._has_timeout else None)
        done = self._local(self._command(line), stdin, timeout_s, what=argv[0])
        found = split_mark(done.stderr, mark)
        if found is None:
            raise self._failed(done.returncode, readable(done.stderr).strip())
        stderr, code = found
        return Completed(code, done.stdout, stderr)

    def _local(self, command: list[str], stdin: bytes, timeout_s: float, what: str) -> children.Done:
        told = brief(what, 100)
        try:
            return call(
                command,
                timeout_s,
                who=self.identity,
                what=told,
                given=stdin,
                leaves_daemon=self._leaves_daemon,
            )
        except OSError as error:
            problem = f"{self.identity}: {told}: {command[0]} cannot be started: {error.strerror}"
            raise DeviceError(problem) from error

    def _lost(self, words: str) -> DeviceLost:
        return DeviceLost(f"{self.identity} went away: {words or 'the connection closed without a word'}")
