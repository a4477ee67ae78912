"""Emit every launch of a placed graph and lay out memory: the plan, the sources and the pools of a bundle."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ecp import plan as plans
from ecp.codegen.attention import emit_attention
from ecp.codegen.attention_gpu import emit_attention_gpu
from ecp.codegen.contraction import contraction
from ecp.codegen.conv_cpu import emit_conv
from ecp.codegen.kernel import Launch
from ecp.codegen.map import emit_map
from ecp.codegen.matmul_cpu import emit_matmul
from ecp.codegen.matmul_gpu import emit_matmul_gpu, fits_gpu, in_planes
from ecp.codegen.norm_apart_gpu import norm_apart
from ecp.codegen.plain import emit_plain, needs_plain
from ecp.codegen.ptx_gpu import whole_halves
from ecp.codegen.reader import Env
from ecp.codegen.reduce import emit_reduce
from ecp.codegen.reduce_gpu import emit_reduce_gpu
from ecp.codegen.runtime_index import STATUS
from ecp.codegen.schedule import Schedule
from ecp.ir.graph import Graph, Node
from ecp.ir.mapped import pages
from ecp.passes.memory import ALIGN, Lifetime
from ecp.passes.memory import plan as plan_memory
from ecp.passes.storage import Buffer, Placement
from ecp.plan import Image, Mem, MemArgument, Plan, Pool, Port, Program, Status

# Vector reads of the last row may reach past a buffer; what they fetch is never used.
SLACK = 256
OPTIONS = "-cl-std=CL1.2 -cl-mad-enable -cl-no-signed-zeros"
# A processor takes 150 clocks to compute with a denormal; frameworks flush them as well.
CPU_OPTIONS = f"{OPTIONS} -cl-denorms-are-zero"


def lower(
    canonical: Graph,
    placed: Placement,
    schedule: Schedule,
    precision: str,
    *,
    share_memory: bool = True,
    arithmetic: str = "float",
) -> tuple[Plan, dict[str, str], dict[str, np.ndarray]]:
    """(plan, sources by file, pool contents). ``arithmetic``: what products multiply in, float or half."""
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
    if schedule.ptx == 9 and env.half:
        env = in_planes(env, schedule, graph)
    launches = []
    for node in graph.nodes:
        if node.op == "Fused":
            for launch in emit(env, schedule, node):
                launch.nodes, launch.reason = node.sources, node.attrs["reason"]
                launch.layout = node.attrs["kind"] == "copy"
                launch.bytes = _traffic(env, launch)
                launches.append(launch)
    plan, sources, pools = _bundle_parts(env, graph, launches, share_memory, schedule.cpu)
    if schedule.ptx:
        sources = {name: whole_halves(text) for name, text in sources.items()}
    return plan, sources, pools


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


def _bundle_parts(
    env: Env, graph: Graph, launches: list[Launch], share: bool, cpu: bool
) -> tuple[Plan, dict[str, str], dict[str, np.ndarray]]:
    buffers = env.buffers
    used = {name for launch in launches for name in launch.args}
    ports = {*graph.inputs, *graph.outputs}
    for name in graph.outputs:
        if name in graph.constants and name not in buffers:
            array = graph.constants[name]
            buffers[name] = Buffer(
                name, array.size, array.dtype.name, "static", np.ascontiguousarray(array).reshape(-1)
            )
        ports.add(name)
    keep = {n: b for n, b in buffers.items() if n in used or n in ports}
    offsets, pools, contents = _pools(keep, launches, share)
    short = {name: f"m{i}" for i, name in enumerate(keep)}
    pool_of = {"arena": "arena", "static": "static", "input": "io", "output": "io", "weights": "weights"}
    mems = [
        Mem(
            name=short[n],
            pool=pool_of[b.kind],
            offset=offsets[n],
            bytes=b.nbytes if b.image else b.nbytes + SLACK,
            image=_image(b),
        )
        for n, b in keep.items()
    ]
    source, programs = _programs(launches, CPU_OPTIONS if cpu else OPTIONS)
    plan = Plan(
        inputs=[_port(env, n, short[n]) for n in graph.inputs if n in short],
        outputs=[_port(env, n, short[_home(env, n)]) for n in graph.outputs],
        pools=pools,
        mems=mems,
        programs=programs,
        launches=[_planned(launch, short) for launch in launches],
    )
    if STATUS in short:
        plan.status = Status(short[STATUS], list(env.checks))
    return plan, source, contents


def _planned(launch: Launch, short: Mapping[str, str]) -> plans.Launch:
    """What the plan says of a finished kernel; ``short``: mems by buffer."""
    return plans.Launch(
        program="p0",
        kernel=launch.kernel,
        args=[MemArgument(short[a]) for a in launch.args],
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


def _image(b: Buffer) -> Image | None:
    if b.image is None:
        return None
    return Image(*b.image, "RGBA_F16" if b.dtype == "float16" else "RGBA_F32")


def _home(env: Env, output: str) -> str:
    return env.storage[output].buffer if output in env.storage else output


def _port(env: Env, name: str, mem: str) -> Port:
    t = env.graph.types[name]
    return Port(name, list(t.shape), t.dtype, mem)


def _pools(
    buffers: dict[str, Buffer], launches: list[Launch], share: bool
) -> tuple[dict[str, int], list[Pool], dict[str, np.ndarray]]:
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
    offsets, arena = plan_memory(lifetimes, share=share)
    pools = [Pool("arena", arena, None, "rw")]
    contents: dict[str, np.ndarray] = {}
    groups = {"weights": ("weights",), "static": ("static",), "io": ("input", "output")}
    for pool, kinds in groups.items():
        at = 0
        members = [(n, b) for n, b in buffers.items() if b.kind in kinds]
        for name, b in members:
            offsets[name] = at
            at += -(-(b.nbytes + SLACK) // ALIGN) * ALIGN
        file = f"{pool}.bin" if pool != "io" and at else None
        if file:
            data = pages(at)
            for name, b in members:
                init = b.make() if b.make is not None else b.init
                assert init is not None
                # Assigning through a view converts to the storage precision without a copy of the whole.
                data[offsets[name] : offsets[name] + b.elements * np.dtype(b.dtype).itemsize].view(b.dtype)[
                    :
                ] = init.reshape(-1)
                b.init = b.make = None
            contents[pool] = data
        pools.append(Pool(pool, at, file, "ro" if pool == "weights" else "rw"))
    return offsets, pools, contents


def _programs(launches: list[Launch], options: str) -> tuple[dict[str, str], list[Program]]:
    """One program: helpers first, then each distinct kernel once."""
    helpers: dict[str, None] = {}
    kernels: dict[str, str] = {}
    for launch in launches:
        head, body = launch.source.split("\f", 1)
        for text in head.split("\v"):
            if text:
                helpers[text] = None
        kernels[launch.kernel] = body
    text = "".join(helpers) + "\n" + "\n".join(kernels.values())
    target = next((launch.target for launch in launches if launch.target), "")
    return {"kernels/p0.cl": text}, [Program("p0", "kernels/p0.cl", options, target)]
