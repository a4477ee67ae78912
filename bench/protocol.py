"""What a worker is asked and what it answers: plain JSON, so that a worker may run anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Request:
    """One block. Paths are files that the worker's host can read; times in seconds.

    ``inputs`` is an .npz of feeds by input name with a leading axis over test inputs: row 0 is the photograph
    that is timed, the others are random inputs for the error check. ``reference`` is an .npz of outputs with
    the same leading axis. ``cpus``: processors the worker pins itself to, empty for no pinning.
    ``limits``: how much disturbance the device tolerates (devices.yaml), by name. ``opencl`` and ``opencl_name``:
    the OpenCL selector and the driver's name of a device of this computer, where ``device`` is not the selector.
    """

    metric: str
    backend: str
    model: str
    model_sha256: str
    onnx: str
    inputs: str
    reference: str
    device: str = "local"
    device_class: str = "cpu"
    precision: str = "fp32"
    threads: int = 2
    cpus: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    opencl: str = ""
    opencl_name: str = ""
    min_samples: int = 50
    min_seconds: float = 2.0
    warmup_seconds: float = 5.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data, without an empty ``opencl``: a worker of an older revision has no such field."""
        data = asdict(self)
        return {k: v for k, v in data.items() if v or k not in ("opencl", "opencl_name")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Request:
        """Inverse of :meth:`to_dict`; unknown keys raise TypeError (another version wrote them)."""
        values = dict(data)
        values["cpus"] = tuple(values.get("cpus", ()))
        return cls(**values)


@dataclass(frozen=True)
class Reply:
    """A worker's answer; the fields are those of a block record."""

    status: str
    reason: str = ""
    backend_version: str = ""
    warmup_ms: list[float] = field(default_factory=list)
    samples_ms: list[float] = field(default_factory=list)
    first_ms: float | None = None
    compile_s: float | None = None
    error: dict[str, Any] = field(default_factory=dict)
    env_before: dict[str, Any] = field(default_factory=dict)
    env_after: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Reply:
        """Inverse of :meth:`to_dict`; unknown keys are ignored."""
        names = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in data.items() if k in names})
