"""Every pass keeps the meaning of the graph (numpy interpreter, float64) and its invariants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ecp.ir.graph import Graph
from ecp.ir.interp import run
from ecp.ir.verify import verify
from ecp.passes.fuse import fuse
from ecp.passes.memory import Lifetime, check, plan
from ecp.passes.rewrite import is_view
from ecp.passes.storage import add_concat_copies, place
from ecp.pipeline import canonicalize
from tests.graphs import build, rotary, vit_block, weights

PASSES: list[Callable[[Graph], Graph]] = [canonicalize, fuse, add_concat_copies]


def class_token() -> Graph:
    """Patch embedding with a class token and a permutation, as ECP-ViT exports it."""
    order = np.random.default_rng(0).permutation(16)
    c = {"w": weights(8, 3, 4, 4), "cls": weights(1, 1, 8), "pos": weights(1, 17, 8)}
    rows = [
        ("Conv", ["x", "w"], "c", {"strides": (4, 4), "pads": (0,) * 4, "dilations": (1, 1), "group": 1}),
        ("Reshape", ["c"], "r", {"shape": (1, 8, 16)}),
        ("Transpose", ["r"], "t", {"perm": (0, 2, 1)}),
        ("Gather", ["t"], "g", {"axis": 1, "indices": order.astype(np.int64)}),
        ("Concat", ["cls", "g"], "all", {"axis": 1}),
        ("Add", ["all", "pos"], "y", {}),
        ("Relu", ["y"], "z", {}),
    ]
    return build(rows, {"x": (1, 3, 16, 16)}, c, ["z"])


def rolled() -> Graph:
    """Swin's cyclic shift, then a product."""

    def cut(start: int, count: int, name: str) -> tuple:
        return ("Slice", ["x"], name, {"starts": (0, start, 0), "steps": (1, 1, 1), "shape": (1, count, 8)})

    rows = [
        cut(3, 5, "a"),
        cut(0, 3, "b"),
        ("Concat", ["a", "b"], "r", {"axis": 1}),
        ("MatMul", ["r", "w"], "y", {}),
    ]
    return build(rows, {"x": (1, 8, 8)}, {"w": weights(8, 8)}, ["y"])


def written_out_norm() -> Graph:
    c = {"eps": np.float32(1e-5), "two": np.float32(2), "g": 1 + weights(8), "b": weights(8, seed=1)}
    rows = [
        ("ReduceMean", ["x"], "m", {"axes": (2,), "keepdims": 1}), ("Sub", ["x", "m"], "d", {}),
        ("Pow", ["d", "two"], "sq", {}), ("ReduceMean", ["sq"], "v", {"axes": (2,), "keepdims": 1}),
        ("Add", ["v", "eps"], "ve", {}), ("Sqrt", ["ve"], "s", {}), ("Div", ["d", "s"], "n", {}),
        ("Mul", ["n", "g"], "ng", {}), ("Add", ["ng", "b"], "y", {}),
    ]  # fmt: skip
    return build(rows, {"x": (1, 5, 8)}, {k: np.asarray(v, np.float32) for k, v in c.items()}, ["y"])


def written_out_gelu(spelling: str = "x, half", half: float = 0.5, shared: bool = False) -> Graph:
    """x * (1 + erf(x / sqrt(2))) * 0.5 as exporters write it."""
    c = {"root": 2**0.5, "inverse": 0.5**0.5, "one": 1.0, "half": half}
    inner = (
        ("Mul", ["inverse", "x"], "d", {}) if spelling == "half times x" else ("Div", ["x", "root"], "d", {})
    )
    last = {
        "x, half": [("Mul", ["x", "s"], "p", {}), ("Mul", ["p", "half"], "y", {})],
        "half, x": [("Mul", ["half", "s"], "p", {}), ("Mul", ["p", "x"], "y", {})],
        "half times x": [("Mul", ["x", "half"], "p", {}), ("Mul", ["p", "s"], "y", {})],
    }[spelling]
    rows = [inner, ("Erf", ["d"], "e", {}), ("Add", ["e", "one"], "s", {}), *last]
    return build(
        rows,
        {"x": (5, 8)},
        {k: np.float32(v).reshape(()) for k, v in c.items()},
        ["y", "s"] if shared else ["y"],
    )


