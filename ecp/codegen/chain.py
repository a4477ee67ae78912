"""All launches of a CPU plan as one: work-items walk through the stages together and wait for each other in between.

A launch costs a CPU runtime 10-20 us of waking and joining threads, which is 6 % of a small ViT. Here ``workers``
work-items stay: each takes its share of the items of the present stage, then what the others have left of theirs, and
goes on when all are done. Shares are ranges, so that neighbouring rows stay in one core's cache from stage to stage.
No work-item has to be resident for another to finish: an item that is waited for was taken by one that is running.
So one thread alone gets through as well, and the order in which a driver starts work-items does not matter.

A stage is the kernel's own statements as a function, once per distinct kernel; which memory it works on stands in
a table. So both ways of running a plan give the same bits, and the single launches stay for the profiler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ecp import plan as plans
from ecp.codegen.core import printer
from ecp.codegen.core.kernel import Launch
from ecp.codegen.core.statements import Barrier, Function, Id, LocalArray, WorkItem, walk, work_items
from ecp.codegen.pools import LINE, Memory
from ecp.passes.memory import ALIGN
from ecp.plan import Group, MemArgument

FILE, STATE = "kernels/chain.cl", "chain"
# Where a stage's function is in the grid.
_GRID = "const int g0, const int g1, const int g2"


@dataclass(frozen=True)
class Joined:
    """A program in which launches are one, and which."""

    source: str
    groups: list[Group]


class _Stage(printer.Dialect):
    """A function of its place in the grid."""

    def number(self, item: WorkItem) -> str:
        """A parameter of the function."""
        return f"g{item.axis}"


def chain(launches: Sequence[Launch], memory: Memory, workers: int) -> Joined | None:
    """One launch that stands for all others, with its counters in ``memory``; None where there can be none.

    It takes at least two launches whose work-items are on their own (no work-groups, no images).
    ``workers``: work-items of the chain, at most one per thread of the device.
    """
    if len(launches) < 2 or any(_grouped(launch.kernel) for launch in launches):
        return None
    pools = [pool.name for pool in memory.pools if pool.bytes]
    source = _source(launches, memory, pools, workers)
    memory.reserve(STATE, len(launches) * (workers + 1) + 1)
    args = [STATE, *(memory.whole(pool) for pool in pools)]
    return Joined(source, [Group(0, len(launches), joined_launch("chain", args, launches, workers, 1))])


def joined_launch(
    kernel: str, mems: Sequence[str], launches: Sequence[Launch], items: int, group: int
) -> plans.Launch:
    """What the plan says of ``launches`` as one of ``items`` work-items in groups of ``group``."""
    return plans.Launch(
        program="chain",
        kernel=kernel,
        args=[MemArgument(mem) for mem in mems],
        global_size=[items],
        local_size=[group],
        family="chain",
        flops=sum(launch.flops for launch in launches),
        bytes=sum(launch.bytes for launch in launches),
    )


def _grouped(function: Function) -> bool:
    """Whether work-items do anything together, or read images."""
    meets = any(isinstance(s, Barrier | LocalArray) for s in walk(function.body))
    apart = all(item.id is Id.GLOBAL for item in work_items(function.body))
    return meets or not apart or any(p.image for p in function.parameters)


def _source(launches: Sequence[Launch], memory: Memory, pools: Sequence[str], workers: int) -> str:
    functions = list({launch.kernel.name: launch.kernel for launch in launches}.values())
    used = [function.name for function in functions]
    places: list[int] = []
    stages: list[int] = []
    for launch in launches:
        size = [*launch.global_size, 1, 1][:3]
        stages += [used.index(launch.kernel.name), prod(size), size[0], size[1], len(places)]
        for buffer in launch.args:
            mem = memory.mems[buffer]
            places.append(mem.offset // ALIGN * len(pools) + pools.index(mem.pool))
    calls = [f"{function.name}({_call(function, len(pools))}); break;" for function in functions]
    cases = "\n".join(f"          case {number}: {call}" for number, call in enumerate(calls))
    text = f"{printer.definitions(functions)}\n" + "\n".join(_function(function) for function in functions)
    return f"""{text}
__constant int stages[] = {{{",".join(map(str, stages))}}};
__constant int places[] = {{{",".join(map(str, places))}}};

{_kernel(len(launches), len(pools), workers, cases)}"""


def _function(function: Function) -> str:
    body = printer.body(function.body, _Stage())
    return f"void {function.name}({_GRID}, {printer.parameters(function)})\n{{\n{body}\n}}\n"


def _kernel(stages: int, pools: int, workers: int, cases: str) -> str:
    """The kernel that walks through the stages; ``cases``: calls of their functions by number."""
    bases = ", ".join(f"__global char* base{i}" for i in range(pools))
    return f"""__kernel __attribute__((reqd_work_group_size(1,1,1))) __attribute__((intel_vec_len_hint(1)))
void chain(volatile __global int* state, {bases})
{{
  __global char* const base[{pools}] = {{{", ".join(f"base{i}" for i in range(pools))}}};
  const int worker = get_global_id(0);
  volatile __global int* taken = state;
  for (int s = 0; s < {stages}; ++s, taken += {LINE * (workers + 1)}) {{
    __constant int* const stage = stages + 5*s;
    __constant int* const at = places + stage[4];
    volatile __global int* const done = taken + {LINE * workers};
    for (int turn = 0; turn < {workers}; ++turn) {{
      const int owner = (worker + turn) % {workers};
      const int first = (long)stage[1]*owner/{workers}, last = (long)stage[1]*(owner + 1)/{workers};
      int item;
      while ((item = first + atomic_inc(taken + {LINE}*owner)) < last) {{
        const int g0 = item % stage[2], rest = item / stage[2];
        const int g1 = rest % stage[3], g2 = rest / stage[3];
        switch (stage[0]) {{
{cases}
        }}
        mem_fence(CLK_GLOBAL_MEM_FENCE);
        atomic_inc(done);
      }}
    }}
    while (atomic_add(done, 0) < stage[1]) {{
    }}
    mem_fence(CLK_GLOBAL_MEM_FENCE);
  }}
  /* The last to leave puts every counter back. */
  if (atomic_inc(taken) == {workers - 1}) {{
    for (int i = 0; i < {stages * (workers + 1) + 1}; ++i) atomic_xchg(state + {LINE}*i, 0);
  }}
}}
"""


def _call(function: Function, pools: int) -> str:
    """Arguments of a stage's function: its place in the grid, then pointers from the table."""
    pointers = (
        f"({printer.pointer(p)})(base[at[{i}] % {pools}] + (size_t)(at[{i}] / {pools}) * {ALIGN})"
        for i, p in enumerate(function.parameters)
    )
    return ", ".join(["g0", "g1", "g2", *pointers])
