"""Graphs far larger or deeper than networks are: no recursion, no quadratic time, the same values."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecp.compiler import compile_graph
from ecp.frontend.onnx import import_onnx
from ecp.ir.interp import run
from ecp.passes.fuse import fuse
from ecp.passes.memory import Lifetime, check, plan
from ecp.passes.rewrite import readers, toposort
from ecp.pipeline import canonicalize

SHUFFLES = [(7, 9, 11), (11, 63), (9, 77), (3, 33, 7), (21, 33), (99, 7)]
WEIGHTS = {
    "w": np.eye(16, dtype=np.float32)[::-1].copy(),
    "ones": np.ones(16, np.float32),
    "row": np.ones((1, 16), np.float32),
    "pads": np.array([0, 1, 0, 0]),
    "cut": np.array([0, -1, 0, 0]),
    "zero": np.array([0]),
    "half": np.array([8]),
    "end": np.array([16]),
    "last": np.array([1]),
    **{f"s{i}": np.array(s) for i, s in enumerate(SHUFFLES)},
}


def build(shape: tuple[int, ...], steps: list[tuple[str, list[str], dict[str, object]]]) -> onnx.ModelProto:
    """A chain: ``@`` in a step's inputs is the value before it, ``@@`` the one before that."""
    nodes, values = [], ["x", "x"]
    for index, (op, inputs, attrs) in enumerate([*steps, ("Relu", ["@"], {})]):
        out = "y" if index == len(steps) else f"v{index}"
        names = [{"@": values[-1], "@@": values[-2]}.get(i, i) for i in inputs]
        nodes.append(helper.make_node(op, names, [out], f"n{index}", **attrs))
        values.append(out)
    used = {i for n in nodes for i in n.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in WEIGHTS.items() if k in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def mixed(count: int) -> onnx.ModelProto:
    """Products, softmaxes, residuals and transposes in turns, ``count`` nodes."""
    block = [
        ("MatMul", ["@", "w"], {}), ("Relu", ["@"], {}), ("Add", ["@", "@@"], {}), ("Softmax", ["@"], {}),
        ("Transpose", ["@"], {"perm": [1, 0]}), ("Transpose", ["@"], {"perm": [1, 0]}),
    ]  # fmt: skip
    return build((1, 16), block * (count // len(block)))


CHAINS = {
    "Relu": ((1, 16), [("Relu", ["@"], {})]),
    "Add of itself": ((2, 16), [("Mul", ["@", "@"], {})]),
    "Fibonacci": ((2, 16), [("Sub", ["@", "@@"], {})]),
    "Transpose": ((2, 3), [("Transpose", ["@"], {"perm": [1, 0]})]),
    "Pad": ((1, 16), [("Pad", ["@", "pads"], {})]),
    "Pad and cut": ((1, 16), [("Pad", ["@", "pads"], {}), ("Pad", ["@", "cut"], {})]),
    "Concat": ((1, 16), [("Concat", ["@", "row"], {"axis": 0})]),
    "Shuffle": ((1, 693), [
        part for i, s in enumerate(SHUFFLES)
        for part in (("Reshape", ["@", f"s{i}"], {}), ("Transpose", ["@"], {"perm": [*range(len(s))][::-1]}))
    ]),
    "Rows": ((2, 16), [("Softmax", ["@"], {}), ("LayerNormalization", ["@", "ones"], {})]),
}  # fmt: skip


@pytest.fixture
def unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile as users do: the time of the passes alone."""
    monkeypatch.setenv("ECP_VERIFY", "0")


@pytest.mark.parametrize("name", list(CHAINS))
def test_long_chains_keep_their_values(name: str) -> None:
    shape, block = CHAINS[name]
    graph = import_onnx(build(shape, block * (300 // len(block))))
    feeds = {"x": np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)}
    with np.errstate(all="ignore"):
        want = run(graph, feeds, np.float64)["y"]
        got = run(fuse(canonicalize(graph)), feeds, np.float64)["y"]
    assert np.array_equal(want, got, equal_nan=True)
    for device, options in (("cpu", {}), ("adreno", {}), ("cpu", {"fuse": False, "eliminate": False})):
        assert compile_graph(graph, device, **options).plan.launches


def test_slices_that_move_up_a_long_chain_stop_in_time(unverified: None) -> None:
    chain = [("Add", ["@", "x"], {})] * 3000 + [("Slice", ["@", "zero", "last", "zero"], {})]
    began = time.process_time()
    assert compile_graph(import_onnx(build((4, 16), chain)), "cpu").plan.launches
    assert time.process_time() - began < 20


def test_views_that_part_and_meet_again_are_walked_once() -> None:
    steps: list[tuple[str, list[str], dict[str, object]]] = []
    for _ in range(40):
        steps += [
            ("Slice", ["@", "half", "end", "last"], {}),
            ("Slice", ["@@", "zero", "half", "last"], {}),
            ("Concat", ["@", "@@"], {"axis": 1}),
        ]
    graph = import_onnx(build((1, 16), [*steps, ("MatMul", ["@", "w"], {})]))
    found = readers(graph, graph.consumers(), "x", lambda _: True)
    assert found is not None and [n.op for _, n in found] == ["MatMul"]


@pytest.mark.parametrize("count", [6000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_the_time_grows_with_the_graph(count: int, unverified: None) -> None:
    began = time.process_time()
    bundle = compile_graph(import_onnx(mixed(count)), "cpu")
    assert len(bundle.plan.launches) > count // 4
    assert time.process_time() - began < 60


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Relu", "Transpose", "Fibonacci"])
def test_chains_of_100_000(name: str, unverified: None) -> None:
    shape, block = CHAINS[name]
    began = time.process_time()
    assert compile_graph(import_onnx(build(shape, block * 100_000)), "cpu").plan.launches
    assert time.process_time() - began < 60


def test_the_order_of_a_sort_is_that_of_rounds() -> None:
    graph = import_onnx(mixed(60))
    nodes = list(graph.nodes)
    random.Random(0).shuffle(nodes)
    waiting, known, want = list(nodes), {*graph.inputs, *graph.constants}, []
    while waiting:
        rest = []
        for node in waiting:
            if set(node.inputs) <= known:
                want.append(node)
                known.update(node.outputs)
            else:
                rest.append(node)
        waiting = rest
    assert toposort(nodes, [*graph.inputs, *graph.constants]) == want
    loop = replace(graph.nodes[3], inputs=("y",))
    with pytest.raises(ValueError, match="cycle"):
        toposort([loop if node.output == loop.output else node for node in nodes], [])


def test_the_arena_is_first_fit_by_size() -> None:
    rng = random.Random(0)
    for _ in range(50):
        starts = [rng.randint(0, 40) for _ in range(rng.randint(0, 60))]
        wanted = [
            Lifetime(f"b{i}", rng.randint(1, 100_000), s, s + rng.randint(0, 15))
            for i, s in enumerate(starts)
        ]
        offsets, end = plan(wanted)
        check(wanted, offsets)
        assert end <= plan(wanted, share=False)[1]
        for item in wanted:  # nothing could lie lower among what was placed before it
            before = [
                b for b in wanted
                if (-b.nbytes, b.first, b.name) < (-item.nbytes, item.first, item.name)
                and b.first <= item.last and item.first <= b.last
            ]  # fmt: skip
            ends = [0, *(offsets[b.name] + -(-b.nbytes // 4096) * 4096 for b in before)]
            lower = [e for e in ends if e < offsets[item.name]]
            for at in lower:
                assert any(
                    offsets[b.name] < at + -(-item.nbytes // 4096) * 4096
                    and at < offsets[b.name] + -(-b.nbytes // 4096) * 4096
                    for b in before
                )
