"""Op table, verifier, printer, interpreter and importer bookkeeping."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecp.errors import VerifyError
from ecp.frontend.onnx import import_onnx
from ecp.ir import ops
from ecp.ir.cost import macs
from ecp.ir.graph import Graph, Node, Type
from ecp.ir.infer import retype
from ecp.ir.interp import run
from ecp.ir.printer import to_text
from ecp.ir.verify import verify

DOC = Path(__file__).parents[2] / "docs" / "ir-operators.md"


def test_documentation_is_the_table() -> None:
    assert DOC.read_text() == ops.page(), "write ecp.ir.ops.page() there"


def test_classes() -> None:
    moving = {n for n in ops.OPS if ops.is_transformative(n)}
    assert moving == {"Identity", "Reshape", "Transpose", "Slice", "Split", "Concat", "Expand", "Gather",
                      "GatherDyn", "GatherElementsDyn", "GatherNDDyn", "Pad"}  # fmt: skip
    assert all(ops.is_key(n) != ops.is_transformative(n) for n in ops.OPS)
    assert {o.fusion for o in ops.OPS.values()} == {
        "one-to-one", "one-to-many", "many-to-many", "reorganize", "shuffle"}  # fmt: skip
    assert ops.info("MatMul").input_layout_dependent and not ops.info("Add").input_layout_dependent


def small() -> Graph:
    weight = np.arange(6, dtype=np.float32).reshape(3, 2)
    nodes = (
        Node("MatMul", ("x", "w"), ("m",), {}, "mm"),
        Node("Split", ("m",), ("a", "b"), {"axis": 1, "sizes": (1, 1)}, "cut"),
        Node("Add", ("a", "b"), ("y",), {}, "sum"),
    )
    types = {"x": Type((4, 3)), "w": Type((3, 2)), "m": Type((4, 2)), "a": Type((4, 1)), "b": Type((4, 1))}
    return Graph(nodes, ("x",), ("y",), {"w": weight}, types | {"y": Type((4, 1))}, "small")


def test_verify_accepts() -> None:
    verify(small())
    assert retype(small()).types == small().types
    assert macs(small()) == 4 * 3 * 2


def broken() -> dict[str, tuple[Graph, str]]:
    g = small()
    mm, cut, add = g.nodes
    types = dict(g.types)
    return {
        "order": (replace(g, nodes=(cut, mm, add)), "reads 'm' before it is defined"),
        "twice": (replace(g, nodes=(mm, mm, cut, add)), "two nodes are named 'mm'"),
        "ssa": (replace(g, nodes=(mm, replace(mm, name="again"), cut, add)), "'m' is defined twice"),
        "input": (
            replace(g, nodes=(mm, cut, replace(add, outputs=("x",))), outputs=("x",)),
            "'x' is defined twice",
        ),
        "output": (replace(g, outputs=("z",)), "output 'z' is never defined"),
        "type": (replace(g, types=types | {"y": Type((4, 2))}), "'y' is .*4, 1.*declared .*4, 2"),
        "dtype": (replace(g, types=types | {"y": Type((4, 1), "float16")}), "declared .*float16"),
        "untyped": (replace(g, types={k: v for k, v in types.items() if k != "x"}), "input 'x' has no type"),
        "constant": (replace(g, constants={"w": np.zeros((3, 2))}), "constant 'w' is .*float64"),
        "operator": (replace(g, nodes=(mm, cut, replace(add, op="Plus"))), "'Plus' is not in the op table"),
        "attribute": (replace(g, nodes=(mm, replace(cut, attrs={"axis": 1}), add)), "has attributes"),
        "sizes": (
            replace(g, nodes=(mm, replace(cut, attrs={"axis": 1, "sizes": (1, 2)}), add)),
            "do not fill",
        ),
        "arity": (replace(g, nodes=(mm, cut, replace(add, inputs=("a",)))), "takes 2 to 2 inputs"),
        "outputs": (replace(g, nodes=(mm, replace(cut, outputs=("a",)), add)), "has 1 outputs, not 2"),
    }


@pytest.mark.parametrize("case", broken())
def test_verify_rejects(case: str) -> None:
    graph, message = broken()[case]
    with pytest.raises(VerifyError, match=message):
        verify(graph)


def test_printer() -> None:
    assert to_text(small()) == (
        "graph small\n"
        "input %x: f32[4,3]\n"
        "const %w: f32[3,2]\n"
        "%m: f32[4,2] = MatMul(%x, %w)\n"
        "%a: f32[4,1], %b: f32[4,1] = Split(%m) {axis=1, sizes=[1,1]}\n"
        "%y: f32[4,1] = Add(%a, %b)\n"
        "output %y\n"
    )


def test_float64_evaluation() -> None:
    x = np.full((4, 3), 1 / 3, np.float32)
    (y,) = run(small(), {"x": x}, dtype=np.float64).values()
    assert y.dtype == np.float64
    assert np.array_equal(y[:, 0], (x.astype(np.float64) @ np.arange(6.0).reshape(3, 2)).sum(axis=1))
    cast = Node("Cast", ("y",), ("z",), {"to": "float16"}, "cast")
    g = replace(
        small(),
        nodes=(*small().nodes, cast),
        outputs=("z",),
        types={**small().types, "z": Type((4, 1), "float16")},
    )
    assert run(g, {"x": x})["z"].dtype == np.float16
    assert run(g, {"x": x}, dtype=np.float64)["z"].dtype == np.float64


def build(
    nodes: list[onnx.NodeProto],
    outputs: dict[str, tuple[int, ...]],
    functions: tuple[onnx.FunctionProto, ...] = (),
    **weights: np.ndarray,
) -> Graph:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 6))],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in outputs.items()],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    imported = import_onnx(helper.make_model(graph, opset_imports=opsets, functions=list(functions)))
    verify(imported)
    return imported


X = np.arange(12, dtype=np.float32).reshape(2, 6) - 5


def test_outputs_that_are_inputs_constants_or_each_other() -> None:
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Identity", ["r"], ["r1"]),
        helper.make_node("Dropout", ["r"], ["r2"]),
        helper.make_node("Neg", ["c"], ["k"]),
    ]
    shapes = {"same": (2, 6), "r1": (2, 6), "r2": (2, 6), "k": (2,)}
    got = run(build(nodes, shapes, c=np.ones(2, np.float32)), {"x": X})
    assert list(got) == list(shapes)
    assert (got["same"] == X).all() and (got["k"] == -1).all()
    assert (got["r1"] == np.maximum(X, 0)).all() and (got["r2"] == got["r1"]).all()


def test_shape_arithmetic_folds_away() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Unsqueeze", ["n", "zeros"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["target"], axis=0),
        helper.make_node(
            "ConstantOfShape", ["target"], ["ones"], value=helper.make_tensor("v", 1, [1], [1.0])
        ),
        helper.make_node("Reshape", ["x", "target"], ["shaped"]),
        helper.make_node("Add", ["shaped", "ones"], ["y"]),
    ]
    weights = {"zero": np.array(0), "zeros": np.array([0]), "rest": np.array([2, 3])}
    graph = build(nodes, {"y": (2, 2, 3)}, **weights)
    assert [n.op for n in graph.nodes] == ["Reshape", "Add"]
    assert graph.nodes[0].sources == ("Reshape_shaped",)
    assert (run(graph, {"x": X})["y"] == X.reshape(2, 2, 3) + 1).all()


def test_local_function_with_attribute_and_same_inner_names() -> None:
    scale = helper.make_node("LeakyRelu", ["x"], ["r"])
    reference = scale.attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "alpha", "slope", onnx.AttributeProto.FLOAT
    body = [scale, helper.make_node("Neg", ["r"], ["out"])]
    function = helper.make_function(
        "mine", "Leaky", ["x"], ["out"], body, [helper.make_opsetid("", 17)], ["slope"]
    )
    nodes = [
        helper.make_node("Leaky", ["x"], ["r"], "one", domain="mine", slope=0.5),
        helper.make_node("Leaky", ["r"], ["y"], "two", domain="mine", slope=0.25),
    ]
    graph = build(nodes, {"y": (2, 6)}, (function,))
    inner = -np.where(X < 0, X * 0.5, X)
    assert (run(graph, {"x": X})["y"] == -np.where(inner < 0, inner * 0.25, inner)).all()


def test_constant_condition_picks_a_branch() -> None:
    def branch(name: str, op: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 6))
        return helper.make_graph([helper.make_node(op, ["x"], [name])], name, [], [out])

    node = helper.make_node(
        "If", ["c"], ["y"], then_branch=branch("t", "Neg"), else_branch=branch("e", "Abs")
    )
    for value, want in ((True, -X), (False, np.abs(X))):
        assert (run(build([node], {"y": (2, 6)}, c=np.array(value)), {"x": X})["y"] == want).all()


def test_gather_of_a_progression_is_a_slice() -> None:
    for picks, op in (([1, 3, 5], "Slice"), ([5, 4, 3], "Slice"), ([0, 1, 3], "Gather"), ([-1], "Slice")):
        node = helper.make_node("Gather", ["x", "i"], ["y"], axis=1)
        graph = build([node], {"y": (2, len(picks))}, i=np.array(picks))
        assert [n.op for n in graph.nodes] == [op]
        assert (run(graph, {"x": X})["y"] == X[:, picks]).all()


def test_transposed_convolution_without_overlap_is_a_product() -> None:
    weight = np.random.default_rng(0).standard_normal((3, 2, 2, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Reshape", ["x", "s"], ["image"]),
        helper.make_node("ConvTranspose", ["image", "w"], ["y"], strides=[2, 2]),
    ]
    graph = build(nodes, {"y": (2, 2, 2, 4)}, s=np.array([2, 3, 1, 2]), w=weight)
    assert "Conv" not in [n.op for n in graph.nodes] and "MatMul" in [n.op for n in graph.nodes]
    want = np.einsum("ncij,cmkl->nmikjl", X.reshape(2, 3, 1, 2), weight).reshape(2, 2, 2, 4)
    assert np.allclose(run(graph, {"x": X})["y"], want, atol=1e-5)


@pytest.mark.parametrize(
    "equation",
    ["ij,ij->", "ij,kj->ik", "ij->ji", "...j,kj->...k", "ij,ij->ij", "ij,ik->ijk", "ij->i", "ij,kj"],
)
def test_einsum(equation: str) -> None:
    terms = equation.partition("->")[0].split(",")
    names = ["x", "w"][: len(terms)]
    weights = (
        {"w": np.random.default_rng(0).standard_normal((2, 6)).astype(np.float32)} if len(terms) > 1 else {}
    )
    graph = build([helper.make_node("Einsum", names, ["y"], equation=equation)], {"y": ()}, **weights)
    want = np.einsum(equation, X, *weights.values())
    assert np.allclose(run(graph, {"x": X})["y"], want, atol=1e-4)
