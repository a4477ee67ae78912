"""The user's own builds, rehearsed with small fake executables that print what the real programs print.

Output formats: MNN tools/cpp/MNNV2Basic.cpp, TNN test/test.cc and test/timer.cc.
"""

from __future__ import annotations

import hashlib
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from baselines import own_build
from baselines.base import RunConfig, Unavailable, Unsupported
from baselines.contract import block_model, reference, sample
from baselines.mnn_build import MnnOpenClBackend, MnnVulkanBackend, session_times
from baselines.tnn_backend import TnnBackend, TnnOpenClBackend, printed_times, raise_on_failure
from baselines.tvm_rpc import TvmRpcBackend, server_address
from ecp.errors import UsageError

CONFIG = RunConfig(device="local", threads=2)

MNN_OK = """\
Use extra forward type: {used}
Open Model x.mnn
Session Info: memory use 24.007923 MB, flops is 1258.288452 M, backendType is {used}
===========> Session Resize Done.
===========> Session Start running...
Input size:48
output: logits
precision:1, Run 50 time:
        /Reshape_raster_0  \t[Raster] run 50 average cost 0.020000 ms, 1.9 %, FlopsRate: 0.1 %
Avg= 12.345000 ms, min= 11.900000 ms, max= 14.100000 ms
"""
TNN_TIME = (
    "block.tnnproto                                TNN Benchmark time cost: "
    "min = 12.100   ms  |  max = 14.200   ms  |  avg = 12.900   ms \n"
)
TNN_SPLITV = """\
E/tnn: virtual Status tnn::OpenCLSplitVLayerAcc::Init(Context *, LayerParam *) \
[File source/tnn/device/opencl/acc/opencl_splitv_layer_acc.cc][Line 69] axis=0 is not support in SplitV yet!
E/tnn: virtual Status tnn::DefaultNetwork::InitLayers() [File source/tnn/core/default_network.cc][Line 321] \
Error Init layer /blocks/blocks.0/attn/Split (err: 40963 or 0xA003)
create instance failed: code: 0xA003 msg: the axis not support
"""


