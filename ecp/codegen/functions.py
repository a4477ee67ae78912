"""C text of element-wise operators, for scalars and vectors alike.

Floats compute in float (half is a storage type), doubles in double; booleans are 0.0f or 1.0f.
"""

# ruff: noqa: E501
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ecp.codegen import integers
from ecp.errors import UnsupportedOperatorError

Args = list[str]

# Rational approximation of erf on [-4, 4] (Cody-type, as in Eigen). Clamped by select: clamp may drop a NaN.
ERF = """{T} ecp_erf_{T}({T} x) {{
  x = select(x, ({T})(-4.0f), x < ({T})(-4.0f));
  x = select(x, ({T})(4.0f), x > ({T})(4.0f));
  const {T} s = x * x;
  {T} p = fma(s, ({T})(-2.72614225801306e-10f), ({T})(2.77068142495902e-08f));
  p = fma(p, s, ({T})(-2.10102402082508e-06f)); p = fma(p, s, ({T})(-5.69250639462346e-05f));
  p = fma(p, s, ({T})(-7.34990630326855e-04f)); p = fma(p, s, ({T})(-2.95459980854025e-03f));
  p = fma(p, s, ({T})(-1.60960333262415e-02f));
  {T} q = fma(s, ({T})(-1.45660718464996e-05f), ({T})(-2.13374055278905e-04f));
  q = fma(q, s, ({T})(-1.68282697438203e-03f)); q = fma(q, s, ({T})(-7.37332916720468e-03f));
  q = fma(q, s, ({T})(-1.42647390514189e-02f));
  return x * p / q;
}}
"""

# x * Phi(x) = x * (1/2 + x * P(x*x) / Q(x*x)): the erf above with its scaling in the coefficients. The division as a
# reciprocal and one Newton step, where a processor's own division would take as long as all the rest. Rounding may leave
# Phi a little below 0 far out, where x would make much of it.
GELU = """{T} ecp_gelu_{T}({T} x) {{
  const {T} c = clamp(x, ({T})(-5.65685425f), ({T})(5.65685425f));
  const {T} s = c * c;
  {T} p = fma(s, ({T})(-1.50599506025019e-12f), ({T})(3.0611994126502e-10f));
  p = fma(p, s, ({T})(-4.64265103925388e-08f)); p = fma(p, s, ({T})(-2.51575617099127e-06f));
  p = fma(p, s, ({T})(-6.49646073515868e-05f)); p = fma(p, s, ({T})(-5.22304390077821e-04f));
  p = fma(p, s, ({T})(-5.69080715759501e-03f));
  {T} q = fma(s, ({T})(-9.10379490406225e-07f), ({T})(-2.66717569098631e-05f));
  q = fma(q, s, ({T})(-4.20706743595508e-04f)); q = fma(q, s, ({T})(-3.68666458360234e-03f));
  q = fma(q, s, ({T})(-1.42647390514189e-02f));
  {T} r = native_recip(q);
  r = fma(r, fma(-q, r, ({T})(1.0f)), r);
  const {T} phi = fma(c * p, r, ({T})(0.5f));
  return x * select(phi, ({T})(0.0f), phi < ({T})(0.0f));
}}
"""

# exp(x) = 2^n * P(r), n + r = x * log2(e), |r| <= 1/2, P a Chebyshev fit of degree 5 (8e-8 relative); log2(e) in float
# adds |x| * 2e-8. Adding 1.5 * 2^23 rounds to n and leaves it in the lowest bits. Below -87.7 n is -127 and the result
# 0: a small number instead would make denormal products of what a mask hides, at 150 clocks each. Clamped by select:
# one instruction that keeps NaN, where fmin and fmax take three to drop it; and the scale is multiplied, not added to
# the exponent, so that a NaN stays one whatever its bits.
EXP = """{T} ecp_exp_{T}({T} given) {{
  {T} x = select(given, ({T})(-88.0f), given < ({T})(-88.0f));
  x = select(x, ({T})(88.0f), x > ({T})(88.0f));
  const {T} shifted = fma(x, ({T})(1.44269504f), ({T})(12582912.0f));
  const {T} r = fma(x, ({T})(1.44269504f), ({T})(12582912.0f) - shifted);
  {T} p = fma(r, ({T})(0.0013266970636323094f), ({T})(0.009675459936261177f));
  p = fma(p, r, ({T})(0.05550742521882057f)); p = fma(p, r, ({T})(0.24022121727466583f));
  p = fma(p, r, ({T})(0.6931469440460205f)); p = fma(p, r, ({T})(1.0000001192092896f));
  return p * as_{T}((as_{I}(shifted) << 23) + 0x3f800000);
}}
"""

