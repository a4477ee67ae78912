"""The list of passes: what each gives is verified, and a wrong pass is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ecp import pipeline
from ecp.codegen.lower import Launches
from ecp.codegen.schedule import ROWS
from ecp.errors import VerifyError
from ecp.ir.graph import Graph, Node, Type
from ecp.ir.verify import verify
from ecp.options import CompileOptions
from ecp.passes.storage import Placement
from tests.graphs import build, vit_block, weights

OPTIONS = CompileOptions(schedule=replace(ROWS["cpu"], chain=True, workers=2), persistent_groups=0)


def wide() -> Graph:
    """Two rows of operators that live side by side, and a Concat with a constant part."""
    rows: list[Any] = [
        ("Conv", ["x", "w"], "c", {"strides": (4, 4), "pads": (0,) * 4, "dilations": (1, 1), "group": 1}),
        ("Reshape", ["c"], "r", {"shape": (1, 8, 16)}),
        ("Transpose", ["r"], "t", {"perm": (0, 2, 1)}),
        ("Concat", ["cls", "t"], "all", {"axis": 1}),
        ("MatMul", ["all", "v"], "m", {}),
        ("Softmax", ["m"], "s", {"axis": 2}),
        ("MatMul", ["s", "v"], "n", {}),
        ("Add", ["m", "n"], "y", {}),
    ]
    constants = {"w": weights(8, 3, 4, 4), "cls": weights(1, 1, 8), "v": weights(8, 8)}
    return build(rows, {"x": (1, 3, 16, 16)}, constants, ["y"])


def with_node(graph: Graph, op: str, change: Callable[[Node], Node]) -> Graph:
    at = next(i for i, n in enumerate(graph.nodes) if n.op == op)
    return replace(graph, nodes=(*graph.nodes[:at], change(graph.nodes[at]), *graph.nodes[at + 1 :]))


def shape(graph: Graph) -> Graph:
    return replace(graph, types={**graph.types, "m": Type((1, 8, 17))})


def name(graph: Graph) -> Graph:
    return with_node(graph, "Softmax", lambda n: replace(n, name=graph.nodes[-1].name))


def edge(graph: Graph) -> Graph:
    return with_node(graph, "Add", lambda n: replace(n, inputs=("m", "")))


def renamed_output(graph: Graph) -> Graph:
    return replace(graph, outputs=("n",))


def inside(change: Callable[[Node, Graph], Node]) -> Callable[[Graph], Graph]:
    """A change of the last fused operator, which has several inputs, and of its body."""

    def run(graph: Graph) -> Graph:
        last = graph.nodes[-1]
        return replace(graph, nodes=(*graph.nodes[:-1], change(last, last.attrs["body"])))

    return run


def lost_edge(node: Node, _: Graph) -> Node:
    return replace(node, inputs=node.inputs[1:])


def body_shape(node: Node, body: Graph) -> Node:
    types = {**body.types, body.nodes[0].outputs[0]: Type((3,))}
    return replace(node, attrs={**node.attrs, "body": replace(body, types=types)})


def unread(node: Node, body: Graph) -> Node:
    inputs = (*node.inputs, "c")
    types = {**body.types, "c": Type((1, 8, 4, 4))}
    attrs = {**node.attrs, "body": replace(body, inputs=inputs, types=types)}
    return replace(node, inputs=inputs, attrs=attrs)


def moved(placed: Placement) -> Placement:
    """The Concat's part goes elsewhere, so that the whole is read unwritten."""
    buffers = {**placed.buffers, "away": replace(placed.buffers["all"], name="away", kind="arena")}
    storage = {**placed.storage, "t": replace(placed.storage["t"], buffer="away")}
    c = replace(placed.storage["c"], buffer="away")
    return replace(placed, buffers=buffers, storage={**storage, "c": c})


def late(placed: Placement) -> Placement:
    nodes = list(placed.graph.nodes)
    nodes[-1], nodes[-2] = nodes[-2], nodes[-1]
    return replace(placed, graph=replace(placed.graph, nodes=tuple(nodes)))


def outside(placed: Placement) -> Placement:
    stored = placed.storage["m"]
    view = replace(stored.view, offset=1)
    return replace(placed, storage={**placed.storage, "m": replace(stored, view=view)})


def shared(placed: Placement) -> Placement:
    return replace(placed, storage={**placed.storage, "s": placed.storage["m"]})


def unknown(stage: Launches) -> Launches:
    stage.launches[-1].args[0] = "nowhere"
    return stage


def unwritten(stage: Launches) -> Launches:
    return replace(stage, launches=stage.launches[::-1])


