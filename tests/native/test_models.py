"""Runner and Session on whole networks: the same bundle, the same device, the same bits. Minutes: slow lane."""

from __future__ import annotations

import numpy as np
import pytest

import ecp
from bench.models import onnx_path
from ecp.native.build import NoToolchain, runner
from ecp.native.process import RunnerProcess
from ecp.runtime import devices

MODELS = ("vit_tiny", "vit_small", "vit_base", "ecp_vit_tiny", "ecp_vit_small", "ecp_vit_base")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def built():
    try:
        runner("host")
    except NoToolchain as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("where", ["local-cpu", "local-pocl"])
def test_runner_and_session_agree_bit_for_bit(built, where, model, precision, tmp_path):
    try:
        device = devices.resolve(where)
    except ecp.errors.DeviceError as error:
        pytest.skip(str(error))
    bundle = ecp.compile(onnx_path(model), device=device, precision=precision)
    bundle.save(tmp_path / "bundle")
    (port,) = bundle.plan.inputs
    pixels = np.random.default_rng(1).standard_normal(port.shape).astype(port.dtype)
    with ecp.Session(bundle, device) as session:
        (ours,) = session.run({port.name: pixels}).values()
    with RunnerProcess(tmp_path / "bundle", device) as process:
        process.stage({port.name: pixels})
        process.execute()
        (theirs,) = process.fetch().values()
    assert np.isfinite(ours).all() and ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours.view(np.uint8), theirs.view(np.uint8))