# 1 / (1 + exp(-x)) by reciprocal and one Newton step, as in GELU. The largest exp is finite, or the step would make NaN.
SIGMOID = """{T} ecp_sigmoid_{T}({T} x) {{
  const {T} q = ({T})(1.0f) + {E}(-x);
  const {T} r = native_recip(q);
  return fma(r, fma(-q, r, ({T})(1.0f)), r);
}}
"""


def erf(kernel: Any, ctype: str) -> str:
    """Name of the erf helper for ``ctype``."""
    return kernel.helper(f"ecp_erf_{ctype}", ERF.format(T=ctype))


def exp(kernel: Any, ctype: str) -> str:
    """Name of the exp helper for ``ctype``."""
    return kernel.helper(f"ecp_exp_{ctype}", EXP.format(T=ctype, I=ctype.replace("float", "int")))


def sigmoid(kernel: Any, ctype: str) -> str:
    """Name of the sigmoid helper for ``ctype``."""
    text = SIGMOID.format(T=ctype, E=exp(kernel, ctype))
    return kernel.helper(f"ecp_sigmoid_{ctype}", text)


# The larger or smaller of two, NaN where either is: fmax and fmin would drop it. Four instructions on x86 where theirs
# are three, as its own maximum gives one fixed operand where either is NaN; what calls this waits for memory.
EXTREME = """{T} {name}({T} a, {T} b) {{
  return {text};
}}
"""


def extreme(kernel: Any, op: str, ctype: str) -> str:
    """Name of the helper for the larger (``op`` ``>``) or the smaller (``<``) of two ``ctype``, NaN where either is."""
    name = f"ecp_{'larger' if op == '>' else 'smaller'}_{ctype}"
    text = choose(ctype, f"b {op} a {'|' if ctype[-1].isdigit() else '||'} b != b", "b", "a")
    return kernel.helper(name, EXTREME.format(T=ctype, name=name, text=text))


# Comparisons, one instruction each on x86, keep a NaN, which is neither below nor above; clamp may drop it.
CLIP = """{T} ecp_clip_{T}({T} x, {T} low, {T} high) {{
  x = x < low ? low : x;
  return x > high ? high : x;
}}
"""

HALF = """{T} ecp_half_{T}({T} x) {{
  ushort h[{N}];
  vstore_half{W}(x, 0, (half*)h);
  return vload_half{W}(0, (const half*)h);
}}
"""


def round_to_half(kernel: Any, ctype: str) -> str:
    """Name of the helper that rounds a float (vector) to what half can hold."""
    width = ctype.removeprefix("float")
    return kernel.helper(f"ecp_half_{ctype}", HALF.format(T=ctype, N=width or 1, W=width))


def _gelu(k: Any, t: str, a: Args, attrs: Mapping[str, Any]) -> str:
    x = a[0]
    if attrs["approximate"] == "tanh":
        inner = f"0.7978845608f*{x}*(1.0f+0.044715f*{x}*{x})"
        return f"{x}*{sigmoid(k, t)}(2.0f*({inner}))"
    return f"{k.helper(f'ecp_gelu_{t}', GELU.format(T=t))}({x})"


def _where(k: Any, t: str, a: Args, attrs: Mapping[str, Any]) -> str:
    return choose(t, f"{a[0]} != 0.0f", a[1], a[2])


def choose(ctype: str, condition: str, yes: str, no: str) -> str:
    """``condition ? yes : no`` for scalars, select for vectors."""
    if ctype[-1].isdigit():
        return f"select(({ctype})({no}), ({ctype})({yes}), {condition})"
    return f"(({condition}) ? ({yes}) : ({no}))"


def _compare(op: str) -> Callable[[Any, str, Args, Mapping[str, Any]], str]:
    return lambda k, t, a, attrs: choose(t, f"{a[0]} {op} {a[1]}", "1.0f", "0.0f")


def _unary(text: str) -> Callable[[Any, str, Args, Mapping[str, Any]], str]:
    return lambda k, t, a, attrs: text.format(x=a[0], T=t, **{n: _number(v) for n, v in attrs.items()})


