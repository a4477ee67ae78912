"""Small graphs for compiler tests, built without ONNX or torch."""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ecp.ir.graph import Graph, Node, Type
from ecp.ir.infer import infer_graph


def build(
    nodes: Sequence[tuple[str, Sequence[str], str | Sequence[str], Mapping[str, Any]]],
    inputs: Mapping[str, tuple[int, ...]],
    constants: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    dtype: str = "float32",
) -> Graph:
    """A typed graph from (op, inputs, outputs, attrs) rows in topological order."""
    made = tuple(
        Node(op, tuple(i), (o,) if isinstance(o, str) else tuple(o), dict(a), f"{op}_{n}", (f"{op}_{n}",))
        for n, (op, i, o, a) in enumerate(nodes)
    )
    types = infer_graph(made, {k: Type(s, dtype) for k, s in inputs.items()}, constants)
    return Graph(made, tuple(inputs), tuple(outputs), dict(constants), types, "test")


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal numbers scaled so that products stay near unit variance."""
    rng = np.random.default_rng(seed + sum(shape))
    return (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)


def vit_block(tokens: int = 9, dim: int = 32, heads: int = 2, core: int | None = None) -> Graph:
    """One transformer block as exporters write it; ``core`` gives core-periphery attention."""
    d = dim // heads
    c = {
        "g1": 1 + 0.1 * weights(dim), "b1": weights(dim, seed=1), "wqkv": weights(dim, 3 * dim), "bqkv": weights(3 * dim),
        "wp": weights(dim, dim), "bp": weights(dim, seed=2), "g2": 1 + 0.1 * weights(dim, seed=5), "b2": weights(dim, seed=3),
        "w1": weights(dim, 4 * dim), "bm1": weights(4 * dim), "w2": weights(4 * dim, dim), "bm2": weights(dim, seed=4),
        "s": np.float32(d**-0.25),
    }  # fmt: skip
    c = {k: np.asarray(v, np.float32) for k, v in c.items()}
    rows: list[Any] = [
        ("LayerNormalization", ["x", "g1", "b1"], "n1", {"axis": 2, "epsilon": 1e-6}),
        ("MatMul", ["n1", "wqkv"], "m1", {}),
        ("Add", ["m1", "bqkv"], "qkv", {}),
        ("Reshape", ["qkv"], "r1", {"shape": (1, tokens, 3, heads, d)}),
        ("Transpose", ["r1"], "t1", {"perm": (2, 0, 3, 1, 4)}),
        ("Split", ["t1"], ["q5", "k5", "v5"], {"axis": 0, "sizes": (1, 1, 1)}),
        ("Reshape", ["q5"], "q", {"shape": (1, heads, tokens, d)}),
        ("Reshape", ["k5"], "k", {"shape": (1, heads, tokens, d)}),
        ("Reshape", ["v5"], "v", {"shape": (1, heads, tokens, d)}),
        ("Mul", ["q", "s"], "qs", {}),
        ("Transpose", ["k"], "kt", {"perm": (0, 1, 3, 2)}),
        ("Mul", ["kt", "s"], "kts", {}),
    ]
    rows += _dense() if core is None else _core_periphery(tokens, heads, d, core)
    rows += [
        ("Transpose", ["o"], "t2", {"perm": (0, 2, 1, 3)}),
        ("Reshape", ["t2"], "a", {"shape": (1, tokens, dim)}),
        ("MatMul", ["a", "wp"], "m2", {}),
        ("Add", ["m2", "bp"], "p", {}),
        ("Add", ["x", "p"], "x1", {}),
        ("LayerNormalization", ["x1", "g2", "b2"], "n2", {"axis": 2, "epsilon": 1e-6}),
        ("MatMul", ["n2", "w1"], "m3", {}),
        ("Add", ["m3", "bm1"], "h", {}),
        ("Gelu", ["h"], "act", {"approximate": "none"}),
        ("MatMul", ["act", "w2"], "m4", {}),
        ("Add", ["m4", "bm2"], "h2", {}),
        ("Add", ["x1", "h2"], "y", {}),
    ]
    return build(rows, {"x": (1, tokens, dim)}, c, ["y"])


def core_periphery(tokens: int, heads: int, d: int, core: int) -> Graph:
    """Core-periphery attention alone: ``qs`` and ``v`` of (1, heads, tokens, d), ``kts`` of (1, heads, d, tokens)."""
    shape = (1, heads, tokens, d)
    return build(
        _core_periphery(tokens, heads, d, core),
        {"qs": shape, "kts": (1, heads, d, tokens), "v": shape}, {}, ["o"],
    )  # fmt: skip


def _dense() -> list[Any]:
    return [
        ("MatMul", ["qs", "kts"], "s0", {}),
        ("Softmax", ["s0"], "p0", {"axis": 3}),
        ("MatMul", ["p0", "v"], "o", {}),
    ]


def _core_periphery(tokens: int, heads: int, d: int, core: int) -> list[Any]:
    def cut(source: str, name: str, start: int, count: int, last: bool) -> tuple:
        shape = (1, heads, d, count) if last else (1, heads, count, d)
        starts = (0, 0, 0, start) if last else (0, 0, start, 0)
        return ("Slice", [source], name, {"starts": starts, "steps": (1,) * 4, "shape": shape})

    return [
        cut("qs", "qc", 0, core, False), cut("qs", "qp", core, tokens - core, False),
        cut("kts", "kc", 0, core, True), cut("v", "vc", 0, core, False),
        ("MatMul", ["qc", "kts"], "s1", {}), ("Softmax", ["s1"], "p1", {"axis": 3}), ("MatMul", ["p1", "v"], "o1", {}),
        ("MatMul", ["qp", "kc"], "s2", {}), ("Softmax", ["s2"], "p2", {"axis": 3}), ("MatMul", ["p2", "vc"], "o2", {}),
        ("Concat", ["o1", "o2"], "o", {"axis": 2}),
    ]  # fmt: skip


def rotary(tokens: int = 8, dim: int = 16) -> Graph:
    """A product whose rows, but for the class token's, are rotated by pairs (EVA, DINOv3), and one that reads them."""
    rank3 = {"steps": (1,) * 3}
    half = (1, tokens, dim // 2, 1)
    rows = [
        ("MatMul", ["x", "w"], "t", {}),
        ("Slice", ["t"], "cls", {"starts": (0, 0, 0), "shape": (1, 1, dim), **rank3}),
        ("Slice", ["t"], "rest", {"starts": (0, 1, 0), "shape": (1, tokens, dim), **rank3}),
        ("Reshape", ["rest"], "pairs", {"shape": (1, tokens, dim // 2, 2)}),
        ("Slice", ["pairs"], "odd", {"starts": (0, 0, 0, 1), "shape": half, "steps": (1,) * 4}),
        ("Slice", ["pairs"], "even", {"starts": (0, 0, 0, 0), "shape": half, "steps": (1,) * 4}),
        ("Neg", ["odd"], "minus", {}),
        ("Concat", ["minus", "even"], "turned", {"axis": 3}),
        ("Reshape", ["turned"], "back", {"shape": (1, tokens, dim)}),
        ("Mul", ["rest", "cos"], "a", {}),
        ("Mul", ["back", "sin"], "b", {}),
        ("Add", ["a", "b"], "rotated", {}),
        ("Concat", ["cls", "rotated"], "all", {"axis": 1}),
        ("MatMul", ["all", "u"], "y", {}),
    ]
    c = {
        "w": weights(dim, dim),
        "u": weights(dim, dim),
        "cos": weights(tokens, dim),
        "sin": weights(tokens, dim),
    }
    return build(rows, {"x": (1, tokens + 1, dim)}, c, ["y"])
