"""Einsum lowered to Transpose, Reshape, ReduceSum and MatMul, two operands at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ecp.frontend.registry import NodeContext


def emit_einsum(c: NodeContext, equation: str, inputs: Sequence[str]) -> str:
    """Evaluate an einsum equation over IR values. Letters of an ellipsis become axes named by digits."""
    terms, result = _parse(equation, [len(c.shape(v)) for v in inputs])
    operands = [_diagonals(c, v, t) for v, t in zip(inputs, terms)]
    value, term = operands[0]
    for i, (other, other_term) in enumerate(operands[1:], start=2):
        later = set("".join(t for _, t in operands[i:])) | set(result)
        value, term = _contract(c, (value, term), (other, other_term), later)
    value, term = _sum_away(c, value, term, set(result))
    value, term = _as_order(c, value, term, result)
    return value


def _parse(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    left, _, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"equation {equation!r} does not have {len(ranks)} terms")
    widest = max((r - len(t.replace("...", "")) for t, r in zip(terms, ranks) if "..." in t), default=0)
    names = "0123456789"[:widest]
    full = []
    for term, rank in zip(terms, ranks):
        hidden = rank - len(term.replace("...", ""))
        full.append(term.replace("...", names[widest - hidden :] if hidden else ""))
        if len(full[-1]) != rank:
            raise ValueError(f"term {term!r} of {equation!r} does not fit rank {rank}")
    if "->" in equation:
        return full, right.replace("...", names)
    once = sorted(x for x in set("".join(full)) if "".join(full).count(x) == 1 and not x.isdigit())
    return full, (names if "..." in equation else "") + "".join(once)


def _diagonals(c: NodeContext, value: str, term: str) -> tuple[str, str]:
    """A letter twice in one term: pick the diagonal by constant indices."""
    while len(set(term)) < len(term):
        letter = next(x for x in term if term.count(x) > 1)
        i = term.index(letter)
        j = term.index(letter, i + 1)
        rest = [k for k in range(len(term)) if k not in (i, j)]
        value = c.transpose(value, (*rest, i, j))
        lead, size = c.shape(value)[:-2], c.shape(value)[-1]
        flat = c.reshape(value, (*lead, size * size))
        count = len(lead)
        value = c.emit(
            "Slice", flat, starts=(0,) * (count + 1), steps=(1,) * count + (size + 1,), shape=(*lead, size)
        )
        term = "".join(term[k] for k in rest) + letter
    return value, term


def _sum_away(c: NodeContext, value: str, term: str, keep: set[str]) -> tuple[str, str]:
    axes = tuple(i for i, x in enumerate(term) if x not in keep)
    if axes:
        value = c.emit("ReduceSum", value, axes=axes, keepdims=False)
    return value, "".join(x for x in term if x in keep)


def _as_order(c: NodeContext, value: str, term: str, order: str) -> tuple[str, str]:
    return c.transpose(value, [term.index(x) for x in order]), order


def _contract(
    c: NodeContext, left: tuple[str, str], right: tuple[str, str], later: set[str]
) -> tuple[str, str]:
    """One product: shared kept letters are batch, shared dropped letters are summed by the MatMul."""
    a, ta = _sum_away(c, *left, later | set(right[1]))
    b, tb = _sum_away(c, *right, later | set(left[1]))
    sizes = dict(zip(ta + tb, c.shape(a) + c.shape(b)))
    for x, d in zip(ta, c.shape(a)):
        sizes[x] = max(sizes[x], d)  # an ellipsis axis of 1 broadcasts
    batch = [x for x in ta if x in tb and x in later]
    summed = [x for x in ta if x in tb and x not in later]
    rows, columns = [x for x in ta if x not in tb], [x for x in tb if x not in ta]
    a, _ = _as_order(c, a, ta, "".join(batch + rows + summed))
    b, _ = _as_order(c, b, tb, "".join(batch + summed + columns))

    def size(letters: Sequence[str]) -> int:
        return math.prod(sizes[x] for x in letters)

    lead_a, lead_b = c.shape(a)[: len(batch)], c.shape(b)[: len(batch)]
    a = c.reshape(a, (*lead_a, size(rows), size(summed)))
    b = c.reshape(b, (*lead_b, size(summed), size(columns)))
    out = c.emit("Mul", a, b) if not summed and not rows and not columns else c.emit("MatMul", a, b)
    lead = np.broadcast_shapes(lead_a, lead_b)
    out = c.reshape(out, (*lead, *(sizes[x] for x in rows + columns)))
    return out, "".join(batch + rows + columns)
