"""Every pip adapter through the contract, and what is special about each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from baselines.base import Backend, RunConfig, Unavailable, Unsupported
from baselines.common import read_interface
from baselines.contract import AdapterContract, block_model, sample
from baselines.executorch_backend import operators
from baselines.litert_backend import executed
from baselines.mnn_backend import MnnBackend, convert, raise_on_fallback
from baselines.openvino_backend import OpenVinoBackend
from baselines.torch_source import converted, plain_attention


class TestOpenVino(AdapterContract):
    backend = "openvino"

    def test_precision_and_threads_are_read_back(self, model: Path) -> None:
        adapter = OpenVinoBackend()
        adapter.prepare(model, self.config(threads=2))
        details = adapter.describe().details
        assert (details["inference_precision"], details["inference_num_threads"]) == ("f32", 2)
        assert details["threads_busy"] == "unknown" or details["threads_busy"] <= 2

    def test_a_precision_other_than_the_asked_one_is_refused(self, model: Path) -> None:
        options = {"device_class": "cpu", "openvino.INFERENCE_PRECISION_HINT": "bf16"}
        with pytest.raises(Unsupported, match="f32 asked, the plugin set bf16"):
            OpenVinoBackend().prepare(model, self.config(options=options))


class TestMnn(AdapterContract):
    backend = "mnn"

    def test_the_usage_posting_tool_is_never_imported(self, tmp_path: Path) -> None:
        model = block_model(tmp_path / "m.onnx")
        code = (
            f"import os, sys; os.environ['ECP_CACHE']={str(tmp_path)!r}; from pathlib import Path;"
            f"from baselines.mnn_backend import convert; print(convert(Path({str(model)!r})).exists(),"
            "[m for m in sys.modules if m.startswith('MNN.tools') or m.startswith('aliyun')])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.stdout.strip().endswith("True []"), done.stderr[-300:]

    def test_a_backend_that_the_wheel_lacks_is_an_error_not_the_cpu(self, model: Path) -> None:
        options = {"device_class": "cpu", "mnn.backend": "OPENCL"}
        with pytest.raises(Unsupported, match="no OPENCL backend and silently used CPU"):
            MnnBackend().prepare(model, self.config(options=options))

    def test_the_converters_words_are_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ECP_CACHE", str(tmp_path))
        broken = tmp_path / "broken.onnx"
        broken.write_bytes(b"not a model")
        with pytest.raises(Unsupported, match="mnn converter: "):
            convert(broken)
        assert not list(tmp_path.rglob("*.part"))


def test_fallback_line_names_both_backends() -> None:
    with pytest.raises(Unsupported, match="no VULKAN backend and silently used CPU"):
        raise_on_fallback("x\nCan't Find type=7 backend, use 0 instead\n")
    raise_on_fallback("MNN use high precision\n")


@pytest.mark.timeout(300)
class TestTvm(AdapterContract):
    backend = "tvm"

    def test_the_row_says_untuned(self, prepared: object) -> None:
        assert "untuned" in prepared.describe().true_backend  # type: ignore[attr-defined]


@pytest.mark.timeout(300)
class TestTvmOpenCl(AdapterContract):
    backend = "tvm-opencl"

    def test_launches_are_tvms_own(self, prepared: object) -> None:
        details = prepared.describe().details  # type: ignore[attr-defined]
        assert details["launches"] >= 5 and "untuned" in details["schedules"]


def test_tuned_tvm_refuses_to_run_untuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tvm")
    from baselines.tvm_backend import TvmTunedBackend

    monkeypatch.setenv("ECP_CACHE", str(tmp_path))
    model = block_model(tmp_path / "m.onnx")
    with pytest.raises(Unavailable, match=r"python -m baselines\.tvm_tune"):
        TvmTunedBackend().prepare(model, RunConfig(device="local-cpu", threads=1))


@pytest.mark.timeout(900)
class TestExecuTorch(AdapterContract):
    backend = "executorch"
    shared_cache: ClassVar[bool] = True

    def test_the_record_says_what_the_delegate_took(self, prepared: Backend) -> None:
        details = prepared.describe().details
        assert details["delegated_pieces"] >= 1 and "not the ONNX bytes" in details["from"]
        assert details["converter"].startswith("executorch ")

    def test_attention_leaves_no_guard_to_the_portable_kernels(self, prepared: Backend) -> None:
        left = prepared.describe().details["operators_outside_the_delegate"]
        assert not any(name.startswith(("where", "eq", "logical_not", "any")) for name in left), left

    def test_operators_inside_the_delegate_are_timed_and_no_total_is(self, prepared: Backend) -> None:
        ops = prepared.profile({"input": sample()}, 3)
        kinds = {o.op_type for o in ops}
        assert any(k.startswith("Fully Connected") for k in kinds)
        assert not kinds & {"DELEGATE_CALL", "OPERATOR_CALL", "Method::execute"}
        assert len({o.name for o in ops}) == len(ops)
        assert sum(o.ms for o in ops) < 1.5 * (prepared.profiled_pass_ms or 0)


@pytest.mark.timeout(900)
class TestLiteRt(AdapterContract):
    backend = "litert"
    shared_cache: ClassVar[bool] = True

    def test_the_record_says_what_the_delegate_took(self, prepared: Backend) -> None:
        details = prepared.describe().details
        assert details["delegated_pieces"] >= 1 and "not the ONNX bytes" in details["from"]
        assert details["converter"].startswith("litert-torch ")


def test_attention_for_the_converter_is_pytorchs_own() -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 8, generator=generator, dtype=torch.float64) for n in (5, 7, 7))
    boolean = torch.rand(5, 7, generator=generator) > 0.4
    boolean[:, 0] = True
    fused = torch.nn.functional.scaled_dot_product_attention
    for options in ({}, {"mask": boolean}, {"mask": torch.randn(5, 7, dtype=torch.float64)}, {"scale": 1.0}):
        wanted = fused(q, k, v, attn_mask=options.get("mask"), scale=options.get("scale"))
        torch.testing.assert_close(plain_attention(q, k, v, **options), wanted)
    with pytest.raises(NotImplementedError, match="causal"):
        plain_attention(q, k, v, causal=True)


def test_etdump_events_become_operators_without_their_totals() -> None:
    def event(name: str, runs: list[float] | None, delegated: bool = False) -> SimpleNamespace:
        times = None if runs is None else SimpleNamespace(raw=runs)
        return SimpleNamespace(
            name=name, perf_data=times, is_delegated_op=delegated, delegate_backend_name="XnnpackBackend"
        )

    events = [
        event("native_call_expand_copy.out", [9.0, 1.0, 3.0, 2.0]),
        event("OPERATOR_CALL", [9.0, 1.5, 3.5, 2.5]),
        event("Transpose (ND, X32) #2", [5.0, 4.0, 4.0, 4.0], delegated=True),
        event("DELEGATE_CALL", [5.0, 4.1, 4.1, 4.1]),
        event("not timed", None),
        event("Method::execute", [14.0, 6.0, 8.0, 7.0]),
    ]
    assert [(o.name, o.op_type, o.ms, dict(o.details)) for o in operators(events)] == [
        ("0:native_call_expand_copy.out", "expand_copy.out", 2.0, {}),
        ("2:Transpose (ND, X32) #2", "Transpose (ND, X32)", 4.0, {"delegate": "XnnpackBackend"}),
    ]


def test_what_runs_outside_the_delegate_is_found_from_the_outputs() -> None:
    def op(index: int, name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
        return {"index": index, "op_name": name, "inputs": inputs, "outputs": outputs}

    # MUL and ADD are listed but belong to the delegates; GATHER_ND between the two runs by itself.
    listed = [op(0, "MUL", [0], [1]), op(1, "GATHER_ND", [1], [2]), op(2, "ADD", [2], [3])]
    delegates = [op(3, "DELEGATE", [0], [1]), op(4, "DELEGATE", [2], [3])]
    assert executed(listed + delegates, [3]) == {
        "delegated_pieces": 2,
        "operators_outside_the_delegate": {"GATHER_ND": 1},
    }
    assert executed(listed, [3])["delegated_pieces"] == 0


class TestConverterProcess:
    """The conversion runs elsewhere: its words, its time and its absence end in a reason, never in a file."""

    def ask(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str, **options: str) -> Any:
        monkeypatch.setenv("ECP_CACHE", str(tmp_path / "cache"))
        model = block_model(tmp_path / "m.onnx")
        asked = {"model": "block", "torch_module": "baselines.torch_contract:torch_module"} | options
        config = RunConfig(device="local-cpu", threads=1, options=asked)
        return converted("litert", model, read_interface(model), config, python, "1")

    def fake(self, tmp_path: Path, text: str) -> str:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    def test_the_converters_last_words_are_the_reason(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        python = self.fake(tmp_path, "echo 'ValueError: no lowering for aten.roll' >&2; exit 1")
        with pytest.raises(Unsupported, match=r"litert converter: ValueError: no lowering for aten\.roll"):
            self.ask(tmp_path, monkeypatch, python)

    def test_an_onnx_file_carries_no_source(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(Unsupported, match="an ONNX file carries none"):
            self.ask(tmp_path, monkeypatch, "python", model="onnx:/x.onnx")
        with pytest.raises(Unavailable, match="no Python at"):
            self.ask(tmp_path, monkeypatch, str(tmp_path / "none"))

    def test_a_conversion_is_kept_with_what_the_converter_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Arguments: -m module target factory model shapes out
        python = self.fake(
            tmp_path, 'echo x >> calls; echo m > "$7"; echo \'{"converter": "c 1"}\' > "$7.json"'
        )
        monkeypatch.chdir(tmp_path)
        first, second = (self.ask(tmp_path, monkeypatch, python) for _ in range(2))
        assert first == second and first[1] == {"converter": "c 1"} and first[0].read_text() == "m\n"
        assert (tmp_path / "calls").read_text() == "x\n"


def test_cpu_frameworks_do_not_answer_for_a_gpu(tmp_path: Path) -> None:
    model = block_model(tmp_path / "m.onnx")
    with pytest.raises(Unsupported, match="CPU only"):
        OpenVinoBackend().prepare(model, RunConfig(device="local", options={"device_class": "nvidia"}))
    assert sample().shape == (1, 6, 8)
