"""Where the buffers of launches lie: one arena by lifetimes, pools of constants, of state, of inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ecp.codegen.core.kernel import Launch
from ecp.ir.mapped import pages
from ecp.passes.memory import ALIGN, Lifetime
from ecp.passes.memory import plan as plan_memory
from ecp.passes.storage import Buffer
from ecp.plan import Image, Mem, Pool

# Vector reads of the last row may reach past a buffer; what they fetch is never used.
SLACK = 256
# Integers in a cache line: counters that several work-items write have one each.
LINE = 16
_POOL_OF = {"arena": "arena", "static": "static", "input": "io", "output": "io", "weights": "weights"}


@dataclass
class Memory:
    """``mems``: of the plan, by buffer; ``more``: those of no buffer. ``contents``: of the pools that have a file."""

    mems: dict[str, Mem]
    pools: list[Pool]
    contents: dict[str, np.ndarray]
    more: list[Mem] = field(default_factory=list)

    def reserve(self, name: str, counters: int) -> None:
        """The mem ``name``: ``counters`` integers in lines of their own, zero at load, behind the static pool."""
        size = -(-4 * LINE * counters // ALIGN) * ALIGN
        static = next(pool for pool in self.pools if pool.name == "static")
        self.more.append(Mem(name, "static", static.bytes, size))
        static.bytes, static.file = static.bytes + size, "static.bin"
        before = self.contents.get("static", np.zeros(0, np.uint8))
        self.contents["static"] = np.concatenate([before, np.zeros(size, np.uint8)])

    def whole(self, pool: str) -> str:
        """The name of a mem that is all of a pool."""
        size = next(p.bytes for p in self.pools if p.name == pool)
        self.more.append(Mem(f"all_{pool}", pool, 0, size))
        return f"all_{pool}"


def place_buffers(buffers: dict[str, Buffer], launches: list[Launch], share: bool) -> Memory:
    """The memory of ``launches``; ``share``: buffers whose lifetimes do not meet may lie in the same place."""
    offsets, arena = _arena(buffers, launches, share)
    memory = Memory({}, [Pool("arena", arena, None, "rw")], {})
    for pool, kinds in (("weights", {"weights"}), ("static", {"static"}), ("io", {"input", "output"})):
        members = {name: b for name, b in buffers.items() if b.kind in kinds}
        at = 0
        for name, b in members.items():
            offsets[name] = at
            at += -(-(b.nbytes + SLACK) // ALIGN) * ALIGN
        file = f"{pool}.bin" if pool != "io" and at else None
        if file:
            memory.contents[pool] = _content(members, offsets, at)
        access = "ro" if pool == "weights" else "rw"
        memory.pools.append(Pool(pool, at, file, access))
    for i, (name, b) in enumerate(buffers.items()):
        size = b.nbytes if b.image else b.nbytes + SLACK
        memory.mems[name] = Mem(f"m{i}", _POOL_OF[b.kind], offsets[name], size, _image(b))
    return memory


def _arena(buffers: dict[str, Buffer], launches: list[Launch], share: bool) -> tuple[dict[str, int], int]:
    """(offsets, size) of what lives from one launch to another."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for i, launch in enumerate(launches):
        for name in launch.args:
            first.setdefault(name, i)
            last[name] = i
    lifetimes = [
        Lifetime(n, b.nbytes + SLACK, first[n], last[n])
        for n, b in buffers.items()
        if b.kind == "arena" and n in first
    ]
    return plan_memory(lifetimes, share=share)


def _content(members: dict[str, Buffer], offsets: dict[str, int], size: int) -> np.ndarray:
    """The bytes of a pool; what they are made of is let go."""
    data = pages(size)
    for name, b in members.items():
        init = b.make() if b.make is not None else b.init
        assert init is not None
        end = offsets[name] + b.elements * np.dtype(b.dtype).itemsize
        # Assigning through a view converts to the storage precision without a copy of the whole.
        data[offsets[name] : end].view(b.dtype)[:] = init.reshape(-1)
        b.init = b.make = None
    return data


def _image(b: Buffer) -> Image | None:
    if b.image is None:
        return None
    return Image(*b.image, "RGBA_F16" if b.dtype == "float16" else "RGBA_F32")
