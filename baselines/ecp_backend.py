"""This project's own compiler through :mod:`ecp`: the system under test, behind the same protocol as the others.

What is measured is what a user gets from the second start on: a bundle mapped from the compiler's own cache. Where
it is not there yet, a child process compiles it, so that no block's memory or heap holds a compiler that the other
blocks do not have; the record says so, with the child's time and peak memory. ``ecp.cache=false`` measures a cold
start instead: compiled and built from source in the measuring process, nothing read from or kept in a cache.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from baselines.base import Backend, Description, OpTime, RunConfig, Unsupported
from baselines.common import opencl_selector, own_options
from ecp import children
from ecp.errors import UsageError
from ecp.options import SETTINGS, parse_setting
from ecp.plan import Plan
from ecp.precision import check_device, check_precision

__all__ = ["SETTINGS", "EcpBackend", "bundle_folder", "ready", "switches"]

# Bundles whose folder was handed out; a temporary one lives as long as this process.
_KEPT: list[Ready] = []


class EcpBackend(Backend):
    """ecp on an OpenCL device. Options ``ecp.eliminate``, ``ecp.fuse``, ... (true, false) switch passes, and
    ``ecp.cache=false`` the caches; ``ecp.arithmetic=half`` multiplies in half (fp16, GPUs with cl_khr_fp16)."""

    name: ClassVar[str] = "ecp"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Map the compiled bundle (or compile it), then build the kernels on the device."""
        from ecp.runtime import devices
        from ecp.runtime.session import Session

        device = devices.resolve(opencl_selector(config))
        self._ready = ready(onnx_path, device, config)
        threads = config.threads if device.device_class == "cpu" else None
        began = time.perf_counter()
        self._session = Session(self._ready.bundle, device, threads=threads, cache=self._ready.kernels)
        self._session_s = time.perf_counter() - began
        self._switches = switches(config)

    def describe(self) -> Description:
        """What the compiler did and where it runs."""
        session = self._session
        details = {
            **asdict(self._ready.bundle.report),
            **self._ready.facts,
            "session_s": round(self._session_s, 3),
            "threads": session.threads,
            "driver": session.driver_version,
            "schedule": _schedule(session.bundle.plan),
            "switches": self._switches,
        }
        version = _sources_hash()[:12]
        return Description(version, f"OpenCL {session.platform_name}: {session.device_name}", details)

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Write the inputs to the device."""
        self._session.stage(feeds)

    def execute(self) -> None:
        """One inference, until the queue has finished."""
        self._session.execute()

    def fetch(self) -> dict[str, np.ndarray]:
        """Read the outputs back."""
        return dict(self._session.fetch())

    def profile(self, feeds: Mapping[str, np.ndarray], repeats: int) -> list[OpTime]:
        """Device time of every launch, from OpenCL events on a separate profiling queue."""
        self._session.stage(feeds)
        return [
            OpTime(
                t.name,
                t.family,
                t.ms,
                "device-event",
                {"nodes": list(t.nodes), "flops": t.flops, "bytes": t.bytes},
            )
            for t in self._session.profile(repeats=repeats)
        ]

    def device_event_ms(self) -> float:
        """Device time of one inference: the launches' events added up, each launched on its own."""
        return float(sum(t.ms for t in self._session.profile(repeats=10)))

    def close(self) -> None:
        """Free the device's memory."""
        self._session.close()


def switches(config: RunConfig) -> dict[str, Any]:
    """The settings that were asked for: ``ecp.NAME=true|false`` and ``ecp.arithmetic=float|half``."""
    return {key: parse_setting(key, value, "ecp.") for key, value in own_options(config, "ecp").items()}


def _schedule(plan: Plan) -> dict[str, Any]:
    return {"source": plan.schedule.source, **plan.schedule.row} if plan.schedule else {}


@dataclass
class Ready:
    """A compiled model. ``kernels``: built ones may come from the cache; ``facts``: its origin, for the record."""

    bundle: Any
    kernels: bool
    facts: dict[str, Any]
    _own: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        """A folder with the bundle, for who runs it outside this process; removed with this object if made here."""
        if self.bundle.folder is None:
            self._own = tempfile.TemporaryDirectory(prefix="ecp-bundle-")
            self.bundle = replace(self.bundle, folder=self.bundle.save(self._own.name))
        return Path(self.bundle.folder)


def ready(onnx_path: Path, device: Any, config: RunConfig) -> Ready:
    """The model compiled for ``device`` (an :class:`ecp.runtime.devices.OpenCLDevice`)."""
    import ecp
    from ecp import cache, compiler

    asked = switches(config)
    _check_half(device, config.precision, asked.get("arithmetic", "float"))
    kernels = asked.pop("cache", True)
    options: dict[str, Any] = {"precision": config.precision, **asked}
    if not kernels or not cache.enabled():
        bundle = ecp.compile(onnx_path, device=device, cache=False, **options)
        return Ready(bundle, kernels, {"origin": "compiled"})
    found = compiler.cached(onnx_path, device=device, **options)
    if found is not None:
        return Ready(found, True, {"origin": "cache"})
    facts: dict[str, Any] = {"origin": "compiled"}
    if device.handle is not None and device.name == opencl_selector(config):
        facts["compiled_by"] = _compile_elsewhere(onnx_path, device.name, options)
    return Ready(ecp.compile(onnx_path, device=device, **options), True, facts)


def _check_half(device: Any, precision: str, arithmetic: str) -> None:
    """A device class without kernels in half is no mistake of the caller: the cell says unsupported, and why."""
    check_precision(precision, arithmetic)
    try:
        check_device(device, precision, arithmetic)
    except UsageError as error:
        raise Unsupported(str(error)) from error


def bundle_folder(onnx_path: Path, device: Any, config: RunConfig) -> tuple[Path, str]:
    """The compiled bundle's folder in the user's cache, and ``"compiled"`` or ``"cache"``.

    ``device`` is the :class:`ecp.runtime.devices.OpenCLDevice` to compile for.
    """
    found = ready(onnx_path, device, config)
    _KEPT.append(found)
    return found.folder, found.facts["origin"]


def _compile_elsewhere(onnx_path: Path, device: str, options: Mapping[str, Any]) -> str | dict[str, Any]:
    """Fill the cache from a child process; its time and peak memory (imports included, no inference).

    Where the child fails the caller compiles again and raises the compiler's own error, typed as it is.
    """
    request = json.dumps({"model": str(onnx_path), "device": device, **options})
    command = [sys.executable, "-m", "baselines.ecp_backend"]
    done = children.run(command, given=request.encode())
    if done.returncode != 0:
        return "this process, after a child that failed"
    found: dict[str, Any] = json.loads(done.text.splitlines()[-1])
    return found


def main() -> int:
    """Compile what the parent asks for on standard input; one line of JSON."""
    import ecp

    began = time.perf_counter()
    request = json.load(sys.stdin)
    ecp.compile(request.pop("model"), **request)
    status = Path("/proc/self/status").read_text()
    peak_kib = int(status.split("VmHWM:")[1].split()[0])
    seconds = round(time.perf_counter() - began, 3)
    print(json.dumps({"process": "a child", "seconds": seconds, "peak_mib": round(peak_kib / 1024, 1)}))
    return 0


def _sources_hash() -> str:
    """Hash of the compiler's Python sources: another compiler must not be measured through an old bundle."""
    import ecp

    total = hashlib.sha256()
    root = Path(ecp.__file__).parent
    for path in sorted(root.rglob("*.py")):
        total.update(path.relative_to(root).as_posix().encode())
        total.update(path.read_bytes())
    return total.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