def _number(value: Any) -> str:
    return f"{float(value)!r}f" if isinstance(value, (int, float)) else str(value)


def _infix(op: str) -> Callable[[Any, str, Args, Mapping[str, Any]], str]:
    return lambda k, t, a, attrs: f"{a[0]} {op} {a[1]}"


def _extreme(op: str) -> Callable[[Any, str, Args, Mapping[str, Any]], str]:
    return lambda k, t, a, attrs: f"{extreme(k, op, t)}(({t})({a[0]}), ({t})({a[1]}))"


def _positive(t: str, x: str, otherwise: str) -> str:
    """``x`` where it is above 0."""
    return choose(t, f"{x} > 0.0f", x, otherwise)


def _call2(name: str) -> Callable[[Any, str, Args, Mapping[str, Any]], str]:
    return lambda k, t, a, attrs: f"{name}(({t})({a[0]}), ({t})({a[1]}))"


def _clip(k: Any, t: str, a: Args, attrs: Mapping[str, Any]) -> str:
    low, high = (attrs[n] if attrs[n] is None else _number(attrs[n]) for n in ("min", "max"))
    if low is None or high is None:
        op, bound = ("<", low) if high is None else (">", high)
        return a[0] if bound is None else choose(t, f"{a[0]} {op} {bound}", bound, a[0])
    return _clamped(k, t, a[0], low, high)


def _clamped(k: Any, t: str, x: str, low: str, high: str) -> str:
    return f"{k.helper(f'ecp_clip_{t}', CLIP.format(T=t))}({x}, ({t})({low}), ({t})({high}))"


def _mod(k: Any, t: str, a: Args, attrs: Mapping[str, Any]) -> str:
    """C's remainder, moved to the sign of the divisor unless ``fmod``; a remainder of 0 stays."""
    rest = f"fmod(({t})({a[0]}), ({t})({a[1]}))"
    if attrs["fmod"]:
        return rest
    found = k.define(t, rest)
    other = f"({found} != 0.0f && ({found} < 0.0f) != ({a[1]} < 0.0f))"
    return choose(t, other, f"{found} + {a[1]}", found)


