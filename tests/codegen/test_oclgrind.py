"""Every kernel family under Oclgrind: no access out of bounds, no race, no divergent barrier, no uninitialised read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.codegen.test_numerics import SMALL

PLACES = (
    "/usr/lib/oclgrind",
    "/usr/lib/x86_64-linux-gnu/oclgrind",
    "/usr/local/lib/oclgrind",
    "/usr/local/lib",
)
pytestmark = pytest.mark.oclgrind


@pytest.mark.parametrize("device_class", ["cpu", "generic", "adreno", "adreno-buffers"])
@pytest.mark.parametrize("name", list(SMALL))
def test_kernels_are_clean(name: str, device_class: str, tmp_path: Path) -> None:
    assert checked(name, device_class, tmp_path) < 1e-5


@pytest.mark.parametrize("device_class", ["generic-half", "adreno-half"])
@pytest.mark.parametrize("name", ["matmul", "batched", "conv", "cp block"])
def test_products_in_half_are_clean(name: str, device_class: str, tmp_path: Path) -> None:
    """Their emulation: what is read and written is the same."""
    assert checked(name, device_class, tmp_path) < 5e-3


def oclgrind_environment(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """Variables under which Oclgrind is the only platform, and its log; skips where it is not installed."""
    library = next((p for d in PLACES if (p := Path(d) / "liboclgrind-rt-icd.so").exists()), None)
    if library is None:
        pytest.skip("Oclgrind is not installed; on Debian or Ubuntu: apt install oclgrind")
    vendors = tmp_path / "vendors"
    vendors.mkdir()
    (vendors / "oclgrind.icd").write_text(f"{library}\n")
    log = tmp_path / "log"
    env = {
        "OCL_ICD_VENDORS": str(vendors), "ECP_CACHE": str(tmp_path), "ECP_NO_KERNEL_CACHE": "1",
        # Oclgrind 21.10 does not know "freeze", which optimised code contains.
        "OCLGRIND_BUILD_OPTIONS": "-cl-opt-disable -DECP_BY_LANES",
        "OCLGRIND_DATA_RACES": "1", "OCLGRIND_LOG": str(log),
    }  # fmt: skip
    return env, log


def checked(name: str, device_class: str, tmp_path: Path) -> float:
    env, log = oclgrind_environment(tmp_path)
    if not device_class.startswith("adreno") or device_class == "adreno-buffers":
        # Oclgrind takes every texel for uninitialised: the same kernels are checked with weights in buffers.
        env["OCLGRIND_UNINITIALIZED"] = "1"
    command = [sys.executable, "-m", "tests.codegen.run_checked", device_class, name]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=500)
    found = log.read_text() if log.exists() else ""
    assert done.returncode == 0, done.stderr[-2000:]
    assert not found.strip(), found[:3000]
    return float(done.stdout.split()[-1])
