"""Candidates of layouts, their predicted cost, and the choice between them; no device."""

from __future__ import annotations

import numpy as np
import pytest

from ecp.index.view import Digit, View
from ecp.ir.graph import Graph
from ecp.passes.fuse import fuse
from ecp.passes.layoutchoice import MARGIN, Chooser, flat_offsets, innermost
from ecp.passes.layoutcost import ROWS, cost, fetched
from ecp.passes.layoutwalk import Access, operand_axes
from ecp.passes.storage import add_concat_copies, back_through_shape, place
from ecp.pipeline import canonicalize
from tests.graphs import build, vit_block, weights

ROW = ROWS["cpu"]


def chooser(graph: Graph) -> Chooser:
    return Chooser(add_concat_copies(fuse(canonicalize(graph))), ROW, back_through_shape)


def test_offsets_are_those_of_the_view() -> None:
    view = View(((Digit(2, 6), Digit(3, 1)), (Digit(2, 3),)), 5)
    want = [[view.index([i, j]).const for j in range(2)] for i in range(6)]
    assert flat_offsets(view).tolist() == want


def test_contiguous_costs_less_than_strided() -> None:
    walk = np.arange(1 << 14, dtype=np.int32).reshape(-1, 16)
    rows, columns = View.dense((128, 128)), innermost((128, 128), [1, 0])
    assert cost(ROW, Access(walk), flat_offsets(rows)) < cost(ROW, Access(walk), flat_offsets(columns))
    own = Access(walk, own=True)
    assert cost(ROW, own, flat_offsets(rows)) == cost(ROW, own, flat_offsets(columns))


def test_repeats_inside_a_cache_fetch_once() -> None:
    walk = np.arange(1 << 16, dtype=np.int32).reshape(-1, 16)
    offsets = flat_offsets(View.dense((1 << 16,)))
    together = cost(ROW, Access(walk, repeats=10, span=64), offsets)
    apart = cost(ROW, Access(walk, repeats=10), offsets)
    assert together < apart


def test_lines_are_counted_within_reach() -> None:
    lines = np.repeat(np.arange(10), 4)
    assert fetched(lines, 1000) == 10
    again = np.tile(np.arange(100), 3)
    assert fetched(again, 1000) == 100 and fetched(again, 100) == 300


def test_reduction_dimensions_are_carried_up_through_views() -> None:
    """The product reads the transpose along what was the first axis."""
    rows = [
        ("Relu", ["x"], "r", {}), ("Transpose", ["r"], "t", {"perm": (1, 0)}), ("MatMul", ["t", "w"], "y", {}),
    ]  # fmt: skip
    graph = build(rows, {"x": (80, 70)}, {"w": weights(80, 48)}, ["y"])
    found = chooser(graph)
    assert operand_axes(found.graph, found.users, "r") == {0}
    choice = found.choose("r", View.dense((80, 70)))
    columns = innermost((80, 70), [1, 0])
    assert columns in choice.views
    assert choice.views[choice.best] == columns, "rows of the operand are contiguous"


@pytest.mark.parametrize("core", [None, 5])
def test_candidates_are_layouts_and_the_rule_is_first(core: int | None) -> None:
    graph = vit_block(tokens=9, dim=32, heads=2, core=core)
    found = chooser(graph)
    rule = place(found.graph).storage
    for value, storage in rule.items():
        if storage.buffer != value:
            continue
        choice = found.choose(value, storage.view)
        assert choice.views[0] == storage.view and len(choice.views) <= 6
        size = found.graph.types[value].size
        for view in choice.views:
            assert sorted(flat_offsets(view).reshape(-1)) == list(range(size))
        if choice.best:
            assert choice.predicted[choice.best] <= MARGIN * choice.predicted[0]


def test_equal_blocks_are_evaluated_once() -> None:
    rows, x = [], "x"
    for i in range(4):
        rows += [("MatMul", [x, f"w{i}"], f"m{i}", {}), ("Softmax", [f"m{i}"], f"s{i}", {"axis": 1})]
        x = f"s{i}"
    graph = build(rows, {"x": (64, 64)}, {f"w{i}": weights(64, 64, seed=i) for i in range(4)}, [x])
    found = chooser(graph)
    choices = [found.choose(f"m{i}", View.dense((64, 64))) for i in range(3)]
    assert choices[0] is choices[1] is choices[2]


def test_given_layouts_are_used() -> None:
    rows = [("MatMul", ["x", "w"], "m", {}), ("Softmax", ["m"], "y", {"axis": 1})]
    graph = fuse(canonicalize(build(rows, {"x": (64, 64)}, {"w": weights(64, 64)}, ["y"])))
    view = innermost((64, 64), [1, 0])
    assert place(graph, layouts={"m": view}).storage["m"].view == view