FLOAT: dict[str, Callable[[Any, str, Args, Mapping[str, Any]], str]] = {
    "Add": _infix("+"), "Sub": _infix("-"), "Mul": _infix("*"), "Div": _infix("/"), "Pow": _call2("pow"),
    "Min": _extreme("<"), "Max": _extreme(">"), "And": _infix("*"), "Or": _call2("fmax"),
    "Xor": lambda k, t, a, attrs: f"fabs({a[0]} - {a[1]})",
    "Mod": _mod,
    "Equal": _compare("=="), "Greater": _compare(">"), "GreaterOrEqual": _compare(">="),
    "Less": _compare("<"), "LessOrEqual": _compare("<="), "Where": _where, "Clip": _clip, "Gelu": _gelu,
    "PRelu": lambda k, t, a, attrs: choose(t, f"{a[0]} < 0.0f", f"{a[0]} * {a[1]}", a[0]),
    "Exp": lambda k, t, a, attrs: f"exp({a[0]})", "Erf": lambda k, t, a, attrs: f"{erf(k, t)}({a[0]})",
    "Sigmoid": lambda k, t, a, attrs: f"{sigmoid(k, t)}({a[0]})",
    "Abs": _unary("fabs({x})"), "Neg": _unary("-({x})"), "Sqrt": _unary("sqrt({x})"), "Log": _unary("log({x})"),
    "Tanh": _unary("tanh({x})"), "Not": _unary("(1.0f-({x}))"),
    # A comparison keeps NaN and is one instruction on x86 (max of 0 and x in this order), where fmax is three.
    "Relu": lambda k, t, a, attrs: choose(t, f"{a[0]} < 0.0f", "0.0f", a[0]),
    "LeakyRelu": lambda k, t, a, attrs: choose(t, f"{a[0]} >= 0.0f", a[0], f"{_number(attrs['alpha'])} * {a[0]}"),
    "Elu": lambda k, t, a, attrs: _positive(t, a[0], f"{_number(attrs['alpha'])} * expm1({a[0]})"),
    "Celu": lambda k, t, a, attrs: _positive(t, a[0], f"{_number(attrs['alpha'])} * expm1({a[0]} / {_number(attrs['alpha'])})"),
    "Selu": lambda k, t, a, attrs: f"{_number(attrs['gamma'])}*" + _positive(t, a[0], f"{_number(attrs['alpha'])} * expm1({a[0]})"),
    "ThresholdedRelu": lambda k, t, a, attrs: choose(t, f"{a[0]} > {_number(attrs['alpha'])}", a[0], "0.0f"),
    "HardSigmoid": lambda k, t, a, attrs: _clamped(k, t, f"{_number(attrs['alpha'])}*{a[0]}+{_number(attrs['beta'])}", "0.0f", "1.0f"),
    "HardSwish": _unary("({x})*clamp({x}/6.0f+0.5f, ({T})(0.0f), ({T})(1.0f))"),
    "Sign": lambda k, t, a, attrs: choose(t, f"{a[0]} > 0.0f", "1.0f", choose(t, f"{a[0]} < 0.0f", "-1.0f", a[0])),
    "Softplus": _unary("(fmax({x}, ({T})(0.0f))+log1p(exp(-fabs({x}))))"),
    "Mish": _unary("({x})*tanh(fmax({x}, ({T})(0.0f))+log1p(exp(-fabs({x}))))"),
    "Softsign": _unary("({x})/(1.0f+fabs({x}))"),
    "Shrink": lambda k, t, a, attrs: choose(t, f"{a[0]} < -({_number(attrs['lambd'])})", f"{a[0]} + ({_number(attrs['bias'])})", choose(t, f"{a[0]} > {_number(attrs['lambd'])}", f"{a[0]} - ({_number(attrs['bias'])})", "0.0f")),
    **{n: _unary(f"{c}({{x}})") for n, c in {
        "Sin": "sin", "Cos": "cos", "Tan": "tan", "Asin": "asin", "Acos": "acos", "Atan": "atan", "Sinh": "sinh",
        "Cosh": "cosh", "Asinh": "asinh", "Acosh": "acosh", "Atanh": "atanh", "Floor": "floor", "Ceil": "ceil",
        "Round": "rint"}.items()},
    "Reciprocal": _unary("1.0f/({x})"),
    "IsNaN": lambda k, t, a, attrs: choose(t, f"isnan({a[0]})", "1.0f", "0.0f"),
    "IsInf": lambda k, t, a, attrs: choose(t, f"isinf({a[0]})", choose(t, f"{a[0]} > 0.0f", f"{float(attrs['positive'])}f", f"{float(attrs['negative'])}f"), "0.0f"),
}  # fmt: skip


def _gelu_double(k: Any, t: str, a: Args, attrs: Mapping[str, Any]) -> str:
    x = a[0]
    if attrs["approximate"] == "tanh":
        return f"0.5*{x}*(1.0+tanh(0.7978845608028654*{x}*(1.0+0.044715*{x}*{x})))"
    return f"0.5*{x}*(1.0+erf({x}*0.7071067811865476))"


# Forms that must not use the approximations in float.
DOUBLE: dict[str, Callable[[Any, str, Args, Mapping[str, Any]], str]] = {
    "Erf": _unary("erf({x})"), "Sigmoid": _unary("1.0/(1.0+exp(-({x})))"), "Gelu": _gelu_double,
}  # fmt: skip

# At the end of a literal: the digits and the suffix that makes it a float.
_FLOAT_SUFFIX = re.compile(r"(?<![\w.])(\d+\.\d*(?:e[-+]?\d+)?)f\b")


def emit(
    kernel: Any, op: str, ctype: str, args: Args, attrs: Mapping[str, Any], dtype: str = "float32"
) -> str:
    """C expression of ``op`` on ``ctype`` values that hold ``dtype``.

    Raises :class:`UnsupportedOperatorError` where the type has no form of it.
    """
    if ctype.startswith("float"):
        if op in FLOAT:
            return FLOAT[op](kernel, ctype, args, attrs)
    elif ctype == "double":
        if op in FLOAT:
            return _FLOAT_SUFFIX.sub(r"\1", {**FLOAT, **DOUBLE}[op](kernel, ctype, args, attrs))
    else:
        text = integers.emit(kernel, op, ctype, dtype, args, attrs)
        if text is not None:
            return text
    raise UnsupportedOperatorError(f"operator {op} on {dtype} has no kernel")
