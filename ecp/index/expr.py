"""Integer index expressions in linear normal form.

Every expression is ``const + sum(coef * atom)``. Atoms are variables with bounds, floor divisions and
modulos by positive constants, and lookups in constant tables. Construction simplifies, so two
expressions that the rules can prove equal compare equal. All rules assume non-negative atoms are
bounded by interval analysis; they hold for negative values too because division is floor division.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import gcd


@dataclass(frozen=True)
class Var:
    """A loop or work-item variable with inclusive bounds."""

    name: str
    lo: int
    hi: int

    @property
    def key(self) -> tuple:
        """Sort key for the canonical order of terms."""
        return (0, self.name)


@dataclass(frozen=True)
class FloorDiv:
    """``arg // by`` with ``by > 1`` that no rule could remove."""

    arg: Expr
    by: int

    @property
    def key(self) -> tuple:
        """Sort key for the canonical order of terms."""
        return (1, self.by, self.arg.key)

    @property
    def lo(self) -> int:
        """Smallest value."""
        return self.arg.lo // self.by

    @property
    def hi(self) -> int:
        """Largest value."""
        return self.arg.hi // self.by


@dataclass(frozen=True)
class Modulo:
    """``arg % by`` with ``by > 1`` that no rule could remove."""

    arg: Expr
    by: int

    @property
    def key(self) -> tuple:
        """Sort key for the canonical order of terms."""
        return (2, self.by, self.arg.key)

    @property
    def lo(self) -> int:
        """Smallest value (a bound)."""
        return 0

    @property
    def hi(self) -> int:
        """Largest value (a bound)."""
        return self.by - 1


@dataclass(frozen=True)
class Lookup:
    """``table[arg]``: a constant integer table, for gathers that no arithmetic describes."""

    table: tuple[int, ...]
    arg: Expr

    @property
    def key(self) -> tuple:
        """Sort key for the canonical order of terms."""
        return (3, len(self.table), hash(self.table), self.arg.key)

    @property
    def lo(self) -> int:
        """Smallest value."""
        return min(self.table)

    @property
    def hi(self) -> int:
        """Largest value."""
        return max(self.table)


Atom = Var | FloorDiv | Modulo | Lookup


class Expr:
    """An integer expression; immutable and hashable. Use operators ``+ - * // %`` with ints or Exprs."""

    __slots__ = ("_bounds", "_hash", "_key", "const", "terms")

    def __init__(self, terms: tuple[tuple[Atom, int], ...] = (), const: int = 0):
        self.terms = terms
        self.const = const
        self._hash = hash((terms, const))
        self._bounds: tuple[int, int] | None = None
        self._key: tuple | None = None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Expr):
            return NotImplemented
        return self._hash == other._hash and self.const == other.const and self.terms == other.terms

    def __repr__(self) -> str:
        return to_c(self)

    @property
    def key(self) -> tuple:
        """Sort key for the canonical order of terms."""
        if self._key is None:
            self._key = (len(self.terms), tuple((a.key, c) for a, c in self.terms), self.const)
        return self._key

    @property
    def bounds(self) -> tuple[int, int]:
        """Inclusive interval that contains every value."""
        if self._bounds is None:
            lo = hi = self.const
            for atom, coef in self.terms:
                a, b = coef * atom.lo, coef * atom.hi
                lo, hi = lo + min(a, b), hi + max(a, b)
            self._bounds = (lo, hi)
        return self._bounds

    @property
    def lo(self) -> int:
        """Smallest possible value."""
        return self.bounds[0]

    @property
    def hi(self) -> int:
        """Largest possible value."""
        return self.bounds[1]

    @property
    def is_const(self) -> bool:
        """True where the value is known."""
        return not self.terms

    def __add__(self, other: Expr | int) -> Expr:
        other = wrap(other)
        if not other.terms:
            return Expr(self.terms, self.const + other.const) if other.const else self
        table = dict(self.terms)
        for atom, coef in other.terms:
            table[atom] = table.get(atom, 0) + coef
        return _normal(table, self.const + other.const)

    __radd__ = __add__

    def __neg__(self) -> Expr:
        return self * -1

    def __sub__(self, other: Expr | int) -> Expr:
        return self + wrap(other) * -1

    def __rsub__(self, other: Expr | int) -> Expr:
        return wrap(other) - self

    def __mul__(self, other: Expr | int) -> Expr:
        other = wrap(other)
        if self.is_const:
            self, other = other, self
        if not other.is_const:
            raise ValueError("index expressions are linear: one factor must be a constant")
        by = other.const
        if by == 0:
            return ZERO
        if by == 1:
            return self
        return Expr(tuple((a, c * by) for a, c in self.terms), self.const * by)

    __rmul__ = __mul__

    def __floordiv__(self, by: int) -> Expr:
        return floordiv(self, by)

    def __mod__(self, by: int) -> Expr:
        return modulo(self, by)

    def coefficient(self, atom: Atom) -> int:
        """Coefficient of ``atom`` at top level, 0 where it does not occur there."""
        return dict(self.terms).get(atom, 0)

    def depends_on(self, var: Var) -> bool:
        """True where ``var`` occurs anywhere inside."""
        return any(_atom_depends(a, var) for a, _ in self.terms)

    def variables(self) -> set[Var]:
        """All variables inside."""
        found: set[Var] = set()
        for atom, _ in self.terms:
            found |= {atom} if isinstance(atom, Var) else atom.arg.variables()
        return found

    def substitute(self, table: Mapping[Var, Expr | int]) -> Expr:
        """The expression with variables replaced, simplified again."""
        total = Expr((), self.const)
        for atom, coef in self.terms:
            total = total + _substitute_atom(atom, table) * coef
        return total

    def evaluate(self, values: Mapping[str, int]) -> int:
        """The integer value for given variable values (the semantics)."""
        return self.const + sum(c * _evaluate_atom(a, values) for a, c in self.terms)


