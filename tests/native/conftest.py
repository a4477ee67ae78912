"""The runner, built once, and the OpenCL implementations of this computer to run it on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecp.errors import DeviceError
from ecp.native import build, process
from ecp.runtime import devices

CPU_DEVICES = ("local-cpu", "local-pocl", "local-rusticl")


@pytest.fixture(scope="session")
def runner() -> Path:
    try:
        return build.runner("host")
    except build.NoToolchain as error:
        pytest.skip(str(error))


@pytest.fixture(params=CPU_DEVICES)
def device(request: pytest.FixtureRequest) -> devices.OpenCLDevice:
    return resolve(request.param)


@pytest.fixture
def any_device() -> devices.OpenCLDevice:
    for name in CPU_DEVICES:
        try:
            return devices.resolve(name)
        except DeviceError:
            continue
    pytest.skip("no OpenCL CPU device")


def resolve(name: str) -> devices.OpenCLDevice:
    try:
        return devices.resolve(name)
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture
def execute(runner: Path) -> Callable[..., tuple[int, Any, str]]:
    """``execute(bundle, device, *options) -> (exit code, JSON document or None, stderr)``."""

    def call(
        bundle: Path | None,
        device: devices.OpenCLDevice | None,
        *options: str,
        env: dict[str, str] | None = None,
    ) -> tuple[int, Any, str]:
        chosen = (
            process.arguments(device)[:-2] if device is not None else []
        )  # without the shared kernel cache
        command = [str(runner), *([str(bundle)] if bundle else []), *chosen, *options]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**process.environment(), **(env or {})}, timeout=120
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr

    return call
