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
import re
from math import prod
from typing import Any

import numpy as np

from ecp.codegen.chain import STATE, _add_state

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


class _Unfit(Exception):
    """A plan that no chain can stand for."""


def chain_gpu(
    plan: dict[str, Any], sources: dict[str, str], pools: dict[str, np.ndarray], groups: int
) -> tuple[dict[str, Any], dict[str, str], dict[str, np.ndarray]]:
    """Plan, sources and pools with ``plan["chain"]``, a launch that stands for all others; as given where none can.

    Launches of much work are not chained: registers for all kernels at once cost more than launches do. ``groups``:
    multiprocessors of the device.
    """
    (program,) = plan["programs"]
    launches, source = plan["launches"], sources[program["file"]]
    work = sum(launch["flops"] for launch in launches)
    if len(launches) < 2 or work > MOST_WORK * len(launches):
        return plan, sources, pools
    try:
        maker = _Chain(plan, source, groups)
        text = maker.text()
    except _Unfit:
        return plan, sources, pools
    plan = copy.deepcopy(plan)
    state = _add_state(plan, 4)
    zeros = np.zeros(state["bytes"], np.uint8)
    pools = {**pools, "static": np.concatenate([pools["static"], zeros]) if "static" in pools else zeros}
    plan["mems"].append(state)
    plan["programs"].append({"name": "chain", "file": FILE, "options": program["options"]})
    plan["chain"] = {
        "program": "chain",
        "kernel": "chain",
        "args": [{"mem": STATE}, *({"mem": name} for name in maker.places.values())],
        "global": [groups * maker.width],
        "local": [maker.width],
        "family": "chain",
        "nodes": [],
        "flops": sum(launch["flops"] for launch in launches),
        "bytes": sum(launch["bytes"] for launch in launches),
        "layout": False,
        "reason": "",
    }
    return plan, {**sources, FILE: text}, pools


class _Chain:
    """Text of a chain; ``places``: a mem's name by its place (mems of one place share a buffer)."""

    def __init__(self, plan: dict[str, Any], source: str, groups: int):
        self.launches, self.source, self.groups = plan["launches"], source, groups
        self.mems = {mem["name"]: mem for mem in plan["mems"]}
        self.kernels = {m[2]: m for m in _KERNEL.finditer(source)}
        self.items = {launch["kernel"]: prod(launch["local"] or [0]) for launch in self.launches}
        self.width = max(WIDTH, *self.items.values())
        if self.width > WIDTH:
            raise _Unfit
        self.places: dict[tuple[str, int], str] = {}
        self.local = 0
        self.sizes: dict[str, int] = {}  # local bytes of a team

    def text(self) -> str:
        """The program."""
        used = list(dict.fromkeys(launch["kernel"] for launch in self.launches))
        functions = {name: self._function(name) for name in used}
        rest = _KERNEL.sub("", self.source)
        stages = "\n".join(self._stage(i, used) for i in range(len(self.launches)))
        most = max(len(launch["args"]) for launch in self.launches)
        if len(self.places) > MOST_ARGUMENTS or self.local > LOCAL_BYTES or "image2d" in self.source:
            raise _Unfit
        kinds = "\n".join(self._kind(number, name) for number, name in enumerate(used))
        bases = ", ".join(f"__global char* b{i}" for i in range(len(self.places)))
        last = len(self.launches) - 1
        return f"""{rest}
{_HEAD}
{"".join(functions.values())}
__kernel __attribute__((reqd_work_group_size({self.width},1,1)))
void chain(__global uint* state, {bases})
{{
  __local float4 shared[{max(1, self.local // 16)}] __attribute__((aligned(128)));
  const int id = get_local_id(0), group = get_group_id(0);
  for (int s = 0; s <= {last}; ++s) {{
    __global char {", ".join(f"*p{i} = 0" for i in range(most))};
    int kind = 0, total = 0, n0 = 1, n1 = 1;
    switch (s) {{
{stages}
    }}
    switch (kind) {{
{kinds}
    }}
    if (s < {last}) ecp_all(state, (uint)(s + 1)*{self.groups}u, id);
  }}
  /* The last group out puts the counters back. */
  barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
  if (id == 0) {{
    uint old;
    asm volatile("atom.acq_rel.gpu.global.add.u32 %0,[%1],1;" : "=r"(old) : "l"(state + 32) : "memory");
    if (old == {self.groups - 1}) {{ state[0] = 0; state[32] = 0; }}
  }}
}}
"""

    def _stage(self, index: int, used: list[str]) -> str:
        launch = self.launches[index]
        counts = [*launch["global"], 1, 1][:3]
        local = [*(launch["local"] or [1]), 1, 1][:3]
        counts = [-(-n // w) for n, w in zip(counts, local)]
        pointers = []
        for i, argument in enumerate(launch["args"]):
            mem = self.mems[argument["mem"]]
            place = (mem["pool"], mem["offset"])
            self.places.setdefault(place, argument["mem"])
            pointers.append(f"p{i} = b{list(self.places).index(place)};")
        return (
            f"      case {index}: kind = {used.index(launch['kernel'])}; total = {prod(counts)}; n0 = {counts[0]};"
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
        if re.search(r"get_\w+\(|barrier\(|__local \w+ \w+\[", body) or items % 32:
            raise _Unfit
        self.sizes[name] = size
        self.local = max(self.local, size * self._teams(name))
        own = "const int ecp_item, const int ecp_bar, __local float4* ecp_local"
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
        if not items:
            return f"""      case {number}:
        for (int item = group*{self.width} + id; item < total; item += {self.groups * self.width}) {{
          {place}
          {name}(0, 0, shared, g0, g1, g2, {pointers});
        }}
        break;"""
        teams, stride = self._teams(name), self.sizes[name] // 16
        return f"""      case {number}: {{
        const int team = id/{items};
        if (team < {teams})
          for (int item = group + team*{self.groups}; item < total; item += {self.groups * teams}) {{
            {place}
            {name}(id - team*{items}, 1 + team, shared + team*{stride}, g0, g1, g2, {pointers});
            ECP_TEAM(1 + team, {items});
          }}
        break;
      }}"""
