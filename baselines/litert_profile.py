"""LiteRT's operator times, XNNPACK's inside its delegate too, by ctypes on the C API in LiteRT's own wheel.

The wheel's Python interpreter has no profiler, but ``libLiteRt.so`` beside it exports one. Handles are opaque
pointers and every function returns a ``LiteRtStatus`` (``litert/c/litert_common.h``: 0 is ok). The layout of
structures is not promised between versions, so other ones are refused, and the adapter compares the outputs.
"""

from __future__ import annotations

import ctypes
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from baselines.base import OpTime, Unsupported
from baselines.common import timed_ms

ABI = "2.3"
"""The version of ai-edge-litert whose headers the structures below were written from."""
CPU = 1  # litert_common.h: kLiteRtHwAcceleratorCpu = 1 << 0
READ, WRITE = 0, 1  # litert_common.h: kLiteRtTensorBufferLockModeRead, kLiteRtTensorBufferLockModeWrite
OWN_KERNEL = 1 << 1  # litert_profiler_event.h: OPERATOR_INVOKE_EVENT
DELEGATED = 1 << 3  # litert_profiler_event.h: DELEGATE_PROFILED_OPERATOR_INVOKE_EVENT
RUNS_IN = {OWN_KERNEL: "LiteRT", DELEGATED: "XNNPACK"}
RankedTensorType = c_uint32 * 18  # litert_model_types.h: sizeof(LiteRtRankedTensorType) == 72; only handed on
MemoryUsage = c_size_t * 3  # litert_profiler_event.h: LiteRtMemoryUsage, three sizes; not read


class _EventData(ctypes.Structure):
    """litert_profiler_event.h: ``ProfiledEventData``."""

    _fields_ = (
        ("tag", c_char_p),
        ("event_type", c_int),
        ("start_timestamp_us", c_uint64),
        ("elapsed_time_us", c_uint64),
        ("begin_mem_usage", MemoryUsage),
        ("end_mem_usage", MemoryUsage),
        ("event_metadata1", c_uint64),
        ("event_metadata2", c_uint64),
        ("event_source", c_int),
    )


class Event(NamedTuple):
    """One event of a pass: its name, ``LiteRtProfilerEventType`` and elapsed microseconds."""

    tag: str
    kind: int
    us: int


@ctypes.CFUNCTYPE(None, c_void_p)
def _keep(_payload: int) -> None:
    """The payload's destructor: Python owns the text."""


