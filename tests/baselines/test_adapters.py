"""Every pip adapter through the contract, and what is special about each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from baselines.base import RunConfig, Unavailable, Unsupported
from baselines.mnn_backend import MnnBackend, convert, raise_on_fallback
from baselines.openvino_backend import OpenVinoBackend
from tests.baselines.contract import AdapterContract, block_model, sample


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


class TestExecuTorch(AdapterContract):
    backend = "executorch"
    profiles: ClassVar[bool] = False


class TestLiteRt(AdapterContract):
    backend = "litert"
    profiles: ClassVar[bool] = False


def test_cpu_frameworks_do_not_answer_for_a_gpu(tmp_path: Path) -> None:
    model = block_model(tmp_path / "m.onnx")
    with pytest.raises(Unsupported, match="CPU only"):
        OpenVinoBackend().prepare(model, RunConfig(device="local", options={"device_class": "nvidia"}))
    assert sample().shape == (1, 6, 8)
