"""LiteRT's profile: its events become operators, and another ABI is found out instead of believed."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from baselines import litert_profile
from baselines.base import OpTime, RunConfig, Unavailable, Unsupported
from baselines.contract import block_model, sample
from baselines.litert_backend import LiteRtBackend, require_same
from baselines.litert_profile import DELEGATED, OWN_KERNEL, Event, ProfiledModel, operators
from bench.profile_classes import GraphFacts, classify, load

FULL, TRANSPOSE = "Fully Connected (NC, F32) GEMM", "Transpose (ND, X32) Transpose"
TELEMETRY = 1 << 5


def one_pass(first: int) -> list[Event]:
    return [
        Event("LiteRT::Run[buffer registration]", 1, 110),
        Event("Invoke", 1, 9000),
        Event("TfLiteXNNPackDelegate", OWN_KERNEL, 8000),
        Event(FULL, DELEGATED, first),
        Event(f"{TRANSPOSE} #2", DELEGATED, 20),
        Event(FULL, DELEGATED, 300),
        Event("GATHER_ND", OWN_KERNEL, 40),
        Event("Invoke", TELEMETRY, 4294967296),
    ]


def test_operators_count_once_with_their_median() -> None:
    found = operators([one_pass(100), one_pass(900), one_pass(200)])
    assert [(op.op_type, op.ms, op.details["runs_in"]) for op in found] == [
        (FULL, 0.2, "XNNPACK"),
        (TRANSPOSE, 0.02, "XNNPACK"),
        (FULL, 0.3, "XNNPACK"),
        ("GATHER_ND", 0.04, "LiteRT"),
    ]
    assert len({op.name for op in found}) == 4 and {op.source for op in found} == {"litert-profiler"}


def test_passes_of_different_operators_have_no_median() -> None:
    with pytest.raises(Unsupported, match="other operators in one pass"):
        operators([one_pass(100), one_pass(100)[:-2]])


def test_a_delegate_that_tells_only_its_total_is_no_profile() -> None:
    with pytest.raises(Unsupported, match="no operator inside the XNNPACK delegate"):
        operators([[Event("Invoke", 1, 9000), Event("TfLiteXNNPackDelegate", OWN_KERNEL, 8000)]])


def test_another_version_of_the_wheel_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"ai-edge-litert 2\.3, which 2\.4\.1 may have changed"):
        ProfiledModel(tmp_path / "m.tflite", 1, "2.4.1")


def test_structures_are_as_large_as_the_headers_say() -> None:
    assert (
        ctypes.sizeof(litert_profile._EventData) == 104
        and ctypes.sizeof(litert_profile.RankedTensorType) == 72
    )


@pytest.mark.parametrize("wrong", [1.1, np.nan])
def test_other_outputs_than_the_interpreters_are_an_error(wrong: float) -> None:
    wanted = {7: np.ones((1, 5), np.float32)}
    require_same(wanted, wanted)
    with pytest.raises(Unsupported, match="output 7 of the profiled run is"):
        require_same({7: np.full((1, 5), wrong, np.float32)}, wanted)


@pytest.mark.parametrize(
    ("op_type", "wanted"),
    [
        (FULL, "matmul"),
        ("Batch Matrix Multiply (NC, F32) GEMM", "attention"),
        ("Softmax (NC, F32)", "attention"),
        (TRANSPOSE, "layout"),
        ("Copy (NC, X32)", "layout"),
        ("Static Reshape (NC)", "layout"),
        ("Mean (ND) Reduce2", "normalization"),
        ("GELU (NC)", "activation"),
        ("Convolution (NHWC, F32) IGEMM", "convolution"),
        ("Square Root (NC)", "elementwise"),
        ("GATHER_ND", "layout"),
        ("FULLY_CONNECTED", "matmul"),
        ("Resize Bilinear (NHWC)", "other"),
    ],
)
def test_published_classes(op_type: str, wanted: str) -> None:
    assert classify(load(), "litert", OpTime("n", op_type, 1.0, "test"), GraphFacts(frozenset())) == wanted


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteRtBackend]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECP_CACHE", str(tmp_path_factory.getbasetemp() / "shared-cache"))
        adapter = LiteRtBackend()
        source = {"model": "block", "torch_module": "baselines.torch_contract:torch_module"}
        try:
            adapter.prepare(
                block_model(tmp_path_factory.mktemp("litert") / "block.onnx"),
                RunConfig(device="local-cpu", threads=1, options=source | {"device_class": "cpu"}),
            )
        except Unavailable as reason:
            pytest.skip(str(reason))
    yield adapter
    adapter.close()


@pytest.mark.timeout(300)
class TestConvertedModel:
    """The attention block, converted and profiled for real; skips where the converter is not installed."""

    def test_the_delegates_operators_are_named_and_fit_into_the_pass(self, adapter: LiteRtBackend) -> None:
        found = adapter.profile({"input": sample()}, 3)
        kinds = {op.op_type.split(" (")[0] for op in found}
        assert {"Fully Connected", "Batch Matrix Multiply", "Softmax", "Transpose"} <= kinds
        assert adapter.profiled_pass_ms is not None
        assert 0 < sum(op.ms for op in found) <= adapter.profiled_pass_ms

    def test_a_run_on_other_inputs_is_found_by_its_outputs(
        self, adapter: LiteRtBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ProfiledModel, "write", lambda self, arrays: None)
        with pytest.raises(Unsupported, match="from the interpreter's"):
            adapter.profile({"input": sample()}, 1)

    def test_operators_left_outside_must_be_those_of_the_interpreter(
        self, adapter: LiteRtBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(adapter._facts, "operators_outside_the_delegate", {"GATHER_ND": 1})
        with pytest.raises(Unsupported, match=r"\{\} outside the delegate in the profiled run"):
            adapter.profile({"input": sample()}, 1)

    def test_as_many_threads_as_asked(self, adapter: LiteRtBackend) -> None:
        def threads() -> int:
            return len(list(Path("/proc/self/task").iterdir()))

        before = threads()
        model = ProfiledModel(adapter._path, 3, adapter._version)
        assert threads() - before == 2, "XNNPACK's pool is the caller and two more"
        model.close()
        model.close()
        assert threads() == before
