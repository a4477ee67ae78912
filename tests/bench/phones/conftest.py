"""A phone made of real parts: adb, Debian's adbd on loopback, this computer's OpenCL, and a `getprop` of ours."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.devices import AdbDevice
from ecp.errors import DeviceError
from ecp.native import build, process
from ecp.runtime import devices
from tests.bench.transports import real_adbd

PROPS = {
    "ro.product.model": "TP-1",
    "ro.product.manufacturer": "Testers",
    "ro.soc.model": "T1000",
    "ro.product.cpu.abi": "x86_64",
}


@dataclass
class Phone:
    """The daemon, its folder of fake programs, and the entry that describes it."""

    adbd: real_adbd.Adbd
    programs: Path
    entry: AdbDevice

    def program(self, name: str, script: str) -> Path:
        """Put a shell script into the phone's PATH."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def props(self, **changes: str) -> None:
        """Answer ``getprop`` with the usual properties and these changes."""
        lines = "".join(f"[{k}]: [{v}]\n" for k, v in {**PROPS, **changes}.items())
        self.program("getprop", f"cat <<'END'\n{lines}END")


def entry(**changes: object) -> AdbDevice:
    """A devices.yaml entry of the test phone."""
    data = {
        "transport": "adb",
        "title": "Test phone (this computer behind adbd)",
        "match": {"product_models": ["TP-1"], "soc_models": ["T1000"]},
        "abi": "x86_64",
        "opencl_libraries": [str(process.opencl_library() or "libOpenCL.so.1")],
    }
    return AdbDevice.model_validate({**data, **changes})


@pytest.fixture(scope="session")
def opencl_name() -> str:
    """An OpenCL CPU device of this computer, or skip."""
    for name in ("local-cpu", "local-pocl"):
        with contextlib.suppress(DeviceError):
            return devices.resolve(name).name
    pytest.skip("no OpenCL CPU device")


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opencl_name: str) -> Iterator[Phone]:
    try:
        build.runner("host")
    except build.NoToolchain as error:
        pytest.skip(str(error))
    for key, value in process.environment().items():
        monkeypatch.setenv(key, value)
    programs = tmp_path / "bin"
    programs.mkdir()
    with contextlib.ExitStack() as stack:
        try:
            adbd = stack.enter_context(real_adbd.running(extra_path=programs))
        except real_adbd.NoAdbd as error:
            pytest.skip(f"no adbd: {error}")
        found = Phone(adbd, programs, entry())
        found.props()
        yield found
