"""Invariants of launches: every argument is known, what is read was written, and memory in use is not shared."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ecp.codegen.lower import Launches
from ecp.codegen.pools import Memory
from ecp.errors import VerifyError
from ecp.plan import Plan
from ecp.plan_check import check_plan
from ecp.typed_json import FormError


def verify_launches(stage: Launches) -> None:
    """Raise :class:`VerifyError` unless the launches made so far can run one after the other.

    Checked: one kernel for every fused operator; as many arguments as parameters, each a known buffer; buffers of the
    arena are written by a launch before one reads them, and outputs by any; buffers that live at once lie apart.
    """
    fused = [n.name for n in stage.graph.nodes if n.op == "Fused"]
    chosen = [s.node.name for s in stage.selected]
    if fused != chosen:
        lost = sorted(set(fused) ^ set(chosen)) or fused
        raise VerifyError(f"fused operators and selected kernels differ: {', '.join(lost[:5])}")
    if not stage.launches:
        return
    _verify_arguments(stage)
    if stage.memory is not None:
        _verify_memory(stage, stage.memory)


def verify_parts(plan: Plan, sources: Mapping[str, str], pools: Mapping[str, np.ndarray]) -> None:
    """Raise :class:`VerifyError` unless the plan refers to nothing but itself, and its files are there and as long."""
    try:
        check_plan(plan)
    except FormError as error:
        raise VerifyError(f"the plan {error}") from error
    for program in plan.programs:
        if program.file not in sources:
            raise VerifyError(f"program {program.name!r} has no source {program.file!r}")
    for pool in plan.pools:
        if pool.file and pools[pool.name].nbytes != pool.bytes:
            raise VerifyError(f"pool {pool.name!r} is {pools[pool.name].nbytes} bytes, declared {pool.bytes}")


def _verify_arguments(stage: Launches) -> None:
    buffers, written = stage.env.buffers, set[str]()
    for launch in stage.launches:
        name, parameters = launch.kernel.name, launch.kernel.parameters
        if len(launch.args) != len(parameters):
            raise VerifyError(f"{name} is given {len(launch.args)} arguments for {len(parameters)}")
        for buffer, parameter in zip(launch.args, parameters):
            if buffer not in buffers:
                raise VerifyError(f"{name} is given {buffer!r}, which is no buffer")
            if buffers[buffer].kind in ("weights", "input") and parameter.written:
                raise VerifyError(f"{name} writes {buffer!r}, which holds {buffers[buffer].kind}")
            if not parameter.written and buffers[buffer].kind == "arena" and buffer not in written:
                raise VerifyError(f"{name} reads {buffer!r} before a launch writes it")
        written |= {buffer for buffer, p in zip(launch.args, parameters) if p.written}
    for output in stage.graph.outputs:
        home = stage.env.storage[output].buffer if output in stage.env.storage else output
        if home in buffers and buffers[home].kind == "output" and home not in written:
            raise VerifyError(f"no launch writes the output {output!r}")


def _verify_memory(stage: Launches, memory: Memory) -> None:
    alive: dict[str, tuple[int, int]] = {}
    for number, launch in enumerate(stage.launches):
        for buffer in launch.args:
            if buffer not in memory.mems:
                raise VerifyError(f"{launch.kernel.name} is given {buffer!r}, which has no memory")
            alive[buffer] = (alive.get(buffer, (number,))[0], number)
    sizes = {pool.name: pool.bytes for pool in memory.pools}
    placed = sorted(memory.mems.items(), key=lambda item: item[1].offset)
    open_: list[str] = []
    for buffer, mem in placed:
        if mem.offset + mem.bytes > sizes[mem.pool]:
            raise VerifyError(f"{buffer!r} reaches beyond pool {mem.pool!r} of {sizes[mem.pool]} bytes")
        if mem.pool != "arena" or buffer not in alive:
            continue
        open_ = [b for b in open_ if memory.mems[b].offset + memory.mems[b].bytes > mem.offset]
        for other in open_:
            if alive[other][0] <= alive[buffer][1] and alive[buffer][0] <= alive[other][1]:
                raise VerifyError(f"{other!r} and {buffer!r} are alive at once and overlap in the arena")
        open_.append(buffer)
