"""TVM's OpenCL path measured with nothing but its wheel: TVM's kernels and launch sizes, run through pyopencl.

The schedules are TVM's own defaults for generic GPUs (dlight), so the row is labelled untuned. What is left out
is TVM's runtime: the call of each kernel costs what pyopencl costs. Times per operator are device events.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from baselines.base import Backend, Description, OpTime, RunConfig, Unsupported
from baselines.common import check_feeds, first_line, opencl_selector, read_interface, require_precision
from baselines.tvm_common import import_onnx, tvm_version
from baselines.tvm_opencl_plan import Kernel, Plan, Tensor, compile_plan, opencl_target


class TvmOpenClBackend(Backend):
    """TVM's generated OpenCL on the OpenCL device that ``config.device`` names."""

    name: ClassVar[str] = "tvm-opencl"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Compile for the device's limits, build the program, upload weights, fix every launch's arguments."""
        require_precision(config, ["fp32"], "tvm-opencl (an fp32 ONNX file keeps its types)")
        from ecp.runtime.devices import resolve

        self._found = resolve(opencl_selector(config))
        import pyopencl

        self._cl = pyopencl
        device = self._found.handle
        self._interface = read_interface(onnx_path)
        limits = device_limits(device, self._found.device_class)
        self._target = opencl_target(limits)
        self._plan: Plan = compile_plan(import_onnx(onnx_path), self._target)
        self._context = pyopencl.Context([device])
        self._queue = pyopencl.CommandQueue(self._context)
        try:
            self._program = pyopencl.Program(self._context, self._plan.source).build()
            self._buffers = self._allocate()
            self._launches = self._bind()
        except pyopencl.Error as error:
            raise Unsupported(f"tvm-opencl: {first_line(error)}") from error
        self._check_group_sizes(device)

    def _allocate(self) -> dict[str, Any]:
        flags = self._cl.mem_flags
        buffers = {}
        for store, size in self._plan.stores.items():
            if store.startswith("const:"):
                data = np.ascontiguousarray(self._plan.constants[int(store.split(":")[1])])
                mode = flags.READ_ONLY | flags.COPY_HOST_PTR
                buffers[store] = self._cl.Buffer(self._context, mode, hostbuf=data)
            else:
                buffers[store] = self._cl.Buffer(self._context, flags.READ_WRITE, max(size, 4))
        return buffers

    def _bind(self) -> list[tuple[Any, tuple[int, ...], tuple[int, ...], str]]:
        """One kernel object per launch with its arguments set once, so that a run only enqueues."""
        scratch: dict[str, Any] = {}
        launches = []
        for call in self._plan.calls:
            for kernel in self._plan.functions[call.function]:
                handle = self._cl.Kernel(self._program, kernel.name)
                arguments = [
                    self._argument(a, call.tensors, scratch, call.function) for a in kernel.arguments
                ]
                handle.set_args(*arguments)
                launches.append((handle, *work_sizes(kernel), call.function))
        return launches

    def _argument(
        self, argument: tuple[str, int], tensors: tuple[Tensor, ...], scratch: dict[str, Any], function: str
    ) -> Any:
        kind, value = argument
        if kind == "param":
            return self._buffers[tensors[value].store]
        if kind == "int":
            return np.int32(value)
        key = f"{function}/{kind}"
        if key not in scratch:
            scratch[key] = self._cl.Buffer(self._context, self._cl.mem_flags.READ_WRITE, value)
        return scratch[key]

    def _check_group_sizes(self, device: Any) -> None:
        """A kernel that uses many registers may allow smaller groups than the device does in general."""
        info = self._cl.kernel_work_group_info.WORK_GROUP_SIZE
        for handle, _, local, function in self._launches:
            allowed = handle.get_work_group_info(info, device)
            if int(np.prod(local)) > allowed:
                raise Unsupported(
                    f"tvm-opencl: {function} wants groups of {np.prod(local)}, {allowed} allowed"
                )

    def describe(self) -> Description:
        """TVM's version, the OpenCL device and driver, launches and memory."""
        memory = sum(n for s, n in self._plan.stores.items() if not s.startswith("const:"))
        return Description(
            tvm_version(),
            f"TVM OpenCL C (dlight defaults, untuned) through pyopencl on {self._found.device}",
            {
                "schedules": "untuned (dlight defaults)",
                "device": self._found.device,
                "platform": self._found.platform,
                "driver": self._found.driver,
                "pyopencl": str(self._cl.VERSION_TEXT),
                "launches": len(self._launches),
                "activation_bytes": memory,
                "target": str(self._target),
            },
        )

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Copy the inputs to the device and wait."""
        arrays = check_feeds(self._interface, feeds)
        for tensor, array in zip(self._plan.inputs, arrays, strict=True):
            self._cl.enqueue_copy(self._queue, self._buffers[tensor.store], array)
        self._queue.finish()

    def execute(self) -> None:
        """Enqueue every launch in order and wait for the device."""
        self._enqueue(self._queue)
        self._queue.finish()

    def _enqueue(self, queue: Any) -> list[Any]:
        enqueue = self._cl.enqueue_nd_range_kernel
        return [enqueue(queue, handle, size, local) for handle, size, local, _ in self._launches]

    def fetch(self) -> dict[str, np.ndarray]:
        """Outputs by ONNX name."""
        result = {}
        for port, tensor in zip(self._interface.outputs, self._plan.outputs, strict=True):
            array = np.empty(tensor.shape, tensor.dtype)
            self._cl.enqueue_copy(self._queue, array, self._buffers[tensor.store])
            result[port.name] = array.reshape(port.shape)
        return result

    def profile(self, feeds: Mapping[str, np.ndarray], repeats: int) -> list[OpTime]:
        """Device-event time of every launch, on a queue of its own: profiling queues slow enqueueing."""
        self.stage(feeds)
        mode = self._cl.command_queue_properties.PROFILING_ENABLE
        queue = self._cl.CommandQueue(self._context, properties=mode)
        passes, walls = [], []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            events = self._enqueue(queue)
            queue.finish()
            walls.append((time.perf_counter() - start) * 1e3)
            passes.append([(e.profile.end - e.profile.start) * 1e-6 for e in events])
        self.profiled_pass_ms = statistics.median(walls[1:])
        sizes = [
            call.tensors[-1].nbytes for call in self._plan.calls for _ in self._plan.functions[call.function]
        ]
        return [
            OpTime(
                handle.function_name,
                function,
                statistics.median(p[i] for p in passes[1:]),
                "device-event",
                {"output_bytes": sizes[i]},
            )
            for i, (handle, _, _, function) in enumerate(self._launches)
        ]

    def close(self) -> None:
        """Release buffers, kernels and the context."""
        for name in ("_launches", "_program", "_queue", "_context"):
            self.__dict__.pop(name, None)
        for buffer in self.__dict__.pop("_buffers", {}).values():
            buffer.release()


def device_limits(device: Any, device_class: str) -> dict[str, int]:
    """Target attributes from the device: group size as TVM's default allows at most, local memory, sub-group."""
    return {
        "max_num_threads": int(min(device.max_work_group_size, 256)),
        "max_threads_per_block": int(min(device.max_work_group_size, 256)),
        "max_shared_memory_per_block": int(device.local_mem_size),
        "thread_warp_size": 32 if device_class == "nvidia" else 1,
    }


def work_sizes(kernel: Kernel) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """OpenCL's global and local work sizes: TVM counts groups, OpenCL counts work-items."""
    size = tuple(g * b for g, b in zip(kernel.grid, kernel.block, strict=True))
    return size, kernel.block
