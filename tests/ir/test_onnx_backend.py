"""ONNX's backend interface over compiled code on the local OpenCL CPU device."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ecp.errors import DeviceError, InputError, ModelError
from ecp.runtime.devices import resolve
from tests.ir.node_cases import cases, run_case

try:
    DEVICE = resolve("local-cpu")
except DeviceError as error:
    pytest.skip(str(error), allow_module_level=True)

from ecp import onnx_backend

#: One test of each kind of lowering; the slow lane runs them all.
SAMPLE = [
    "test_add_bcast",
    "test_gelu_tanh_1",
    "test_softmax_axis_1",
    "test_layer_normalization_4d_axis1",
    "test_matmul_3d",
    "test_gemm_all_attributes",
    "test_basic_conv_with_padding",
    "test_convtranspose_pads",
    "test_maxpool_2d_ceil",
    "test_averagepool_2d_pads_count_include_pad",
    "test_batchnorm_example",
    "test_instancenorm_example",
    "test_transpose_all_permutations_3",
    "test_slice_neg_steps",
    "test_concat_2d_axis_1",
    "test_split_variable_parts_2d_opset18",
    "test_expand_dim_changed",
    "test_tile",
    "test_gather_negative_indices",
    "test_edge_pad",
    "test_reflect_pad",
    "test_depthtospace_crd_mode_example",
    "test_reduce_l2_keep_dims_random",
    "test_logsoftmax_axis_0",
    "test_where_example",
    "test_clip",
    "test_einsum_batch_diagonal",
    "test_resize_upsample_sizes_cubic",
    "test_resize_upsample_scales_nearest",
    "test_lrn",
    "test_cumsum_2d_axis_0",
    "test_argmax_keepdims_random",
    "test_mvn",
    "test_group_normalization_example",
    "test_onehot_with_axis",
    "test_scatternd",
    "test_gathernd_example_float32",
]


@pytest.mark.parametrize("name", SAMPLE)
def test_node(name: str) -> None:
    run_case(cases()[name], lambda graph, feeds: onnx_backend.run_graph(graph, feeds, DEVICE))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(cases()) - set(SAMPLE)))
def test_every_node(name: str) -> None:
    try:
        run_case(cases()[name], lambda graph, feeds: onnx_backend.run_graph(graph, feeds, DEVICE))
    except ModelError as error:
        assert "no kernel" not in str(error), "what the importer takes, the compiler compiles"
        pytest.skip(str(error)[:200])


def test_onnx_runs_its_own_tests_on_it() -> None:
    from onnx.backend.test import BackendTest

    suite = BackendTest(onnx_backend.EcpBackend, __name__)
    suite.include("test_relu_cpu").include("test_squeeze_cpu").include("test_matmul_2d_cpu")
    names = [n for case in suite.test_cases.values() for n in dir(case) if n.startswith("test_")]
    assert len(names) >= 3
    for case in suite.test_cases.values():
        for name in (
            n for n in dir(case) if n in ("test_relu_cpu", "test_squeeze_cpu", "test_matmul_2d_cpu")
        ):
            case(name).debug()  # raises where the test fails


def test_run_model_by_order_and_by_name() -> None:
    node = helper.make_node("Sub", ["a", "b"], ["y"])
    a, b = np.array([1, 2, 3], np.float32), np.array([5, 5, 5], np.float32)
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ("n",)) for n in "ab"]
    graph = helper.make_graph(
        [node], "g", ports, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    prepared = onnx_backend.prepare(model, "CPU")
    assert (prepared.run([a, b]).y == a - b).all()
    assert (prepared.run({"b": a, "a": b})[0] == b - a).all()
    assert (prepared.run([a[:2], b[:2]]).y == (a - b)[:2]).all(), "another size is compiled anew"
    with pytest.raises(InputError, match="1 inputs given, the model has 2: a, b"):
        prepared.run([a])


def test_run_node_and_devices() -> None:
    (y,) = onnx_backend.run_node(onnx.helper.make_node("Neg", ["x"], ["y"]), [np.ones((2, 2), np.float32)])
    assert (y == -1).all()
    assert onnx_backend.supports_device("CPU")
    assert not onnx_backend.supports_device("local-gpu") or resolve("local-gpu")
