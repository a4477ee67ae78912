"""The parts of a bundle from finished launches: the plan, the programs, the contents of the pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ecp import plan as plans
from ecp.codegen.chain import FILE as JOINED_FILE
from ecp.codegen.chain import Joined
from ecp.codegen.core import printer
from ecp.codegen.core.kernel import Launch
from ecp.codegen.pools import Memory
from ecp.codegen.ptx_gpu import whole_halves
from ecp.codegen.reader import Env
from ecp.codegen.runtime_index import STATUS
from ecp.codegen.schedule import Schedule
from ecp.ir.graph import Graph
from ecp.plan import MemArgument, Plan, Port, Program, Status

FILE = "kernels/p0.cl"
OPTIONS = "-cl-std=CL1.2 -cl-mad-enable -cl-no-signed-zeros"
# A processor takes 150 clocks to compute with a denormal; frameworks flush them as well.
CPU_OPTIONS = f"{OPTIONS} -cl-denorms-are-zero"


def bundle_parts(
    env: Env,
    graph: Graph,
    launches: Sequence[Launch],
    memory: Memory,
    schedule: Schedule,
    joined: Joined | None,
) -> tuple[Plan, dict[str, str], dict[str, np.ndarray]]:
    """(plan, sources by file, pool contents); ``joined``: launches that may run as one, besides."""
    functions = list({launch.kernel.name: launch.kernel for launch in launches}.values())
    sources = {FILE: printer.program(functions, whole_halves(functions) if schedule.ptx else "")}
    target = next((launch.target for launch in launches if launch.target), "")
    program = Program("p0", FILE, CPU_OPTIONS if schedule.cpu else OPTIONS, target)
    plan = Plan(
        inputs=[_port(env, memory, n, n) for n in graph.inputs if n in memory.mems],
        outputs=[_port(env, memory, n, _home(env, n)) for n in graph.outputs],
        pools=memory.pools,
        mems=[*memory.mems.values(), *memory.more],
        programs=[program],
        launches=[_launch(memory, launch) for launch in launches],
    )
    if joined is not None:
        sources[JOINED_FILE] = joined.source
        plan.programs.append(replace(program, name="chain", file=JOINED_FILE))
        plan.groups = joined.groups
    if STATUS in memory.mems:
        plan.status = Status(memory.mems[STATUS].name, list(env.checks))
    return plan, sources, memory.contents


def _launch(memory: Memory, launch: Launch) -> plans.Launch:
    return plans.Launch(
        program="p0",
        kernel=launch.kernel.name,
        args=[MemArgument(memory.mems[buffer].name) for buffer in launch.args],
        global_size=list(launch.global_size),
        local_size=list(launch.local_size) if launch.local_size else None,
        family=launch.family,
        nodes=list(launch.nodes),
        flops=int(launch.flops),
        bytes=int(launch.bytes),
        layout=launch.layout,
        reason=launch.reason,
        arithmetic=launch.arithmetic,
        target=launch.target,
    )


def _home(env: Env, output: str) -> str:
    return env.storage[output].buffer if output in env.storage else output


def _port(env: Env, memory: Memory, value: str, buffer: str) -> Port:
    t = env.graph.types[value]
    return Port(value, list(t.shape), t.dtype, memory.mems[buffer].name)