def _atom_depends(atom: Atom, var: Var) -> bool:
    return atom == var if isinstance(atom, Var) else atom.arg.depends_on(var)


def _substitute_atom(atom: Atom, table: Mapping[Var, Expr | int]) -> Expr:
    if isinstance(atom, Var):
        return wrap(table[atom]) if atom in table else Expr(((atom, 1),))
    arg = atom.arg.substitute(table)
    if isinstance(atom, FloorDiv):
        return floordiv(arg, atom.by)
    if isinstance(atom, Modulo):
        return modulo(arg, atom.by)
    return lookup(atom.table, arg)


def _evaluate_atom(atom: Atom, values: Mapping[str, int]) -> int:
    if isinstance(atom, Var):
        return values[atom.name]
    arg = atom.arg.evaluate(values)
    if isinstance(atom, FloorDiv):
        return arg // atom.by
    if isinstance(atom, Modulo):
        return arg % atom.by
    return atom.table[arg]


ZERO = Expr()


def wrap(value: Expr | int) -> Expr:
    """An Expr from an int, unchanged where it is one already."""
    return value if isinstance(value, Expr) else Expr((), int(value))


def var(name: str, extent: int, lo: int = 0) -> Expr:
    """The variable ``name`` over ``lo .. lo + extent - 1``; a constant where the extent is 1."""
    if extent == 1:
        return wrap(lo)
    return Expr(((Var(name, lo, lo + extent - 1), 1),))


def _normal(table: dict[Atom, int], const: int) -> Expr:
    """Drop zero terms, undo ``c*(x//c) + x%c``, sort."""
    table = {a: c for a, c in table.items() if c}
    for atom in [a for a in table if isinstance(a, Modulo)]:
        if atom not in table:
            continue
        coef = table[atom]
        partner = floordiv(atom.arg, atom.by)
        merged = _take_multiple(table, partner, coef * atom.by)
        if merged is not None:
            merged.pop(atom, None)
            rest = Expr(
                tuple(sorted(merged.items(), key=lambda t: t[0].key)), const - coef * atom.by * partner.const
            )
            return rest + atom.arg * coef
        wider = next(
            (b for b in table if isinstance(b, Modulo) and table[b] == coef * atom.by and b.arg == partner),
            None,
        )
        if wider is not None:  # (x//g % m)*g + x%g == x % (g*m)
            del table[atom], table[wider]
            return _normal(table, const) + modulo(atom.arg, atom.by * wider.by) * coef
    return Expr(tuple(sorted(table.items(), key=lambda t: t[0].key)), const)


def _take_multiple(table: dict[Atom, int], part: Expr, factor: int) -> dict[Atom, int] | None:
    """``table - factor * part`` where every term of ``part`` is in ``table`` exactly, else None."""
    if not part.terms or any(table.get(a) != c * factor for a, c in part.terms):
        return None
    return {a: c for a, c in table.items() if a not in dict(part.terms)}


