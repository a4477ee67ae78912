"""Weights exist once: a session reads the mapped file, and a compile holds one copy beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecp.compiler import compile_onnx
from ecp.errors import DeviceError, ModelError
from ecp.frontend import weights
from ecp.frontend.onnx import import_onnx
from ecp.ir.mapped import pages, release
from ecp.plan import Launch, Mem, MemArgument, Plan, Pool, Port, Program
from ecp.runtime.bundle import Bundle
from ecp.runtime.devices import resolve

LAYERS, WIDTH = 16, 1536  # 16 x 9 MiB
WEIGHTS_MIB = LAYERS * WIDTH * WIDTH * 4 / 2**20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    nodes, initializers = [], []
    for i in range(LAYERS):
        weight = (rng.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5).astype(np.float32)
        initializers.append(numpy_helper.from_array(weight, f"w{i}"))
        nodes += [
            helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"h{i}"]),
            helper.make_node("Relu", [f"h{i}"], [f"x{i + 1}"]),
        ]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [16, WIDTH]) for n in ("x0", f"x{LAYERS}")]
    graph = helper.make_graph(nodes, "deep", ports[:1], ports[1:], initializers)
    path = tmp_path_factory.mktemp("model") / "deep.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return path


SCRIPT = """
import sys
import numpy as np
from pathlib import Path
import ecp
from ecp.runtime.devices import resolve
device = resolve(sys.argv[3])
def field(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0]) / 1024
import ecp.pipeline, ecp.frontend.onnx
before = field("VmRSS")
if sys.argv[1] == "compile":
    ecp.compile(sys.argv[2], device, cache=False)
else:
    session = ecp.Session(ecp.Bundle.load(sys.argv[2]), device)
    session.run({"x0": np.ones((16, 1536), np.float32)})
print(field("VmHWM") - before, field("RssAnon"))
"""


def measured(what: str, path: Path, device: str) -> tuple[float, float]:
    command = [sys.executable, "-c", SCRIPT, what, str(path), device]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    grown, anonymous = map(float, done.stdout.split())
    return grown, anonymous


def device(name: str) -> str:
    try:
        return resolve(name).name
    except DeviceError as error:
        pytest.skip(str(error))


def test_compile_holds_one_copy_of_the_weights(model: Path) -> None:
    grown, _ = measured("compile", model, device("local-cpu"))
    assert WEIGHTS_MIB < grown < 1.6 * WEIGHTS_MIB


@pytest.mark.parametrize("name", ["local-cpu", "local-pocl"])
def test_session_reads_the_mapped_weights_in_place(name: str, model: Path, tmp_path: Path) -> None:
    bundle = compile_onnx(model, device(name), cache=False)
    folder = bundle.save(tmp_path / "b")
    measured("run", folder, name)  # builds the kernels: compilers take memory too
    grown, anonymous = measured("run", folder, name)
    assert grown < 1.6 * WEIGHTS_MIB
    assert anonymous < WEIGHTS_MIB, "weights were copied into memory of the process"


def test_pools_in_memory_begin_at_a_page(model: Path) -> None:
    bundle = compile_onnx(model, device("local-cpu"), cache=False)
    assert bundle.pools["weights"].ctypes.data % 4096 == 0


def test_pools_that_kernels_write_are_never_the_file(tmp_path: Path) -> None:
    name = device("local-cpu")
    source = "__kernel void f(__global float* s, __global float* y) { s[0] += 1.0f; y[0] = s[0]; }"
    plan = Plan(
        inputs=[],
        outputs=[Port("y", [1], "float32", "y")],
        pools=[Pool("static", 4096, "static.bin", "rw"), Pool("io", 4096, None, "rw")],
        mems=[Mem("s", "static", 0, 4096), Mem("y", "io", 0, 4096)],
        programs=[Program("p", "kernels/p.cl", "")],
        launches=[Launch("p", "f", [MemArgument("s"), MemArgument("y")], [1], [1], "map")],
        device=name,
        device_class="cpu",
    )
    from ecp.runtime.session import Session

    folder = Bundle(plan, {"kernels/p.cl": source}, {"static": np.zeros(4096, np.uint8)}).save(tmp_path / "b")
    with Session(Bundle.load(folder)) as first, Session(Bundle.load(folder)) as second:
        assert [float(first.run({})["y"][0]) for _ in range(3)] == [1, 2, 3], "kept across runs"
        assert float(second.run({})["y"][0]) == 1, "each session has its own"
    assert (folder / "static.bin").read_bytes() == bytes(4096)


def test_split_file_gives_the_same_graph(model: Path) -> None:
    whole, mapped = import_onnx(model), import_onnx(model, mapped=True)
    assert weights.split(model) is not None
    assert whole.nodes == mapped.nodes and whole.types == mapped.types
    for name, value in whole.constants.items():
        release(mapped.constants[name])
        np.testing.assert_array_equal(mapped.constants[name], value)


def test_file_that_is_not_plain_is_parsed_whole(model: Path, tmp_path: Path) -> None:
    data = model.read_bytes()
    twice = tmp_path / "twice.onnx"  # protobuf merges a second graph into the first
    twice.write_bytes(data + b"\x3a\x00")
    assert weights.split(twice) is None
    assert import_onnx(twice, mapped=True).nodes == import_onnx(model).nodes
    for cut in (len(data) - 1, len(data) // 2, 1000, 1, 0):
        (tmp_path / "cut.onnx").write_bytes(data[:cut])
        with pytest.raises(ModelError):
            import_onnx(tmp_path / "cut.onnx", mapped=True)


def test_damaged_weights_are_named_when_they_stay_in_the_file(model: Path, tmp_path: Path) -> None:
    proto = onnx.load(str(model))
    weight = numpy_helper.to_array(proto.graph.initializer[3]).copy()
    for value, words in ((np.nan, "NaN"), (np.inf, "infinities")):
        weight[5, 7] = value
        proto.graph.initializer[3].CopyFrom(numpy_helper.from_array(weight, "w3"))
        onnx.save(proto, str(tmp_path / "bad.onnx"))
        with pytest.raises(ModelError, match=f"'w3' contains {words}"):
            import_onnx(tmp_path / "bad.onnx", mapped=True)
    del proto.graph.initializer[3].dims[1]
    onnx.save(proto, str(tmp_path / "bad.onnx"))
    with pytest.raises(ModelError, match=r"'w3'.*corrupt"):
        import_onnx(tmp_path / "bad.onnx", mapped=True)


def test_pages_are_given_back_only_where_the_file_has_them() -> None:
    own = pages(8192)
    own[:] = 7
    release(own)
    release(np.ones(4))
    assert (own == 7).all()
