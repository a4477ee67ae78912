"""All launches of an NVIDIA plan as one: the work-groups of one full device walk through them together.

A launch costs the device 5 us and the host 7 (H200), a barrier between all work-groups of the device 1. Here one
work-group a multiprocessor stays: it takes every ``groups``-th work-group of the present launch, and meets the others
before the next. Launches of small work-groups run as teams side by side, each with its own hardware barrier and local
memory. Code of a launch is the kernel's own body as a function, once per distinct kernel; so both ways of running a
plan give the same bits, and the single launches stay for the profiler.

Every work-group must be resident, or those that are wait forever: the compiler's registers always fit ``WIDTH``
work-items, local memory is counted here, and nothing else may hold the device's multiprocessors.
"""

from __future__ import annotations

import copy
import hashlib
import re
from dataclasses import replace
from math import prod

import numpy as np

from ecp.codegen.chain import STATE, _add_state
from ecp.codegen.wgmma_gpu import FENCE, MEET
from ecp.plan import Group, Launch, MemArgument, Plan

FILE = "kernels/chain.cl"
# Local memory of a multiprocessor that one work-group may take (compute capability 9.0).
LOCAL_BYTES = 226 << 10
# Pointers that a kernel may be given (4352 bytes of parameters).
MOST_ARGUMENTS = 500
# Work-items of a group: 255 registers each. With 512 (128 registers) only models of large launches were faster.
WIDTH = 256
# Operations a launch, on average, from which launches on their own are faster (see ecp/PERFORMANCE.md).
MOST_WORK = 64_000_000
_KERNEL = re.compile(r"__kernel ([^\n]*)\nvoid (\w+)\(([^\n]*)\)\n\{\n(.*?)\n\}\n", re.DOTALL)
_LOCAL = re.compile(
    r"^( *)__local (float4?) ((?:\w+\[\d+\](?:, )?)+)(?: __attribute__\(\(aligned\(128\)\)\))?;$", re.M
)
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
    """A plan that no chain can stand for."""


def chain_gpu(
    plan: Plan, sources: dict[str, str], pools: dict[str, np.ndarray], groups: int
) -> tuple[Plan, dict[str, str], dict[str, np.ndarray]]:
    """Plan, sources and pools with a group that stands for all launches; as given where none can.

    Launches of much work are not chained: registers for all kernels at once cost more than launches do. But products
    by ``wgmma`` that follow each other, with the normalisations between them, need the same registers: each such run
    of launches becomes a group. ``groups``: multiprocessors of the device.
    """
    (program,) = plan.programs
    launches, source = plan.launches, sources[program.file]
    if len(launches) < 2:
        return plan, sources, pools
    work = sum(launch.flops for launch in launches)
    try:
        if work <= MOST_WORK * len(launches):
            maker = _Chain(plan, launches, source, groups, WIDTH)
            whole = maker.launch("chain", launches)
            text = maker.text({"chain": maker.kernel("chain")})
            return _with(plan, sources, pools, text, [Group(0, len(launches), whole)])
        runs = _runs(launches)
        if runs:
            return _with(plan, sources, pools, *_grouped(plan, source, groups, runs))
    except _Unfit:
        pass
    return plan, sources, pools


def _with(
    plan: Plan,
    sources: dict[str, str],
    pools: dict[str, np.ndarray],
    text: str,
    grouped: list[Group],
) -> tuple[Plan, dict[str, str], dict[str, np.ndarray]]:
    """The parts of a bundle with the program ``text``, its counters in memory, and the groups it computes."""
    plan = copy.deepcopy(plan)
    state = _add_state(plan, 4)
    zeros = np.zeros(state.bytes, np.uint8)
    pools = {**pools, "static": np.concatenate([pools["static"], zeros]) if "static" in pools else zeros}
    plan.mems.append(state)
    plan.programs.append(replace(plan.programs[0], name="chain", file=FILE))
    plan.groups = grouped
    return plan, {**sources, FILE: text}, pools


def _runs(launches: list[Launch]) -> list[range]:
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


def _grouped(plan: Plan, source: str, groups: int, runs: list[range]) -> tuple[str, list[Group]]:
    """(program, groups of the runs). Runs that differ in their buffers alone share a kernel."""
    functions: dict[str, str] = {}
    kernels: dict[str, str] = {}
    made = []
    for run in runs:
        launches = plan.launches[run.start : run.stop]
        width = max(prod(launch.local_size or [WIDTH]) for launch in launches)
        maker = _Chain(plan, launches, source, groups, width, late=True)
        name = f"stretch_{hashlib.sha256(maker.kernel('stretch').encode()).hexdigest()[:10]}"
        kernels[name] = maker.kernel(name)
        functions |= maker.functions
        launch = replace(maker.launch(name, launches), resident_groups=groups)
        made.append(Group(run.start, len(run), launch))
    maker.functions = functions
    return maker.text(kernels), made


