"""All launches of an NVIDIA plan as one: the work-groups of one full device walk through them together.

A launch costs the device 5 us and the host 7 (H200), a barrier between all work-groups of the device 1. Here one
work-group a multiprocessor stays: it takes every ``groups``-th work-group of the present launch, and meets the others
before the next. Launches of small work-groups run as teams side by side, each with its own hardware barrier and local
memory. A launch is the kernel's own statements as a function, once per distinct kernel; so both ways of running a
plan give the same bits, and the single launches stay for the profiler.

Every work-group must be resident, or those that are wait forever: the compiler's registers always fit ``WIDTH``
work-items, local memory is counted here, and nothing else may hold the device's multiprocessors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from ecp import plan as plans
from ecp.codegen.chain import STATE, Joined, joined_launch
from ecp.codegen.core import printer
from ecp.codegen.core.kernel import Launch
from ecp.codegen.core.statements import Function, GridWait, Id, LocalArray, WorkItem, walk
from ecp.codegen.pools import Memory
from ecp.codegen.ptx_gpu import whole_halves
from ecp.plan import Group

# Local memory of a multiprocessor that one work-group may take (compute capability 9.0).
LOCAL_BYTES = 226 << 10
# Pointers that a kernel may be given (4352 bytes of parameters).
MOST_ARGUMENTS = 500
# Work-items of a group: 255 registers each. With 512 (128 registers) only models of large launches were faster.
WIDTH = 256
# Operations a launch, on average, from which launches on their own are faster (see ecp/PERFORMANCE.md).
MOST_WORK = 64_000_000
# Bytes of what local arrays are made of.
_BYTES = {"float": 4, "float4": 16}
_HEAD = """#define ECP_TEAM(id, n) asm volatile("bar.sync %0," #n ";" :: "r"(id) : "memory")
void ecp_all(volatile __global uint* state, uint target, int id) {
  barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
  if (id == 0) {
    uint v;
    asm volatile("red.release.gpu.global.add.u32 [%0],1;" :: "l"(state) : "memory");
    do { asm volatile("ld.acquire.gpu.global.u32 %0,[%1];" : "=r"(v) : "l"(state) : "memory"); } while (v < target);
  }
  barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
}
"""
# The two halves of ``ecp_all``, of which a kernel may put the second after what it can do before the others arrive.
_HALVES = """void ecp_done(volatile __global uint* state, int id) {
  barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
  if (id == 0) asm volatile("red.release.gpu.global.add.u32 [%0],1;" :: "l"(state) : "memory");
}
void ecp_wait(volatile __global uint* state, uint target, int id) {
  uint v;
  if (id == 0)
    do { asm volatile("ld.acquire.gpu.global.u32 %0,[%1];" : "=r"(v) : "l"(state) : "memory"); } while (v < target);
}
"""

# Before every launch of a group: how many arrivals it must see. The work-item's number is fresh, so that what
# follows from it is kept in registers by no other launch.
MEET_LATE = """
    int id = me;
    asm volatile("" : "+r"(id));
    const uint target = (uint)s*{groups}u;"""


class _Unfit(Exception):
    """Launches that no chain can stand for."""


@dataclass(frozen=True)
class _Stage(printer.Dialect):
    """A function of its place in the grid, for a team of ``items`` (0: any work-item) of a group of ``width``.

    Local arrays are pieces, at ``offsets`` of 16 bytes, of the team's local memory. ``late``: the launch waits itself
    for the one before it.
    """

    items: int
    width: int
    late: bool
    offsets: dict[str, int]

    def number(self, item: WorkItem) -> str:
        """A parameter of the function, or what follows from them."""
        if item.id is Id.LOCAL:
            if item.axis:
                raise _Unfit
            return "ecp_item"
        if item == WorkItem(Id.GLOBAL, 0) and self.items:
            return f"(ecp_g0*{self.items} + ecp_item)"
        return f"ecp_g{item.axis}"

    def local(self, arrays: LocalArray) -> list[str]:
        """Pointers into the team's local memory."""
        t = f"__local {arrays.ctype}*"
        return [f"{t} {name} = ({t})(ecp_local + {self.offsets[name]});" for name, _ in arrays.arrays]

    def barrier(self) -> str:
        """The team's own."""
        return f"ECP_TEAM(ecp_bar, {self.items or self.width});"

    def grid_wait(self, wait: GridWait) -> str:
        """Until all work-groups are done with the launch before."""
        if not self.late:
            return super().grid_wait(wait)
        meet = f"ecp_wait(ecp_state, ecp_target, ecp_item); ECP_TEAM(ecp_bar, {self.items});"
        return f"{meet} {wait.then}".rstrip()


