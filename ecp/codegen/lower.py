"""Every launch of a placed graph, the memory they work on, and which of them become one launch."""

from __future__ import annotations

import numpy as np

from ecp.codegen.attention import emit_attention
from ecp.codegen.attention_gpu import emit_attention_gpu
from ecp.codegen.bundle_parts import bundle_parts
from ecp.codegen.chain import Joined, chain
from ecp.codegen.chain_gpu import chain_gpu
from ecp.codegen.contraction import contraction
from ecp.codegen.conv_cpu import emit_conv
from ecp.codegen.core.kernel import Launch
from ecp.codegen.map import emit_map
from ecp.codegen.matmul_cpu import emit_matmul
from ecp.codegen.matmul_gpu import emit_matmul_gpu, fits_gpu, in_planes
from ecp.codegen.norm_apart_gpu import norm_apart
from ecp.codegen.plain import emit_plain, needs_plain
from ecp.codegen.pools import Memory, place_buffers
from ecp.codegen.reader import Env
from ecp.codegen.reduce import emit_reduce
from ecp.codegen.reduce_gpu import emit_reduce_gpu
from ecp.codegen.schedule import Schedule
from ecp.ir.graph import Graph, Node
from ecp.passes.storage import Buffer, Placement
from ecp.plan import Plan


def lower(
    canonical: Graph,
    placed: Placement,
    schedule: Schedule,
    precision: str,
    *,
    share_memory: bool = True,
    arithmetic: str = "float",
    resident_groups: int | None = None,
) -> tuple[Plan, dict[str, str], dict[str, np.ndarray]]:
    """(plan, sources by file, pool contents). ``arithmetic``: what products multiply in, float or half.

    ``resident_groups``: join launches to larger ones where ``schedule`` asks for it, on a GPU that keeps as many
    work-groups at once; None joins none.
    """
    env = _environment(canonical, placed, schedule, precision, arithmetic)
    launches = []
    for node in placed.graph.nodes:
        if node.op == "Fused":
            for launch in emit(env, schedule, node):
                launch.nodes, launch.reason = node.sources, node.attrs["reason"]
                launch.layout = node.attrs["kind"] == "copy"
                launch.bytes = _traffic(env, launch)
                launches.append(launch)
    memory = place_buffers(_kept(env, placed.graph, launches), launches, share_memory)
    joined = _join(launches, memory, schedule, resident_groups)
    return bundle_parts(env, placed.graph, launches, memory, schedule, joined)


def _environment(
    canonical: Graph, placed: Placement, schedule: Schedule, precision: str, arithmetic: str
) -> Env:
    graph = placed.graph
    # Kernels read through views of the canonical graph; copies added by placement are known to it too.
    types = {**canonical.types, **graph.types}
    made = {
        **canonical.producers(),
        **_inner_producers(graph),
        **{o: n for n in graph.nodes if n.op != "Fused" for o in n.outputs},
    }
    whole = Graph(
        canonical.nodes, canonical.inputs, graph.outputs, {**canonical.constants, **graph.constants}, types
    )
    env = Env(whole, made, placed.storage, placed.buffers, precision == "fp16", arithmetic)
    return in_planes(env, schedule, graph) if schedule.ptx == 9 and env.half else env


def _kept(env: Env, graph: Graph, launches: list[Launch]) -> dict[str, Buffer]:
    """The buffers that a launch names or the caller sees; outputs that are constants are among them."""
    for name in graph.outputs:
        if name in graph.constants and name not in env.buffers:
            array = graph.constants[name]
            data = np.ascontiguousarray(array).reshape(-1)
            env.buffers[name] = Buffer(name, array.size, array.dtype.name, "static", data)
    used = {*graph.inputs, *graph.outputs, *(name for launch in launches for name in launch.args)}
    return {name: buffer for name, buffer in env.buffers.items() if name in used}


def _join(
    launches: list[Launch], memory: Memory, schedule: Schedule, resident_groups: int | None
) -> Joined | None:
    if resident_groups is None:
        return None
    if schedule.chain:
        return chain(launches, memory, schedule.workers)
    if schedule.ptx >= 9 and resident_groups:
        return chain_gpu(launches, memory, resident_groups)
    return None


def emit(env: Env, schedule: Schedule, node: Node) -> list[Launch]:
    """The launches of one fused node: one, but for a normalisation on a GPU of long rows or before a large product."""
    if node.attrs["kind"] == "reduce" and not schedule.cpu:
        launches = emit_reduce_gpu(env, schedule, node)
        if launches is not None:
            return launches
    if node.attrs["kind"] == "matmul" and not schedule.cpu:
        apart = norm_apart(env, schedule, node, contraction(env, node))
        if apart is not None:
            stored, norm, product = apart
            return [*emit(stored, schedule, norm), *emit(stored, schedule, product)]
    return [_single(env, schedule, node)]


def _single(env: Env, schedule: Schedule, node: Node) -> Launch:
    kind = node.attrs["kind"]
    if kind in ("matmul", "conv"):
        product = contraction(env, node)
        if needs_plain(env, product):
            return emit_plain(env, schedule, node, product)
        if kind == "conv" and schedule.cpu:
            return emit_conv(env, schedule, node, product)
        emitter = emit_matmul if schedule.cpu or not fits_gpu(env, product) else emit_matmul_gpu
        return emitter(env, schedule, node, product)
    if kind == "attention":
        return (emit_attention if schedule.cpu else emit_attention_gpu)(env, schedule, node)
    if kind == "reduce":
        return emit_reduce(env, schedule, node)
    return emit_map(env, schedule, node)


def _inner_producers(graph: Graph) -> dict[str, Node]:
    return {o: n for f in graph.nodes if f.op == "Fused" for n in f.attrs["body"].nodes for o in n.outputs}


def _traffic(env: Env, launch: Launch) -> int:
    """Bytes a launch must move at least once: every buffer it names."""
    return sum(env.buffers[name].nbytes for name in launch.args)
