"""C text of element-wise operators on integers.

Integers of 8 and 16 bits compute in ``int`` and wrap after every operator, as numpy's do. What C leaves undefined
is defined here: division by zero gives 0 (and must not trap), shifts by the width or more shift everything out, and
a power or a float that does not fit becomes the least value, as in ONNX Runtime on x86.
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

# Exact powers by squaring; what does not fit (and 1 / 0) is the least value. A product fits where its upper half is
# the sign of its lower one; it is taken unsigned, as C leaves signed overflow undefined.
_POWER = """{T} ecp_power_{T}({T} base, long e) {{
  if (e < 0) return base == 1 ? 1 : base == ({T})(-1) ? (e & 1 ? base : 1) : base == 0 ? {least} : 0;
  {T} out = 1;
  int lost = 0, far = 0;
  for (; e; e >>= 1) {{
    if (e & 1) {{
      const {T} low = ({T})(({U})out * ({U})base);
      lost |= far | (mul_hi(out, base) != (low < 0 ? ({T})(-1) : 0));
      out = low;
    }}
    const {T} square = ({T})(({U})base * ({U})base);
    far |= mul_hi(base, base) != 0 || square < 0;
    base = square;
  }}
  return lost ? {least} : out;
}}
"""

# A real exponent: whole ones exactly, others in double, rounded up only where double's last bits are at fault.
_POWER_REAL = """{T} ecp_power_real_{T}({T} base, double e) {{
  if (e == rint(e) && fabs(e) < 9.0e18) return ecp_power_{T}(base, (long)e);
  const double v = pow((double)base, e);
  return {to}(fabs(v - rint(v)) <= 1e-14 * fabs(v) ? rint(v) : v);
}}
"""

# A float that is NaN or does not fit is the least value. C leaves it undefined, and its compilers turn an integer that
# becomes a float again into a mere rounding.
_SIGNED = """{I} ecp_{I}_{F}({F} x) {{
  return x {low} && x < {high} ? ({I})x : {least};
}}
"""
# Unsigned ones are taken from a wider signed one (of a multiple of 2^64 no bit is left).
_ULONG = """ulong ecp_ulong_{F}({F} x) {{
  const {F} top = 9223372036854775808.0{f};
  return x >= top ? (ulong)ecp_long_{F}(x - top) ^ (1UL << 63) : (ulong)ecp_long_{F}(x);
}}
"""
#: Integer C type -> its least value.
LEAST = {"int": "(-2147483647-1)", "long": "(-9223372036854775807L-1)", "uint": "0u", "ulong": "0UL"}


def from_float(kernel: Any, real: str, ctype: str, text: str) -> str:
    """C expression of the ``real`` (float or double) number ``text`` cut to the integer ``ctype``."""
    f = "" if real == "double" else "f"
    whole = "int" if ctype == "int" else "long"
    # Doubles below the least int are still cut to it, floats are not that dense.
    low = (
        ">= -9223372036854775808.0" + f
        if whole == "long"
        else "> -2147483649.0"
        if not f
        else ">= -2147483648.0f"
    )
    high = "9223372036854775808.0" if whole == "long" else "2147483648.0"
    signed = _SIGNED.format(I=whole, F=real, low=low, high=high + f, least=LEAST[whole])
    name = kernel.helper(f"ecp_{whole}_{real}", signed)
    if ctype == "ulong":
        name = kernel.helper(f"ecp_ulong_{real}", _ULONG.format(F=real, f=f))
    return f"{'(uint)' if ctype == 'uint' else ''}{name}({text})"


def _power(kernel: Any, ctype: str) -> str:
    text = _POWER.format(T=ctype, U=ctype if ctype.startswith("u") else f"u{ctype}", least=LEAST[ctype])
    return kernel.helper(f"ecp_power_{ctype}", text)


def emit(kernel: Any, op: str, ctype: str, dtype: str, args: Args, attrs: Mapping[str, Any]) -> str | None:
    """C expression of ``op`` on ``ctype`` values that hold ``dtype``; None where there is none."""
    signed = not dtype.startswith("u")
    if op in ("Div", "Mod"):
        text = _divided(op, signed, attrs, *args)
    elif op == "BitShift":
        text = _shifted(ctype, dtype, attrs["direction"], *args)
    elif op == "Pow":
        text = f"{_power(kernel, ctype)}({args[0]}, {args[1]})"
    elif op == "PowReal":
        _power(kernel, ctype)
        to = from_float(kernel, "double", ctype, "").removesuffix("()")
        name = kernel.helper(f"ecp_power_real_{ctype}", _POWER_REAL.format(T=ctype, to=to))
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
