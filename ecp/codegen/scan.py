"""ArgMax, ArgMin, CumSum and TopK: one work-item per element or row, plain loops (never hot in these models)."""

from __future__ import annotations

from math import prod

from ecp.codegen.core.kernel import Kernel, Launch, global_id
from ecp.codegen.core.statements import Form
from ecp.codegen.reader import Env, Reader, compute_type
from ecp.codegen.schedule import Schedule
from ecp.errors import UnsupportedOperatorError
from ecp.index.expr import Expr, var
from ecp.index.maps import delinearize
from ecp.ir.graph import Node


def emit_scan(env: Env, schedule: Schedule, node: Node, anchor: Node) -> Launch:
    """Code of a launch whose anchor is ArgMax, ArgMin, CumSum or TopK."""
    if len(node.attrs["body"].nodes) > 1 and anchor.op != node.attrs["body"].nodes[-1].op:
        raise UnsupportedOperatorError(
            f"{anchor.op} fused with {node.attrs['body'].nodes[-1].op} has no kernel"
        )
    kernel = Kernel("reduce", schedule.attributes)
    reader = Reader(env, kernel)
    out = anchor.outputs[0]
    shape = env.graph.types[out].shape
    total = prod(shape)
    kernel.declare("const int", item=global_id())
    kernel.do_when(f"item >= {total}", "return;")
    coords = delinearize(var("item", total), shape)
    {"ArgMax": _arg, "ArgMin": _arg, "CumSum": _cumsum, "TopK": _topk}[anchor.op](env, reader, anchor, coords)
    kernel.flops = env.graph.types[anchor.inputs[0]].size
    return kernel.finish((max(1, total),), (1,) if schedule.cpu else None)


def _arg(env: Env, reader: Reader, anchor: Node, coords: list[Expr]) -> None:
    k, source, attrs = reader.kernel, anchor.inputs[0], anchor.attrs
    axis, extent = attrs["axis"], env.graph.types[source].shape[attrs["axis"]]
    keep = coords if attrs["keepdims"] else [*coords[:axis], Expr(), *coords[axis:]]
    better = ">" if anchor.op == "ArgMax" else "<"
    better += "=" if attrs["select_last_index"] else ""
    ctype = compute_type(env.graph.types[source].dtype)
    k.emit(f"long best = 0; {ctype} top = {reader.read(source, [*keep[:axis], Expr(), *keep[axis + 1 :]])};")
    with k.loop("i", extent, first=1):
        x = reader.read(source, [*keep[:axis], var("i", extent), *keep[axis + 1 :]])
        k.do_when(f"{x} {better} top", f"top = {x}; best = i;", form=Form.BRACES)
    reader.store(anchor.output, coords, "best")


def _cumsum(env: Env, reader: Reader, anchor: Node, coords: list[Expr]) -> None:
    k, source, attrs = reader.kernel, anchor.inputs[0], anchor.attrs
    axis, extent = attrs["axis"], env.graph.types[source].shape[attrs["axis"]]
    ctype = compute_type(env.graph.types[source].dtype)
    here = reader.index(coords[axis])
    lo, hi = (here, str(extent)) if attrs["reverse"] else ("0", f"{here} + 1")
    if attrs["exclusive"]:
        lo, hi = (f"{here} + 1", hi) if attrs["reverse"] else (lo, here)
    k.emit(f"{ctype} total = 0;")
    with k.loop("i", hi, first=lo):
        k.emit(f"total += {reader.read(source, [*coords[:axis], var('i', extent), *coords[axis + 1 :]])};")
    reader.store(anchor.output, coords, "total")


def _topk(env: Env, reader: Reader, anchor: Node, coords: list[Expr]) -> None:
    """The element whose rank (larger elements, then earlier equals, come first) is the output's position.

    NaN is larger than any number, as in ONNX Runtime.
    """
    k, source, attrs = reader.kernel, anchor.inputs[0], anchor.attrs
    axis, extent = attrs["axis"], env.graph.types[source].shape[attrs["axis"]]
    better = ">" if attrs["largest"] else "<"
    with k.loop("i", extent):
        x = reader.read(source, [*coords[:axis], var("i", extent), *coords[axis + 1 :]])
        k.emit("int rank = 0;")
        with k.loop("j", extent):
            y = reader.read(source, [*coords[:axis], var("j", extent), *coords[axis + 1 :]])
            first, equal = f"{y} {better} {x}", f"{y} == {x}"
            if compute_type(env.graph.types[source].dtype) in ("float", "double"):
                nans = (f"isnan({y})", f"isnan({x})")
                first += " || ({} && !{})".format(*(nans if attrs["largest"] else nans[::-1]))
                equal = f"({equal} || ({nans[0]} && {nans[1]}))"
            k.emit(f"rank += {first} || ({equal} && j < i);")
        with k.when(f"rank == {reader.index(coords[axis])}"):
            reader.store(anchor.outputs[0], coords, x)
            reader.store(anchor.outputs[1], coords, "i")
