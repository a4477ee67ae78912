"""Kills harness and workers at random moments and counts what is lost and what is left behind.

``python -m tests.bench.kill_campaign FOLDER KILLS [LANES]`` prints the figures as JSON; exit code 1 where any is
not zero. The backends have helpers that ignore signals and daemons in sessions of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bench.records import read_records
from tests.bench.conftest import Workplace, make_workplace

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL)
GONE_WITHIN_S = 3.0
REPORTED = re.compile(r"^\[(\d+)/\d+\]", re.M)
TOKEN = "ECP_TEST_CAMPAIGN"


@dataclass
class Figures:
    """``lost``: blocks reported as done that no record holds; ``left``: processes alive after three seconds
    (``who``: harness and guardian included); ``refused``: starts that never measured and count as no kill."""

    kills: Counter[str] = field(default_factory=Counter)
    reported: int = 0
    lost: int = 0
    left: int = 0
    unreadable: int = 0
    slowest_s: float = 0.0
    refused: int = 0
    who: Counter[str] = field(default_factory=Counter)


def alive(token: str) -> list[int]:
    """Processes that were started with ``token`` in their environment, by whatever detour."""
    found, mine = [], f"{TOKEN}={token}".encode()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mine in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def workers(token: str) -> list[int]:
    """The measuring workers among them."""
    found = []
    for pid in alive(token):
        with contextlib.suppress(OSError):
            if b"bench.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def name_of(pid: int) -> str:
    """What a process runs, without the interpreter and the arguments that differ."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        return " ".join(w.rpartition("/")[2] for w in words[:5] if not w.startswith("-"))
    return "gone"


def one_kill(place: Workplace, seed: int, figures: Figures, spread_s: float) -> None:
    """Start the harness, kill it (every third time a worker first) at a random moment, and look."""
    rng = random.Random(seed)
    token = f"{os.getpid()}-{seed}"
    out, log = place.folder / f"out-{seed}", place.folder / f"log-{seed}"
    number = SIGNALS[seed % len(SIGNALS)]
    with log.open("wb") as stream:
        harness = subprocess.Popen(
            [*place.campaign_command(), "--out", str(out)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**place.environment, TOKEN: token},
            start_new_session=True,
        )
        wait(lambda: bool(workers(token)) or harness.poll() is not None, 60)
        time.sleep(rng.uniform(0.0, spread_s))
        if seed % 3 == 2:
            for pid in workers(token)[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                    figures.kills[f"worker {number.name}"] += 1
            time.sleep(rng.uniform(0.0, 1.0))
        if harness.poll() is not None:
            figures.refused += 1
        else:
            harness.send_signal(number)
            figures.kills[f"harness {number.name}"] += 1
    began = time.monotonic()
    wait(
        lambda: not [p for p in alive(token) if p != harness.pid] and harness.poll() is not None,
        GONE_WITHIN_S,
    )
    figures.slowest_s = max(figures.slowest_s, time.monotonic() - began)
    left = [pid for pid in alive(token) if pid != harness.pid or harness.poll() is None]
    figures.left += len(left)
    figures.who.update(f"{name_of(pid)} after {number.name}" for pid in left)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    harness.wait()
    _count(out, log.read_text(errors="replace"), figures)


def _count(out: Path, said: str, figures: Figures) -> None:
    reported = len(REPORTED.findall(said))
    figures.reported += reported
    found = 0
    for records in out.glob("*/*.jsonl"):
        lines = [line for line in records.read_bytes().split(b"\n") if line]
        kept = len(read_records(records).records)
        found += kept
        figures.unreadable += max(0, len(lines) - 1 - kept)  # the last may be half written
    figures.lost += max(0, reported - found)


def wait(done: Callable[[], bool], seconds: float) -> None:
    """Until it is done, at most so long."""
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.05)


def campaign(places: Sequence[Workplace], kills: int, spread_s: float = 4.0) -> Figures:
    """At least ``kills`` kills, in all places at a time: a device is measured by one harness at a time."""
    for number in SIGNALS[:-1]:  # under nohup the harness would ignore the hang-up, as it should
        signal.signal(number, signal.SIG_DFL)
    figures = Figures()
    seed = 0
    with ThreadPoolExecutor(len(places)) as pool:
        while sum(figures.kills.values()) < kills and figures.refused <= kills:
            batch = enumerate(places, seed)
            list(pool.map(lambda job: one_kill(job[1], job[0], figures, spread_s), batch))
            seed += len(places)
    return figures


def main() -> int:
    """The campaign on the fakes of the tests, in folders of its own."""
    lanes = range(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    figures = campaign([new_place(Path(sys.argv[1]) / f"lane{i}") for i in lanes], int(sys.argv[2]))
    print(json.dumps({**figures.__dict__, "total": sum(figures.kills.values())}, indent=2))
    return int(bool(figures.lost or figures.left or figures.unreadable))


def new_place(folder: Path) -> Workplace:
    """A lane's workplace."""
    folder.mkdir(parents=True)
    return make_workplace(folder)


if __name__ == "__main__":
    sys.exit(main())
