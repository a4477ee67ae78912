"""This project's own compiler through :mod:`ecp`: the system under test, behind the same protocol as the others.

Compiled bundles are kept in the user's cache, keyed by the model's content, the device with its driver, the
precision, the options and the compiler's own sources; ``prepare`` says whether it compiled or loaded.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from baselines.base import Backend, Description, OpTime, RunConfig
from baselines.common import cache_dir, own_options
from ecp.errors import UsageError

COMPILE_OPTIONS = ("eliminate", "fuse", "layout_choice", "memory_plan")


class EcpBackend(Backend):
    """ecp on an OpenCL device. Options ``ecp.eliminate``, ``ecp.fuse``, ... (true, false) switch passes."""

    name: ClassVar[str] = "ecp"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Compile (or load the cached bundle), then build the kernels on the device."""
        from ecp.runtime import devices
        from ecp.runtime.bundle import Bundle
        from ecp.runtime.session import Session

        device = devices.resolve(config.device)
        folder, self._origin = bundle_folder(onnx_path, device, config)
        bundle = Bundle.load(folder)
        threads = config.threads if device.device_class == "cpu" else None
        self._session = Session(bundle, device, threads=threads)
        self._report = bundle.report
        self._switches = _switches(config)

    def describe(self) -> Description:
        """What the compiler did and where it runs."""
        session = self._session
        details = {
            **asdict(self._report),
            "origin": self._origin,
            "threads": session.threads,
            "driver": session.driver_version,
            "schedule": session.bundle.plan.get("schedule", {}),
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

    def close(self) -> None:
        """Free the device's memory."""
        self._session.close()


def _switches(config: RunConfig) -> dict[str, Any]:
    switches: dict[str, Any] = {}
    for key, value in own_options(config, "ecp").items():
        if key not in COMPILE_OPTIONS or str(value).lower() not in ("true", "false"):
            known = ", ".join(f"ecp.{k}" for k in COMPILE_OPTIONS)
            raise UsageError(f"ecp.{key}={value}: known settings are {known}, each true or false")
        switches[key] = str(value).lower() == "true"
    return switches


def bundle_folder(onnx_path: Path, device: Any, config: RunConfig) -> tuple[Path, str]:
    """The compiled bundle's folder in the user's cache, and ``"compiled"`` or ``"cache"``.

    ``device`` is the :class:`ecp.runtime.devices.OpenCLDevice` to compile for.
    """
    import ecp
    from ecp.compiler import default_schedule
    from ecp.tune.cache import lookup

    switches = _switches(config)
    sha = config.options.get("model_sha256") or hashlib.sha256(onnx_path.read_bytes()).hexdigest()
    tuned = lookup(device, sha, config.precision, default_schedule(device))
    text = repr(
        (
            sha,
            config.device,
            device.identity,
            config.precision,
            sorted(switches.items()),
            tuned,
            _sources_hash(),
        )
    )
    folder = cache_dir("ecp", hashlib.sha256(text.encode()).hexdigest()[:24])
    if (folder / "plan.json").is_file():
        return folder, "cache"
    bundle = ecp.compile(onnx_path, device=device, precision=config.precision, **switches)
    building = folder.with_name(folder.name + ".building")
    shutil.rmtree(building, ignore_errors=True)
    bundle.save(building)
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)
    return folder, "compiled"


def _sources_hash() -> str:
    """Hash of the compiler's Python sources: another compiler must not be measured through an old bundle."""
    import ecp

    total = hashlib.sha256()
    root = Path(ecp.__file__).parent
    for path in sorted(root.rglob("*.py")):
        total.update(path.relative_to(root).as_posix().encode())
        total.update(path.read_bytes())
    return total.hexdigest()