class _Chain:
    """Text of a chain; ``places``: a mem's name by its place (mems of one place share a buffer)."""

    def __init__(
        self,
        plan: Plan,
        launches: list[Launch],
        source: str,
        groups: int,
        width: int,
        late: bool = False,
    ):
        self.launches, self.source, self.groups, self.width = launches, source, groups, width
        self.late = late  # every launch waits for the one before it itself, not all work-groups between them
        self.mems = {mem.name: mem for mem in plan.mems}
        self.kernels = {m[2]: m for m in _KERNEL.finditer(source)}
        self.items = {launch.kernel: prod(launch.local_size or [0]) for launch in self.launches}
        if max(self.items.values()) > width:
            raise _Unfit
        self.places: dict[tuple[str, int], str] = {}
        self.local = 0
        self.sizes: dict[str, int] = {}  # local bytes of a team
        self.used = list(self.items)
        self.functions = {name: self._function(name) for name in self.used}
        self.stages = "\n".join(self._stage(i, self.used) for i in range(len(self.launches)))
        if len(self.places) > MOST_ARGUMENTS or self.local > LOCAL_BYTES or "image2d" in source:
            raise _Unfit

    def launch(self, kernel: str, launches: list[Launch]) -> Launch:
        """What the plan says of the chain."""
        return Launch(
            program="chain",
            kernel=kernel,
            args=[MemArgument(STATE), *(MemArgument(name) for name in self.places.values())],
            global_size=[self.groups * self.width],
            local_size=[self.width],
            family="chain",
            flops=sum(launch.flops for launch in launches),
            bytes=sum(launch.bytes for launch in launches),
        )

    def text(self, kernels: dict[str, str]) -> str:
        """The program of ``kernels``."""
        rest = _KERNEL.sub("", self.source)
        head = f"{_HEAD}{_HALVES}" if self.late else _HEAD
        return f"{rest}\n{head}\n{''.join(self.functions.values())}\n{''.join(kernels.values())}"

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

    def _stage(self, index: int, used: list[str]) -> str:
        launch = self.launches[index]
        counts = [*launch.global_size, 1, 1][:3]
        local = [*(launch.local_size or [1]), 1, 1][:3]
        counts = [-(-n // w) for n, w in zip(counts, local)]
        pointers = []
        for i, argument in enumerate(launch.args):
            assert isinstance(argument, MemArgument)
            mem = self.mems[argument.mem]
            place = (mem.pool, mem.offset)
            self.places.setdefault(place, argument.mem)
            pointers.append(f"p{i} = b{list(self.places).index(place)};")
        return (
            f"      case {index}: kind = {used.index(launch.kernel)}; total = {prod(counts)}; n0 = {counts[0]};"
            f" n1 = {counts[1]}; {' '.join(pointers)} break;"
        )

    def _function(self, name: str) -> str:
        """The kernel as a function of its place in the grid; local arrays are pieces of the team's local memory."""
        if name not in self.kernels:
            raise _Unfit
        _, _, parameters, body = self.kernels[name].groups()
        items, size = self.items[name], 0

        def carve(m: re.Match[str]) -> str:
            nonlocal size
            lines = []
            for array, count in re.findall(r"(\w+)\[(\d+)\]", m[3]):
                lines.append(f"{m[1]}__local {m[2]}* {array} = (__local {m[2]}*)(ecp_local + {size // 16});")
                size += -(-int(count) * (16 if m[2] == "float4" else 4) // 128) * 128
            return "\n".join(lines)

        body = _LOCAL.sub(carve, body)
        body = body.replace("barrier(CLK_LOCAL_MEM_FENCE);", f"ECP_TEAM(ecp_bar, {items or self.width});")
        body = body.replace("get_local_id(0)", "ecp_item")
        if items:
            body = body.replace("get_global_id(0)", f"(ecp_g0*{items} + ecp_item)")
        body = re.sub(r"get_(?:group|global)_id\(([012])\)", r"ecp_g\1", body)
        own = "const int ecp_item, const int ecp_bar, __local float4* ecp_local"
        if self.late:
            own += ", volatile __global uint* ecp_state, const uint ecp_target"
            body = body.replace(
                MEET, f"ecp_wait(ecp_state, ecp_target, ecp_item); ECP_TEAM(ecp_bar, {items}); {FENCE}"
            )
        if re.search(r"get_\w+\(|barrier\(|__local \w+ \w+\[", body) or items % 32:
            raise _Unfit
        self.sizes[name] = size
        self.local = max(self.local, size * self._teams(name))
        grid = "const int ecp_g0, const int ecp_g1, const int ecp_g2"
        return f"void {name}({own}, {grid}, {parameters})\n{{\n{body}\n}}\n"

    def _teams(self, name: str) -> int:
        """Teams of one group that work on this kernel side by side: 15 hardware barriers, local memory."""
        teams = min(self.width // (self.items[name] or 1), 15)
        return max(1, min(teams, LOCAL_BYTES // max(1, self.sizes[name])))

    def _kind(self, number: int, name: str) -> str:
        """One kernel's work-groups, or its work-items where it has no groups."""
        parameters, items = self.kernels[name][3], self.items[name]
        kinds = [p.rsplit(" ", 1)[0].removesuffix(" restrict") for p in parameters.split(", ")]
        pointers = ", ".join(f"({kind})p{i}" for i, kind in enumerate(kinds))
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
        if self.late and MEET in self.kernels[name][4]:  # waits itself, if it has work
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