class ProfiledModel:
    """A ``.tflite`` file compiled for the CPU with LiteRT's profiler; :meth:`close` frees it.

    Raises :class:`Unsupported` for another version than :data:`ABI` and with LiteRT's status where a call fails.
    """

    def __init__(self, path: Path, threads: int, version: str) -> None:
        if not version.startswith(f"{ABI}."):
            need = f"profiles are read by the structures of ai-edge-litert {ABI}, which {version} may have changed"
            raise Unsupported(f"litert: {need}; pip install 'ai-edge-litert=={ABI}.*'")
        libraries = list(Path(str(files("ai_edge_litert"))).glob("libLiteRt.*"))
        if not libraries:
            raise Unsupported("litert: this wheel of ai-edge-litert has no libLiteRt, whose profiler is read")
        self._library = ctypes.CDLL(str(libraries[0]))
        self._payloads: list[Any] = []  # LiteRT reads them while it compiles
        self._handles = ExitStack()
        try:
            self._compile(path, threads)
        except BaseException:
            self.close()
            raise

    def _compile(self, path: Path, threads: int) -> None:
        self._environment = self._new("Environment", 0, None)
        model = self._new("ModelFromFile", self._environment, str(path).encode(), kind="Model")
        options = self._new("Options")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
        # litert/c/options: litert_runtime_options.cc and litert_cpu_options.cc hand their fields over as TOML.
        told = {b"runtime_options_string": "enable_profiling = true", b"xnnpack": f"num_threads = {threads}"}
        for name, toml in told.items():
            self._payloads.append(ctypes.create_string_buffer(toml.encode()))
            opaque = self._get("LiteRtCreateOpaqueOptions", name, self._payloads[-1], _keep)
            self._call("LiteRtAddOpaqueOptions", options, opaque)  # takes ownership
        self._model = self._new("CompiledModel", self._environment, model, options)
        self._profiler = self._get("LiteRtCompiledModelGetProfiler", self._model)
        signature = self._get("LiteRtGetModelSignature", model, c_size_t(0))
        self._inputs = self._buffers(signature, "Input")
        self._outputs = self._buffers(signature, "Output")

    def _buffers(self, signature: c_void_p, port: str) -> dict[int, c_void_p]:
        """A buffer for every input or output of the signature, in its order, by index of the tensor."""
        count, index, kind = c_size_t(), c_uint32(), RankedTensorType()
        self._call(f"LiteRtGetNumSignature{port}s", signature, byref(count))
        buffers = {}
        for i in map(c_size_t, range(count.value)):
            tensor = self._get(f"LiteRtGetSignature{port}TensorByIndex", signature, i)
            self._call("LiteRtGetTensorIndex", tensor, byref(index))
            self._call("LiteRtGetRankedTensorType", tensor, kind)
            wanted = self._get(f"LiteRtGetCompiledModel{port}BufferRequirements", self._model, c_size_t(0), i)
            buffers[index.value] = self._new(
                "ManagedTensorBufferFromRequirements", self._environment, kind, wanted, kind="TensorBuffer"
            )
        return buffers

    def write(self, arrays: Mapping[int, np.ndarray]) -> None:
        """Copy dense inputs in, by index of their tensor."""
        for index, array in arrays.items():
            self._copy(self._inputs[index], WRITE, array)

    def read(self, like: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Copies of the outputs, by index of their tensor, with the shapes and types of ``like``."""
        found = {index: np.empty(array.shape, array.dtype) for index, array in like.items()}
        for index, array in found.items():
            self._copy(self._outputs[index], READ, array)
        return found

    def _copy(self, buffer: c_void_p, mode: int, array: np.ndarray) -> None:
        size, address = c_size_t(), c_void_p()
        self._call("LiteRtGetTensorBufferPackedSize", buffer, byref(size))
        if size.value != array.nbytes:
            raise Unsupported(f"litert: a buffer of {size.value} bytes for a tensor of {array.nbytes}")
        self._call("LiteRtLockTensorBuffer", buffer, byref(address), mode)
        ends = (address, array.ctypes.data) if mode == WRITE else (array.ctypes.data, address)
        ctypes.memmove(ends[0], ends[1], array.nbytes)
        self._call("LiteRtUnlockTensorBuffer", buffer)

    def run(self) -> None:
        """One inference, synchronous."""
        buffers: list[Any] = []
        for port in (self._inputs, self._outputs):
            buffers += [c_size_t(len(port)), (c_void_p * len(port))(*(b.value for b in port.values()))]
        self._call("LiteRtRunCompiledModel", self._model, c_size_t(0), *buffers)

    def profiled(self) -> tuple[float, list[Event]]:
        """Wall time in ms of one inference with the profiler on, and its events."""
        self._call("LiteRtStartProfiler", self._profiler)  # forgets earlier events
        wall = timed_ms(self.run)
        self._call("LiteRtStopProfiler", self._profiler)
        count = c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, byref(count))
        found = (_EventData * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, found)
        return wall, [Event(e.tag.decode(), e.event_type, e.elapsed_time_us) for e in found]

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            raise Unsupported(f"litert: {function} ended with status {status} (litert/c/litert_common.h)")

    def _get(self, function: str, *arguments: Any) -> c_void_p:
        handle = c_void_p()
        self._call(function, *arguments, byref(handle))
        return handle

    def _new(self, create: str, *arguments: Any, kind: str | None = None) -> c_void_p:
        """A handle that :meth:`close` destroys, after those made later."""
        handle = self._get(f"LiteRtCreate{create}", *arguments)
        self._handles.callback(getattr(self._library, f"LiteRtDestroy{kind or create}"), handle)
        return handle

    def close(self) -> None:
        """Destroy everything; a second time does nothing."""
        self._handles.close()


def operators(passes: Sequence[Sequence[Event]]) -> list[OpTime]:
    """Median time of every operator over the passes; raises :class:`Unsupported` where passes differ.

    LiteRT's own kernels and XNNPACK's operators count; ``Invoke`` and a delegate as a whole contain them and do not.
    """
    found = [[e for e in events if e.kind in RUNS_IN and not e.tag.endswith("Delegate")] for events in passes]
    first = found[0]
    if any([e.tag for e in events] != [e.tag for e in first] for events in found[1:]):
        raise Unsupported("litert: its profiler named other operators in one pass than in the next")
    if not any(e.kind == DELEGATED for e in first):
        raise Unsupported("litert: its profiler named no operator inside the XNNPACK delegate")
    return [
        OpTime(
            f"{event.tag} #{position}",
            event.tag.split(" #")[0],
            statistics.median(events[position].us for events in found) / 1e3,
            "litert-profiler",
            {"runs_in": RUNS_IN[event.kind]},
        )
        for position, event in enumerate(first)
    ]
