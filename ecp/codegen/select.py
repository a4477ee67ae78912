"""Which kernels serve a fused operator: the first row of a table that takes it.

A row takes an operator by its kind, its element types and the device's schedule; what its tiles are is the kernel's
own matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ecp.codegen.attention import emit_attention
from ecp.codegen.attention_gpu import emit_attention_gpu
from ecp.codegen.contraction import Contraction, contraction
from ecp.codegen.conv_cpu import emit_conv
from ecp.codegen.core.kernel import Launch
from ecp.codegen.map import emit_map
from ecp.codegen.matmul_cpu import emit_matmul
from ecp.codegen.matmul_gpu import fits_gpu, select_matmul_gpu
from ecp.codegen.plain import emit_plain, needs_plain
from ecp.codegen.reader import Env
from ecp.codegen.reduce import emit_reduce
from ecp.codegen.reduce_gpu import gpu_rows
from ecp.codegen.schedule import Schedule
from ecp.ir.graph import Graph, Node

Emit = Callable[[], list[Launch]]


@dataclass(frozen=True)
class Selected:
    """A fused operator, the name of the kernel that serves it, and what makes its launches."""

    node: Node
    kernel: str
    emit: Emit


def select(env: Env, schedule: Schedule, graph: Graph) -> list[Selected]:
    """The kernels of every fused operator of a placed graph, in its order."""
    return [_selected(env, schedule, node) for node in graph.nodes if node.op == "Fused"]


def _selected(env: Env, s: Schedule, node: Node) -> Selected:
    kind = node.attrs["kind"]
    if kind in ("matmul", "conv"):
        return _contraction(env, s, node, contraction(env, node))
    if kind == "attention":
        attention = emit_attention if s.cpu else emit_attention_gpu
        return Selected(node, "attention", lambda: [attention(env, s, node)])
    if kind == "reduce":
        rows = None if s.cpu else gpu_rows(env, s, node)
        if rows is not None:
            return Selected(node, "reduce, rows by groups of work-items", rows.launches)
        return Selected(node, "reduce", lambda: [emit_reduce(env, s, node)])
    return Selected(node, kind, lambda: [emit_map(env, s, node)])


def _contraction(env: Env, s: Schedule, node: Node, c: Contraction) -> Selected:
    kind = node.attrs["kind"]
    if needs_plain(env, c):
        return Selected(node, "matmul, any type", lambda: [emit_plain(env, s, node, c)])
    if kind == "conv" and s.cpu:
        return Selected(node, "conv", lambda: [emit_conv(env, s, node, c)])
    if s.cpu or not fits_gpu(env, c):
        return Selected(node, "matmul", lambda: [emit_matmul(env, s, node, c)])
    name, emit = select_matmul_gpu(env, s, kind, c)
    return Selected(node, name, lambda: [emit()])
