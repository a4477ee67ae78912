"""Another program on the machine, made up: bursts of random length that add up to a share of one processor.

:func:`disturbing` starts it as a process of its own (``python -m bench.disturber SHARE``). It ends when its standard
input does, which the system closes whatever ends the process that holds the other end.
"""

from __future__ import annotations

import contextlib
import random
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ecp.errors import EcpError, UsageError

BURST_S = (0.005, 0.1)
# More than this behind (others held the processor), it does not try to catch up.
BEHIND_S = 0.5
END_S = 3.0


@dataclass
class Disturbance:
    """``share``: what it really used of one processor; known when it has ended."""

    asked: float
    share: float | None = None


@contextlib.contextmanager
def disturbing(share: float) -> Iterator[Disturbance]:
    """Disturb the machine while inside; ``share`` of one processor, 0: not at all.

    Raises :class:`UsageError` for another share, :class:`EcpError` where the process ended too early.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"--disturb {share:g}: write a share of one processor, 0 to 1")
    found = Disturbance(share)
    if not share:
        yield found
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.disturber", str(share)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parent.parent,
        # Ctrl-C is for the harness, which ends this one itself.
        start_new_session=True,
    )
    try:
        yield found
        if process.poll() is not None:
            raise EcpError(f"the disturber ended early (exit status {process.returncode}): measure again")
        said, _ = process.communicate(timeout=END_S)
        found.share = float(said)
    finally:
        process.kill()
        process.communicate()


def burn(share: float, seed: int | None = None) -> float:
    """Use ``share`` of one processor until standard input ends; what was really used."""
    rng = random.Random(seed)  # noqa: S311 - lengths of bursts, not a secret
    begin = origin = time.monotonic()
    idle = 0.0
    # What this process used before counts neither as a burst nor in the answer.
    first = time.process_time()
    while not select.select([sys.stdin], [], [], idle)[0]:
        until = time.process_time() + rng.uniform(*BURST_S)
        while time.process_time() < until:
            pass
        idle = (time.process_time() - first) / share - (time.monotonic() - origin)
        if idle < -BEHIND_S:
            origin -= idle + BEHIND_S
        idle = max(0.0, idle)
    return (time.process_time() - first) / max(time.monotonic() - begin, 1e-9)


if __name__ == "__main__":
    used = burn(float(sys.argv[1]))
    # Where the harness was killed, nobody reads any more.
    with contextlib.suppress(BrokenPipeError):
        print(f"{used:.4f}", flush=True)
