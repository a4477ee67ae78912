"""Slices move up: the same outputs, fewer rows computed, and nothing where all rows are needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecp.ir.graph import Graph, Node, Type
from ecp.ir.infer import infer_node
from ecp.ir.interp import run
from ecp.ir.verify import verify
from ecp.passes.demand import narrow
from ecp.pipeline import canonicalize
from tests.graphs import build, vit_block, weights


def sliced(graph: Graph, axis: int, start: int, count: int) -> Graph:
    """The graph with its single output cut."""
    (out,) = graph.outputs
    shape = graph.types[out].shape
    kept = tuple(count if i == axis else n for i, n in enumerate(shape))
    starts = tuple(start if i == axis else 0 for i in range(len(shape)))
    attrs = {"starts": starts, "steps": (1,) * len(shape), "shape": kept}
    cut = Node("Slice", (out,), ("cut",), attrs, "cut")
    # An output itself is never cut short: something must read the slice.
    last = Node("Relu", ("cut",), ("z",), {}, "last")
    types = {**graph.types, "cut": infer_node(cut, graph.types)[0]}
    types["z"] = types["cut"]
    return replace(graph, nodes=(*graph.nodes, cut, last), outputs=("z",), types=types)


def check(graph: Graph) -> Graph:
    narrowed = narrow(graph)
    verify(narrowed)
    rng = np.random.default_rng(0)
    feeds = {i: rng.standard_normal(graph.types[i].shape).astype(np.float32) for i in graph.inputs}
    want, got = run(graph, feeds, np.float64), run(narrowed, feeds, np.float64)
    assert want.keys() == got.keys()
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-12, atol=1e-12)
    return narrowed


def work(graph: Graph) -> int:
    return sum(graph.types[o].size for n in graph.nodes if n.op == "MatMul" for o in n.outputs)


@pytest.mark.parametrize("core", [None, 5, 12])
@pytest.mark.parametrize(("start", "count"), [(0, 1), (3, 2), (20, 1)])
def test_the_last_block_computes_the_rows_that_are_read(core: int | None, start: int, count: int) -> None:
    graph = sliced(vit_block(tokens=21, dim=64, heads=2, core=core), 1, start, count)
    narrowed = check(graph)
    rows = {n.name: narrowed.types[n.output].shape for n in narrowed.nodes if n.op == "MatMul"}
    # Keys and values of all tokens; everything behind the attention for `count` rows only.
    assert [shape for shape in rows.values() if 21 in shape[:-1]] == [(1, 21, 192)]
    assert work(narrowed) < work(graph) / 2
    assert check(canonicalize(graph)).outputs == graph.outputs


def test_what_is_read_whole_or_is_an_output_stays() -> None:
    block = vit_block(tokens=21, dim=64, heads=2)
    assert narrow(block).nodes == block.nodes
    for axis, start, count in (
        (1, 0, 11),
        (1, 10, 11),
    ):  # more than half is kept: the slice stays where it is
        graph = sliced(block, axis, start, count)
        assert [n.outputs for n in narrow(graph).nodes] == [n.outputs for n in graph.nodes]
    graph = sliced(block, 1, 0, 1)
    both = replace(graph, outputs=("z", block.outputs[0]))
    assert work(check(both)) == work(both)


ROWS = {
    "elementwise": [("Add", ["x", "bias"], "y", {}), ("Gelu", ["y"], "h", {"approximate": "none"})],
    "softmax": [("Softmax", ["x"], "h", {"axis": 2})],
    "transpose": [("Transpose", ["x"], "h", {"perm": (0, 2, 1)})],
    "reshape": [("Reshape", ["x"], "h", {"shape": (2, 12, 2, 4)})],
    "product": [("MatMul", ["x", "w"], "h", {})],
    "columns": [("MatMul", ["w2", "x"], "h", {})],
    "concat": [("Relu", ["x"], "r", {}), ("Concat", ["x", "r", "tail"], "h", {"axis": 1})],
    "norm": [("LayerNormalization", ["x", "scale", "shift"], "h", {"axis": 2, "epsilon": 1e-6})],
}


@settings(deadline=None, max_examples=120)
@given(st.sampled_from(sorted(ROWS)), st.data())
def test_any_run_of_any_axis_is_the_same(name: str, data: Any) -> None:
    constants = {
        "bias": weights(12, 1), "w": weights(8, 8), "w2": weights(5, 12), "tail": weights(2, 3, 8),
        "scale": weights(8), "shift": weights(8, seed=1),
    }  # fmt: skip
    used = {i for _, inputs, _, _ in ROWS[name] for i in inputs}
    graph = build(ROWS[name], {"x": (2, 12, 8)}, {k: v for k, v in constants.items() if k in used}, ["h"])
    shape = graph.types["h"].shape
    axis = data.draw(st.integers(0, len(shape) - 1))
    start = data.draw(st.integers(0, shape[axis] - 1))
    count = data.draw(st.integers(1, shape[axis] - start))
    check(sliced(graph, axis, start, count))


def test_two_readers_keep_what_they_need_together() -> None:
    """A distilled DeiT reads tokens 0 and 1, each with its own head."""
    block = vit_block(tokens=21, dim=64, heads=2)
    (out,) = block.outputs
    nodes, types = list(block.nodes), dict(block.types)
    for index in (0, 1):
        attrs = {"starts": (0, index, 0), "steps": (1, 1, 1), "shape": (1, 1, 64)}
        nodes.append(Node("Slice", (out,), (f"token{index}",), attrs, f"token{index}"))
        nodes.append(Node("Relu", (f"token{index}",), (f"head{index}",), {}, f"head{index}"))
        types |= {f"token{index}": Type((1, 1, 64)), f"head{index}": Type((1, 1, 64))}
    graph = replace(block, nodes=tuple(nodes), outputs=("head0", "head1"), types=types)
    narrowed = check(graph)
    assert (1, 2, 64) in {narrowed.types[n.output].shape for n in narrowed.nodes if n.op == "MatMul"}
    assert work(narrowed) < work(graph) / 2
