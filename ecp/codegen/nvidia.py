"""NVIDIA, fp16: a recognised ViT becomes one launch of one persistent kernel.

:func:`lower_vit` is what the driver calls with an imported graph; it answers with the parts of a bundle, or
with the reason why the graph has to take the general path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ecp.codegen.nvidia_desc import Tuning, VitDesc, tuning_for
from ecp.codegen.nvidia_kernel import Builder
from ecp.codegen.nvidia_match import match_vit
from ecp.codegen.nvidia_pack import PAGE, pack_weights
from ecp.ir.graph import Graph
from ecp.plan import Launch, Mem, MemArgument, Plan, Pool, Port, Program

FILE = "kernels/vit.cl"
FAMILY = "persistent-vit"


@dataclass(frozen=True)
class Parts:
    """Bundle parts: plan entries, sources by file, pool contents, phases in order, arena offsets."""

    plan: Plan
    sources: dict[str, str]
    pools: dict[str, np.ndarray]
    phases: list[str]
    arena: dict[str, int]


def lower_vit(
    graph: Graph, compute_units: int = 132
) -> tuple[Plan, dict[str, str], dict[str, np.ndarray]] | str:
    """(plan, sources, pools) like :func:`ecp.pipeline.launches`, or why the graph is not such a ViT.

    The plan needs compute capability 9.0 and as many free compute units as it has groups (at most
    ``compute_units``; the launch says so as ``resident_groups``): all groups meet at a grid-wide barrier.
    Split products are added by fp32 atomics in order of arrival, so two runs agree to rounding, not to the bit.
    """
    found = match_vit(graph)
    if isinstance(found, str):
        return found
    try:
        tuning = tuning_for(found.desc)
        tuning = replace(tuning, groups=min(tuning.groups, compute_units))
        parts = emit_vit_persistent(found.desc, found.weights, tuning)
    except ValueError as error:
        return str(error)
    x, y = graph.types[found.input], graph.types[found.output]
    parts.plan.inputs = [Port(found.input, list(x.shape), x.dtype, "in0")]
    parts.plan.outputs = [Port(found.output, list(y.shape), y.dtype, "out0")]
    parts.plan.launches[0].nodes = list(dict.fromkeys(s for n in graph.nodes for s in n.sources))
    return parts.plan, parts.sources, parts.pools


def emit_vit_persistent(
    desc: VitDesc, weights: Mapping[str, np.ndarray], tuning: Tuning | None = None
) -> Parts:
    """One program and one launch for a described ViT; ``weights`` as :class:`~ecp.codegen.nvidia_match.VitModel`.

    Kernel arguments: mems ``weights`` (writable: its first page is the grid barrier), ``arena``, ``in0``
    (fp32 [1, C, S, S]) and ``out0`` (fp32 [1, classes]). Raises ValueError where the tuning does not fit.
    """
    tn = tuning or tuning_for(desc)
    pool, at, stride = pack_weights(desc, tn, weights)
    builder = Builder(desc, tn, at, stride)
    source, phases = builder.source()
    sizes = {"in0": desc.channels * desc.image**2 * 4, "out0": desc.classes * 4}
    mems = [("weights", "weights", 0, pool.size), ("arena", "arena", 0, builder.acts["end"])]
    end = builder.acts["end"]
    for name, size in sizes.items():
        mems.append((name, "arena", end, size))
        end += -(-size // PAGE) * PAGE
    launch = Launch(
        program="p0", kernel="vit", args=[MemArgument(n) for n, *_ in mems],
        global_size=[tn.groups * tn.threads], local_size=[tn.threads], family=FAMILY,
        flops=2 * desc.macs, bytes=pool.size + sum(sizes.values()), resident_groups=tn.groups,
    )  # fmt: skip
    plan = Plan(
        inputs=[],
        outputs=[],
        pools=[Pool("weights", pool.size, "weights.bin", "rw"), Pool("arena", end, None, "rw")],
        mems=[Mem(*mem) for mem in mems],
        programs=[Program("p0", FILE, "")],
        launches=[launch],
    )
    return Parts(plan, {FILE: source}, {"weights": pool}, phases, builder.acts)
