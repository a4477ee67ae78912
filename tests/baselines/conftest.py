"""Order of loading: OpenCL first, because OpenVINO brings a TBB that Intel's OpenCL runtime cannot use.

The harness runs every backend in a process of its own, so that only tests meet two of them in one process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def opencl_before_other_frameworks() -> None:
    from ecp.runtime import devices

    devices.probe()


@pytest.fixture(scope="module", autouse=True)
def processors_as_before() -> Iterator[None]:
    """TVM pins the calling thread to one processor; what the next test starts would inherit that."""
    if not hasattr(os, "sched_getaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)
