"""Digit views and operator maps against numpy, bit-exact, on random chains of layout operators."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ecp.index.expr import var
from ecp.index.maps import pull, push, view_through
from ecp.index.view import Digit, View


@st.composite
def chains(draw: st.DrawFn) -> tuple[tuple[int, ...], list[tuple[str, dict]]]:
    """A start shape and a list of (operator, attributes) as models contain them."""
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=2, max_size=4)))
    start, ops = shape, []
    for _ in range(draw(st.integers(1, 5))):
        op = draw(st.sampled_from(["Transpose", "Reshape", "Slice"]))
        if op == "Transpose":
            perm = tuple(draw(st.permutations(range(len(shape)))))
            ops.append((op, {"perm": perm}))
            shape = tuple(shape[p] for p in perm)
        elif op == "Reshape":
            shape = draw(st.sampled_from(reshapes(shape)))
            ops.append((op, {"shape": shape}))
        else:
            starts, steps, counts = [], [], []
            for n in shape:
                s = draw(st.integers(0, n - 1))
                step = draw(st.sampled_from([1, 1, 1, 2]))
                starts.append(s)
                steps.append(step)
                counts.append(draw(st.integers(1, (n - 1 - s) // step + 1)))
            ops.append((op, {"starts": tuple(starts), "steps": tuple(steps), "shape": tuple(counts)}))
            shape = tuple(counts)
    return start, ops


def reshapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    size = math.prod(shape)
    found = [(size,), shape]
    for a in range(1, size + 1):
        if size % a == 0:
            found.append((a, size // a))
            found += [(a, b, size // a // b) for b in (2, 3) if size // a % b == 0]
    return found


def apply(op: str, attrs: dict, x: np.ndarray) -> np.ndarray:
    if op == "Transpose":
        return x.transpose(attrs["perm"])
    if op == "Reshape":
        return x.reshape(attrs["shape"])
    index = tuple(
        slice(s, s + (n - 1) * t + 1, t) for s, t, n in zip(attrs["starts"], attrs["steps"], attrs["shape"])
    )
    return x[index]


def coords(shape: tuple[int, ...]) -> list:
    return [var(f"c{i}", n) for i, n in enumerate(shape)]


def evaluate(exprs: list, point: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(e.evaluate({f"c{i}": p for i, p in enumerate(point)}) for e in exprs)


@settings(max_examples=300, deadline=None)
@given(chains())
def test_chain_of_maps_reads_what_numpy_reads(chain: tuple) -> None:
    start, ops = chain
    x = np.arange(math.prod(start)).reshape(start)
    arrays = [x]
    for op, attrs in ops:
        arrays.append(apply(op, attrs, arrays[-1]))
    at = coords(arrays[-1].shape)
    for (op, attrs), source, result in zip(ops[::-1], arrays[-2::-1], arrays[:0:-1]):
        pulled = pull(op, attrs, at, source.shape, result.shape)
        assert pulled is not None
        at = pulled
    for point in np.ndindex(arrays[-1].shape):
        assert x[evaluate(at, point)] == arrays[-1][point]


@settings(max_examples=300, deadline=None)
@given(chains())
def test_view_of_a_chain_is_right_or_refused(chain: tuple) -> None:
    start, ops = chain
    array, view = np.arange(math.prod(start)).reshape(start), View.dense(start)
    for op, attrs in ops:
        array = apply(op, attrs, array)
        moved = view_through(op, attrs, view, array.shape)
        if moved is None:
            return
        view = moved
    assert view.shape == array.shape
    lo, hi = view.bounds
    assert lo >= 0 and hi < math.prod(start)
    flat = view.index(coords(array.shape))
    for point in np.ndindex(array.shape):
        assert evaluate([flat], point) == (array[point],)


@settings(max_examples=200, deadline=None)
@given(chains())
def test_push_inverts_pull(chain: tuple) -> None:
    start, ops = chain
    shape = start
    for op, attrs in ops:
        out = apply(op, attrs, np.empty(shape)).shape
        here = coords(shape)
        pushed = push(op, attrs, here, shape, out)
        if op == "Slice":
            assert pushed is None
        else:
            assert pull(op, attrs, pushed, shape, out) is not None
            back = pull(op, attrs, pushed, shape, out)
            for point in np.ndindex(shape):
                assert evaluate(back, point) == point
        shape = out


def test_canonical_form_is_unique() -> None:
    assert View.dense((4, 6)).reshape((24,)) == View.dense((24,))
    assert View(((Digit(4, 6), Digit(6, 1)),)).reshape((24,)) == View.dense((24,))


def test_share_of_attention_chains_that_digits_express() -> None:
    """qkv split, head merge, window partition and pixel shuffle are all digits: no expression is needed."""
    qkv = View.dense((197, 576)).reshape((197, 3, 3, 64))
    assert qkv is not None
    heads = qkv.permute((1, 2, 0, 3)).slice((1, 0, 0, 0), (1, 1, 1, 1), (1, 3, 197, 64))
    assert heads is not None and heads.strides == (0, 64, 576, 1) and heads.offset == 192
    window = View.dense((56, 56, 96)).reshape((8, 7, 8, 7, 96))
    assert window is not None
    assert window.permute((0, 2, 1, 3, 4)).reshape((64, 49, 96)) is not None


def test_injective() -> None:
    assert View.dense((3, 4)).injective
    assert not View.dense((3, 1)).broadcast((3, 4)).injective
