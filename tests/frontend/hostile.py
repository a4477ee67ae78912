"""ONNX files that are wrong, or nearly right: a list by hand, and mutations of small valid models by a seed.

Run as a program (``python hostile.py ours|theirs FOLDER``) it imports every file in a folder within bounds of memory
and time, and prints one line of JSON for each: what this compiler, or ONNX Runtime, says of it.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F, INT = np.float32, np.int64
MEMORY, SECONDS = 4 << 30, 20


def model(
    nodes: Any, x: Any = (1, 4, 8, 8), weights: Any = None, opset: int = 17, **kw: Any
) -> onnx.ModelProto:
    """Input x, output y, and initializers from arrays."""
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()]
    graph = helper.make_graph(
        nodes if isinstance(nodes, list) else [nodes],
        "g",
        [helper.make_tensor_value_info("x", kw.pop("dtype", TensorProto.FLOAT), x)],
        [helper.make_tensor_value_info(n, kw.pop("out", TensorProto.FLOAT), None) for n in ("y",)],
        tensors,
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=kw.pop("ir_version", 9), **kw)


def node(op: str, *inputs: str, **attrs: Any) -> onnx.NodeProto:
    """A node named n with output y."""
    return helper.make_node(op, inputs, ["y"], "n", **attrs)


def _weight(*shape: int) -> np.ndarray:
    return (np.arange(np.prod(shape), dtype=F).reshape(shape) % 7 - 3) / 7


W = {"w": _weight(6, 4, 3, 3), "b": _weight(6)}


def valid() -> dict[str, onnx.ModelProto]:
    """Small models that both accept; mutations start here."""
    ints = lambda **k: {n: np.array(v, INT) for n, v in k.items()}  # noqa: E731
    return {
        "conv": model(
            node(
                "Conv",
                "x",
                "w",
                "b",
                kernel_shape=[3, 3],
                pads=[1, 1, 1, 1],
                strides=[2, 1],
                dilations=[1, 1],
                group=1,
            ),
            weights=W,
        ),
        "group": model(
            node("Conv", "x", "w", kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=2),
            weights={"w": _weight(6, 2, 3, 3)},
        ),
        "transposed": model(
            node(
                "ConvTranspose",
                "x",
                "w",
                strides=[2, 2],
                kernel_shape=[2, 2],
                pads=[0, 0, 0, 0],
                dilations=[1, 1],
                group=1,
            ),
            weights={"w": _weight(4, 3, 2, 2)},
        ),
        "maxpool": model(
            node(
                "MaxPool",
                "x",
                kernel_shape=[3, 3],
                strides=[2, 2],
                pads=[1, 1, 1, 1],
                ceil_mode=0,
                dilations=[1, 1],
            )
        ),
        "averagepool": model(
            node(
                "AveragePool",
                "x",
                kernel_shape=[3, 3],
                strides=[2, 2],
                pads=[1, 1, 1, 1],
                count_include_pad=1,
            )
        ),
        "gemm": model(
            node("Gemm", "x", "w", "b", alpha=0.5, beta=2.0, transB=1),
            (3, 4),
            {"w": _weight(5, 4), "b": _weight(5)},
        ),
        "matmul": model(node("MatMul", "x", "w"), (2, 3, 4), {"w": _weight(4, 5)}),
        "reshape": model(node("Reshape", "x", "s"), weights=ints(s=[1, -1, 16])),
        "transpose": model(node("Transpose", "x", perm=[0, 2, 3, 1])),
        "concat": model(node("Concat", "x", "w", axis=1), weights={"w": _weight(1, 2, 8, 8)}),
        "split": model(
            [helper.make_node("Split", ["x", "s"], ["y", "z"], "n", axis=1)], weights=ints(s=[1, 3])
        ),
        "slice": model(
            node("Slice", "x", "s", "e", "a", "t"), weights=ints(s=[1, 0], e=[3, 8], a=[1, 2], t=[1, 2])
        ),
        "gather": model(node("Gather", "x", "i", axis=1), weights=ints(i=[0, 3, 1])),
        "pad": model(node("Pad", "x", "p", mode="constant"), weights=ints(p=[0, 0, 1, 1, 0, 0, 1, 1])),
        "reflect": model(node("Pad", "x", "p", mode="reflect"), weights=ints(p=[0, 0, 1, 1, 0, 0, 1, 1])),
        "resize": model(
            node("Resize", "x", "", "s", mode="linear"), weights={"s": np.array([1, 1, 2, 2], F)}
        ),
        "sizes": model(node("Resize", "x", "", "", "s", mode="nearest"), weights=ints(s=[1, 4, 5, 5])),
        "squeeze": model(node("Squeeze", "x", "a"), weights=ints(a=[0])),
        "unsqueeze": model(node("Unsqueeze", "x", "a"), weights=ints(a=[0, 5])),
        "expand": model(node("Expand", "x", "s"), weights=ints(s=[3, 4, 8, 8])),
        "tile": model(node("Tile", "x", "s"), weights=ints(s=[1, 2, 1, 1])),
        "reduce": model(node("ReduceMean", "x", axes=[1, 2], keepdims=1)),
        "softmax": model(node("Softmax", "x", axis=1)),
        "layernorm": model(
            node("LayerNormalization", "x", "w", "b", axis=-1, epsilon=1e-5),
            (2, 6),
            {"w": _weight(6), "b": _weight(6)},
        ),
        "batchnorm": model(
            node("BatchNormalization", "x", "s", "b", "m", "v", epsilon=1e-5),
            weights={k: np.abs(_weight(4)) + 1 for k in "sbmv"},
        ),
        "depth": model(node("DepthToSpace", "x", blocksize=2, mode="DCR")),
        "topk": model([helper.make_node("TopK", ["x", "k"], ["y", "z"], "n", axis=1)], weights=ints(k=[2])),
        "clip": model(node("Clip", "x", "l", "h"), weights={"l": np.array(-1, F), "h": np.array(1, F)}),
        "flatten": model(node("Flatten", "x", axis=1)),
        "instance": model(
            node("InstanceNormalization", "x", "s", "b", epsilon=1e-5), weights={k: _weight(4) for k in "sb"}
        ),
        "lrn": model(node("LRN", "x", size=3)),
        "einsum": model(node("Einsum", "x", "w", equation="ij,jk->ik"), (3, 4), {"w": _weight(4, 5)}),
        "argmax": model(node("ArgMax", "x", axis=1), out=TensorProto.INT64),
        "where": model(
            [helper.make_node("Greater", ["x", "w"], ["c"], "c"), node("Where", "c", "x", "w")],
            weights={"w": _weight(1, 4, 1, 1)},
        ),
        "constant": model(
            [helper.make_node("ConstantOfShape", ["s"], ["c"], "c"), node("Add", "x", "c")],
            weights=ints(s=[1, 4, 1, 8]),
        ),
        "cast": model(node("Cast", "x", to=TensorProto.FLOAT16), out=TensorProto.FLOAT16),
        "cumsum": model(node("CumSum", "x", "a"), weights={"a": np.array(1, INT)}),
        "gathernd": model(node("GatherND", "x", "i"), weights=ints(i=[[0, 1], [0, 3]])),
        "scatter": model(
            node("ScatterND", "x", "i", "u"), (4, 8), {"i": np.array([[1], [2]], INT), "u": _weight(2, 8)}
        ),
        "onehot": model(
            node("OneHot", "x", "d", "v", axis=-1),
            (3,),
            {"d": np.array(4, INT), "v": np.array([0, 1], F)},
            dtype=TensorProto.INT64,
        ),
    }


LISTS: dict[str, dict[str, list[list[int]]]] = {
    "conv": {
        "kernel_shape": [[3], [3, 3, 3], [2, 2], [0, 0], [-3, 3], [9, 9], [2**40, 3]],
        "strides": [[1], [0, 1], [-1, 1], [1, 1, 1], [2**40, 1], []],
        "pads": [[1], [1, 1, 1], [-1, -1, -1, -1], [-9, 0, 0, 0], [2**33, 0, 0, 0], [1] * 6],
        "dilations": [[1], [0, 1], [-1, 1], [9, 9], [2**40, 1], [1, 1, 1]],
    },
    "transposed": {
        "strides": [[0, 0], [-1, 1], [1], [2**31, 2]],
        "pads": [[1], [-1, 0, 0, 0], [9, 9, 9, 9]],
        "kernel_shape": [[3, 3], [2]],
        "dilations": [[0, 1], [2, 2], [1]],
    },
    "maxpool": {
        "kernel_shape": [[3], [0, 3], [-1, 3], [20, 20], []],
        "strides": [[0, 1], [-1, 1], [1]],
        "pads": [[3, 3, 3, 3], [-1, -1, -1, -1], [1]],
        "dilations": [[0, 1], [9, 9], [1]],
    },
    "averagepool": {
        "kernel_shape": [[20, 20], [0, 1]],
        "pads": [[3, 3, 3, 3], [1, 1]],
        "strides": [[0, 0], [1, 1, 1]],
    },
    "transpose": {"perm": [[0, 1, 2], [0, 0, 1, 2], [0, 1, 2, 4], [-1, 0, 1, 2], [0, 1, 2, 3, 4], []]},
    "reduce": {"axes": [[4], [-5], [1, 1], [0, -4], []]},
}
SCALARS: dict[str, dict[str, list[Any]]] = {
    "conv": {"group": [0, -1, 2, 3, 2**40], "auto_pad": ["SAME", "SAME_UPPER", "VALID", ""]},
    "group": {"group": [1, 3, 4]},
    "transposed": {"group": [0, 2, 3, -1]},
    "concat": {"axis": [4, -5, 0, 2, -1, 2**40]},
    "split": {"axis": [4, -5, 0]},
    "gather": {"axis": [4, -5, 3]},
    "softmax": {"axis": [4, -5, 0]},
    "layernorm": {"axis": [2, -3, 0], "epsilon": [-1.0, 0.0, float("nan")]},
    "depth": {"blocksize": [0, -2, 3, 2**33], "mode": ["XYZ", "CRD"]},
    "topk": {"axis": [4, -5]},
    "flatten": {"axis": [5, -5, 4, -1]},
    "lrn": {"size": [0, 2, -3, 99]},
    "cast": {"to": [0, 99, 16, 8, 7]},
    "einsum": {"equation": ["ij,jk", "ij,jk->iz", "ij->i", "", "ij,jk->ikk", "i,jk->ik", "...,...->..."]},
    "argmax": {"axis": [4, -5]},
    "onehot": {"axis": [3, -3]},
    "resize": {
        "mode": ["cubic", "quartic"],
        "coordinate_transformation_mode": ["align_corners", "nowhere", "tf_crop_and_resize"],
    },
    "pad": {"mode": ["edge", "wrap", "round"]},
}
VALUES: dict[str, dict[str, list[Any]]] = {
    "reshape": {
        "s": [
            [0, 0],
            [-1, -1],
            [3, 5],
            [-2, 4],
            [1, 4, 8, 8, 0],
            [2**40, -1],
            [2**62, 4],
            [],
            [-1, 0, 0, 0, 0, 0],
        ]
    },
    "split": {"s": [[1, 1], [4, 4], [-1, 5], [2, 2, 0], [4], []]},
    "slice": {
        "t": [[0, 1], [-1, -2], [2**62, 1], [1]],
        "a": [[1, 1], [4, 0], [-5, 1], [1]],
        "s": [[1], [-(2**63), 0], [9, 9]],
        "e": [[2**63 - 1, 2**63 - 1], [0, 0]],
    },
    "gather": {"i": [[4], [-5], [2**40], [], [[0], [1]]]},
    "pad": {
        "p": [
            [0] * 7,
            [0] * 8,
            [0, 0, -9, 0, 0, 0, 0, 0],
            [0, 0, -4, -4, 0, 0, -4, -4],
            [0, 0, 2**40, 0, 0, 0, 0, 0],
            [0, 0, -8, 0, 0, 0, 0, 0],
        ]
    },
    "reflect": {"p": [[0, 0, 8, 0, 0, 0, 0, 0], [0, 0, 7, 0, 0, 0, 0, 0], [0, 0, 99, 0, 0, 0, 99, 0]]},
    "resize": {
        "s": [
            np.array(v, F)
            for v in (
                [1, 1, 1e-9, 1],
                [0, 1, 1, 1],
                [-1, 1, 1, 1],
                [1, 1, 1],
                [1, 1, 1e30, 1],
                [1, 1, np.nan, 1],
                [1, 1, np.inf, 1],
                [],
            )
        ]
    },
    "sizes": {"s": [[1, 4, 0, 5], [1, 4, -1, 5], [1, 4, 5], [1, 4, 2**40, 5], [2, 4, 5, 5]]},
    "squeeze": {"a": [[1], [4], [-5], [0, 0]]},
    "unsqueeze": {"a": [[7], [-7], [0, 0], [1, -5]]},
    "expand": {"s": [[3, 5, 8, 8], [-1, 4, 8, 8], [2**40, 4, 8, 8], [0, 4, 8, 8], [2]]},
    "tile": {"s": [[1, 2], [-1, 1, 1, 1], [2**40, 1, 1, 1], [0, 1, 1, 1]]},
    "topk": {"k": [[5], [-1], [0], [2**40], [1, 2]]},
    "constant": {"s": [[-1, 4], [2**40], [2**32, 2**32], [2**20, 2**20], [], [0]]},
    "cumsum": {"a": [np.array(4), np.array(-5), np.array([0, 1])]},
    "gathernd": {"i": [[[0, 4]], [[0, -5]], [[0, 0, 0, 0, 0]], [0, 1]]},
    "scatter": {"i": [np.array([[4], [0]]), np.array([[-5], [0]]), np.array([[0]])]},
    "onehot": {
        "d": [np.array(0), np.array(-1), np.array(2**40), np.array([2, 3])],
        "v": [np.array([0, 1, 2], F), np.array(1, F)],
    },
    "conv": {
        "b": [_weight(5), _weight(1), _weight(6, 1), np.zeros(6, INT)],
        "w": [
            _weight(6, 3, 3, 3),
            _weight(6, 4, 3),
            _weight(0, 4, 3, 3),
            _weight(6, 4, 9, 9),
            _weight(6, 4, 0, 3),
            np.zeros((6, 4, 3, 3)),
        ],
    },
    "gemm": {
        "b": [_weight(4), _weight(2, 5), _weight(3, 1), _weight(1, 3, 5)],
        "w": [_weight(5, 3), _weight(5), _weight(0, 4)],
    },
    "matmul": {"w": [_weight(5, 4), np.array(1, F), _weight(3, 4, 5), np.zeros((4, 5))]},
    "concat": {"w": [_weight(1, 2, 8, 7), _weight(2, 8, 8), np.zeros((1, 2, 8, 8), INT)]},
    "layernorm": {"w": [_weight(5), _weight(1), _weight(2, 6), np.ones(6)], "b": [_weight(7)]},
    "batchnorm": {"v": [_weight(3), -np.ones(4, F), _weight(4, 1)], "s": [_weight(1)]},
    "instance": {"s": [_weight(3), _weight(1)]},
    "clip": {"l": [np.array([1, 2], F), np.array(2, F), np.array(np.nan, F), np.array(1)]},
    "where": {"w": [_weight(1, 3, 1, 1)]},
}


def by_hand() -> Iterator[tuple[str, onnx.ModelProto]]:
    """Every attribute and constant of the tables, put in place in the valid model."""
    base = valid()
    for name, attrs in [*LISTS.items(), *SCALARS.items()]:
        for key, values in attrs.items():
            for index, value in enumerate(values):
                yield f"{name}-{key}-{index}", with_attribute(base[name], key, value)
    for name, tensors in VALUES.items():
        for key, values in tensors.items():
            for index, value in enumerate(values):
                array = value if isinstance(value, np.ndarray) else np.array(value, INT)
                yield f"{name}-{key}-{index}", with_tensor(base[name], numpy_helper.from_array(array, key))
    yield from _broken(base)


def with_attribute(source: onnx.ModelProto, key: str, value: Any) -> onnx.ModelProto:
    """A copy whose last node has another value of an attribute."""
    made = _copy(source)
    last = made.graph.node[-1]
    kept = [a for a in last.attribute if a.name != key]
    del last.attribute[:]
    kind = onnx.AttributeProto.INTS if value == [] else None
    last.attribute.extend([*kept, helper.make_attribute(key, value, attr_type=kind)])
    return made


def with_tensor(source: onnx.ModelProto, tensor: onnx.TensorProto) -> onnx.ModelProto:
    """A copy with another initializer of that name."""
    made = _copy(source)
    index = next(i for i, t in enumerate(made.graph.initializer) if t.name == tensor.name)
    made.graph.initializer[index].CopyFrom(tensor)
    return made


def _copy(source: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(source)
    return made


def _broken(base: dict[str, onnx.ModelProto]) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Wrong in the graph, its tensors or its header."""
    relu = [node("Relu", "x")]
    yield "cycle", model([helper.make_node("Add", ["x", "y"], ["z"], "a"), node("Relu", "z")])
    yield "twice", model([*relu, *relu])
    yield (
        "two outputs of a node with one name",
        model([helper.make_node("Split", ["x"], ["y", "y"], "n", axis=1)]),
    )
    yield "output named as the input", model([helper.make_node("Relu", ["x"], ["x"], "n"), *relu])
    yield "missing input", model([node("Add", "x", "nothing")])
    yield "too many inputs", model([node("Relu", "x", "x")])
    yield "no inputs", model([node("Relu")])
    yield "unknown attribute", model([node("Relu", "x", shape=[1])])
    yield "attribute of another type", model([node("Softmax", "x", axis=1.5)])
    yield "no axis", model([node("Concat", "x", "x")])
    yield "boolean relu", model(relu, dtype=TensorProto.BOOL)
    yield "mixed types", model([node("Add", "x", "w")], weights={"w": np.zeros(8, INT)})
    yield "unknown domain", model([node("Relu", "x", domain="acme")])
    for opset in (0, 1, 6, 99):
        yield f"opset {opset}", model(relu, opset=opset)
    for version in (0, 99, 2**40):
        yield f"ir version {version}", model(relu, ir_version=version)
    for dims in ([-1, 4], [2**40, 4], [2**40, 2**40], [0, 2**62], [3, 3], []):
        made = model([node("MatMul", "x", "w")], (2, 4), {"w": _weight(4, 4)})
        made.graph.initializer[0].dims[:] = dims
        yield f"dims {dims}", made
    for shape in ((-3, 4), (2**40, 4), (2**40, 2**40, 2**40), (0, 4), ()):
        yield f"input {shape}", model(relu, shape)
    for kind in (TensorProto.INT64, TensorProto.STRING, TensorProto.BFLOAT16, TensorProto.COMPLEX64, 99):
        made = model([node("MatMul", "x", "w")], (2, 4), {"w": _weight(4, 4)})
        made.graph.initializer[0].data_type = kind
        yield f"initializer of type {kind}", made
    made = model([node("MatMul", "x", "w")], (2, 4), {"w": _weight(4, 4)})
    made.graph.initializer[0].float_data.extend([1.0] * 16)
    yield "raw and typed data", made
    made = _copy(made)
    made.graph.initializer[0].ClearField("raw_data")
    made.graph.initializer[0].float_data.append(1.0)
    yield "one value too many", made
    made = model(relu)
    made.graph.output.add().CopyFrom(made.graph.output[0])
    yield "two outputs of one name", made
    made = model(relu)
    made.graph.input.add().CopyFrom(made.graph.input[0])
    yield "two inputs of one name", made
    made = model([node("MatMul", "x", "w")], (2, 4), {"w": _weight(4, 4)})
    made.graph.initializer.add().CopyFrom(made.graph.initializer[0])
    yield "two initializers of one name", made
    made = model(relu)
    made.graph.node[0].op_type = ""
    yield "no operator", made
    yield "functions", functions(3, 3)