@lru_cache(maxsize=65536)
def floordiv(e: Expr, by: int) -> Expr:
    """``e // by`` simplified. ``by`` must be positive."""
    if by <= 0:
        raise ValueError("index division needs a positive constant")
    if by == 1:
        return e
    whole, rest = _split(e, by)
    if rest.lo >= 0 and rest.hi < by:
        return whole
    if rest.lo // by == rest.hi // by:
        return whole + rest.lo // by
    rest, by2 = _strip_low_part(rest, by)
    if by2 != by:
        return whole + floordiv(rest, by2)
    if len(rest.terms) == 1 and rest.const == 0 and rest.terms[0][1] == 1:
        inner = rest.terms[0][0]
        if isinstance(inner, FloorDiv):
            return whole + floordiv(inner.arg, inner.by * by)
        if isinstance(inner, Modulo) and inner.by % by == 0:
            return whole + modulo(floordiv(inner.arg, by), inner.by // by)
    return whole + Expr(((FloorDiv(rest, by), 1),))


@lru_cache(maxsize=65536)
def modulo(e: Expr, by: int) -> Expr:
    """``e % by`` simplified. ``by`` must be positive."""
    if by <= 0:
        raise ValueError("index modulo needs a positive constant")
    if by == 1:
        return ZERO
    _, rest = _split(e, by)
    if rest.lo >= 0 and rest.hi < by:
        return rest
    if rest.lo // by == rest.hi // by:
        return rest - (rest.lo // by) * by
    for g in _grains(rest, by):
        high, low = _split(rest, g)
        if low.lo >= 0 and low.hi < g:
            return modulo(high, by // g) * g + low
    if len(rest.terms) == 1 and rest.const == 0 and rest.terms[0][1] == 1:
        inner = rest.terms[0][0]
        if isinstance(inner, Modulo) and inner.by % by == 0:
            return modulo(inner.arg, by)
    return Expr(((Modulo(rest, by), 1),))


def lookup(table: tuple[int, ...], e: Expr) -> Expr:
    """``table[e]``; an arithmetic progression becomes arithmetic."""
    if e.lo < 0 or e.hi >= len(table):
        raise ValueError(f"lookup index {e} leaves the table of {len(table)}")
    if e.is_const:
        return wrap(table[e.const])
    step = table[1] - table[0]
    if all(b - a == step for a, b in pairwise(table)):
        return e * step + table[0]
    size = len(table)
    if all(v == (table[0] + i) % size for i, v in enumerate(table)):
        return modulo(e + table[0], size)  # a rotation, as in shifted windows
    return Expr(((Lookup(table, e), 1),))


def _split(e: Expr, by: int) -> tuple[Expr, Expr]:
    """``(q, r)`` with ``e == by*q + r``, all multiples of ``by`` in q and r's constant in [0, by)."""
    high = tuple((a, c // by) for a, c in e.terms if c % by == 0)
    low = tuple((a, c) for a, c in e.terms if c % by)
    return Expr(high, e.const // by), Expr(low, e.const % by)


def _grains(e: Expr, by: int) -> list[int]:
    """Candidate common factors of part of the terms that divide ``by``, largest first."""
    return sorted({g for _, c in e.terms if (g := gcd(abs(c), by)) > 1}, reverse=True)


def _strip_low_part(e: Expr, by: int) -> tuple[Expr, int]:
    """``(g*A + r) // by == A // (by/g)`` where ``0 <= r < g`` and g divides by; applied once."""
    for g in _grains(e, by):
        high, low = _split(e, g)
        if low.lo >= 0 and low.hi < g:
            return high, by // g
    return e, by


def to_c(
    e: Expr, rename: Callable[[Var], str] | None = None, table: Callable[[tuple[int, ...]], str] | None = None
) -> str:
    """C text of the expression. Division and modulo operands must be non-negative (C truncates)."""
    parts = []
    for atom, coef in e.terms:
        text = _atom_c(atom, rename, table)
        parts.append(text if coef == 1 else f"{text}*{coef}" if coef > 0 else f"{text}*({coef})")
    if e.const or not parts:
        parts.append(str(e.const))
    text = "+".join(parts).replace("+-", "-")
    return text if len(parts) == 1 else f"({text})"


def _atom_c(
    atom: Atom, rename: Callable[[Var], str] | None, table: Callable[[tuple[int, ...]], str] | None
) -> str:
    if isinstance(atom, Var):
        return rename(atom) if rename else atom.name
    inner = to_c(atom.arg, rename, table)
    if isinstance(atom, Lookup):
        name = table(atom.table) if table else "table"
        return f"{name}[{inner}]"
    if atom.arg.lo < 0:
        # Euclidean form for operands that may be negative: shift by a multiple of the divisor.
        shift = -(atom.arg.lo // atom.by)
        inner = to_c(atom.arg + shift * atom.by, rename, table)
        return f"({inner}/{atom.by}-{shift})" if isinstance(atom, FloorDiv) else f"({inner}%{atom.by})"
    return f"({inner}{'/' if isinstance(atom, FloorDiv) else '%'}{atom.by})"
