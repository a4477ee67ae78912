"""Whole models against ONNX Runtime: launches, layout launches, error. Minutes each: the slow lane."""

from __future__ import annotations

import numpy as np
import pytest

from ecp.compiler import compile_onnx
from ecp.runtime.session import Session
from tests.codegen.conftest import find

# The time limit is for a machine that builds dozens of kernels while it does other things.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SIZES = ("tiny", "small", "base")
VITS = [f"{prefix}vit_{size}" for prefix in ("", "ecp_") for size in SIZES]
RATIOS = [f"ecp_vit_base@{r / 10:.1f}" for r in range(1, 11)]
ZOO = [
    "deit_base_distilled", "beit_base", "swin_tiny", "convit_tiny", "poolformer_s12", "tnt_s", "pvt_tiny", "t2t_vit_14",
    "crossformer_s", "cswin_tiny", "resnet50", "vgg16",
]  # fmt: skip


def run_both(name: str, device_name: str, precision: str) -> tuple[float, float, object]:
    """(largest error against ONNX Runtime, largest reference output, report)."""
    device = find(device_name)
    if isinstance(device, str):
        pytest.skip(device)
    ort = pytest.importorskip("onnxruntime")
    models = pytest.importorskip("bench.models")
    path = models.onnx_path(name)
    bundle = compile_onnx(path, device, precision)
    rng = np.random.default_rng(0)
    feeds = {p.name: rng.standard_normal(p.shape).astype(p.dtype) for p in bundle.plan.inputs}
    with Session(bundle, device) as session:
        got = session.run(feeds)
    reference = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    want = dict(zip([o.name for o in reference.get_outputs()], reference.run(None, feeds)))
    error = max(float(np.max(np.abs(got[k] - v))) for k, v in want.items())
    print(f"\n{name} {device_name} {precision}: error {error:.2e}, {bundle.report.launches} launches, "
          f"{bundle.report.layout_launches} layout, compiled in {bundle.report.compile_seconds} s")  # fmt: skip
    return error, max(float(np.max(np.abs(v))) for v in want.values()), bundle.report


@pytest.mark.parametrize("name", VITS)
@pytest.mark.parametrize("device", ["local-cpu", "local-pocl"])
@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-4), ("fp16", 2e-2)])
def test_vit(name: str, device: str, precision: str, limit: float) -> None:
    error, _, report = run_both(name, device, precision)
    assert error < limit
    assert report.layout_launches == 0  # type: ignore[attr-defined]
    assert report.launches <= 5 * 12 + 6  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", RATIOS)
def test_every_core_ratio(name: str) -> None:
    assert run_both(name, "local-cpu", "fp32")[0] < 1e-4


@pytest.mark.parametrize("name", ZOO)
def test_zoo(name: str) -> None:
    error, scale, report = run_both(name, "local-cpu", "fp32")
    assert error < 1e-4 * max(1.0, scale)
    # Only TNT needs copies: its inner tokens join a buffer whose class row lives on.
    assert report.layout_launches == (12 if name == "tnt_s" else 0)  # type: ignore[attr-defined]
