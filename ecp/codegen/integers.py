"""C text of element-wise operators on integers.

Integers of 8 and 16 bits compute in ``int`` and wrap after every operator, as numpy's do. What C leaves undefined
is defined here: division by zero gives 0 (and must not trap), shifts by the width or more shift everything out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Args = list[str]

#: dtype -> C type that a result is cut to, where the type computed in is wider.
NARROW = {"int8": "char", "uint8": "uchar", "int16": "short", "uint16": "ushort"}

_PLAIN = {
    "Add": "{0} + {1}", "Sub": "{0} - {1}", "Mul": "{0} * {1}", "Neg": "-({0})",
    "Min": "min({0}, {1})", "Max": "max({0}, {1})", "Relu": "max({0}, ({T})0)",
    "Equal": "({0} == {1})", "Greater": "({0} > {1})", "GreaterOrEqual": "({0} >= {1})",
    "Less": "({0} < {1})", "LessOrEqual": "({0} <= {1})", "Where": "({0} ? {1} : {2})",
    "BitwiseAnd": "({0} & {1})", "BitwiseOr": "({0} | {1})", "BitwiseXor": "({0} ^ {1})", "BitwiseNot": "(~{0})",
    "Abs": "({0} < 0 ? -({0}) : ({0}))", "Sign": "(({0} > 0) - ({0} < 0))", "PRelu": "({0} < 0 ? {0} * {1} : {0})",
}  # fmt: skip

# Exact powers by squaring: numpy's are exact too where they fit.
_POWER = """{T} ecp_power_{T}({T} base, long e) {{
  if (e < 0) return base == 1 ? 1 : base == ({T})(-1) ? (e & 1 ? base : 1) : 0;
  {T} out = 1;
  for (; e; e >>= 1) {{ if (e & 1) out *= base; base *= base; }}
  return out;
}}
"""

# A real exponent: whole ones exactly, others in double, rounded up only where double's last bits are at fault.
_POWER_REAL = """{T} ecp_power_real_{T}({T} base, double e) {{
  if (e == rint(e)) return ecp_power_{T}(base, (long)e);
  const double v = pow((double)base, e);
  return ({T})(fabs(v - rint(v)) <= 1e-9 * fabs(v) ? rint(v) : v);
}}
"""


def emit(kernel: Any, op: str, ctype: str, dtype: str, args: Args, attrs: Mapping[str, Any]) -> str | None:
    """C expression of ``op`` on ``ctype`` values that hold ``dtype``; None where there is none."""
    signed = not dtype.startswith("u")
    if op in ("Div", "Mod"):
        text = _divided(op, signed, attrs, *args)
    elif op == "BitShift":
        text = _shifted(ctype, dtype, attrs["direction"], *args)
    elif op == "Pow":
        name = kernel.helper(f"ecp_power_{ctype}", _POWER.format(T=ctype))
        text = f"{name}({args[0]}, {args[1]})"
    elif op == "PowReal":
        kernel.helper(f"ecp_power_{ctype}", _POWER.format(T=ctype))
        name = kernel.helper(f"ecp_power_real_{ctype}", _POWER_REAL.format(T=ctype))
        text = f"{name}({args[0]}, (double)({args[1]}))"
    elif op == "Clip":
        text = _clipped(ctype, args[0], attrs)
    elif op in _PLAIN:
        text = _PLAIN[op].format(*args, T=ctype)
    else:
        return None
    return f"({NARROW[dtype]})({text})" if dtype in NARROW else text


def _divided(op: str, signed: bool, attrs: Mapping[str, Any], a: str, b: str) -> str:
    """Quotient rounded to zero or remainder; the signed forms avoid the overflow of smallest / -1."""
    if op == "Div":
        return f"({b} == 0 ? 0 : {b} == -1 ? -({a}) : {a} / {b})" if signed else f"({b} == 0 ? 0 : {a} / {b})"
    if not signed:
        return f"({b} == 0 ? 0 : {a} % {b})"
    rest = f"({b} == 0 || {b} == -1 ? 0 : {a} % {b})"
    # ONNX's remainder has the sign of the divisor, C's (fmod=1) that of the dividend.
    return rest if attrs["fmod"] else f"({rest} != 0 && ({a} < 0) != ({b} < 0) ? {rest} + {b} : {rest})"


def _shifted(ctype: str, dtype: str, direction: str, a: str, b: str) -> str:
    bits = int(dtype.removeprefix("u").removeprefix("int"))
    unsigned = "ulong" if ctype.endswith("long") else "uint"
    inside = f"({unsigned})({b}) < {bits}u"
    if direction == "LEFT":
        return f"({inside} ? ({ctype})(({unsigned})({a}) << {b}) : ({ctype})0)"
    return f"({inside} ? {a} >> {b} : ({ctype})({a} < 0 ? -1 : 0))"


def _clipped(ctype: str, a: str, attrs: Mapping[str, Any]) -> str:
    text = a
    if attrs["min"] is not None:
        text = f"max({text}, ({ctype})({int(attrs['min'])}))"
    if attrs["max"] is not None:
        text = f"min({text}, ({ctype})({int(attrs['max'])}))"
    return text
