"""All launches of a CPU plan as one: work-items walk through the stages together and wait for each other in between.

A launch costs a CPU runtime 10-20 us of waking and joining threads, which is 6 % of a small ViT. Here ``workers``
work-items stay: each takes its share of the items of the present stage, then what the others have left of theirs, and
goes on when all are done. Shares are ranges, so that neighbouring rows stay in one core's cache from stage to stage.
No work-item has to be resident for another to finish: an item that is waited for was taken by one that is running.
So one thread alone gets through as well, and the order in which a driver starts work-items does not matter.

Code of a stage is the kernel's own body as a function, once per distinct kernel; which memory it works on stands in
a table. So both ways of running a plan give the same bits, and the single launches stay for the profiler.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from math import prod

import numpy as np

from ecp.codegen.queue import LINE
from ecp.passes.memory import ALIGN
from ecp.plan import Group, Launch, Mem, MemArgument, Plan, Program

FILE, STATE = "kernels/chain.cl", "chain"
_KERNEL = re.compile(r"__kernel [^\n]*\nvoid (\w+)\(([^\n]*)\)\n\{\n")
_GROUPED = re.compile(r"get_(local|group|num)_|barrier|__local|image2d")


def chain(
    plan: Plan, sources: dict[str, str], pools: dict[str, np.ndarray], workers: int
) -> tuple[Plan, dict[str, str], dict[str, np.ndarray]]:
    """Plan, sources and pools with a group that stands for all launches; as given where none can.

    ``plan``: of one program, with at least two launches whose work-items are on their own (no work-groups, images or
    scalar arguments). ``workers``: work-items of the chain, at most one per thread of the device.
    """
    (program,) = plan.programs
    launches, source = plan.launches, sources[program.file]
    arguments = [argument for launch in launches for argument in launch.args]
    if len(launches) < 2 or _GROUPED.search(source) or not all(isinstance(a, MemArgument) for a in arguments):
        return plan, sources, pools
    plan = copy.deepcopy(plan)
    used = [pool for pool in plan.pools if pool.bytes]
    state = _add_state(plan, len(launches) * (workers + 1) + 1)
    zeros = np.zeros(state.bytes, np.uint8)
    pools = {**pools, "static": np.concatenate([pools["static"], zeros]) if "static" in pools else zeros}
    whole = [Mem(f"all_{pool.name}", pool.name, 0, pool.bytes) for pool in used]
    text = _source(plan, source, [pool.name for pool in used], workers)
    plan.mems += [state, *whole]
    plan.programs.append(Program("chain", FILE, program.options))
    launch = Launch(
        program="chain",
        kernel="chain",
        args=[MemArgument(STATE), *(MemArgument(mem.name) for mem in whole)],
        global_size=[workers],
        local_size=[1],
        family="chain",
        flops=sum(launch.flops for launch in launches),
        bytes=sum(launch.bytes for launch in launches),
    )
    plan.groups = [Group(0, len(launches), launch)]
    return plan, {**sources, FILE: text}, pools


def _add_state(plan: Plan, counters: int) -> Mem:
    """Room for the counters at the end of the static pool, whose content is zero there: the mem that names it."""
    size = -(-4 * LINE * counters // ALIGN) * ALIGN
    static = next(pool for pool in plan.pools if pool.name == "static")
    state = Mem(STATE, "static", static.bytes, size)
    static.bytes, static.file = static.bytes + size, "static.bin"
    return state


def _source(plan: Plan, source: str, pools: Sequence[str], workers: int) -> str:
    launches = plan.launches
    functions = {name: parameters for name, parameters in _KERNEL.findall(source)}
    used = list(dict.fromkeys(launch.kernel for launch in launches))
    text = _KERNEL.sub(
        lambda m: f"void {m[1]}(const int g0, const int g1, const int g2, {m[2]})\n{{\n", source
    )
    text = re.sub(r"get_global_id\(([012])\)", r"g\1", text)
    mems = {mem.name: mem for mem in plan.mems}
    places: list[int] = []
    stages: list[int] = []
    for launch in launches:
        size = [*launch.global_size, 1, 1][:3]
        stages += [used.index(launch.kernel), prod(size), size[0], size[1], len(places)]
        for argument in launch.args:
            assert isinstance(argument, MemArgument)
            mem = mems[argument.mem]
            places.append(mem.offset // ALIGN * len(pools) + pools.index(mem.pool))
    calls = [f"{name}({_call(functions[name], len(pools))}); break;" for name in used]
    cases = "\n".join(f"          case {number}: {call}" for number, call in enumerate(calls))
    bases = ", ".join(f"__global char* base{i}" for i in range(len(pools)))
    return f"""{text}
__constant int stages[] = {{{",".join(map(str, stages))}}};
__constant int places[] = {{{",".join(map(str, places))}}};

__kernel __attribute__((reqd_work_group_size(1,1,1))) __attribute__((intel_vec_len_hint(1)))
void chain(volatile __global int* state, {bases})
{{
  __global char* const base[{len(pools)}] = {{{", ".join(f"base{i}" for i in range(len(pools)))}}};
  const int worker = get_global_id(0);
  volatile __global int* taken = state;
  for (int s = 0; s < {len(launches)}; ++s, taken += {LINE * (workers + 1)}) {{
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
    for (int i = 0; i < {len(launches) * (workers + 1) + 1}; ++i) atomic_xchg(state + {LINE}*i, 0);
  }}
}}
"""


def _call(parameters: str, pools: int) -> str:
    """Arguments of a stage's function: its place in the grid, then pointers from the table."""
    pointers = []
    for number, parameter in enumerate(parameters.split(", ")):
        kind = parameter.rsplit(" ", 1)[0].removesuffix(" restrict")
        pointers.append(
            f"({kind})(base[at[{number}] % {pools}] + (size_t)(at[{number}] / {pools}) * {ALIGN})"
        )
    return ", ".join(["g0", "g1", "g2", *pointers])