def bombs() -> Iterator[tuple[str, onnx.ModelProto]]:
    """Functions without an end, at which ONNX Runtime takes all time and memory there is."""
    yield "a function of itself", functions(1, 1, itself=True)
    yield "a function bomb", functions(12, 10)
    yield "a deep bomb", functions(60, 2)


def functions(depth: int, width: int, itself: bool = False) -> onnx.ModelProto:
    """``depth`` functions that each call the one before ``width`` times."""
    made = []
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for level in range(depth):
        inner = f"f{level}" if itself else f"f{level - 1}" if level else "Relu"
        names = ["a", *(f"t{i}" for i in range(width - 1)), "b"]
        domain = "own" if inner != "Relu" else ""
        calls = [helper.make_node(inner, [p], [q], q, domain=domain) for p, q in pairwise(names)]
        made.append(helper.make_function("own", f"f{level}", ["a"], ["b"], calls, imports))
    graph = helper.make_graph(
        [helper.make_node(f"f{depth - 1}", ["x"], ["y"], "n", domain="own")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=imports, functions=made, ir_version=9)


ODD = [0, 1, -1, 2, 3, 5, 8, 9, -4, 2**31, 2**40, -(2**63), 2**63 - 1]


def mutations(count: int, seed: int) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Valid models with one to three numbers, types or names changed."""
    rng, base = random.Random(seed), valid()
    for index in range(count):
        name = rng.choice(sorted(base))
        made = _copy(base[name])
        for _ in range(rng.randint(1, 3)):
            _mutate(rng, made)
        yield f"{name}-mutation-{seed}-{index}", made


def _mutate(rng: random.Random, made: onnx.ModelProto) -> None:
    last, tensors = made.graph.node[-1], made.graph.initializer
    kind = rng.choice(["attribute", "attribute", "tensor", "tensor", "input", "operator", "type", "drop"])
    if kind == "attribute" and last.attribute:
        chosen = rng.choice(last.attribute)
        if chosen.type == chosen.INTS and chosen.ints:
            if rng.random() < 0.3:
                chosen.ints.append(rng.choice(ODD))
            else:
                chosen.ints[rng.randrange(len(chosen.ints))] = rng.choice(ODD)
        elif chosen.type == chosen.INT:
            chosen.i = rng.choice(ODD)
        elif chosen.type == chosen.FLOAT:
            chosen.f = rng.choice([0.0, -1.0, 1e30, float("nan")])
        else:
            chosen.s = b"odd"
    elif kind == "tensor" and tensors:
        chosen = rng.choice(tensors)
        array = numpy_helper.to_array(chosen).copy()
        if array.dtype == INT and array.size:
            array.reshape(-1)[rng.randrange(array.size)] = rng.choice(ODD)
        else:
            array = array.reshape(-1)[: rng.randint(0, array.size)]
        chosen.CopyFrom(numpy_helper.from_array(array, chosen.name))
    elif kind == "input":
        dims = made.graph.input[0].type.tensor_type.shape.dim
        if dims:
            rng.choice(dims).dim_value = rng.choice([0, 1, 2, 3, 5, 7, 2**33])
    elif kind == "operator":
        last.op_type = rng.choice(
            ["Add", "Softmax", "Conv", "Reshape", "Transpose", "Gemm", "Slice", "MaxPool", "Pad"]
        )
    elif kind == "type":
        made.graph.input[0].type.tensor_type.elem_type = rng.choice([1, 6, 7, 9, 10, 11, 8, 16])
    elif last.input:
        del last.input[-1]


class _TooLong(Exception):
    pass


def _alarm(*_: object) -> None:
    raise _TooLong


def _feeds(data: bytes) -> dict[str, np.ndarray]:
    """Random values for the input of a model, None of them where they would fill the memory."""
    parsed = onnx.ModelProto.FromString(data)
    value = parsed.graph.input[0]
    shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
    if np.prod([float(d) for d in shape]) > 1e6 or min(shape, default=1) < 0:
        return {}
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    rng = np.random.default_rng(0)
    return {
        value.name: rng.integers(0, 4, shape).astype(dtype)
        if dtype.kind != "f"
        else rng.uniform(-1, 1, shape).astype(dtype)
    }


def ours(path: Path, data: bytes) -> dict[str, Any]:
    """What the importer says; the outputs of the interpreter where it accepts."""
    from ecp.errors import EcpError, UnsupportedOperatorError
    from ecp.frontend.onnx import import_onnx
    from ecp.ir.interp import run

    try:
        graph = import_onnx(path)
        feeds = {k: v for k, v in _feeds(data).items() if k in graph.inputs}
        return {
            "said": "yes",
            "outputs": _listed(run(graph, feeds)) if len(feeds) == len(graph.inputs) else None,
        }
    except UnsupportedOperatorError as error:
        return {"said": "unsupported", "words": str(error)}
    except EcpError as error:
        return {"said": "no", "words": str(error)}


def theirs(path: Path, data: bytes) -> dict[str, Any]:
    """What ONNX Runtime says, and its outputs."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        return {"said": "yes", "outputs": _listed(dict(zip(names, session.run(names, _feeds(data)))))}
    except _TooLong:
        raise
    except Exception as error:
        return {"said": "no", "words": " ".join(str(error).split())[:300]}


def _listed(outputs: dict[str, np.ndarray]) -> dict[str, Any]:
    return {k: [list(v.shape), v.astype(np.float64).reshape(-1)[:2000].tolist()] for k, v in outputs.items()}


def main(who: str, folder: Path) -> None:
    """One line of JSON for every file that stands in no line yet."""
    judge = {"ours": ours, "theirs": theirs}[who]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, _alarm)
    np.seterr(all="ignore")
    for path in sorted(folder.glob("*.onnx")):
        print(json.dumps({"file": path.name, "said": "begun"}), flush=True)
        signal.alarm(SECONDS)
        try:
            answer = judge(path, path.read_bytes())
        except _TooLong:
            answer = {"said": "hang"}
        except BaseException as error:
            answer = {"said": "traceback", "words": repr(error)[:300]}
        signal.alarm(0)
        print(json.dumps({"file": path.name, **answer}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
