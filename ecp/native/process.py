"""Drive ``ecp-run --serve`` on this computer: a bundle executed outside Python, one request per line."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np

from ecp import children
from ecp.errors import BundleError, DeviceError, EcpError, InputError
from ecp.native.build import runner
from ecp.runtime import drivers, icd
from ecp.runtime.bundle import Bundle
from ecp.runtime.devices import OpenCLDevice


def arguments(device: OpenCLDevice, threads: int | None = None, cache: bool = True) -> list[str]:
    """Command-line options that make the runner use exactly ``device`` (and ``threads`` compute units of it).

    ``cache`` False builds every kernel from source.
    """
    chosen = ["--platform", device.platform, "--device", device.device]
    library = opencl_library()
    if library is not None:
        chosen += ["--opencl-lib", str(library)]
    if threads is not None and device.device_class == "cpu":
        chosen += ["--threads", str(threads)]
    return [*chosen, "--cache", str(icd.cache_dir() / "native-kernels")] if cache else chosen


def opencl_library() -> Path | None:
    """The loader inside pyopencl's wheel, so that runner and Session enumerate alike; None = the system's."""
    home = _pyopencl_home()
    found = sorted((home / ".libs").glob("libOpenCL*.so*")) if home else []
    return found[0] if found else None


def environment(device: OpenCLDevice | None = None) -> dict[str, str]:
    """This process's environment, with the pip-installed OpenCL runtime reachable for a child.

    With ``device`` the child's loader opens only the drivers that this device can come from.
    """
    icd.setup()
    env = {**os.environ, **drivers.environment(device.kind if device else "")}
    intel = icd.intel_library()
    if intel is not None:
        env["LD_LIBRARY_PATH"] = ":".join(filter(None, [str(intel.parent), env.get("LD_LIBRARY_PATH", "")]))
    home = _pyopencl_home()
    if home is not None:
        # The loader of pyopencl's wheel copies this variable unchecked and crashes where it is not set.
        env.setdefault("PYOPENCL_HOME", str(home))
    return env


def _pyopencl_home() -> Path | None:
    spec = importlib.util.find_spec("pyopencl")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


class RunnerProcess:
    """A bundle loaded by the native runner. Not safe for several threads.

    ``head`` is the runner's first document: bundle, device, start times. Raises
    :class:`~ecp.errors.DeviceError`, :class:`~ecp.errors.BundleError` or :class:`~ecp.errors.EcpError`
    with the runner's own words where it does not start or dies. ``cache`` False builds its kernels from source.
    """

    def __init__(
        self,
        bundle: Path,
        device: OpenCLDevice,
        threads: int | None = None,
        extra: tuple[str, ...] = (),
        cache: bool = True,
    ):
        self._plan = Bundle.load(bundle).plan
        self._folder = tempfile.TemporaryDirectory(prefix="ecp-run-")
        # A file, not a pipe: nobody reads it meanwhile, and a full pipe would stop the runner.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        chosen = arguments(device, threads, cache)
        command = [str(runner("host")), str(bundle), "--serve", *chosen, *extra]
        self._process = children.start(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(device),
            text=True,
            encoding="utf-8",
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in: TextIO = self._process.stdin  # type: ignore[assignment]
        self._out: TextIO = self._process.stdout  # type: ignore[assignment]
        self.head = self._answer()

    def __enter__(self) -> RunnerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The runner's process id."""
        return self._process.pid

    def request(self, line: str) -> dict[str, Any]:
        """Send one request, return its answer."""
        try:
            self._in.write(line + "\n")
            self._in.flush()
        except BrokenPipeError:
            pass  # the answer, or why there is none, follows
        return self._answer()

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Copy inputs to the device. Raises :class:`~ecp.errors.InputError` for a wrong name, shape or type."""
        ports = {p.name: (i, p) for i, p in enumerate(self._plan.inputs)}
        if set(feeds) != set(ports):
            raise InputError(
                f"inputs {', '.join(sorted(feeds))} given; the model's are {', '.join(sorted(ports))}"
            )
        for name, (index, port) in ports.items():
            array = np.ascontiguousarray(feeds[name])
            if list(array.shape) != port.shape or array.dtype != np.dtype(port.dtype):
                raise InputError(
                    f"input {name!r} is {array.dtype}{list(array.shape)}, "
                    f"the model wants {port.dtype}{port.shape}"
                )
            path = Path(self._folder.name) / f"input{index}.bin"
            array.tofile(path)
            self.request(f"input {index} {path}")

    def execute(self, count: int = 1) -> list[float]:
        """Run ``count`` inferences; the runner's own wall times in ms.

        Raises :class:`~ecp.errors.InputError` for a run-time index outside its axis, in the words of the session.
        """
        return [float(v) for v in self.request(f"run {count}")["samples_ms"]]

    def fetch(self) -> dict[str, np.ndarray]:
        """Outputs of the last inference by name."""
        outputs = {}
        for index, port in enumerate(self._plan.outputs):
            path = Path(self._folder.name) / f"output{index}.bin"
            self.request(f"output {index} {path}")
            outputs[port.name] = np.fromfile(path, port.dtype).reshape(port.shape)
        return outputs

    def memory(self) -> dict[str, Any]:
        """``VmHWM``, ``VmRSS`` (bytes) and what the runner allocated on the device."""
        found: dict[str, Any] = self.request("memory")["memory"]
        return found

    def profile(self, repeats: int) -> list[dict[str, Any]]:
        """One entry per launch with its device times (``ms``, a list), kernel, family and ONNX nodes."""
        found: list[dict[str, Any]] = self.request(f"profile {repeats}")["profile"]
        return found

    def close(self) -> None:
        """End the runner and remove its files; safe to call twice."""
        if self._process.poll() is None:
            with contextlib.suppress(BrokenPipeError):
                self._in.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)
        children.end(self._process)
        self._out.close()
        self._errors.close()
        self._folder.cleanup()

    def _answer(self) -> dict[str, Any]:
        line = self._out.readline()
        if not line:
            raise self._death()
        answer: dict[str, Any] = json.loads(line)
        if answer.get("input"):
            raise InputError(str(answer["error"]))
        if "error" in answer:
            raise EcpError(f"native runner: {answer['error']}")
        return answer

    def _death(self) -> EcpError:
        code = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip() or f"ended with status {code}"
        kind = {2: BundleError, 3: DeviceError}.get(code, EcpError)
        return kind(f"native runner: {words.removeprefix('ecp-run: ')[-2000:]}")
