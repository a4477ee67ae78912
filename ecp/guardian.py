"""Ends what a process started, once that process is gone: ``guardian.py PID MARK``.

Started by :mod:`ecp.children` in a session of its own, so that no signal of a terminal or to a process group ends
it. It waits for the process ``PID``, whatever ends that (SIGKILL included), kills all that carries its mark and
ends. It is a file of its own, run by path: nothing is imported but the standard library.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path

VARIABLE = "ECP_STARTED_BY"
"""Environment variable of every child: the marks of all who started it, outermost first."""
PROC = Path("/proc")
PAUSE_S = 0.02
QUIET_ROUNDS = 3
LONGEST_S = 3.0


def marked(mark: str) -> list[int]:
    """Processes whose environment at their start held ``mark``: children of children and daemons among them.

    The environment survives a new session, a new process group and the death of parents; forks share it.
    """
    found = []
    own = os.getpid()
    for entry in PROC.iterdir() if PROC.is_dir() else []:
        if entry.name.isdigit() and int(entry.name) != own:
            with contextlib.suppress(OSError):
                if any(_holds(line, mark) for line in (entry / "environ").read_bytes().split(b"\0")):
                    found.append(int(entry.name))
    return found


def _holds(line: bytes, mark: str) -> bool:
    """Marks are written outermost first; whoever carries ``mark`` or one derived from it (``mark.N``) is meant."""
    name, _, value = line.partition(b"=")
    marks = value.decode(errors="replace").split() if name == VARIABLE.encode() else []
    return any(m == mark or m.startswith(mark + ".") for m in marks)


def kill_marked(mark: str, quiet_rounds: int = 1, longest_s: float = LONGEST_S) -> None:
    """Kill until ``quiet_rounds`` looks in a row find nobody: who is just being started shows its mark later."""
    end = time.monotonic() + longest_s
    quiet = 0
    while time.monotonic() < end:
        found = marked(mark)
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        quiet = 0 if found else quiet + 1
        if quiet >= quiet_rounds:
            return
        time.sleep(PAUSE_S)


def wait_for(pid: int) -> None:
    """Say that the watch has begun, then return when the parent ``pid`` has ended; at once where it has already."""
    try:
        watched = [os.pidfd_open(pid)]
    except (AttributeError, OSError):  # not Linux, an old kernel, or nobody there
        watched = []
    # Between the start and here the parent may have ended and its number may have been given away.
    if os.getppid() == pid:
        print("ready", flush=True)
        while watched and not select.select(watched, [], [])[0]:
            pass
        while os.getppid() == pid:
            time.sleep(PAUSE_S)


def main() -> int:
    """Wait for the end of the process on the command line, then clean up after it."""
    pid, mark = int(sys.argv[1]), sys.argv[2]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    wait_for(pid)
    kill_marked(mark, QUIET_ROUNDS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
