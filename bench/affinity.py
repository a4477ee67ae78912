"""Which processors a worker is pinned to. The machine's state around a block is :mod:`bench.validity`'s business."""

from __future__ import annotations

import os
from pathlib import Path


def choose_cpus(count: int) -> tuple[int, ...]:
    """``count`` processors to pin to, one per core before any second hardware thread of a core.

    Empty (no pinning) where fewer are allowed than asked for: then the record shows the real affinity.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < count:
        return ()
    seen: dict[str, int] = {}
    order = []
    for cpu in allowed:
        core = _read(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") or str(cpu)
        order.append((seen.get(core, 0), cpu))
        seen[core] = seen.get(core, 0) + 1
    return tuple(sorted(cpu for _, cpu in sorted(order)[:count]))


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
