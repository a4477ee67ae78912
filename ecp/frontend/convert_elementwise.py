"""Element-wise ONNX operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from ecp.frontend.loading import dtype_name
from ecp.frontend.registry import NodeContext, converter

_UNARY_BY_NAME = [
    "Abs",
    "Neg",
    "Sqrt",
    "Exp",
    "Log",
    "Erf",
    "Tanh",
    "Sigmoid",
    "Relu",
    "HardSwish",
    "Mish",
    "Softplus",
    "Softsign",
    "Sin",
    "Cos",
    "Tan",
    "Asin",
    "Acos",
    "Atan",
    "Sinh",
    "Cosh",
    "Asinh",
    "Acosh",
    "Atanh",
    "Floor",
    "Ceil",
    "Round",
    "Sign",
    "Reciprocal",
    "Not",
    "BitwiseNot",
    "IsNaN",
]
_BINARY_BY_NAME = [
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "And",
    "Or",
    "Xor",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
]
#: ONNX operator -> attributes with their defaults.
_PARAMETRIC: dict[str, dict[str, Any]] = {
    "LeakyRelu": {"alpha": 0.01},
    "Elu": {"alpha": 1.0},
    "Celu": {"alpha": 1.0},
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    "ThresholdedRelu": {"alpha": 1.0},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "Gelu": {"approximate": "none"},
    "Shrink": {"lambd": 0.5, "bias": 0.0},
}


@converter(*_UNARY_BY_NAME)
def unary(c: NodeContext) -> str:
    """Operators without attributes."""
    return c.emit(c.op, c.input(0))


@converter(*_PARAMETRIC)
def parametric(c: NodeContext) -> str:
    """Activations with parameters."""
    return c.emit(c.op, c.input(0), **{k: c.attr(k, d) for k, d in _PARAMETRIC[c.op].items()})


@converter("IsInf")
def is_inf(c: NodeContext) -> str:
    """IsInf."""
    return c.emit(
        "IsInf", c.input(0), positive=c.attr("detect_positive", 1), negative=c.attr("detect_negative", 1)
    )


@converter(*_BINARY_BY_NAME)
def binary(c: NodeContext) -> str:
    """Binary operators with numpy broadcasting."""
    return c.emit(c.op, c.input(0), c.input(1))


@converter("PRelu")
def prelu(c: NodeContext) -> str:
    """PRelu."""
    return c.emit("PRelu", c.input(0), c.input(1))


@converter("Mod")
def mod(c: NodeContext) -> str:
    """Mod."""
    return c.emit("Mod", c.input(0), c.input(1), fmod=c.attr("fmod", 0))


@converter("BitShift")
def bit_shift(c: NodeContext) -> str:
    """BitShift."""
    return c.emit("BitShift", c.input(0), c.input(1), direction=c.attr("direction"))


@converter("Min", "Max", "Sum", "Mean")
def variadic(c: NodeContext) -> str:
    """Any number of inputs: a chain of binary operators."""
    op = {"Sum": "Add", "Mean": "Add"}.get(c.op, c.op)
    total = c.input(0)
    for value in c.inputs[1:]:
        total = c.emit(op, total, value)
    if c.op == "Mean" and len(c.inputs) > 1:
        total = c.emit("Mul", total, c.add_const(1 / len(c.inputs), like=total))
    return total


@converter("Where")
def where(c: NodeContext) -> str:
    """Where."""
    return c.emit("Where", c.input(0), c.input(1), c.input(2))


@converter("Cast", "CastLike")
def cast(c: NodeContext) -> str:
    """Cast; to the dtype that the value already has it is nothing."""
    to = c.type(1).dtype if c.op == "CastLike" else dtype_name(c.attr("to"), f"attribute 'to' of {c.label}")
    return c.input(0) if to == c.type(0).dtype else c.emit("Cast", c.input(0), to=to)


@converter("Clip")
def clip(c: NodeContext) -> str:
    """Clip by constants; run-time bounds become Max and Min."""
    x = c.input(0)
    if c.opset < 11:
        return c.emit("Clip", x, min=c.attr("min"), max=c.attr("max"))
    bounds: dict[str, Any] = {"min": None, "max": None}
    for index, (key, op) in enumerate((("min", "Max"), ("max", "Min")), start=1):
        if not c.has(index):
            continue
        array = c.constant_of(c.input(index))
        if array is None:
            x = c.emit(op, x, c.input(index))
        else:
            bounds[key] = array.reshape(-1)[0].item()
    if bounds["min"] is None and bounds["max"] is None:
        return x
    return c.emit("Clip", x, **bounds)


@converter("Identity", "Dropout")
def identity(c: NodeContext) -> list[str]:
    """Nothing at inference; Dropout's mask is all true."""
    if c.op == "Dropout" and c.has(2) and c.const(2, "training_mode").reshape(-1)[0]:
        ratio = c.const(1, "ratio").reshape(-1)[0] if c.has(1) else 0.5
        if ratio != 0:
            raise c.unsupported("training mode is random")
    out = [c.input(0)]
    if len(c.node.output) > 1:
        dtype = np.bool_ if c.opset >= 10 else c.type(0).dtype
        out.append(c.add_const(np.ones(c.shape(0), dtype)))
    return out


@converter("DequantizeLinear")
def dequantize(c: NodeContext) -> str:
    """(x - zero point) * scale, per tensor or per axis."""
    if c.attr("block_size", 0):
        raise c.unsupported("blocked quantization")
    scale, x = c.input(1), c.emit("Cast", c.input(0), to=c.type(1).dtype)
    if c.has(2):
        x = c.emit("Sub", x, _per_axis(c, c.emit("Cast", c.input(2), to=c.type(1).dtype)))
    return c.emit("Mul", x, _per_axis(c, scale))


@converter("QuantizeLinear")
def quantize(c: NodeContext) -> str:
    """Saturating round(x / scale) + zero point."""
    if c.attr("block_size", 0):
        raise c.unsupported("blocked quantization")
    default = onnx.TensorProto.UINT8
    given = c.attr("output_dtype", 0) or default
    to = c.type(2).dtype if c.has(2) else dtype_name(given, f"output of {c.label}")
    x, limits = c.input(0), np.iinfo(to)
    wide = c.type(0).dtype
    x = c.emit("Round", c.emit("Div", x, _per_axis(c, c.input(1))))
    if c.has(2):
        x = c.emit("Add", x, _per_axis(c, c.emit("Cast", c.input(2), to=wide)))
    return c.emit("Cast", c.emit("Clip", x, min=float(limits.min), max=float(limits.max)), to=to)


def _per_axis(c: NodeContext, value: str) -> str:
    shape = c.shape(value)
    if len(shape) != 1 or not c.shape(0):
        return value
    axis = c.axis(c.attr("axis", 1)) if len(c.shape(0)) > 1 else 0
    if shape[0] == 1:
        return c.reshape(value, ())
    return c.reshape(value, [shape[0] if i == axis else 1 for i in range(len(c.shape(0)))])
