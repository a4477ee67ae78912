"""Models that cannot be compiled: one clear sentence each, exit code 2, no traceback of ours."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecp.errors import InputError, ModelError, UnsupportedOperatorError
from ecp.frontend.onnx import import_onnx, model_sha256
from ecp.ir.interp import run


def model(
    nodes: list[onnx.NodeProto],
    shape: tuple[int | str | None, ...] = (2, 3),
    weights: dict[str, np.ndarray] | None = None,
    out: str = "y",
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


RELU = [helper.make_node("Relu", ["x"], ["y"], "relu")]
MATMUL = [helper.make_node("MatMul", ["x", "w"], ["y"], "mm")]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file") as caught:
        import_onnx(tmp_path / "none.onnx")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("data", [b"", b"not a model at all", b"\x00" * 100])
def test_not_a_model(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"bad\.onnx: not an ONNX model, or corrupt or truncated"):
        import_onnx(path)


def test_every_truncation_is_one_sentence(tmp_path: Path) -> None:
    whole = model(MATMUL, weights={"w": np.eye(3, dtype=np.float32)}).SerializeToString()
    for size in range(len(whole)):
        try:
            import_onnx(whole[:size])
        except ModelError as error:
            assert "\n" not in str(error)
        else:
            # what was cut off may have been optional (the operator set's trailing fields): same meaning
            assert size > len(whole) - 8


def test_flipped_bytes_never_crash() -> None:
    whole = bytearray(model(MATMUL, weights={"w": np.eye(3, dtype=np.float32)}).SerializeToString())
    rng = np.random.default_rng(0)
    for _ in range(400):
        copy = bytearray(whole)
        copy[rng.integers(len(copy))] = rng.integers(256)
        try:
            import_onnx(bytes(copy))
        except ModelError as error:
            assert "\n" not in str(error)


def test_truncated_tensor() -> None:
    broken = model(MATMUL, weights={"w": np.eye(3, dtype=np.float32)})
    broken.graph.initializer[0].raw_data = broken.graph.initializer[0].raw_data[:-4]
    with pytest.raises(ModelError, match="tensor 'w' is corrupt or truncated"):
        import_onnx(broken)


@pytest.mark.parametrize(
    ("op", "domain", "message"),
    [
        ("MatMull", "", r"operator MatMull .*did you mean MatMul\?"),
        ("GridSample", "", r"operator GridSample .*run-time positions.*export the backbone"),
        ("LSTM", "", "operator LSTM .*'n1'.*recurrent"),
        ("Wonder", "", "operator Wonder .*'n1'.*unknown"),
        ("FusedThing", "com.acme", r"operator com\.acme\.FusedThing .*'com\.acme' is not part"),
    ],
)
def test_unsupported_operator(op: str, domain: str, message: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=message):
        import_onnx(model([helper.make_node(op, ["x"], ["y"], "n1", domain=domain)]))


def test_unsupported_form_names_its_node() -> None:
    node = helper.make_node("Reshape", ["x", "s"], ["y"], "shaped")
    graph = model([helper.make_node("Cast", ["x"], ["s"], "c", to=TensorProto.INT64), node], shape=(2,))
    with pytest.raises(UnsupportedOperatorError, match=r"Reshape in node 'shaped'.*input 1 \(shape\)"):
        import_onnx(graph)


def test_dynamic_dimension() -> None:
    dynamic = model(RELU, ("batch", 3))
    with pytest.raises(
        ModelError,
        match=r"'batch' \(axis 0 of input 'x'\).* --dim batch=1 \(in Python dims=\{'batch': 1\}\)",
    ):
        import_onnx(dynamic)
    assert import_onnx(dynamic, dims={"batch": 5}).types["x"].shape == (5, 3)
    assert import_onnx(dynamic, dims={"x[0]": 4}).types["x"].shape == (4, 3)
    with pytest.raises(ModelError, match="no input has a dynamic dimension named bach"):
        import_onnx(dynamic, dims={"bach": 5, "batch": 1})
    nameless = model(RELU, (None, 3))
    with pytest.raises(ModelError, match=r"'x\[0\]'"):
        import_onnx(nameless)
    assert import_onnx(nameless, dims={"x[0]": 2}).types["x"].shape == (2, 3)


def test_every_dynamic_dimension_is_asked_for_at_once() -> None:
    dynamic = model(RELU, ("batch", "?", None, "?"))
    with pytest.raises(ModelError, match=r"--dim batch=1 --dim x\[1\]=224 --dim x\[2\]=224 --dim x\[3\]=224"):
        import_onnx(dynamic)
    sizes = {"batch": 1, "x[1]": 5, "x[2]": 6, "?": 7}
    assert import_onnx(dynamic, dims=sizes).types["x"].shape == (1, 5, 6, 7)


def test_every_operator_that_is_missing_is_named_at_once() -> None:
    names = ["a", "b", "c", "d", "e"]
    nodes = [helper.make_node("LSTM", ["x"], [n], n) for n in names]
    nodes += [helper.make_node("Odd", ["x"], ["z"], "f", domain="acme"), *RELU]
    with pytest.raises(UnsupportedOperatorError) as caught:
        import_onnx(model(nodes))
    text = str(caught.value)
    assert "operator LSTM (nodes 'a', 'b', 'c' and 2 more)" in text and "operator acme.Odd (node 'f')" in text
    assert len(text) < 400


@pytest.mark.parametrize("size", [0, -3])
def test_dimension_must_be_positive(size: int) -> None:
    with pytest.raises(ModelError, match=f"dimension 'batch' was given {size}"):
        import_onnx(model(RELU, ("batch", 3)), dims={"batch": size})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_must_be_finite(value: float) -> None:
    weights = np.eye(3, dtype=np.float32)
    weights[1, 1] = value
    with pytest.raises(ModelError, match=r"'w' contains (NaN|infinities)"):
        import_onnx(model(MATMUL, weights={"w": weights}))


def test_mask_may_be_infinite() -> None:
    mask = np.array([0, -np.inf, 0], np.float32)
    nodes = [helper.make_node("Add", ["x", "m"], ["s"], "a"), helper.make_node("Softmax", ["s"], ["y"], "b")]
    (got,) = run(import_onnx(model(nodes, weights={"m": mask})), {"x": np.ones((2, 3), np.float32)}).values()
    assert np.allclose(got, [[0.5, 0, 0.5]] * 2)


def test_wrong_order_and_undefined_values() -> None:
    with pytest.raises(ModelError, match=r"node 'mm' \(MatMul\) reads 'w', which nothing defines"):
        import_onnx(model(MATMUL))
    with pytest.raises(ModelError, match="output 'z' is never computed"):
        import_onnx(model(RELU, out="z"))


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(
        ModelError, match=r"node 'mm' \(MatMul\) is not valid: .*float32\[2, 3\], float32\[4, 4\]"
    ):
        import_onnx(model(MATMUL, weights={"w": np.eye(4, dtype=np.float32)}))


def test_old_opset() -> None:
    with pytest.raises(ModelError, match="opset 6; supported are 7 to"):
        import_onnx(model(RELU, opset=6))


def external(location: str, length: int = 36) -> onnx.ModelProto:
    made = model(MATMUL, weights={"w": np.eye(3, dtype=np.float32)})
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(length)}.items():
        tensor.external_data.add(key=key, value=value)
    return made


def test_external_data_inside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(np.eye(3, dtype=np.float32).tobytes())
    onnx.save(external("w.bin"), tmp_path / "m.onnx")
    assert (import_onnx(tmp_path / "m.onnx").constants["w"] == np.eye(3)).all()


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "link.bin", ""])
def test_external_data_outside_is_refused(tmp_path: Path, location: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"\0" * 36)
    (inner / "link.bin").symlink_to(tmp_path / "secret.bin")
    (inner / "m.onnx").write_bytes(external(location).SerializeToString())
    with pytest.raises(ModelError, match="refused"):
        import_onnx(inner / "m.onnx")


def test_external_data_truncated_or_missing(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(external("w.bin").SerializeToString())
    with pytest.raises(ModelError, match="missing or unreadable"):
        import_onnx(tmp_path / "m.onnx")
    (tmp_path / "w.bin").write_bytes(b"\0" * 8)
    with pytest.raises(ModelError, match="truncated"):
        import_onnx(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="give the model as a path"):
        import_onnx(external("w.bin"))


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "input 'x' is missing"),
        ({"x": np.zeros((2, 3), np.float32), "z": np.zeros(1)}, "no input 'z'; its inputs are x"),
        ({"x": np.zeros((3, 2), np.float32)}, r"shape \[3, 2\], the model wants \[2, 3\]"),
        ({"x": np.zeros((2, 3))}, "dtype float64, the model wants float32"),
    ],
)
def test_wrong_feeds(feeds: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(import_onnx(model(RELU)), feeds)


def test_hash(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert model_sha256(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("place", ["folder", "pipe"])
def test_data_and_models_that_are_no_files(tmp_path: Path, place: str) -> None:
    odd = tmp_path / "w.bin"
    if place == "folder":
        odd.mkdir()
    else:
        os.mkfifo(odd)
    (tmp_path / "m.onnx").write_bytes(external("w.bin").SerializeToString())
    for mapped in (False, True):
        with pytest.raises(ModelError, match=r"w\.bin.*not a regular file"):
            import_onnx(tmp_path / "m.onnx", mapped=mapped)
        with pytest.raises(ModelError, match=r"not a file|cannot be read"):
            import_onnx(odd, mapped=mapped)


def test_external_data_of_another_size_than_its_tensor(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 100)
    (tmp_path / "m.onnx").write_bytes(external("w.bin", 40).SerializeToString())
    with pytest.raises(ModelError, match="needs 36 bytes, 40 are given"):
        import_onnx(tmp_path / "m.onnx")


def test_a_batch_normalization_of_constant_weights_folds() -> None:
    """Weight standardisation: BiT, NFNets and hybrid transformers export it in training mode."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((1, 3, 4)).astype(np.float32)}
    weights |= {k: np.full(3, v, np.float32) for k, v in {"s": 2, "b": 0.5, "m": 0, "v": 1}.items()}
    norm = helper.make_node(
        "BatchNormalization",
        ["w", "s", "b", "m", "v"],
        ["n", "m2", "v2"],
        "bn",
        training_mode=1,
        epsilon=1e-3,
    )
    graph = import_onnx(model([norm, helper.make_node("Add", ["x", "n"], ["y"], "a")], (1, 3, 4), weights))
    assert [n.op for n in graph.nodes] == ["Add"]
    w = weights["w"].astype(np.float64)
    mean, var = w.mean((0, 2), keepdims=True), w.var((0, 2), keepdims=True)
    (got,) = run(graph, {"x": np.zeros((1, 3, 4), np.float32)}).values()
    assert np.allclose(got, 2 * (w - mean) / np.sqrt(var + 1e-3) + 0.5, atol=1e-5)
    run_time = helper.make_node(
        "BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "m2", "v2"], "bn", training_mode=1
    )
    with pytest.raises(
        UnsupportedOperatorError, match=r"'bn'.*training mode over a value computed at run time"
    ):
        import_onnx(model([run_time], (1, 3, 4), {k: weights[k] for k in "sbmv"}))
