"""A model's identity is its content: the files that its tensors name are part of it, wherever they hide."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecp.errors import ModelError
from ecp.frontend import digests
from ecp.frontend.identity import locations, model_sha256


def outside(location: str, name: str = "w") -> onnx.TensorProto:
    """A tensor of four floats in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def model(*initializers: onnx.TensorProto, nodes: list[onnx.NodeProto] | None = None) -> onnx.ModelProto:
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    used = nodes or [helper.make_node("Add", ["x", initializers[0].name], ["y"])]
    graph = helper.make_graph(used, "g", [port], [out], list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def constant(tensor: onnx.TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["y"], value=tensor)


def in_branch(tensor: onnx.TensorProto) -> onnx.ModelProto:
    branch = helper.make_graph(
        [constant(tensor)], "b", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])]
    )
    return model(nodes=[helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)])


def in_function(tensor: onnx.TensorProto) -> onnx.ModelProto:
    made = model(nodes=[helper.make_node("F", ["x"], ["y"], domain="d")])
    made.functions.append(
        helper.make_function("d", "F", ["x"], ["y"], [constant(tensor)], [helper.make_opsetid("", 17)])
    )
    return made


def in_sparse(tensor: onnx.TensorProto) -> onnx.ModelProto:
    made = model(numpy_helper.from_array(np.zeros(4, np.float32), "w"))
    indices = numpy_helper.from_array(np.arange(4), "i")
    made.graph.sparse_initializer.append(onnx.SparseTensorProto(values=tensor, indices=indices, dims=[8]))
    return made


def in_training(tensor: onnx.TensorProto) -> onnx.ModelProto:
    made = model(numpy_helper.from_array(np.zeros(4, np.float32), "w"))
    made.training_info.add().algorithm.initializer.append(tensor)
    return made


PLACES: list[Callable[[onnx.TensorProto], onnx.ModelProto]] = [
    model,
    lambda tensor: model(nodes=[constant(tensor)]),
    in_branch,
    in_function,
    in_sparse,
    in_training,
]


def write(folder: Path, made: onnx.ModelProto, tail: bytes = b"", **files: float) -> Path:
    """The model as m.onnx; files of four equal floats beside it, ``__`` in a name for a folder."""
    for name, value in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(np.full(4, value, np.float32).tobytes())
    (folder / "m.onnx").write_bytes(made.SerializeToString() + tail)
    return folder / "m.onnx"


def test_a_file_without_external_data_keeps_its_own_hash(tmp_path: Path) -> None:
    path = write(tmp_path, model(numpy_helper.from_array(np.zeros(4, np.float32), "location")))
    assert model_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert locations(path) == []


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("tail", [b"", b"\xfb\x3f\xfc\x3f"], ids=["plain", "with a group that nobody knows"])
def test_a_changed_weights_file_is_another_model(
    place: Callable[[onnx.TensorProto], onnx.ModelProto], tail: bytes, tmp_path: Path
) -> None:
    if tail and place in (in_sparse, in_function, in_training):
        pytest.skip("onnx itself does not look there, and nothing else reads such a file")
    made = place(outside("deep/w"))
    first = model_sha256(write(tmp_path, made, tail, deep__w=1.0))
    assert first != hashlib.sha256((tmp_path / "m.onnx").read_bytes()).hexdigest()
    assert model_sha256(write(tmp_path, made, tail, deep__w=2.0)) != first
    assert model_sha256(write(tmp_path, made, tail, deep__w=1.0)) == first


def test_every_one_of_several_files_counts(tmp_path: Path) -> None:
    made = model(outside("a", "a"), outside("b/c", "b"), outside("d", "d"))
    values = itertools.product((0.0, 1.0), repeat=3)
    seen = {model_sha256(write(tmp_path, made, a=a, b__c=b, d=d)) for a, b, d in values}
    assert len(seen) == 8
    # Two files change places: the contents are the same, the model is not.
    assert model_sha256(write(tmp_path, made, a=1.0, b__c=0.0, d=0.0)) != model_sha256(
        write(tmp_path, made, a=0.0, b__c=1.0, d=0.0)
    )


def test_the_path_is_no_part_of_it(tmp_path: Path) -> None:
    path = write(tmp_path / "one", model(outside("deep/w")), deep__w=3.0)
    shutil.copytree(path.parent, tmp_path / "two")
    (tmp_path / "two" / "m.onnx").rename(tmp_path / "two" / "other.onnx")
    (tmp_path / "link.onnx").symlink_to(tmp_path / "two" / "other.onnx")
    assert model_sha256(tmp_path / "two" / "other.onnx") == model_sha256(path)


def test_data_that_are_not_external_any_more_need_no_file(tmp_path: Path) -> None:
    tensor = outside("gone")
    tensor.data_location = TensorProto.DEFAULT
    tensor.raw_data = np.ones(4, np.float32).tobytes()
    absent = model_sha256(write(tmp_path, model(tensor)))
    assert model_sha256(write(tmp_path, model(tensor), gone=1.0)) != absent


def refuse_link(folder: Path) -> str:
    (folder / "w").symlink_to(folder / "real")
    return "w"


def refuse_linked_folder(folder: Path) -> str:
    (folder / "linked").symlink_to(folder / "deep")
    return "linked/w"


def refuse_folder(folder: Path) -> str:
    (folder / "w").mkdir()
    return "w"


def refuse_pipe(folder: Path) -> str:
    os.mkfifo(folder / "w")
    return "w"


def refuse_loop(folder: Path) -> str:
    (folder / "w").symlink_to("w")
    return "w"


@pytest.mark.parametrize(
    "prepare",
    [
        *(refuse_link, refuse_linked_folder, refuse_folder, refuse_pipe, refuse_loop),
        *(lambda f: "../real", lambda f: str(f / "real"), lambda f: "deep/../../real", lambda f: "."),
        *(lambda f: "absent", lambda f: "a" * 5000, lambda f: "nul\0", lambda f: "", lambda f: "/dev/zero"),
    ],
)
def test_what_is_no_plain_file_of_the_folder_is_refused(
    prepare: Callable[[Path], str], tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    write(folder, model(outside("real")), real=1.0, deep__w=1.0)
    (tmp_path / "real").write_bytes(bytes(16))
    path = write(folder, model(outside(prepare(folder))))
    with pytest.raises(ModelError, match="external data at"):
        model_sha256(path)
    from ecp.frontend.onnx import import_onnx

    with pytest.raises(ModelError, match="external data at"):
        import_onnx(path)


def test_a_change_with_the_old_time_stamp_is_seen_in_the_same_process(tmp_path: Path) -> None:
    made = model(outside("w"))
    path = write(tmp_path, made, w=1.0)
    first, stamp = model_sha256(path), (tmp_path / "w").stat()
    write(tmp_path, made, w=2.0)
    os.utime(tmp_path / "w", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert model_sha256(path) != first


def test_a_file_at_rest_is_read_once_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, model(outside("w")), w=1.0)
    monkeypatch.setattr(digests, "SETTLED_S", -60.0)
    first = model_sha256(path)
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert model_sha256(path) == first


def test_what_is_no_model_has_its_own_hash(tmp_path: Path) -> None:
    for content in (b"", b"abc", b"\x3a\xff\xff\xff\xff\x0f"):
        (tmp_path / "f").write_bytes(content)
        assert model_sha256(tmp_path / "f") == hashlib.sha256(content).hexdigest()
    with pytest.raises(OSError, match="not a regular file"):
        model_sha256(tmp_path)