def fake(folder: Path, name: str, body: str) -> Path:
    """An executable in ``folder`` that runs a Python body with ``argv``, ``Path`` and ``np`` at hand."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    head = f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\nimport numpy as np\nargv = sys.argv\n"
    path.write_text(head + body)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


MNN_BODY = """
sys.path.insert(0, {root!r})
from baselines.contract import reference
x = np.loadtxt(Path(argv[0]).parent / "input_0.txt").reshape(1, 6, 8)
Path(Path(argv[0]).parent / "output.txt").write_text("\\t".join(map(str, reference(x).reshape(-1))))
print({text!r})
"""
TNN_BODY = """
sys.path.insert(0, {root!r})
from baselines.contract import reference
get = lambda flag: argv[argv.index(flag) + 1]
assert get("-dt") in ("X86", "ARM", "OPENCL") and get("-pr") == "HIGH" and get("-th") == "2", argv
x = np.loadtxt(get("-ip")).reshape(1, 6, 8)
values = "\\n".join(f"{{v:.6f}}" for v in reference(x).reshape(-1))
Path(get("-op")).write_text("1\\nlogits 2 1 5\\n" + values + "\\n")
print({text!r})
"""
ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))
    for name in ("MNN_HOME", "TNN_HOME", "TNN_MODELS", "TVM_RPC", "TVM_RPC_TARGET"):
        monkeypatch.delenv(name, raising=False)
    return block_model(tmp_path / "block.onnx")


@pytest.mark.parametrize(
    ("backend", "variable", "words"),
    [
        (MnnOpenClBackend, "MNN_HOME", "MNN_OPENCL=ON"),
        (MnnVulkanBackend, "MNN_HOME", "MNN_VULKAN=ON"),
        (TnnBackend, "TNN_HOME", "TNN documentation"),
        (TnnOpenClBackend, "TNN_HOME", "TNN_OPENCL_ENABLE=ON"),
        (TvmRpcBackend, "TVM_RPC", "TVM documentation"),
    ],
)
def test_without_a_build_the_steps_are_named(model: Path, backend: type, variable: str, words: str) -> None:
    with pytest.raises(Unavailable, match=variable) as caught:
        backend().prepare(model, CONFIG)
    assert words in str(caught.value) or words in caught.value.args[0]
    assert "\n" not in str(caught.value)


def test_a_home_without_the_program_says_which(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("TNN_HOME", str(tmp_path / "empty"))
    with pytest.raises(Unavailable, match="holds no executable TNNTest"):
        TnnBackend().prepare(model, CONFIG)


def mnn_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, body: str = MNN_BODY) -> None:
    pytest.importorskip("MNN")
    fake(tmp_path / "mnn", "MNNV2Basic.out", body.format(root=ROOT, text=text))
    monkeypatch.setenv("MNN_HOME", str(tmp_path / "mnn"))


def test_mnn_opencl_runs_and_times_itself(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnn_home(tmp_path, monkeypatch, MNN_OK.format(used=3))
    adapter = MnnOpenClBackend()
    adapter.prepare(model, CONFIG)
    got = adapter.run({"input": sample()})["logits"]
    np.testing.assert_allclose(got, reference(sample()), rtol=1e-4)
    assert adapter.own_latency()[0] == [12.345]
    assert adapter.describe().true_backend == "MNN OPENCL"
    adapter.close()


def test_mnn_on_another_backend_is_never_a_result(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnn_home(tmp_path, monkeypatch, MNN_OK.format(used=13))
    with pytest.raises(Unsupported, match=r"OPENCL asked, the session runs on CPU \(extension\)"):
        MnnOpenClBackend().prepare(model, CONFIG)


def test_mnn_printed_fallback_is_never_a_result(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnn_home(tmp_path, monkeypatch, "Can't Find type=7 backend, use 0 instead\n" + MNN_OK.format(used=7))
    with pytest.raises(Unsupported, match="no VULKAN backend and silently used CPU"):
        MnnVulkanBackend().prepare(model, CONFIG)


def test_mnn_that_stops_without_a_session_keeps_its_words(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnn_home(tmp_path, monkeypatch, "Open Model x\nError: OpenCL init error, fallback ...", "print({text!r})")
    with pytest.raises(Unsupported, match="no session was made: Error: OpenCL init error"):
        MnnOpenClBackend().prepare(model, CONFIG)


def tnn_home(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    fake(tmp_path / "tnn" / "build", "TNNTest", body)
    stem = hashlib.sha256(model.read_bytes()).hexdigest()[:16]
    for suffix in ("tnnproto", "tnnmodel"):
        (tmp_path / "tnn" / f"{stem}.{suffix}").write_text("x")
    monkeypatch.setenv("TNN_HOME", str(tmp_path / "tnn"))
    monkeypatch.setenv("TNN_MODELS", str(tmp_path / "tnn"))


@pytest.mark.parametrize("backend", [TnnBackend, TnnOpenClBackend])
def test_tnn_runs_and_times_itself(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: type[TnnBackend]
) -> None:
    tnn_home(model, tmp_path, monkeypatch, TNN_BODY.format(root=ROOT, text=TNN_TIME))
    adapter = backend()
    adapter.prepare(model, CONFIG)
    got = adapter.run({"input": sample()})["logits"]
    np.testing.assert_allclose(got, reference(sample()), atol=1e-5)
    assert adapter.own_latency()[0] == [12.9]
    assert adapter.describe().true_backend == f"TNN {backend.default}"


def test_tnn_failing_with_status_zero_keeps_its_first_words(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tnn_home(model, tmp_path, monkeypatch, f"print({TNN_SPLITV!r})")
    with pytest.raises(Unsupported, match=r"^tnn: axis=0 is not support in SplitV yet!$"):
        TnnOpenClBackend().prepare(model, CONFIG)


def test_tnn_without_a_converted_model_gives_the_name(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tnn_home(model, tmp_path, monkeypatch, "print('never called')")
    monkeypatch.delenv("TNN_MODELS")
    with pytest.raises(Unavailable, match=hashlib.sha256(model.read_bytes()).hexdigest()[:16]):
        TnnBackend().prepare(model, CONFIG)


def test_tnn_unknown_device_is_a_usage_error(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tnn_home(model, tmp_path, monkeypatch, "print('never called')")
    with pytest.raises(UsageError, match="known devices"):
        TnnBackend().prepare(model, RunConfig(device="local", options={"tnn.device": "DSP"}))


def test_a_crash_and_a_hang_are_told_apart(tmp_path: Path) -> None:
    crash = fake(tmp_path, "crash", "print('cannot open device'); sys.exit(3)")
    with pytest.raises(Unsupported, match="crash ended with status 3: cannot open device"):
        own_build.run_program(crash, [], tmp_path, {})
    hang = fake(tmp_path, "hang", "import time; time.sleep(60)")
    with pytest.raises(Unsupported, match=r"not done after 0\.5 s"):
        own_build.run_program(hang, [], tmp_path, {}, timeout_s=0.5)
    other = tmp_path / "other"
    other.write_bytes(b"\x7fELF wrong machine")
    other.chmod(0o755)
    with pytest.raises(Unavailable, match="built for another machine"):
        own_build.run_program(other, [], tmp_path, {})


def test_an_output_cut_short_is_not_an_answer(tmp_path: Path) -> None:
    (tmp_path / "o.txt").write_text("1 2 3")
    with pytest.raises(Unsupported, match="holds 3 values, the model has 5"):
        own_build.read_values(tmp_path / "o.txt", (1, 5))
    with pytest.raises(Unsupported, match="was not written"):
        own_build.read_values(tmp_path / "absent.txt", (1,))


def test_parsers_on_output_without_times() -> None:
    with pytest.raises(Unsupported, match="printed no times: something failed"):
        session_times("hello\nsomething failed\n")
    with pytest.raises(Unsupported, match="printed no times: bye"):
        printed_times("bye")
    raise_on_failure(f"E/tnn: virtual void Timer::Print() [File test/timer.cc][Line 55] {TNN_TIME}")


@pytest.mark.parametrize(
    ("address", "target"),
    [("nohost", '{"kind":"llvm"}'), ("h:x", '{"kind":"llvm"}'), ("h:1", "[1]"), ("h:1", "{")],
)
def test_a_malformed_rpc_address_is_explained(
    address: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TVM_RPC", address)
    monkeypatch.setenv("TVM_RPC_TARGET", target)
    with pytest.raises(Unavailable, match="TVM_RPC"):
        server_address()


def test_a_remote_server_does_not_answer_for_this_computer(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TVM_RPC", "10.0.0.7:9090")
    monkeypatch.setenv("TVM_RPC_TARGET", '{"kind":"llvm"}')
    with pytest.raises(Unsupported, match=r"names 10\.0\.0\.7, which is not device 'local'"):
        TvmRpcBackend().prepare(model, CONFIG)
