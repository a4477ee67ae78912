"""MNN from the user's own build (``MNN_HOME``): its OpenCL and Vulkan backends, which the wheel lacks.

``MNNV2Basic.out`` runs the model, times it itself (the output is read back inside its clock) and names the backend
that its session really has. Source: MNN documentation, "Test tools" (MNNV2Basic.out) and "Compile options".
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from baselines.base import Backend, Description, OpTime, RunConfig, Unsupported
from baselines.common import check_feeds, read_interface, require_precision, zero_feeds
from baselines.mnn_backend import FORWARD_TYPES, convert, raise_on_fallback
from baselines.own_build import (
    Times,
    complaint,
    find_program,
    read_values,
    require_this_computer,
    run_program,
    write_values,
)

PROGRAM = "MNNV2Basic.out"
LOOPS = 50
PRECISION = {"fp32": 1, "fp16": 2}
"""BackendConfig's Precision_High and Precision_Low."""
# For a GPU the thread argument is a mode: 4 = MNN_GPU_TUNING_WIDE, 64 = MNN_GPU_MEMORY_BUFFER.
GPU_MODE = 68


class MnnOpenClBackend(Backend):
    """MNN's OpenCL backend; MNN itself picks the OpenCL device of this computer."""

    name: ClassVar[str] = "mnn-opencl"
    forward: ClassVar[int] = 3
    option: ClassVar[str] = "MNN_OPENCL"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Find the build, convert, and run once: that one run shows backend and precision."""
        require_this_computer(config, self.name)
        self._program = find_program("MNN_HOME", PROGRAM, self._how())
        require_precision(config, list(PRECISION), self.name)
        self._interface = read_interface(onnx_path)
        if len(self._interface.inputs) != 1 or len(self._interface.outputs) != 1:
            raise Unsupported(f"{PROGRAM} feeds one input and writes one output")
        self._config = config
        self._model = convert(onnx_path)
        self._folder = Path(tempfile.mkdtemp(prefix="ecp-mnn-"))
        # It reads input_0.txt beside the program as it was called, so it is called through a link in our folder.
        self._link = self._folder / PROGRAM
        self._link.symlink_to(self._program)
        (self._folder / "output").mkdir()
        self.stage(zero_feeds(self._interface))
        self.execute()

    def _how(self) -> str:
        return (
            f"build MNN with cmake -D{self.option}=ON -DMNN_BUILD_TOOLS=ON (MNN documentation, 'Compile options') and "
            "set MNN_HOME to the build folder"
        )

    def describe(self) -> Description:
        """The backend that MNN's session reported."""
        times = session_times(self._text)
        details = {
            "program": PROGRAM,
            "forward_type": self.forward,
            "precision": self._config.precision,
            "device": "chosen by MNN",
            "printed_min_ms": times.least,
            "printed_max_ms": times.most,
            "sample": f"mean of {LOOPS} inferences, as {PROGRAM} prints it",
        }
        return Description("user build", f"MNN {FORWARD_TYPES[self.forward]}", details)

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Write the input as the text file that the program reads."""
        (array,) = check_feeds(self._interface, feeds)
        write_values(self._folder / "input_0.txt", array)

    def execute(self) -> None:
        """One inference (and the program's start, which is why its own clock gives the latency)."""
        self._run(1)

    def _run(self, loops: int) -> None:
        output = self._folder / "output.txt"
        output.unlink(missing_ok=True)
        numbers = (loops, 0, self.forward, self._mode(), PRECISION[self._config.precision])
        arguments = [str(self._model), *map(str, numbers)]
        # argv[0] must be the link: the program looks for its input beside the path it was called by.
        libraries = {"LD_LIBRARY_PATH": self._libraries()}
        self._text = run_program(self._link, arguments, self._folder, libraries)
        raise_on_fallback(self._text)
        self._check_session()
        self._output = read_values(output, self._interface.outputs[0].shape)

    def _mode(self) -> int:
        return GPU_MODE

    def _libraries(self) -> str:
        home = Path(os.environ["MNN_HOME"])
        folders = sorted({str(p.parent) for p in home.rglob("lib*.so")})
        return os.pathsep.join([*folders, os.environ.get("LD_LIBRARY_PATH", "")])

    def _check_session(self) -> None:
        found = re.search(r"backendType is (\d+)", self._text)
        if found is None:
            raise Unsupported(f"mnn: no session was made: {complaint(self._text)}")
        if int(found.group(1)) != self.forward:
            used = FORWARD_TYPES.get(int(found.group(1)), f"type {found.group(1)}")
            raise Unsupported(f"mnn: {FORWARD_TYPES[self.forward]} asked, the session runs on {used}")

    def own_latency(self) -> tuple[list[float], str]:
        """(one sample in ms: the mean that the program prints, what that sample is)."""
        self._run(LOOPS)
        return [session_times(self._text).mean], f"mean of {LOOPS} inferences, printed by {PROGRAM}"

    def fetch(self) -> dict[str, np.ndarray]:
        """The output of the last run."""
        return {self._interface.outputs[0].name: self._output}

    def profile(self, feeds: Mapping[str, np.ndarray], repeats: int) -> list[OpTime]:
        """Host time around every operator; for a GPU that is scheduling, not execution, and MNN says so."""
        raise Unsupported(
            "mnn: for GPU backends MNN's operator times are those of enqueueing; build with "
            "MNN_GPU_TIME_PROFILE=ON and read its log"
        )

    def close(self) -> None:
        """Remove the scratch folder."""
        shutil.rmtree(self._folder, ignore_errors=True)


class MnnVulkanBackend(MnnOpenClBackend):
    """MNN's Vulkan backend."""

    name: ClassVar[str] = "mnn-vulkan"
    forward: ClassVar[int] = 7
    option: ClassVar[str] = "MNN_VULKAN"


def session_times(text: str) -> Times:
    """The line ``Avg= 12.3 ms, min= 12.0 ms, max= 13.1 ms``; :class:`Unsupported` where it is missing."""
    found = re.search(r"Avg=\s*([\d.]+)\s*ms, min=\s*([\d.]+)\s*ms, max=\s*([\d.]+)\s*ms", text)
    if found is None:
        raise Unsupported(f"mnn printed no times: {complaint(text)}")
    mean, least, most = map(float, found.groups())
    return Times(mean, least, most)
