"""ecp through the C++ runner: the same bundle as backend ``ecp``, executed outside Python.

``execute`` is one request to a running ``ecp-run``; the pipe costs some tens of microseconds, and
``extra.details`` of a record says what the runner itself clocked at the first inference.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from baselines import ecp_backend
from baselines.base import Backend, Description, OpTime, RunConfig, Unavailable
from baselines.common import opencl_selector
from ecp.errors import UsageError


class EcpNativeBackend(Backend):
    """ecp's bundle on an OpenCL device of this computer by ``ecp-run``. Options as for backend ``ecp``, under
    ``ecp-native.`` or ``ecp.``; ``ecp-native.command_buffer=true`` records the launches once
    (``cl_khr_command_buffer``).
    """

    name: ClassVar[str] = "ecp-native"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Build the runner (once per source version), compile or load the bundle, start the runner on it."""
        from ecp.native.build import NoToolchain, runner
        from ecp.native.process import RunnerProcess
        from ecp.runtime import devices

        try:
            runner("host")
        except NoToolchain as error:
            raise Unavailable(str(error)) from error
        device = devices.resolve(opencl_selector(config))
        self._ready = ecp_backend.ready(onnx_path, device, compiler_settings(config))
        threads = config.threads if device.device_class == "cpu" else None
        self._process = RunnerProcess(
            self._ready.folder, device, threads, _extra(config), cache=self._ready.kernels
        )

    def describe(self) -> Description:
        """The runner's build, the device and how long loading took."""
        from ecp.native.build import source_hash

        head = self._process.head
        device = head["device"]
        details = {**head["start"], **self._ready.facts, "bundle": head["bundle"]}
        details |= {"threads": head["threads"], "command_buffer": head["command_buffer"]}
        return Description(
            f"runner {source_hash()}", f"OpenCL {device['platform']}: {device['name']}", details
        )

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Write the inputs to the device."""
        self._process.stage(feeds)

    def execute(self) -> None:
        """One inference, until the queue has finished."""
        self._process.execute()

    def fetch(self) -> dict[str, np.ndarray]:
        """Read the outputs back."""
        return self._process.fetch()

    def profile(self, feeds: Mapping[str, np.ndarray], repeats: int) -> list[OpTime]:
        """Device time of every launch, from OpenCL events on a separate profiling queue."""
        self._process.stage(feeds)
        return [
            OpTime(
                f"{index}:{launch['kernel']}",
                launch["family"],
                statistics.median(launch["ms"]),
                "device-event",
                {"nodes": launch["nodes"], "flops": launch["flops"], "bytes": launch["bytes"]},
            )
            for index, launch in enumerate(self._process.profile(repeats))
        ]

    def memory(self) -> dict[str, Any]:
        """Peak and present memory of the runner's own process in bytes (``VmHWM``, ``VmRSS``)."""
        return self._process.memory()

    def processes(self) -> tuple[int, ...]:
        """The runner: its processor time is this backend's own, not other load on the machine."""
        return (self._process.pid,)

    def close(self) -> None:
        """End the runner."""
        self._process.close()


def compiler_settings(config: RunConfig) -> RunConfig:
    """The compiler's settings under the name that its own backend knows."""
    settings = {f"ecp-native.{name}": f"ecp.{name}" for name in ecp_backend.SETTINGS}
    return replace(config, options={settings.get(k, k): v for k, v in config.options.items()})


def _extra(config: RunConfig) -> tuple[str, ...]:
    chosen: list[str] = []
    for key, value in config.options.items():
        if not key.startswith("ecp-native.") or key.partition(".")[2] in ecp_backend.SETTINGS:
            continue
        if key != "ecp-native.command_buffer" or str(value).lower() not in ("true", "false"):
            raise UsageError(
                f"{key}={value}: known is ecp-native.command_buffer, true or false, and the settings of ecp"
            )
        if str(value).lower() == "true":
            chosen.append("--command-buffer")
    return tuple(chosen)
