"""Products and convolutions on GPUs: which kernel computes one.

``local``: both operands in tiles of local memory (``matmul_local_gpu``); where the device runs PTX, copied there
ahead of time (``matmul_ptx_gpu``) and, where storage is half, multiplied by tensor cores (``matmul_mma_gpu``; large
ones: ``matmul_large_gpu``, and ``matmul_wgmma_gpu`` where A is in planes). Otherwise from images and registers
(``matmul_direct_gpu``). Where half arithmetic is asked for, both without PTX have a form of their own
(``matmul_half_gpu``).
"""

from __future__ import annotations

from collections.abc import Callable

from ecp.codegen.contraction import Contraction, contraction
from ecp.codegen.core.kernel import Launch
from ecp.codegen.map import FLOATS
from ecp.codegen.matmul_direct_gpu import DirectProduct
from ecp.codegen.matmul_half_gpu import HalfDirectProduct, HalfLocalProduct
from ecp.codegen.matmul_large_gpu import LargeProduct, fits_large
from ecp.codegen.matmul_local_gpu import LocalProduct
from ecp.codegen.matmul_mma_gpu import TensorProduct
from ecp.codegen.matmul_ptx_gpu import AsyncProduct
from ecp.codegen.matmul_wgmma_gpu import WarpgroupProduct, fits_wgmma, shaped
from ecp.codegen.planes_gpu import move
from ecp.codegen.product_gpu import Product
from ecp.codegen.reader import Env
from ecp.codegen.schedule import Schedule
from ecp.ir.graph import Graph
from ecp.passes.rewrite import is_view


def fits_gpu(env: Env, c: Contraction) -> bool:
    """True for the float dtypes; integers and doubles take the scalar-friendly CPU kernel."""
    values = [c.a_value, c.anchor.inputs[1], c.value]
    return all(env.graph.types[v].dtype in FLOATS for v in values)


def in_planes(env: Env, s: Schedule, graph: Graph) -> Env:
    """``env`` with values in the layout of ``wgmma`` that only such products read."""
    users: list[tuple[list[str], Contraction | None]] = []
    for node in graph.nodes:
        if node.op == "Fused":
            c = contraction(env, node) if node.attrs["kind"] == "matmul" else None
            reads = c is not None and c.norm is None and shaped(env, s, c)
            users.append(([_stored(env, v) for v in node.inputs], c if reads else None))
    return move(env, users)


def _stored(env: Env, value: str) -> str:
    """The value in memory behind views of it."""
    while (
        value not in env.storage and value in env.made and is_view(env.made[value]) and env.made[value].inputs
    ):
        value = env.made[value].inputs[0]
    return value


# Names of the kernels, for who explains which one was selected.
NAMES: dict[type[Product], str] = {
    HalfLocalProduct: "matmul, half arithmetic, local memory", HalfDirectProduct: "matmul, half arithmetic, images",
    DirectProduct: "matmul, images and registers", LocalProduct: "matmul, local memory",
    WarpgroupProduct: "matmul, wgmma", LargeProduct: "matmul, mma in large tiles",
    TensorProduct: "matmul, mma", AsyncProduct: "matmul, asynchronous copies",
}  # fmt: skip


def select_matmul_gpu(env: Env, s: Schedule, kind: str, c: Contraction) -> tuple[str, Callable[[], Launch]]:
    """(name of the kernel, what makes its launch) for a ``matmul`` or ``conv`` on a GPU."""
    chosen = _chosen(env, s, c)
    return NAMES[chosen], lambda: chosen(env, s, kind, c).emit()  # type: ignore[call-arg,arg-type]


def _chosen(env: Env, s: Schedule, c: Contraction) -> type[Product]:
    if env.arithmetic == "half":
        return HalfLocalProduct if s.local else HalfDirectProduct
    if not s.local:
        return DirectProduct
    if not s.ptx or c.weights is None:
        return LocalProduct
    if fits_wgmma(env, s, c):
        return WarpgroupProduct
    if fits_large(env, s, c):
        return LargeProduct
    return TensorProduct if env.half else AsyncProduct