def overlap(stage: Launches) -> Launches:
    assert stage.memory is not None
    for mem in stage.memory.mems.values():
        if mem.pool == "arena":
            mem.offset = 0
    return stage


def unserved(stage: Launches) -> Launches:
    return replace(stage, selected=stage.selected[1:])


WRONG: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "shape": ("affine", shape, "'m' is .*declared"),
    "name": ("affine", name, "two nodes are named"),
    "edge": ("affine", edge, "takes 2 to 2 inputs"),
    "output": ("gelu", renamed_output, "the outputs were y, and are now n"),
    "lost edge": ("fuse", inside(lost_edge), "the body maps"),
    "body": ("fuse", inside(body_shape), "in node .*declared"),
    "unread": ("fuse", inside(unread), "'c' is given and never read"),
    "moved": ("place", moved, "before all of it is written to buffer 'all'"),
    "late": ("place", late, "before it is defined"),
    "outside": ("k-blocked-layout", outside, "takes elements 1 to 136 of 136"),
    "shared": ("unfuse-layer-norm", shared, "over what is in buffer 'm'"),
    "unserved": ("select-kernels", unserved, "selected kernels differ"),
    "unknown": ("write-kernels", unknown, "'nowhere', which is no buffer"),
    "unwritten": ("write-kernels", unwritten, "before a launch writes it"),
    "overlap": ("plan-memory", overlap, "alive at once and overlap"),
}


def plant(monkeypatch: pytest.MonkeyPatch, where: str, wrong: Callable[[Any], Any]) -> None:
    """Make one pass of the list wrong."""

    def planted(step: pipeline.Pass[Any, Any]) -> pipeline.Pass[Any, Any]:
        if step.name != where:
            return step
        return replace(step, run=lambda given, options: wrong(step.run(given, options)))

    for group in ("CANONICAL", "FUSION", "PLACEMENT", "LAUNCHES"):
        monkeypatch.setattr(pipeline, group, tuple(planted(p) for p in getattr(pipeline, group)))
    for single in ("PLACE", "SELECT"):
        monkeypatch.setattr(pipeline, single, planted(getattr(pipeline, single)))


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_pass_is_named(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, wrong, message = WRONG[case]
    plant(monkeypatch, where, wrong)
    with pytest.raises(VerifyError, match=f"after the pass {where}: .*{message}"):
        pipeline.lower_graph(wide(), "cpu", OPTIONS)


def test_nothing_is_verified_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "gelu", lambda graph: with_node(graph, "Softmax", lambda n: replace(n, name="Add_7")))
    monkeypatch.setenv("ECP_VERIFY", "0")
    pipeline.lower_graph(wide(), "cpu", OPTIONS)
    monkeypatch.setenv("ECP_VERIFY", "1")
    with pytest.raises(VerifyError, match="after the pass gelu"):
        pipeline.lower_graph(wide(), "cpu", OPTIONS)


@pytest.mark.parametrize("device_class", ROWS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_pass_of_every_class_keeps_the_rules(device_class: str, precision: str) -> None:
    options = CompileOptions(precision=precision, schedule=ROWS[device_class], persistent_groups=132)
    seen: list[str] = []
    for graph in (wide(), vit_block(core=5), vit_block(tokens=128, dim=128)):
        pipeline.lower_graph(graph, device_class, options, lambda step, *_: seen.append(step.name))
    expected = [p.name for p in pipeline.PASSES if p.name != "persistent-vit"]
    assert seen[-len(expected) :] == expected


def test_names_are_unique() -> None:
    names = [p.name for p in pipeline.PASSES]
    assert len(set(names)) == len(names) and all(p.what for p in pipeline.PASSES)


def test_products_share_an_unfused_normalisation() -> None:
    """Q and K from weights of their own: one launch normalises for both."""
    tokens, dim = 2048, 1024
    rows: list[Any] = [
        ("LayerNormalization", ["x", "g"], "n", {"axis": 2, "epsilon": 1e-6}),
        ("MatMul", ["n", "a"], "q", {}),
        ("MatMul", ["n", "b"], "k", {}),
    ]
    constants = {"g": np.ones(dim, np.float32), "a": weights(dim, dim), "b": weights(dim, dim, seed=1)}
    graph = build(rows, {"x": (1, tokens, dim)}, constants, ["q", "k"])
    verify(graph)
    options = CompileOptions(precision="fp16", schedule=ROWS["nvidia"], persistent_groups=0)
    (plan, _, _), _ = pipeline.lower_graph(graph, "nvidia", options)
    assert [launch.family == "reduce" for launch in plan.launches] == [True, False, False]
