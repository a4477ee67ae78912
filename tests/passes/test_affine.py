"""Scale and shift of a LayerNormalization inside the products that read it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecp.ir.graph import Graph
from ecp.ir.interp import run
from ecp.ir.verify import verify
from ecp.passes.affine import affine
from ecp.passes.rewrite import scalar
from tests.graphs import build, weights

K, N = 8, 6
NORM = ("LayerNormalization", ["x", "s", "t"], "z", {"axis": 2, "epsilon": 1e-6})
CONSTANTS = {"s": 1 + weights(K), "t": weights(K), "w": weights(K, N), "v": weights(K, N), "b": weights(N)}


def graph(rows: list[Any], outputs: tuple[str, ...] = ("y",), **constants: np.ndarray) -> Graph:
    return build([NORM, *rows], {"x": (2, 5, K)}, {**CONSTANTS, **constants}, list(outputs))


def moved(g: Graph) -> Graph:
    """The graph after the pass, which computes the same up to the rounding of changed weights to float32."""
    got = affine(g)
    verify(got)
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 5, K)).astype(np.float32)}
    wanted, found = run(g, feeds, np.float64), run(got, feeds, np.float64)
    for name in g.outputs:
        np.testing.assert_allclose(found[name], wanted[name], atol=2e-6)
    return got


def bare(g: Graph) -> bool:
    """Whether the normalisation has neither scale nor shift left."""
    (norm,) = [n for n in g.nodes if n.op == "LayerNormalization"]
    return len(norm.inputs) == 2 and scalar(g, norm.inputs[1]) == 1


def test_the_shift_goes_into_the_bias_that_is_there() -> None:
    got = moved(graph([("MatMul", ["z", "w"], "p", {}), ("Add", ["p", "b"], "y", {})]))
    assert bare(got) and [n.op for n in got.nodes] == ["LayerNormalization", "MatMul", "Add"]


def test_without_a_bias_the_shift_is_one() -> None:
    got = moved(graph([("MatMul", ["z", "w"], "y", {})]))
    assert bare(got) and [n.op for n in got.nodes] == ["LayerNormalization", "MatMul", "Add"]


def test_a_residual_that_is_added_is_no_bias() -> None:
    rows = [("MatMul", ["z", "q"], "p", {}), ("Add", ["p", "x"], "y", {})]
    got = moved(graph(rows, q=weights(K, K)))
    assert bare(got) and [n.op for n in got.nodes].count("Add") == 2


def test_a_product_that_is_read_twice_gets_an_addition_of_its_own() -> None:
    rows = [("MatMul", ["z", "w"], "p", {}), ("Add", ["p", "b"], "y", {}), ("Neg", ["p"], "u", {})]
    assert bare(moved(graph(rows, ("y", "u"))))


def test_all_products_that_read_it_change_also_behind_views_of_rows() -> None:
    rows = [
        ("MatMul", ["z", "w"], "y", {}), ("Transpose", ["z"], "r", {"perm": (1, 0, 2)}),
        ("Reshape", ["r"], "f", {"shape": (10, K)}),
        ("Slice", ["f"], "c", {"starts": (2, 0), "steps": (1, 1), "shape": (3, K)}), ("MatMul", ["c", "v"], "u", {}),
    ]  # fmt: skip
    assert bare(moved(graph(rows, ("y", "u"))))


REFUSED = {
    "another reader": [("MatMul", ["z", "w"], "p", {}), ("Add", ["p", "b"], "y", {}), ("Neg", ["z"], "u", {})],
    "weights of two products": [("MatMul", ["z", "w"], "y", {}), ("MatMul", ["x", "w"], "u", {})],
    "a view across rows": [
        ("Reshape", ["z"], "r", {"shape": (2, K, 5)}), ("MatMul", ["r", "q"], "y", {}), ("Neg", ["y"], "u", {}),
    ],
    "part of a row": [
        ("Slice", ["z"], "c", {"starts": (0, 0, 2), "steps": (1, 1, 1), "shape": (2, 5, 4)}),
        ("MatMul", ["c", "h"], "y", {}), ("Neg", ["y"], "u", {}),
    ],
    "a row made up": [
        ("Pad", ["z"], "c", {"before": (0, 1, 0), "after": (0, 0, 0), "value": 0.0}),
        ("MatMul", ["c", "w"], "y", {}), ("Neg", ["y"], "u", {}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_where_it_would_change_something_else_it_stays(why: str) -> None:
    g = graph(REFUSED[why], ("y", "u"), q=weights(5, N), h=weights(4, N))
    assert affine(g) is g


def test_the_output_of_the_graph_keeps_its_scale() -> None:
    g = graph([("MatMul", ["z", "w"], "y", {})], ("y", "z"))
    assert affine(g) is g


def test_the_pass_is_its_own_end() -> None:
    once = affine(graph([("MatMul", ["z", "w"], "y", {})]))
    assert affine(once) is once


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 30), st.floats(-30, 30))
def test_any_scale_and_shift(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    s, t = (rng.standard_normal(K).astype(np.float32) * np.float32(f) for f in (scale, shift))
    g = graph([("MatMul", ["z", "w"], "p", {}), ("Add", ["p", "b"], "y", {})], s=s, t=t)
    feeds = {"x": rng.standard_normal((2, 5, K)).astype(np.float32)}
    wanted, found = run(g, feeds, np.float64)["y"], run(affine(g), feeds, np.float64)["y"]
    size = np.abs(CONSTANTS["w"]).sum() * (3 * np.abs(s).max() + np.abs(t).max()) + 1
    assert np.abs(found - wanted).max() <= 1e-6 * size
