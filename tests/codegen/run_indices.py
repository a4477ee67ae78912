"""Run the cases of run-time indices where an access outside a buffer is seen: ``python -m tests.codegen.run_indices``.

Arguments: ``guard`` or ``oclgrind``, a device class, index tensors per case, a seed, a CPU device. Prints JSON. Under
``guard`` every buffer lies in memory of its own between pages that nobody may touch, so that such an access ends the
process; ``unguarded-index`` is the same with the check of the index taken out, to see that it does.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyopencl as cl

from ecp.codegen import runtime_index
from ecp.codegen.pools import SLACK
from ecp.codegen.schedule import schedule_for
from ecp.compiler import compile_graph
from ecp.plan import Mem
from ecp.runtime.devices import OpenCLDevice, resolve
from ecp.runtime.session import Session
from tests.codegen.indices import CASES, Case, Engine, interpreted, outcome, peer, tensors, wrong
from tests.codegen.run_checked import Separate
from tests.codegen.run_checked import device as oclgrind

PAGE = mmap.PAGESIZE
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def between_guards(size: int) -> np.ndarray:
    """``size`` bytes that begin right after a page that nobody may touch, and end right before one if whole pages."""
    whole = -(-size // PAGE) * PAGE
    start = _LIBC.mmap(None, whole + 2 * PAGE, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    assert start not in (None, ctypes.c_void_p(-1).value), "mmap failed"
    assert _LIBC.mprotect(start + PAGE, whole, mmap.PROT_READ | mmap.PROT_WRITE) == 0
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(start + PAGE))


class Guarded(Session):
    """Every mem between guard pages, which the device uses in place. It lives as long as the process."""

    def _sub_buffer(self, mem: Mem) -> Any:
        size = mem.bytes - SLACK  # scalar code, which these cases are, reads no further
        memory, pool = between_guards(size), self.bundle.pools.get(mem.pool)
        if pool is not None:
            memory[:] = pool[mem.offset : mem.offset + size]
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR
        return cl.Buffer(self._context, flags, hostbuf=memory)


def campaign(
    target: OpenCLDevice, session: type[Session], count: int, seed: int, reference: Callable[[Case], Engine]
) -> dict[str, Any]:
    """``count`` tensors of every case: how many there were, how many were refused, what was wrong."""
    done: dict[str, Any] = {"tensors": 0, "indices": 0, "refused": 0, "wrong": []}
    row = replace(schedule_for(target.device_class), ptx=False)
    for case in CASES:
        theirs = reference(case)
        with session(compile_graph(case.graph, target.device_class, schedule=row), target) as ours:
            for indices in tensors(case, count, seed):
                feeds = case.feeds(indices)
                want = outcome(theirs, feeds)
                words = wrong(case, indices, outcome(ours.run, feeds), want)
                done["tensors"] += 1
                done["indices"] += indices.size
                done["refused"] += isinstance(want, str)
                done["wrong"] += [words] if words else []
    return done


if __name__ == "__main__":
    how, device_class, count, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    if how == "unguarded-index":
        runtime_index._INDEX = "int ecp_index(long i, int n, int c, __global int* s) { return (int)i; }\n"
    if how == "oclgrind":
        found = campaign(oclgrind(device_class), Separate, count, seed, interpreted)
    else:
        local = replace(resolve((sys.argv[5:] or ["local-cpu"])[0]), device_class=device_class)
        found = campaign(local, Guarded, count, seed, peer)
    print(json.dumps(found))
