"""Element-by-element operators: unary, binary with broadcasting, Where, Cast, Clip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from ecp.ir.graph import Type
from ecp.ir.opinfo import KEY, ONE_TO_ONE, Attrs, Evaluate, Infer, OpInfo, broadcast

_SQRT_HALF = 0.7071067811865476
_SQRT_2_OVER_PI = 0.7978845608028654


def _gelu(x: np.ndarray, approximate: str) -> np.ndarray:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(_SQRT_2_OVER_PI * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + special.erf(x * _SQRT_HALF))


def _elu(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _shrink(x: np.ndarray, lambd: float, bias: float) -> np.ndarray:
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, np.zeros_like(x)))


def _isinf(x: np.ndarray, positive: int, negative: int) -> np.ndarray:
    return (np.isposinf(x) & bool(positive)) | (np.isneginf(x) & bool(negative))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x, np.zeros_like(x))


# name -> (function of the array and the attributes, attributes, meaning)
_UNARY: dict[str, tuple[Callable[..., np.ndarray], tuple[str, ...], str]] = {
    "Abs": (np.abs, (), "|x|"),
    "Neg": (np.negative, (), "-x"),
    "Sqrt": (np.sqrt, (), "square root"),
    "Exp": (np.exp, (), "e^x"),
    "Log": (np.log, (), "natural logarithm"),
    "Erf": (special.erf, (), "error function"),
    "Tanh": (np.tanh, (), "tanh"),
    "Sigmoid": (special.expit, (), "1/(1+e^-x)"),
    "Relu": (lambda x: np.maximum(x, 0), (), "max(x, 0)"),
    "Gelu": (_gelu, ("approximate",), "GELU; approximate 'none' (erf) or 'tanh'"),
    "LeakyRelu": (lambda x, alpha: np.where(x >= 0, x, alpha * x), ("alpha",), "x or alpha x"),
    "Elu": (_elu, ("alpha",), "x or alpha (e^x - 1)"),
    "Celu": (lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x / alpha)), ("alpha",), "CELU"),
    "Selu": (lambda x, alpha, gamma: gamma * _elu(x, alpha), ("alpha", "gamma"), "gamma Elu(x, alpha)"),
    "ThresholdedRelu": (
        lambda x, alpha: np.where(x > alpha, x, np.zeros_like(x)),
        ("alpha",),
        "x where x > alpha",
    ),
    "HardSigmoid": (
        lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
        ("alpha", "beta"),
        "clip(alpha x + beta, 0, 1)",
    ),
    "HardSwish": (lambda x: x * np.clip(x / 6 + 0.5, 0, 1), (), "x clip(x/6 + 1/2, 0, 1)"),
    "Mish": (lambda x: x * np.tanh(_softplus(x)), (), "x tanh(softplus x)"),
    "Softplus": (_softplus, (), "log(1 + e^x)"),
    "Softsign": (lambda x: x / (1 + np.abs(x)), (), "x / (1 + |x|)"),
    "Shrink": (_shrink, ("lambd", "bias"), "x +- bias outside [-lambd, lambd], else 0"),
    "Sin": (np.sin, (), "sine"),
    "Cos": (np.cos, (), "cosine"),
    "Tan": (np.tan, (), "tangent"),
    "Asin": (np.arcsin, (), "inverse sine"),
    "Acos": (np.arccos, (), "inverse cosine"),
    "Atan": (np.arctan, (), "inverse tangent"),
    "Sinh": (np.sinh, (), "hyperbolic sine"),
    "Cosh": (np.cosh, (), "hyperbolic cosine"),
    "Asinh": (np.arcsinh, (), "inverse hyperbolic sine"),
    "Acosh": (np.arccosh, (), "inverse hyperbolic cosine"),
    "Atanh": (np.arctanh, (), "inverse hyperbolic tangent"),
    "Floor": (np.floor, (), "floor"),
    "Ceil": (np.ceil, (), "ceiling"),
    "Round": (np.round, (), "nearest integer, halves to even"),
    "Sign": (np.sign, (), "-1, 0 or 1"),
    "Reciprocal": (lambda x: 1 / x, (), "1/x"),
    "Not": (np.logical_not, (), "logical not"),
    "BitwiseNot": (np.invert, (), "bitwise not"),
}
_TO_BOOL: dict[str, tuple[Callable[..., np.ndarray], tuple[str, ...], str]] = {
    "IsNaN": (np.isnan, (), "x is NaN"),
    "IsInf": (_isinf, ("positive", "negative"), "x is +inf (if positive) or -inf (if negative)"),
}


def _div(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if not np.issubdtype(a.dtype, np.integer):
        return a / b
    # ONNX integer division truncates; numpy's floors.
    up = (a % b != 0) & ((a < 0) != (b < 0))
    return a // b + up.astype(a.dtype)


def _mod(a: np.ndarray, b: np.ndarray, fmod: int) -> np.ndarray:
    return np.fmod(a, b) if fmod else np.mod(a, b)


def _shift(a: np.ndarray, b: np.ndarray, direction: str) -> np.ndarray:
    return np.left_shift(a, b) if direction == "LEFT" else np.right_shift(a, b)


def _pow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        return np.power(a.astype(np.float64), b)
    return np.power(a, b)


_BINARY: dict[str, tuple[Callable[..., np.ndarray], tuple[str, ...], str]] = {
    "Add": (np.add, (), "a + b"),
    "Sub": (np.subtract, (), "a - b"),
    "Mul": (np.multiply, (), "a b"),
    "Div": (_div, (), "a / b; integers truncate"),
    "Pow": (_pow, (), "a^b in the dtype of a"),
    "Mod": (_mod, ("fmod",), "remainder; sign of b, or of a with fmod"),
    "Min": (np.minimum, (), "smaller of a, b"),
    "Max": (np.maximum, (), "larger of a, b"),
    "PRelu": (lambda a, b: np.where(a < 0, a * b, a), (), "a, or a b where a < 0"),
    "And": (np.logical_and, (), "logical and"),
    "Or": (np.logical_or, (), "logical or"),
    "Xor": (np.logical_xor, (), "logical exclusive or"),
    "BitwiseAnd": (np.bitwise_and, (), "bitwise and"),
    "BitwiseOr": (np.bitwise_or, (), "bitwise or"),
    "BitwiseXor": (np.bitwise_xor, (), "bitwise exclusive or"),
    "BitShift": (_shift, ("direction",), "shift by b bits, LEFT or RIGHT"),
}
_COMPARE: dict[str, tuple[Callable[..., np.ndarray], tuple[str, ...], str]] = {
    "Equal": (np.equal, (), "a == b"),
    "Greater": (np.greater, (), "a > b"),
    "GreaterOrEqual": (np.greater_equal, (), "a >= b"),
    "Less": (np.less, (), "a < b"),
    "LessOrEqual": (np.less_equal, (), "a <= b"),
}
_MIXED_DTYPES = {"Pow"}


def _evaluate(fn: Callable[..., np.ndarray], to_bool: bool) -> Evaluate:
    def evaluate(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
        with np.errstate(all="ignore"):
            out = np.asarray(fn(*args, **attrs))
        return (out.astype(np.bool_ if to_bool else args[0].dtype, copy=False),)

    return evaluate


def _infer(name: str, to_bool: bool) -> Infer:
    def infer(attrs: Attrs, types: Any) -> tuple[Type, ...]:
        dtypes = {t.dtype for t in types}
        if len(dtypes) > 1 and name not in _MIXED_DTYPES:
            raise ValueError(f"{name} of different dtypes {sorted(dtypes)}")
        return (Type(broadcast(*(t.shape for t in types)), "bool" if to_bool else types[0].dtype),)

    return infer


def _row(
    name: str, arity: int, to_bool: bool, entry: tuple[Callable[..., np.ndarray], tuple[str, ...], str]
) -> OpInfo:
    fn, attrs, doc = entry
    return OpInfo(
        name, KEY, ONE_TO_ONE, False, True, (arity, arity), attrs,
        _infer(name, to_bool), _evaluate(fn, to_bool), doc,
    )  # fmt: skip


def _where_infer(attrs: Attrs, types: Any) -> tuple[Type, ...]:
    cond, a, b = types
    if cond.dtype != "bool" or a.dtype != b.dtype:
        raise ValueError(f"Where of {cond.dtype}, {a.dtype}, {b.dtype}")
    return (Type(broadcast(cond.shape, a.shape, b.shape), a.dtype),)


def _where(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    cond, a, b = args
    return (np.asarray(np.where(cond, a, b)),)


def _cast(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    with np.errstate(all="ignore"):
        return (args[0].astype(attrs["to"]),)


def _clip(attrs: Attrs, args: Any) -> tuple[np.ndarray, ...]:
    x = args[0]
    if attrs["min"] is not None:
        x = np.maximum(x, np.asarray(attrs["min"], x.dtype))
    if attrs["max"] is not None:
        x = np.minimum(x, np.asarray(attrs["max"], x.dtype))
    return (x,)


def _one(name: str, arity: int, attrs: tuple[str, ...], infer: Infer, evaluate: Evaluate, doc: str) -> OpInfo:
    return OpInfo(name, KEY, ONE_TO_ONE, False, True, (arity, arity), attrs, infer, evaluate, doc)


TABLE: list[OpInfo] = [
    *(_row(n, 1, False, e) for n, e in _UNARY.items()),
    *(_row(n, 1, True, e) for n, e in _TO_BOOL.items()),
    *(_row(n, 2, False, e) for n, e in _BINARY.items()),
    *(_row(n, 2, True, e) for n, e in _COMPARE.items()),
    _one("Where", 3, (), _where_infer, _where, "a where the condition holds, else b"),
    _one("Cast", 1, ("to",), lambda a, t: (Type(t[0].shape, a["to"]),), _cast, "to: numpy dtype name"),
    _one("Clip", 1, ("min", "max"), lambda _, t: (t[0],), _clip, "numbers or None"),
]
