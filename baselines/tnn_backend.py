"""TNN from the user's own build (``TNN_HOME``): ``TNNTest`` on X86, ARM or OPENCL.

TNN is on no package index, and its converter is a program of its own, so the model comes from ``TNN_MODELS``
(``HASH.tnnproto`` and ``HASH.tnnmodel``, HASH = the first 16 digits of the model's SHA-256,
which covers its external data). Source: TNN
documentation, "TNNTest" (``doc/en/development/profiling_en.md``) and "onnx2tnn".
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from baselines.base import Backend, Description, RunConfig, Unavailable, Unsupported
from baselines.common import check_feeds, own_options, read_interface, require_precision, zero_feeds
from baselines.own_build import (
    Times,
    complaint,
    find_program,
    read_values,
    require_this_computer,
    run_program,
    write_values,
)
from ecp.errors import UsageError
from ecp.frontend.identity import model_sha256

PROGRAM = "TNNTest"
LOOPS, WARMUP = 50, 10
DEVICES = ("X86", "ARM", "OPENCL", "NAIVE")
PRECISION = {"fp32": "HIGH", "fp16": "LOW"}
HOW = (
    "build TNN with TNN_TEST_ENABLE=ON (TNN documentation, 'Compile TNN'; X86: TNN_X86_ENABLE=ON, OpenCL: "
    "TNN_OPENCL_ENABLE=ON) and set TNN_HOME to the build folder"
)


class TnnBackend(Backend):
    """TNN's CPU device of this machine; option ``tnn.device`` names another (X86, ARM, OPENCL, NAIVE)."""

    name: ClassVar[str] = "tnn"
    default: ClassVar[str] = "ARM" if platform.machine() in ("aarch64", "arm64") else "X86"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Find build and converted model; run once, which shows whether TNN takes the model."""
        require_this_computer(config, self.name)
        self._program = find_program("TNN_HOME", PROGRAM, HOW)
        require_precision(config, list(PRECISION), self.name)
        self._device = str(own_options(config, self.name).get("device", self.default)).upper()
        if self._device not in DEVICES:
            raise UsageError(f"{self.name}.device={self._device}: known devices are {', '.join(DEVICES)}")
        self._interface = read_interface(onnx_path)
        if len(self._interface.inputs) != 1 or len(self._interface.outputs) != 1:
            raise Unsupported("TNNTest feeds one input and writes one output")
        self._proto = converted_model(onnx_path)
        self._config = config
        self._folder = Path(tempfile.mkdtemp(prefix="ecp-tnn-"))
        self.stage(zero_feeds(self._interface))
        self.execute()

    def describe(self) -> Description:
        """The device that TNNTest was told to use; TNN has no fallback between devices."""
        times = printed_times(self._text)
        details = {
            "program": PROGRAM,
            "device_type": self._device,
            "threads_asked": self._config.threads,
            "printed_min_ms": times.least,
            "printed_max_ms": times.most,
            "sample": f"mean of {LOOPS} inferences, as {PROGRAM} prints it",
        }
        return Description("user build", f"TNN {self._device}", details)

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Write the input as the text file that the program reads."""
        (array,) = check_feeds(self._interface, feeds)
        write_values(self._folder / "input.txt", array)

    def execute(self) -> None:
        """One inference (and the program's start, which is why its own clock gives the latency)."""
        self._run(1, 0)

    def _run(self, loops: int, warmup: int) -> None:
        output = self._folder / "output.txt"
        output.unlink(missing_ok=True)
        arguments = ["-mp", str(self._proto), "-dt", self._device, "-th", str(self._config.threads)]
        arguments += ["-wc", str(warmup), "-ic", str(loops), "-pr", PRECISION[self._config.precision]]
        arguments += ["-ip", str(self._folder / "input.txt"), "-op", str(output)]
        self._text = run_program(self._program, arguments, self._folder, {})
        raise_on_failure(self._text)
        printed_times(self._text)
        # One line with the count and one per output with its shape stand before the values.
        self._output = read_values(output, self._interface.outputs[0].shape, skip_lines=2)

    def own_latency(self) -> tuple[list[float], str]:
        """(one sample in ms: the mean that the program prints, what that sample is)."""
        self._run(LOOPS, WARMUP)
        return [printed_times(self._text).mean], f"mean of {LOOPS} inferences, printed by {PROGRAM}"

    def fetch(self) -> dict[str, np.ndarray]:
        """The output of the last run."""
        return {self._interface.outputs[0].name: self._output}

    def close(self) -> None:
        """Remove the scratch folder."""
        shutil.rmtree(self._folder, ignore_errors=True)


class TnnOpenClBackend(TnnBackend):
    """TNN's OpenCL device."""

    name: ClassVar[str] = "tnn-opencl"
    default: ClassVar[str] = "OPENCL"


def converted_model(onnx_path: Path) -> Path:
    """The ``.tnnproto`` in ``TNN_MODELS``; :class:`Unavailable` with the converter's command where it is missing."""
    stem = model_sha256(onnx_path)[:16]
    folder = os.environ.get("TNN_MODELS")
    proto = Path(folder or ".") / f"{stem}.tnnproto"
    if folder is None or not proto.is_file() or not proto.with_suffix(".tnnmodel").is_file():
        raise Unavailable(
            f"convert {onnx_path} with TNN's onnx2tnn (TNN documentation, 'onnx2tnn'; without onnxsim, so that "
            f"LayerNorm and GELU are fused) to {stem}.tnnproto and {stem}.tnnmodel, and set TNN_MODELS to their folder"
        )
    return proto


def raise_on_failure(text: str) -> None:
    """TNNTest ends with status 0 when an instance cannot be made: its error lines are the truth."""
    errors = [line for line in text.splitlines() if re.search(r"failed:|is not support|E/tnn:", line)]
    # The time line is printed through the error log too.
    errors = [line for line in errors if "time cost" not in line]
    if errors:
        words = re.sub(r"^.*\[Line \d+\]\s*", "", errors[0]).strip()
        raise Unsupported(f"tnn: {complaint(words)}")


def printed_times(text: str) -> Times:
    """The line ``time cost: min = 12.0 ms | max = 13.1 ms | avg = 12.3 ms``."""
    number = r"=\s*([\d.]+)\s*ms"
    found = re.search(rf"time cost: min {number}\s*\|\s*max {number}\s*\|\s*avg {number}", text)
    if found is None:
        raise Unsupported(f"tnn printed no times: {complaint(text)}")
    least, most, mean = map(float, found.groups())
    return Times(mean, least, most)
