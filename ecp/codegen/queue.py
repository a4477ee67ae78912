"""Work taken from a shared counter: a slow core takes less of it, a fast one more.

The counter is zero between launches: every worker fails to take a unit exactly once, and the last of them resets it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ecp.codegen.core.kernel import Kernel, global_id
from ecp.codegen.pools import LINE
from ecp.codegen.reader import Env
from ecp.passes.storage import Buffer

QUEUE, SHARES = "@queue", "@shares"
# Units per worker worth having: the others wait for the last one.
UNITS_PER_WORKER = 12


@contextmanager
def queue(env: Env, kernel: Kernel, units: int, workers: int) -> Iterator[None]:
    """Wrap the code of one ``unit`` (an int in scope) into a loop that takes 0 .. ``units``-1 in order.

    The launch must have exactly ``workers`` work-items.
    """
    env.buffers.setdefault(QUEUE, Buffer(QUEUE, 1, "int32", "static", np.zeros(1, np.int32)))
    counter = kernel.argument(QUEUE, "int32", write=True)
    kernel.emit("int unit;")
    with kernel.repeat(f"(unit = atomic_inc({counter})) < {units}"):
        yield
    kernel.do_when(f"unit == {units + workers - 1}", f"atomic_xchg({counter}, 0);")


@contextmanager
def shares(env: Env, kernel: Kernel, units: int, workers: int) -> Iterator[None]:
    """As :func:`queue`, but every worker begins with its own range of the units, then helps the others.

    So neighbouring units, and the same ones launch after launch, stay in the cache of one core.
    """
    # A counter a worker, so that launches with as many workers share them, and no others do.
    name = f"{SHARES}{workers}"
    env.buffers.setdefault(
        name, Buffer(name, LINE * workers, "int32", "static", np.zeros(LINE * workers, np.int32))
    )
    counter = kernel.argument(name, "int32", write=True)
    kernel.declare("const int", worker=global_id())
    # Unrolled, all code of a unit would be there once a worker: ViT-T 1.2 % slower.
    with kernel.loop("turn", workers, unroll=1):
        kernel.emit(f"const int owner = (worker + turn) % {workers};")
        kernel.emit(f"const int first = {units}*owner/{workers}, last = {units}*(owner + 1)/{workers};")
        kernel.emit("int unit;")
        with kernel.repeat(f"(unit = first + atomic_inc({counter} + {LINE}*owner)) < last"):
            yield
        kernel.do_when(f"unit == last + {workers - 1}", f"atomic_xchg({counter} + {LINE}*owner, 0);")
