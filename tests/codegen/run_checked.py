"""Run one case of the numerics tests on Oclgrind: ``python -m tests.codegen.run_checked CLASS[-buffers|-half] NAME``.

A process of its own: the interpreter of kernels is an OpenCL platform that is chosen by the environment.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pyopencl as cl

from ecp.codegen.schedule import schedule_for
from ecp.plan import Mem
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session
from tests.codegen import conftest, test_half_arithmetic
from tests.codegen.test_numerics import SMALL


class Separate(Session):
    """Every mem in a buffer of its own: an access past one is then past the buffer.

    Oclgrind 21.10 also forgets what was written through a sub-buffer that does not begin at 0.
    """

    def _sub_buffer(self, mem: Mem) -> Any:
        pool = self.bundle.pools.get(mem.pool)
        flags = cl.mem_flags.READ_WRITE
        if pool is None:
            return cl.Buffer(self._context, flags, mem.bytes)
        data = np.array(pool[mem.offset : mem.offset + mem.bytes])
        return cl.Buffer(self._context, flags | cl.mem_flags.COPY_HOST_PTR, hostbuf=data)


def device(device_class: str) -> OpenCLDevice:
    """Oclgrind's device under a schedule of ``device_class``."""
    platform = next(p for p in cl.get_platforms() if "oclgrind" in p.name.lower())
    handle = platform.get_devices()[0]
    return OpenCLDevice(
        "oclgrind", platform.name, handle.name, "", device_class, 1, False, True, (8192, 8192), handle
    )


if __name__ == "__main__":
    device_class, _, variant = sys.argv[1].partition("-")
    row = schedule_for(device_class)
    row = replace(row, image=0) if variant == "buffers" else row
    conftest.Session = Separate  # type: ignore[misc]
    found = device(device_class)
    if variant == "half":
        test_half_arithmetic.Session = Separate  # type: ignore[misc]
        graph, rounding = SMALL[sys.argv[2]], test_half_arithmetic.SEPARATE
        with test_half_arithmetic.half_session(graph, device_class, found, rounding) as session:
            print(test_half_arithmetic.largest_error(session, graph))
    else:
        print(conftest.largest_error(SMALL[sys.argv[2]], found, schedule=row))