GRAPHS = {
    "block": vit_block, "cp": lambda: vit_block(core=5), "class_token": class_token, "rolled": rolled,
    "norm": written_out_norm, "rotary": rotary,
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_every_pass_keeps_the_meaning(name: str) -> None:
    graph = GRAPHS[name]()
    feeds = {
        i: np.random.default_rng(1).standard_normal(graph.types[i].shape).astype(np.float32)
        for i in graph.inputs
    }
    want = run(graph, feeds, np.float64)
    rounded: set[str] = set()
    for step in PASSES:
        graph = step(graph)
        rounded |= {name for name in graph.constants if name.endswith(("@scaled", "@shift", "@shifted"))}
        verify(graph)
        got = run(graph, feeds, np.float64)
        for key, value in want.items():
            # Weights that took in a LayerNorm's scale are rounded to float32 once more.
            atol = 1e-6 if graph.constants.keys() & rounded else 1e-12
            np.testing.assert_allclose(got[key], value, atol=atol, err_msg=f"after {step.__name__}")


@pytest.mark.parametrize("core", [None, 5])
def test_a_block_is_five_launches_without_layout(core: int | None) -> None:
    fused = fuse(canonicalize(vit_block(core=core)))
    launches = [n for n in fused.nodes if n.op == "Fused"]
    assert [n.attrs["kind"] for n in launches] == ["matmul", "attention", "matmul", "matmul", "matmul"]
    assert all(is_view(n) for n in fused.nodes if n.op != "Fused")


def test_switches_of_the_ablation() -> None:
    block = canonicalize(vit_block())
    views = sum(is_view(n) for n in block.nodes)
    unfused = [n for n in fuse(block, fuse=False).nodes if n.op == "Fused"]
    assert len(unfused) == len(block.nodes) - views
    copies = [n for n in fuse(block, eliminate=False).nodes if n.op == "Fused" and n.attrs["kind"] == "copy"]
    # Split counts once per output that somebody reads.
    assert len(copies) >= views


def test_roll_becomes_a_gather() -> None:
    assert [n.op for n in canonicalize(rolled()).nodes] == ["Gather", "MatMul"]


def test_written_out_norm_is_recognised() -> None:
    assert [n.op for n in canonicalize(written_out_norm()).nodes] == ["LayerNormalization"]


@pytest.mark.parametrize("spelling", ["x, half", "half, x", "half times x"])
def test_written_out_gelu_is_recognised(spelling: str) -> None:
    graph = written_out_gelu(spelling)
    found = canonicalize(graph)
    verify(found)
    (node,) = found.nodes
    assert (node.op, node.inputs, node.attrs) == ("Gelu", ("x",), {"approximate": "none"})
    assert sorted(node.sources) == sorted(n.name for n in graph.nodes)
    x = {"x": np.random.default_rng(1).standard_normal((5, 8)).astype(np.float32)}
    # The graph's own square root of two is a float.
    np.testing.assert_allclose(run(found, x, np.float64)["y"], run(graph, x, np.float64)["y"], rtol=3e-7)


def test_what_only_looks_like_gelu_stays() -> None:
    for graph in (written_out_gelu(half=0.25), written_out_gelu(shared=True)):
        assert "Erf" in [n.op for n in canonicalize(graph).nodes]


def test_scale_moves_behind_the_product() -> None:
    ops = [n.op for n in canonicalize(vit_block(core=5)).nodes]
    assert ops.count("Mul") == 2 and ops.index("Mul") > ops.index("MatMul")


def test_class_token_is_data_not_a_launch() -> None:
    placed = place(fuse(canonicalize(class_token())))
    kinds = [n.attrs["kind"] for n in placed.graph.nodes if n.op == "Fused"]
    assert kinds == ["conv"]
    whole = placed.buffers["z"]
    assert whole.init is not None and np.count_nonzero(whole.init[:8]) > 0


def test_shared_concat_part_is_copied_with_its_reason() -> None:
    rows = [
        ("Relu", ["x"], "a", {}), ("Relu", ["y"], "b", {}),
        ("Concat", ["a", "b"], "c1", {"axis": 1}), ("Concat", ["b", "a"], "c2", {"axis": 1}),
    ]  # fmt: skip
    graph = build(rows, {"x": (1, 4), "y": (1, 4)}, {}, ["c1", "c2"])
    placed = place(fuse(canonicalize(graph)))
    reasons = [n.attrs["reason"] for n in placed.graph.nodes if n.op == "Fused" and n.attrs["kind"] == "copy"]
    assert reasons and all("two Concats" in r or "read elsewhere" in r for r in reasons)


def test_rotary_embeddings_only_compute() -> None:
    """Slices that are parts of a Concat are read by the launch that computes the other part: four launches, no copy."""
    placed = place(fuse(canonicalize(rotary())))
    kinds = [n.attrs["kind"] for n in placed.graph.nodes if n.op == "Fused"]
    assert kinds == ["matmul", "map", "map", "matmul"]
    kept = fuse(canonicalize(rotary()), eliminate=False)
    verify(kept)
    assert sum(n.attrs["kind"] == "copy" for n in kept.nodes if n.op == "Fused") >= 7


def test_attention_input_is_stored_head_by_head() -> None:
    """The product before attention writes the layout that attention reads: no transpose anywhere."""
    placed = place(fuse(canonicalize(vit_block(tokens=9, dim=32, heads=2))))
    view = placed.storage["qkv"].view
    assert view.shape == (1, 9, 96)
    # token stride is the head size: each head's rows are contiguous
    assert view.axes[1][0].stride == 16
    row_major = place(fuse(canonicalize(vit_block())), layout_choice=False).storage["qkv"].view
    assert row_major.axes[1][0].stride == 96


def test_memory_plan_never_overlaps_and_shares() -> None:
    rng = np.random.default_rng(0)
    items = []
    for i in range(60):
        first = int(rng.integers(0, 50))
        items.append(Lifetime(f"b{i}", int(rng.integers(1, 100_000)), first, first + int(rng.integers(0, 6))))
    offsets, size = plan(items)
    check(items, offsets)
    apart, naive = plan(items, share=False)
    check(items, apart)
    assert size < naive / 3


def test_memory_check_sees_an_overlap() -> None:
    items = [Lifetime("a", 100, 0, 2), Lifetime("b", 100, 1, 3)]
    with pytest.raises(AssertionError, match="overlap"):
        check(items, {"a": 0, "b": 50})


def test_what_cannot_be_pushed_is_copied_with_its_reason() -> None:
    """Rows of 10 cannot hold a transposing reshape of the part: its launch cannot write it there."""
    rows = [
        ("Relu", ["x"], "r", {}), ("Reshape", ["r"], "a", {"shape": (3, 5)}), ("Relu", ["y"], "b", {}),
        ("Concat", ["a", "b"], "z", {"axis": 1}),
    ]  # fmt: skip
    graph = build(rows, {"x": (5, 3), "y": (3, 5)}, {}, ["z"])
    placed = place(fuse(canonicalize(graph)))
    copies = [n for n in placed.graph.nodes if n.op == "Fused" and n.attrs["kind"] == "copy"]
    assert [c.outputs for c in copies] == [("a",)]
    assert "cannot be carried back" in copies[0].attrs["reason"]


def test_a_reshape_that_regroups_is_pushed_without_a_copy() -> None:
    rows = [("Relu", ["x"], "r", {}), ("Reshape", ["r"], "y", {"shape": (2, 9)})]
    placed = place(fuse(canonicalize(build(rows, {"x": (9, 2)}, {}, ["y"]))))
    assert [n.attrs["kind"] for n in placed.graph.nodes if n.op == "Fused"] == ["map"]
    assert placed.storage["r"].buffer == "y"
