"""From a placed graph to launches: kernels selected, written, given memory and joined, one step after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ecp.codegen.bundle_parts import bundle_parts
from ecp.codegen.chain import Joined, chain
from ecp.codegen.chain_gpu import chain_gpu
from ecp.codegen.core.kernel import Launch
from ecp.codegen.matmul_gpu import in_planes
from ecp.codegen.pools import Memory, place_buffers
from ecp.codegen.reader import Env
from ecp.codegen.schedule import Schedule
from ecp.codegen.select import Selected, select
from ecp.codegen.unfuse_norm import unfuse_norms
from ecp.ir.graph import Graph, Node
from ecp.options import CompileOptions
from ecp.passes.storage import Buffer, Placement
from ecp.plan import Plan


@dataclass(frozen=True)
class Launches:
    """In the making: ``selected`` kernels, then ``launches``, then their ``memory``, then which are ``joined``.

    ``env``: what kernels see; ``graph``: of fused operators.
    """

    env: Env
    graph: Graph
    selected: list[Selected]
    launches: list[Launch]
    memory: Memory | None = None
    joined: Joined | None = None


def k_blocked(placed: Placement, options: CompileOptions) -> Placement:
    """Values in the K-blocked layout where only products by ``wgmma`` read them."""
    s = _schedule(options)
    if s.ptx != 9 or options.precision != "fp16":
        return placed
    return replace(placed, storage=dict(in_planes(environment(placed, options), s, placed.graph).storage))


def unfuse_layer_norm(placed: Placement, options: CompileOptions) -> Placement:
    """Normalisations on their own where a large product on a GPU would repeat them."""
    s = _schedule(options)
    return placed if s.cpu else unfuse_norms(placed, environment(placed, options), s)


def select_kernels(placed: Placement, options: CompileOptions) -> Launches:
    """The kernel that serves each fused operator."""
    env = environment(placed, options)
    return Launches(env, placed.graph, select(env, _schedule(options), placed.graph), [])


def write_kernels(stage: Launches, options: CompileOptions) -> Launches:
    """The statements of every selected kernel."""
    env, launches = stage.env, []
    for selected in stage.selected:
        node = selected.node
        for value in node.outputs:
            # What only a launch of this device stores is numbered with its launch, as weights are.
            if env.storage[value].buffer.endswith("@normalised"):
                env.buffers[env.storage[value].buffer] = env.buffers.pop(env.storage[value].buffer)
        for launch in selected.emit():
            launch.nodes, launch.reason = node.sources, node.attrs["reason"]
            launch.layout = node.attrs["kind"] == "copy"
            launch.bytes = sum(env.buffers[name].nbytes for name in launch.args)
            launches.append(launch)
    return replace(stage, launches=launches)


def place_memory(stage: Launches, options: CompileOptions) -> Launches:
    """Every buffer's place in a pool: in the arena by lifetime."""
    buffers = _kept(stage.env, stage.graph, stage.launches)
    return replace(stage, memory=place_buffers(buffers, stage.launches, options.memory_plan))


def join(stage: Launches, options: CompileOptions) -> Launches:
    """Launches joined to larger ones where the schedule asks for it and the device keeps the work-groups resident."""
    s, memory = _schedule(options), stage.memory
    assert memory is not None
    if s.chain:
        return replace(stage, joined=chain(stage.launches, memory, s.workers))
    if s.ptx >= 9 and options.persistent_groups:
        return replace(stage, joined=chain_gpu(stage.launches, memory, options.persistent_groups))
    return stage


def assemble(stage: Launches, options: CompileOptions) -> tuple[Plan, dict[str, str], dict[str, np.ndarray]]:
    """(plan, sources by file, pool contents) of finished launches."""
    assert stage.memory is not None
    return bundle_parts(
        stage.env, stage.graph, stage.launches, stage.memory, _schedule(options), stage.joined
    )


def environment(placed: Placement, options: CompileOptions) -> Env:
    """What kernels of a placed graph see."""
    graph, views = placed.graph, placed.views or placed.graph
    # Kernels read through views of the graph before fusion; copies added by placement are known to it too.
    types = {**views.types, **graph.types}
    made = {
        **views.producers(),
        **_inner_producers(graph),
        **{o: n for n in graph.nodes if n.op != "Fused" for o in n.outputs},
    }
    constants = {**views.constants, **graph.constants}
    whole = Graph(views.nodes, views.inputs, graph.outputs, constants, types)
    half = options.precision == "fp16"
    return Env(whole, made, placed.storage, dict(placed.buffers), half, options.arithmetic)


def _schedule(options: CompileOptions) -> Schedule:
    assert options.schedule is not None
    return options.schedule


def _kept(env: Env, graph: Graph, launches: list[Launch]) -> dict[str, Buffer]:
    """The buffers that a launch names or the caller sees; outputs that are constants are among them."""
    for name in graph.outputs:
        if name in graph.constants and name not in env.buffers:
            array = graph.constants[name]
            data = np.ascontiguousarray(array).reshape(-1)
            env.buffers[name] = Buffer(name, array.size, array.dtype.name, "static", data)
    used = {*graph.inputs, *graph.outputs, *(name for launch in launches for name in launch.args)}
    return {name: buffer for name, buffer in env.buffers.items() if name in used}


def _inner_producers(graph: Graph) -> dict[str, Node]:
    return {o: n for f in graph.nodes if f.op == "Fused" for n in f.attrs["body"].nodes for o in n.outputs}
