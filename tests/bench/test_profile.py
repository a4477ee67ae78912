"""Op classes, graph facts and the profile's arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from baselines.base import OpTime
from baselines.contract import block_model
from bench import inputs, profile, profile_run
from bench.profile_classes import FILE, GraphFacts, classify, load
from bench.profile_graph import graph_facts
from ecp.errors import UsageError

NONE = GraphFacts(frozenset())


def op(op_type: str, name: str = "n", ms: float = 1.0, **details: object) -> OpTime:
    return OpTime(name, op_type, ms, "test", details)


@pytest.mark.parametrize(
    ("backend", "operator", "wanted"),
    [
        ("onnxruntime", op("ReorderInput"), "layout"),
        ("onnxruntime", op("Gemm"), "matmul"),
        ("onnxruntime", op("FusedMatMul"), "attention"),
        ("onnxruntime", op("SkipLayerNormalization"), "normalization"),
        ("openvino", op("Reorder"), "layout"),
        ("openvino", op("Subgraph", onnx_nodes="/a/MatMul,/a/Softmax,/a/MatMul_1,"), "attention"),
        ("openvino", op("Subgraph", onnx_nodes="/a/Add,"), "elementwise"),
        ("mnn", op("Raster"), "layout"),
        ("mnn", op("Convolution", "/blocks/fc1/Add_output_0__matmul_converted"), "matmul"),
        ("mnn", op("Convolution", "/patch_embed/proj/Conv_output_0"), "convolution"),
        ("mnn", op("While", "/attn/MatMul_output_0"), "attention"),
        ("tvm", op("fused_reshape2_transpose1_split"), "layout"),
        ("tvm", op("fused_squeeze_transpose2_multiply1"), "elementwise"),
        ("tvm", op("fused_matmul5_add3_add1"), "matmul"),
        ("tvm-opencl", op("matmul1"), "attention"),
        ("tvm-tuned", op("fused_matmul4_add4_divide1_erf_add5_multiply2_multiply3"), "matmul"),
        ("torch", op("aten::copy_"), "layout"),
        ("torch", op("aten::_scaled_dot_product_flash_attention_for_cpu"), "attention"),
        (
            "torch-compile",
            op("graph_3_cpp_fused_add_addmm_gelu_native_layer_norm_transpose_view_4"),
            "normalization",
        ),
        ("torch-compile", op("graph_3_cpp_fused_convolution_0"), "layout"),
        ("torch-compile", op("cpp_fused_gelu_7"), "activation"),
        ("torch-compile", op("mkl::_mkl_linear"), "matmul"),
        ("tnn", op("SplitV"), "layout"),
        ("executorch", op("Transpose (ND, X32)"), "layout"),
        ("executorch", op("expand_copy.out"), "layout"),
        ("executorch", op("Fully Connected (NC, F32) GEMM"), "matmul"),
        ("executorch", op("Batch Matrix Multiply (NC, F32) GEMM"), "attention"),
        ("executorch", op("native_layer_norm.out"), "normalization"),
        ("executorch", op("where.self_out"), "elementwise"),
        ("ecp", op("copy"), "layout"),
        ("ecp", op("matmul"), "matmul"),
        ("mine", op("Transpose"), "layout"),
        ("mine", op("Mystery"), "other"),
    ],
)
def test_published_rules(backend: str, operator: OpTime, wanted: str) -> None:
    assert classify(load(), backend, operator, NONE) == wanted


def test_a_product_of_two_computed_tensors_is_attention(tmp_path: Path) -> None:
    facts, memory = graph_facts(block_model(tmp_path / "m.onnx"))
    assert {"/attn/MatMul", "/attn/MatMul_1"} <= facts.activation_matmuls
    assert "/qkv/MatMul" not in facts.activation_matmuls
    rules = load()
    assert classify(rules, "mine", op("MatMul", "/attn/MatMul"), facts) == "attention"
    assert classify(rules, "mine", op("MatMul", "/qkv/MatMul"), facts) == "matmul"
    # Every value but the logits, by hand: tokens 6, width 8, heads 2.
    tw, scores = 6 * 8, 2 * 6 * 6
    every = 3 * tw + 3 * tw + 3 * tw + 3 * tw + 3 * tw + tw + 3 * scores + tw + tw + tw + tw + tw + 8
    views = 3 * tw + 3 * tw + tw  # two reshapes and the squeezes
    assert memory["intermediate_mb"] == pytest.approx(every * 4 / 1e6, abs=1e-3)
    assert memory["intermediate_written_mb"] == pytest.approx((every - views) * 4 / 1e6, abs=1e-3)
    assert memory["layout_nodes"] == 9


def test_bytes_of_values_whose_shape_is_computed_are_found_by_running(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper

    def value(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    # The reshape's numbers come through a loop-carried scan that inference does not follow.
    nodes = [
        helper.make_node("ReduceMin", ["x"], ["least"], keepdims=0),
        helper.make_node("Cast", ["least"], ["number"], to=TensorProto.INT64),
        helper.make_node("Add", ["number", "wanted"], ["shape"]),
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("Relu", ["r"], ["a"]),
        helper.make_node("ReduceSum", ["a"], ["y"], keepdims=0),
    ]
    wanted = numpy_helper.from_array(np.array([400, 300], np.int64), "wanted")
    graph = helper.make_graph(nodes, "g", [value("x", 300, 400)], [value("y")], [wanted])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(tmp_path / "m.onnx"))
    _, memory = graph_facts(tmp_path / "m.onnx")
    assert memory["intermediate_mb"] == pytest.approx(2 * 300 * 400 * 4 / 1e6, abs=1e-3)
    assert memory["intermediate_written_mb"] == pytest.approx(300 * 400 * 4 / 1e6, abs=1e-3)


def test_shares_come_from_the_hooked_pass_and_latency_from_the_plain_one() -> None:
    ops = [op("Transpose", ms=2.0), op("MatMul", ms=6.0), op("Mystery", ms=2.0)]
    got = profile.summarize(ops, "mine", 5.0, NONE, pass_ms=8.0)
    assert got["layout_ms"] == pytest.approx(1.0) and got["compute_ms"] == pytest.approx(4.0)
    assert got["hook_overhead"] == pytest.approx(0.6) and got["attributed"] == pytest.approx(10 / 8)
    assert got["unclassified"] == ["Mystery"]
    assert sum(got["class_ms"].values()) == pytest.approx(5.0)
    assert got["layout_operators"] == 1 and got["operators"] == 3
    unclocked = profile.summarize(ops, "mine", 5.0, NONE)
    assert unclocked["hook_overhead"] is None and unclocked["attributed"] == pytest.approx(2.0)


def test_launches_with_counts_are_kept_for_the_roofline() -> None:
    counted = op("matmul", "3:mm_0", 0.5, flops=10, bytes=20, nodes=[f"/n{i}" for i in range(9)])
    (row,) = profile._launches([counted, op("MatMul")])["launches"]
    assert (row["name"], row["family"], row["ms"], row["flops"], row["bytes"]) == (
        "3:mm_0",
        "matmul",
        0.5,
        10,
        20,
    )
    assert row["nodes"] == [f"/n{i}" for i in range(profile.LISTED_NODES)]
    assert profile._launches([op("MatMul")]) == {}


def test_a_mistake_in_the_table_is_a_sentence(tmp_path: Path) -> None:
    bad = tmp_path / "c.yaml"
    bad.write_text(FILE.read_text().replace("class: pooling}", "class: poling}", 1))
    with pytest.raises(UsageError, match="class 'poling' is not in the list"):
        load(bad)
    bad.write_text("version: 1\nclases: []\n")
    with pytest.raises(UsageError, match="clases"):
        load(bad)


def test_rows_keep_the_reason_of_what_was_not_measured() -> None:
    cells = [
        {
            "model": "m",
            "backend": "tnn",
            "status": "unavailable",
            "reason": "TNN_HOME",
            "value": None,
            "extra": {},
        },
        {
            "model": "m",
            "backend": "mnn",
            "status": "measured",
            "value": 1.5,
            "extra": {"profile": {"compute_ms": 3.0}},
        },
    ]
    first, second = profile.table_rows(cells)
    assert first["reason"] == "TNN_HOME" and first["layout_ms"] is None
    assert (second["layout_ms"], second["compute_ms"]) == (1.5, 3.0)
    assert profile_run._values(first)[0] == "unavailable"


def test_ablation_is_for_ecp_only() -> None:
    from bench.options import RunOptions

    with pytest.raises(UsageError, match="switches passes of ecp"):
        profile_run.run_ablation(RunOptions(backends="mnn"))


def test_a_profile_block_runs_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from baselines import registry
    from baselines.base import RunConfig
    from bench.measure import Session
    from bench.protocol import Request

    model = block_model(tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((3, 1, 6, 8)).astype(np.float32)
    inputs.save(tmp_path / "in.npz", {"input": x})
    backend = registry.get("onnxruntime")()
    backend.prepare(model, RunConfig(device="local-cpu", threads=1))
    backend.stage({"input": x[0]})
    request = Request(
        "profile", "onnxruntime", "block", "", str(model), str(tmp_path / "in.npz"), "", min_seconds=0.1
    )
    got = profile.measure(request, Session(backend, 0, 0))
    found = got["extra"]["profile"]
    assert got["status"] == "measured" and found["latency_ms"] > 0 and not found["unclassified"]
    assert found["layout_ms"] + found["compute_ms"] == pytest.approx(found["latency_ms"])
    assert "attention" in found["class_ms"] and "layout" in found["class_ms"]
