"""What several adapters share: a model's interface, checked feeds, and which threads really worked.

Nothing here knows a framework, and nothing here is timed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from baselines.base import RunConfig, Unsupported
from ecp import checked
from ecp.errors import InputError, ModelError
from ecp.frontend.identity import model_sha256

if TYPE_CHECKING:
    import onnx

BUSY_SHARE = 0.05
"""A thread counts as busy when it used at least this share of the busiest thread's CPU time."""


@dataclass(frozen=True)
class Port:
    """One input or output of a model: name, static shape, numpy dtype name."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor stored densely."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Interface:
    """Inputs (weights excluded) and outputs of an ONNX file, in its order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def read_interface(onnx_path: Path) -> Interface:
    """Inputs and outputs of an ONNX file; :class:`ecp.errors.ModelError` where unreadable or not static."""
    import onnx

    try:
        graph = onnx.load(str(onnx_path), load_external_data=False).graph
    except Exception as exc:
        raise ModelError(f"{onnx_path}: not a readable ONNX file ({exc})") from exc
    weights = {i.name for i in graph.initializer}

    def port(value: onnx.ValueInfoProto, inferred: Mapping[str, tuple[int, ...]]) -> Port:
        dims = value.type.tensor_type.shape.dim
        shape = tuple(d.dim_value for d in dims)
        if any(d.WhichOneof("value") != "dim_value" or d.dim_value <= 0 for d in dims):
            if value.name not in inferred:
                raise ModelError(
                    f"{onnx_path}: {value.name} has an unknown dimension; export it with a fixed shape"
                )
            shape = inferred[value.name]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        return Port(value.name, shape, np.dtype(dtype).name)

    inputs = tuple(port(v, {}) for v in graph.input if v.name not in weights)
    return Interface(inputs, tuple(port(v, _output_shapes(onnx_path, graph)) for v in graph.output))


def _output_shapes(onnx_path: Path, graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    """Shapes of outputs that the file leaves symbolic although its inputs fix them (Swin's windows do this)."""
    dims = [d for v in graph.output for d in v.type.tensor_type.shape.dim]
    if all(d.WhichOneof("value") == "dim_value" and d.dim_value > 0 for d in dims):
        return {}
    from ecp.frontend.onnx import import_onnx

    typed = import_onnx(onnx_path)
    return {name: typed.types[name].shape for name in typed.outputs}


def check_feeds(interface: Interface, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The feeds as dense arrays in the model's order; :class:`ecp.errors.InputError` names a wrong one."""
    wanted = {p.name for p in interface.inputs}
    if set(feeds) != wanted:
        raise InputError(f"inputs {sorted(feeds)} given, the model wants {sorted(wanted)}")
    arrays = []
    for p in interface.inputs:
        x = np.asarray(feeds[p.name])
        if x.shape != p.shape or x.dtype.name != p.dtype:
            raise InputError(
                f"input {p.name}: {x.dtype.name}{list(x.shape)} given, {p.dtype}{list(p.shape)} wanted"
            )
        arrays.append(np.ascontiguousarray(x))
    return arrays


def zero_feeds(interface: Interface) -> dict[str, np.ndarray]:
    """Inputs of zeros, for the checks that an adapter makes in ``prepare``."""
    return {p.name: np.zeros(p.shape, p.dtype) for p in interface.inputs}


def own_options(config: RunConfig, name: str) -> dict[str, Any]:
    """Framework settings passed as ``NAME.KEY=VALUE``; other options are not for the framework."""
    return {k.removeprefix(f"{name}."): v for k, v in config.options.items() if k.startswith(f"{name}.")}


def require_precision(config: RunConfig, supported: Sequence[str], name: str) -> None:
    """Raise where the asked precision is not one that ``name`` really executes."""
    if config.precision not in supported:
        have = ", ".join(supported)
        raise Unsupported(
            f"{name} runs {have} on this device, not {config.precision}; nothing else is substituted"
        )


def opencl_selector(config: RunConfig) -> str:
    """The OpenCL device asked for, by the name that :mod:`ecp.runtime.devices` knows it by.

    A device of devices.yaml with a name of its own (``nvidia-h100``) comes with its selector in the options.
    """
    return str(config.options.get("opencl") or config.device)


def require_local_cpu(config: RunConfig, name: str) -> None:
    """Raise for a device that is not this computer's CPU: a CPU framework never answers for a GPU or phone."""
    if (
        opencl_selector(config) not in ("local", "local-cpu")
        or config.options.get("device_class", "cpu") != "cpu"
    ):
        raise Unsupported(
            f"{name} from pip runs on this computer's CPU only, not on device {config.device!r}; "
            "ask for --device local-cpu"
        )


def thread_cpu_ns() -> dict[int, int] | None:
    """CPU time of every thread of this process in ns, or None where the kernel does not tell."""
    times: dict[int, int] = {}
    for task in Path("/proc/self/task").glob("*"):
        try:
            times[int(task.name)] = int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            if not (task / "stat").exists() and task.exists():
                return None
            continue
        except (OSError, ValueError, IndexError):
            return None
    return times or None


def busy_threads(work: Callable[[], None], repeats: int = 3) -> int | None:
    """How many threads of this process did a real share of ``work``; None where the kernel does not tell."""
    before = thread_cpu_ns()
    for _ in range(repeats):
        work()
    after = thread_cpu_ns()
    if before is None or after is None:
        return None
    used = [ns - before.get(tid, 0) for tid, ns in after.items()]
    top = max(used, default=0)
    return sum(1 for u in used if top > 0 and u >= BUSY_SHARE * top)


def verify_threads(
    work: Callable[[], None], config: RunConfig, name: str, repeats: int = 3
) -> dict[str, int | str]:
    """Compare the threads busy in ``work`` with the asked ones: more is an error, fewer goes to the record."""
    seen = busy_threads(work, repeats)
    if seen is None:
        return {"threads_asked": config.threads, "threads_busy": "unknown (no /proc/self/task/*/schedstat)"}
    if seen > config.threads:
        raise Unsupported(
            f"{name} used {seen} threads where {config.threads} were asked; the figure would not be fair"
        )
    return {"threads_asked": config.threads, "threads_busy": seen}


def timed_ms(work: Callable[[], Any]) -> float:
    """Wall time of one call in ms, for passes with a framework's hooks on."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def cache_dir(*parts: str) -> Path:
    """A folder for converted models and tuning databases; ``ECP_CACHE`` moves it with the harness's cache."""
    root = os.environ.get("ECP_CACHE") or str(
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ecp-vit"
    )
    return checked.folder(Path(root).joinpath("baselines", *parts))


def derived(onnx_path: Path, folder: Path, suffix: str, make: Callable[[Path], None]) -> Path:
    """A file that a converter makes of a model: once for every content, again where the kept one is damaged.

    ``make`` writes it to the path it is given. Raises what it raises, and :class:`ecp.errors.ModelError` where the
    model cannot be read or changed meanwhile.
    """
    identity = model_sha256(onnx_path)
    target = folder / f"{identity[:24]}{suffix}"
    if checked.sealed(target):
        return target
    partial = target.with_suffix(f".{os.getpid()}.part")
    try:
        make(partial)
        if model_sha256(onnx_path) != identity:
            raise ModelError(f"{onnx_path} or its weights changed while they were converted; run again")
        checked.publish(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def first_line(exc: BaseException | str, limit: int = 300) -> str:
    """The first line of a framework's error that says something, for the record of a row that failed."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    head = lines[0] if lines else (type(exc).__name__ if isinstance(exc, BaseException) else "no message")
    return head[:limit]
