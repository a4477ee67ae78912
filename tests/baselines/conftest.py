"""Order of loading: OpenCL first, because OpenVINO brings a TBB that Intel's OpenCL runtime cannot use.

The harness runs every backend in a process of its own, so that only tests meet two of them in one process.
"""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def opencl_before_other_frameworks() -> None:
    from ecp.runtime import devices

    devices.probe()