def _local_memory(function: Function) -> tuple[dict[str, int], int]:
    """(offsets of the local arrays in units of 16 bytes, bytes of all)."""
    offsets, size = {}, 0
    for statement in walk(function.body):
        if isinstance(statement, LocalArray):
            if statement.ctype not in _BYTES:
                raise _Unfit
            for name, count in statement.arrays:
                offsets[name] = size // 16
                size += -(-count * _BYTES[statement.ctype] // 128) * 128
    return offsets, size


def chain_gpu(launches: Sequence[Launch], memory: Memory, groups: int) -> Joined | None:
    """Launches that stand for all others, with their counters in ``memory``; None where there can be none.

    Launches of much work are not chained: registers for all kernels at once cost more than launches do. But products
    by ``wgmma`` that follow each other, with the normalisations between them, need the same registers: each such run
    of launches becomes a group. ``groups``: multiprocessors of the device.
    """
    if len(launches) < 2:
        return None
    work = sum(launch.flops for launch in launches)
    try:
        if work <= MOST_WORK * len(launches):
            maker = _Chain(launches, memory, groups, WIDTH)
            text = _text(launches, maker.functions, {"chain": maker.kernel("chain")})
            joined = Joined(text, [Group(0, len(launches), maker.launch("chain"))])
        else:
            found = _grouped(launches, memory, groups)
            if found is None:
                return None
            joined = found
    except _Unfit:
        return None
    memory.reserve(STATE, 4)
    return joined


def _runs(launches: Sequence[Launch]) -> list[range]:
    """Two or more launches that follow each other: products by ``wgmma``, normalisations, launches of little work.

    Attention stays apart: beside the products it spilt registers, and all of the model as one launch was not faster.
    """
    found, first = [], 0
    if not any(launch.target for launch in launches):
        return []
    for i, launch in enumerate([*launches, None]):
        light = launch and (launch.target or launch.family == "reduce" or launch.flops < MOST_WORK)
        if launch and light and launch.family != "attention":
            continue
        if i - first > 1:
            found.append(range(first, i))
        first = i + 1
    return found


def _grouped(launches: Sequence[Launch], memory: Memory, groups: int) -> Joined | None:
    """Launches that stand for the runs. Runs that differ in their buffers alone share a kernel."""
    functions: dict[str, str] = {}
    kernels: dict[str, str] = {}
    made: list[Group] = []
    for run in _runs(launches):
        own = launches[run.start : run.stop]
        width = max(prod(launch.local_size or [WIDTH]) for launch in own)
        maker = _Chain(own, memory, groups, width, late=True)
        name = f"stretch_{hashlib.sha256(maker.kernel('stretch').encode()).hexdigest()[:10]}"
        kernels[name] = maker.kernel(name)
        functions |= maker.functions
        launch = replace(maker.launch(name), resident_groups=groups)
        made.append(Group(run.start, len(run), launch))
    return Joined(_text(launches, functions, kernels, _HALVES), made) if made else None


def _text(
    launches: Sequence[Launch], functions: dict[str, str], kernels: dict[str, str], more: str = ""
) -> str:
    """The program of ``kernels``."""
    all_ = list({launch.kernel.name: launch.kernel for launch in launches}.values())
    if any(p.image for function in all_ for p in function.parameters):
        raise _Unfit
    rest = whole_halves(all_) + printer.definitions(all_) + "\n" * len(all_)
    return f"{rest}\n{_HEAD}{more}\n{''.join(functions.values())}\n{''.join(kernels.values())}"


class _Chain:
    """Text of a chain; ``places``: a mem's name by its place (mems of one place share a buffer)."""

    def __init__(
        self, launches: Sequence[Launch], memory: Memory, groups: int, width: int, late: bool = False
    ):
        self.launches, self.memory, self.groups, self.width = launches, memory, groups, width
        self.late = late  # every launch waits for the one before it itself, not all work-groups between them
        self.kernels = {launch.kernel.name: launch.kernel for launch in launches}
        self.items = {launch.kernel.name: prod(launch.local_size or [0]) for launch in launches}
        if max(self.items.values()) > width:
            raise _Unfit
        self.places: dict[tuple[str, int], str] = {}
        self.sizes = {name: _local_memory(kernel)[1] for name, kernel in self.kernels.items()}
        self.local = max(size * self._teams(name) for name, size in self.sizes.items())
        self.used = list(self.items)
        self.functions = {name: self._function(name) for name in self.used}
        self.stages = "\n".join(self._stage(i) for i in range(len(self.launches)))
        if len(self.places) > MOST_ARGUMENTS or self.local > LOCAL_BYTES:
            raise _Unfit

    def launch(self, kernel: str) -> plans.Launch:
        """What the plan says of the chain."""
        args, items = [STATE, *self.places.values()], self.groups * self.width
        return joined_launch(kernel, args, self.launches, items, self.width)

    def kernel(self, name: str) -> str:
        """The kernel that walks through the launches."""
        most = max(len(launch.args) for launch in self.launches)
        kinds = "\n".join(self._kind(number, used) for number, used in enumerate(self.used))
        bases = ", ".join(f"__global char* b{i}" for i in range(len(self.places)))
        last = len(self.launches) - 1
        fresh, meet = ("me", MEET_LATE) if self.late else ("id", "")
        end = "ecp_done(state, id);" if self.late else f"ecp_all(state, (uint)(s + 1)*{self.groups}u, id);"
        return f"""__kernel __attribute__((reqd_work_group_size({self.width},1,1)))
void {name}(__global uint* state, {bases})
{{
  __local float4 shared[{max(1, self.local // 16)}] __attribute__((aligned(128)));
  const int {fresh} = get_local_id(0), group = get_group_id(0);
  for (int s = 0; s <= {last}; ++s) {{{meet.format(groups=self.groups)}
    __global char {", ".join(f"*p{i} = 0" for i in range(most))};
    int kind = 0, total = 0, n0 = 1, n1 = 1;
    switch (s) {{
{self.stages}
    }}
    switch (kind) {{
{kinds}
    }}
    if (s < {last}) {end}
  }}
  /* The last group out puts the counters back. */
  barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
  if ({fresh} == 0) {{
    uint old;
    asm volatile("atom.acq_rel.gpu.global.add.u32 %0,[%1],1;" : "=r"(old) : "l"(state + 32) : "memory");
    if (old == {self.groups - 1}) {{ state[0] = 0; state[32] = 0; }}
  }}
}}
"""

    def _stage(self, index: int) -> str:
        launch = self.launches[index]
        counts = [*launch.global_size, 1, 1][:3]
        local = [*(launch.local_size or [1]), 1, 1][:3]
        counts = [-(-n // w) for n, w in zip(counts, local)]
        pointers = []
        for i, buffer in enumerate(launch.args):
            mem = self.memory.mems[buffer]
            place = (mem.pool, mem.offset)
            self.places.setdefault(place, mem.name)
            pointers.append(f"p{i} = b{list(self.places).index(place)};")
        kind = self.used.index(launch.kernel.name)
        return (
            f"      case {index}: kind = {kind}; total = {prod(counts)}; n0 = {counts[0]};"
            f" n1 = {counts[1]}; {' '.join(pointers)} break;"
        )

    def _function(self, name: str) -> str:
        """The kernel as a function of its place in the grid."""
        kernel, items = self.kernels[name], self.items[name]
        if items % 32:
            raise _Unfit
        stage = _Stage(items, self.width, self.late, _local_memory(kernel)[0])
        own = "const int ecp_item, const int ecp_bar, __local float4* ecp_local"
        if self.late:
            own += ", volatile __global uint* ecp_state, const uint ecp_target"
        grid = "const int ecp_g0, const int ecp_g1, const int ecp_g2"
        body = printer.body(kernel.body, stage)
        return f"void {name}({own}, {grid}, {printer.parameters(kernel)})\n{{\n{body}\n}}\n"

    def _teams(self, name: str) -> int:
        """Teams of one group that work on this kernel side by side: 15 hardware barriers, local memory."""
        teams = min(self.width // (self.items[name] or 1), 15)
        return max(1, min(teams, LOCAL_BYTES // max(1, self.sizes[name])))

    def _kind(self, number: int, name: str) -> str:
        """One kernel's work-groups, or its work-items where it has no groups."""
        kernel, items = self.kernels[name], self.items[name]
        pointers = ", ".join(f"({printer.pointer(p)})p{i}" for i, p in enumerate(kernel.parameters))
        place = "const int rest = item/n0, g0 = item - rest*n0, g2 = rest/n1, g1 = rest - g2*n1;"
        state = ", state, target" if self.late else ""
        meet = "" if not self.late else "ecp_wait(state, target, id); barrier(CLK_LOCAL_MEM_FENCE);"
        if not items:
            return f"""      case {number}: {meet}
        for (int item = group*{self.width} + id; item < total; item += {self.groups * self.width}) {{
          {place}
          {name}(0, 0, shared{state}, g0, g1, g2, {pointers});
        }}
        break;"""
        teams, stride = self._teams(name), self.sizes[name] // 16
        waits = any(isinstance(statement, GridWait) for statement in walk(kernel.body))
        if self.late and waits:  # itself, if it has work
            meet = "if (group >= total) ecp_wait(state, target, id);"
        return f"""      case {number}: {{ {meet}
        const int team = id/{items};
        if (team < {teams})
          for (int item = group + team*{self.groups}; item < total; item += {self.groups * teams}) {{
            {place}
            {name}(id - team*{items}, 1 + team, shared + team*{stride}{state}, g0, g1, g2, {pointers});
            ECP_TEAM(1 + team, {items});
          }}
        break;
      }}"""
