"""The simplifier against brute force: whatever it returns must evaluate to the same numbers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecp.index.expr import Expr, floordiv, lookup, modulo, to_c, var, wrap

EXTENTS = {"i": 6, "j": 4, "k": 5}


@st.composite
def raw(draw: st.DrawFn, depth: int = 3) -> tuple[Expr, object]:
    """An expression built twice: by the library and as a plain Python function."""
    kind = draw(st.sampled_from(["var", "const", "add", "mul", "div", "mod"] if depth else ["var", "const"]))
    if kind == "var":
        name = draw(st.sampled_from(sorted(EXTENTS)))
        return var(name, EXTENTS[name]), lambda v, n=name: v[n]
    if kind == "const":
        c = draw(st.integers(-3, 12))
        return wrap(c), lambda v, c=c: c
    left, f = draw(raw(depth - 1))
    if kind == "add":
        right, g = draw(raw(depth - 1))
        return left + right, lambda v: f(v) + g(v)
    by = draw(st.sampled_from([1, 2, 3, 4, 6, 8, 12]))
    if kind == "mul":
        return left * by, lambda v: f(v) * by
    return (
        (floordiv(left, by), lambda v: f(v) // by)
        if kind == "div"
        else (modulo(left, by), lambda v: f(v) % by)
    )


def points() -> list[dict[str, int]]:
    return [dict(zip(EXTENTS, p)) for p in itertools.product(*(range(n) for n in EXTENTS.values()))]


@settings(max_examples=300, deadline=None)
@given(raw())
def test_simplified_expression_means_the_same(pair: tuple[Expr, object]) -> None:
    expr, meaning = pair
    for p in points():
        assert expr.evaluate(p) == meaning(p)  # type: ignore[operator]


@settings(max_examples=200, deadline=None)
@given(raw())
def test_bounds_contain_every_value(pair: tuple[Expr, object]) -> None:
    expr, _ = pair
    values = [expr.evaluate(p) for p in points()]
    assert expr.lo <= min(values) and max(values) <= expr.hi


@settings(max_examples=200, deadline=None)
@given(raw())
def test_c_text_means_the_same(pair: tuple[Expr, object]) -> None:
    expr, _ = pair
    text = to_c(expr).replace("/", "//")  # operands are non-negative by construction, where // is C's /
    for p in points():
        assert eval(text, {}, p) == expr.evaluate(p)


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ((var("n", 4) * 64 + var("l", 16)) // 64, var("n", 4)),
        ((var("n", 4) * 64 + var("l", 16)) % 64, var("l", 16)),
        (var("x", 100) // 7 * 7 + var("x", 100) % 7, var("x", 100)),
        (var("x", 1000) // 8 // 4, var("x", 1000) // 32),
        (var("x", 1000) % 64 // 8, var("x", 1000) // 8 % 8),
        (var("x", 1000) // 8 % 8 * 8 + var("x", 1000) % 8, var("x", 1000) % 64),
        ((var("x", 8) * 4 + var("y", 4)) // 8, var("x", 8) // 2),
        (lookup((3, 5, 7, 9), var("i", 4)), var("i", 4) * 2 + 3),
        (lookup((2, 3, 0, 1), var("i", 4)), (var("i", 4) + 2) % 4),
    ],
)
def test_known_identities(expr: Expr, expected: Expr) -> None:
    assert expr == expected


def test_products_of_variables_are_refused() -> None:
    with pytest.raises(ValueError, match="linear"):
        var("i", 4) * var("j", 4)


def test_lookup_outside_its_table_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves the table"):
        lookup((1, 5, 2), var("i", 4))
