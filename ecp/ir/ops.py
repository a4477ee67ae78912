"""The op table: every operator of the IR, its classes, shape rule and meaning.

IR names are ONNX names; attributes are normalised and static (axes never negative, tuples of int, full
rank). The whole table in readable form is docs/ir-operators.md.

What the importer never leaves in a graph, and what it becomes: Flatten, Squeeze, Unsqueeze -> Reshape;
Gemm -> MatMul, Mul, Add; Tile -> Reshape, Expand, Reshape; DepthToSpace, SpaceToDepth -> Reshape, Transpose,
Reshape; ConvTranspose -> MatMul or zero-stuffed Conv; Resize -> Gather (nearest) or MatMul by a constant
(linear, cubic) per axis; BatchNormalization -> Mul, Add; Instance- and GroupNormalization ->
LayerNormalization, Mul, Add; LRN -> AveragePool and element-wise; LogSoftmax, ReduceL1, ReduceL2, ... ->
reductions and element-wise; Global pooling -> Reduce; Einsum -> Transpose, Reshape, MatMul; variadic
Min, Max, Sum, Mean -> binary chains; GatherND, GatherElements by constants -> Reshape, Gather; ScatterND,
ScatterElements by constants -> Concat, Gather.
"""

from __future__ import annotations

from ecp.ir import op_compute, op_elementwise, op_fused, op_layout
from ecp.ir.opinfo import KEY, TRANSFORMATIVE, OpInfo

OPS: dict[str, OpInfo] = {
    o.name: o for o in (*op_compute.TABLE, *op_layout.TABLE, *op_elementwise.TABLE, *op_fused.TABLE)
}


def info(op: str) -> OpInfo:
    """The row of an operator; KeyError with the name where there is none."""
    return OPS[op]


def is_key(op: str) -> bool:
    """True for operators that compute values."""
    return OPS[op].klass == KEY


def is_transformative(op: str) -> bool:
    """True for operators that only move values."""
    return OPS[op].klass == TRANSFORMATIVE


def markdown() -> str:
    """The table as Markdown."""
    lines = [
        "| operator | class | fusion | layout-bound | output layout free | inputs | attributes | notes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for o in OPS.values():
        low, high = o.arity
        inputs = str(low) if low == high else f"{low}..{'n' if high > 16 else high}"
        flags = ["yes" if f else "no" for f in (o.input_layout_dependent, o.output_layout_free)]
        cells = [o.name, o.klass, o.fusion, *flags, inputs, ", ".join(o.attrs) or "-", o.doc]
        cells = [c.replace("|", "\\|") for c in cells]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page ``docs/ir-operators.md``."""
    head = "# Operators of the IR\n\nThe table in `ecp/ir/ops.py` is the source; a test compares this page with it.\n\n"
    return head + (__doc__ or "").partition("\n\n")[2] + "\n" + markdown()
