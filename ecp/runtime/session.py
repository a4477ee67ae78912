"""Execute a bundle through pyopencl."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecp import checked
from ecp.errors import BuildError, BundleError, DeviceError, IndexRangeError, InputError
from ecp.plan import FloatArgument, Image, IntArgument, Launch, Mem, MemArgument, Program
from ecp.runtime import icd, ptx
from ecp.runtime.bundle import Bundle
from ecp.runtime.devices import OpenCLDevice, resolve


@dataclass(frozen=True)
class LaunchTime:
    """Device time of one launch. ``flops`` and ``bytes`` are the plan's counts for it."""

    name: str
    family: str
    ms: float
    flops: int
    bytes: int
    nodes: tuple[str, ...]


class Session:
    """A bundle loaded on a device, ready to run.

    ``threads`` limits a CPU device by device fission, so that what was asked is what runs; it is an
    error where the device cannot. On GPUs it must be None. ``cache`` False builds the kernels from source.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str | OpenCLDevice | None = None,
        threads: int | None = None,
        cache: bool = True,
    ):
        icd.setup()
        import pyopencl as cl

        self._cl = cl
        self.bundle = bundle
        self._cache = cache and not os.environ.get("ECP_NO_KERNEL_CACHE")
        name = device or bundle.plan.device or "local"
        self.device = name if isinstance(name, OpenCLDevice) else resolve(name)
        self._check_class()
        handle = sub_device(cl, self.device, threads)
        self.threads = handle.max_compute_units if self.device.device_class == "cpu" else None
        self._context = cl.Context([handle])
        self._queue = cl.CommandQueue(self._context, handle)
        self._profiling_queue: Any = None
        self._programs: dict[str, Any] = {}
        self._each: list[Any] = []
        try:
            self._allocate()
            self._launches = self._dispatches()
        except (cl.Error, MemoryError) as error:
            words = " ".join(str(error).split())[:300]
            raise DeviceError(f"{self.device.device} cannot hold or run the bundle: {words}") from error

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def device_name(self) -> str:
        """The device's own name."""
        return self.device.device

    @property
    def driver_version(self) -> str:
        """Driver and platform version."""
        return self.device.driver

    @property
    def platform_name(self) -> str:
        """The OpenCL platform's name."""
        return self.device.platform

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name. Raises :class:`~ecp.errors.InputError` for a wrong name, shape, dtype or run-time index."""
        self.stage(feeds)
        self.execute()
        return self.fetch()

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Copy the inputs to the device."""
        ports = {p.name: p for p in self.bundle.plan.inputs}
        _check_names(feeds, ports)
        for name, port in ports.items():
            array = np.asarray(feeds[name])
            if list(array.shape) != port.shape or array.dtype != np.dtype(port.dtype):
                raise InputError(
                    f"input {name!r} is {array.dtype}{list(array.shape)}, "
                    f"the model wants {port.dtype}{port.shape}"
                )
            if array.size:
                self._cl.enqueue_copy(self._queue, self._mems[port.mem], np.ascontiguousarray(array))
        self._queue.finish()

    def execute(self) -> None:
        """Run every launch, or what stands for all or some of them, and wait for the last.

        Raises :class:`~ecp.errors.IndexRangeError` where a run-time index was outside its axis.
        """
        enqueue, queue = self._cl.enqueue_nd_range_kernel, self._queue
        for kernel, global_size, local_size in self._launches:
            enqueue(queue, kernel, global_size, local_size)
        queue.finish()
        if self.bundle.plan.status:
            self._check_indices()

    def fetch(self) -> dict[str, np.ndarray]:
        """Copy the outputs of the last execute back."""
        out = {}
        for port in self.bundle.plan.outputs:
            array = np.empty(port.shape, port.dtype)
            if array.size:
                self._cl.enqueue_copy(self._queue, array, self._mems[port.mem])
            out[port.name] = array
        self._queue.finish()
        return out

    def profile(self, repeats: int = 20) -> list[LaunchTime]:
        """Median device time of every launch from events, on a queue of its own (it slows enqueueing)."""
        cl = self._cl
        if self._profiling_queue is None:
            self._profiling_queue = cl.CommandQueue(
                self._context, self._context.devices[0], cl.command_queue_properties.PROFILING_ENABLE
            )
        launches = self._one_by_one()
        times = np.zeros((repeats, len(launches)))
        for r in range(repeats):
            events = [cl.enqueue_nd_range_kernel(self._profiling_queue, *launch) for launch in launches]
            self._profiling_queue.finish()
            times[r] = [(e.profile.end - e.profile.start) * 1e-6 for e in events]
        if self.bundle.plan.status:
            self._check_indices()
        medians = np.median(times, axis=0)
        return [
            LaunchTime(f"{i}:{p.kernel}", p.family, float(ms), p.flops, p.bytes, tuple(p.nodes))
            for i, (p, ms) in enumerate(zip(self.bundle.plan.launches, medians))
        ]

    def close(self) -> None:
        """Release device memory now instead of at garbage collection."""
        self._launches.clear()
        self._each.clear()
        for mem in {id(m): m for m in [*self._mems.values(), *self._pools.values()]}.values():
            mem.release()
        self._mems.clear()
        self._pools.clear()

    def _check_indices(self) -> None:
        """Raise what the kernels noted about run-time indices, and wipe the note for the next inference."""
        status = self.bundle.plan.status
        assert status is not None
        noted, mem = np.zeros(4, np.int32), self._mems[status.mem]
        self._cl.enqueue_copy(self._queue, noted, mem)
        if not noted[0]:
            return
        self._cl.enqueue_copy(self._queue, mem, np.zeros_like(noted))
        if not 1 <= noted[0] <= len(status.checks):
            raise BundleError(
                f"a kernel names check {noted[0]} of {len(status.checks)}; compile the model again"
            )
        check = status.checks[noted[0] - 1]
        value = int(noted[3]) << 32 | int(noted[2:3].view(np.uint32)[0])
        raise IndexRangeError(check.node, check.index, check.size, value)

    def _check_class(self) -> None:
        want = self.bundle.plan.device_class
        if want != self.device.device_class:
            raise DeviceError(
                f"the bundle was compiled for device class {want!r}, "
                f"{self.device.name!r} is {self.device.device_class!r}; "
                f"compile again with --device {self.device.name}"
            )
        if self.bundle.plan.arithmetic == "half" and not self.device.fp16:
            raise DeviceError(
                f"the bundle multiplies in half, and {self.device.name!r} ({self.device.device}) has no "
                "cl_khr_fp16; compile again with arithmetic float"
            )
        # A kernel whose groups wait for each other hangs a device that cannot hold them all.
        groups = max((n.resident_groups for n in self.bundle.plan.every_launch()), default=0)
        if groups > self.device.compute_units:
            raise DeviceError(
                f"the bundle needs {groups} compute units at once, "
                f"{self.device.device} has {self.device.compute_units}; "
                f"compile again with --device {self.device.name}"
            )

    def _allocate(self) -> None:
        cl, flags = self._cl, self._cl.mem_flags
        self._pools: dict[str, Any] = {}
        self._mems: dict[str, Any] = {}
        on_host = self.device.device_class == "cpu"
        for pool in self.bundle.plan.pools if on_host else ():
            if not pool.bytes:
                continue
            data = self.bundle.pools.get(pool.name) if pool.file else None
            if data is None:
                self._pools[pool.name] = cl.Buffer(self._context, flags.READ_WRITE, pool.bytes)
            elif pool.access == "ro":
                # A CPU device reads the mapped file in place: no second copy of the weights.
                self._pools[pool.name] = cl.Buffer(
                    self._context, flags.READ_ONLY | flags.USE_HOST_PTR, hostbuf=data
                )
            else:
                self._pools[pool.name] = cl.Buffer(
                    self._context, flags.READ_WRITE | flags.COPY_HOST_PTR, hostbuf=data
                )
        for mem in self.bundle.plan.mems:
            self._mems[mem.name] = self._image(mem, mem.image) if mem.image else self._sub_buffer(mem)

    def _sub_buffer(self, mem: Mem) -> Any:
        if self.device.device_class != "cpu":
            return self._own_buffer(mem)
        return self._pools[mem.pool].get_sub_region(mem.offset, mem.bytes)

    def _own_buffer(self, mem: Mem) -> Any:
        """Memory of a GPU: one buffer for all mems that begin at the same place of a pool.

        Sub-buffers that overlap cost 20 us a launch with NVIDIA's driver, which also crashes when they are released.
        """
        cl, flags, key = self._cl, self._cl.mem_flags, f"{mem.pool}@{mem.offset}"
        if key not in self._pools:
            plan = self.bundle.plan
            pool = next(p for p in plan.pools if p.name == mem.pool)
            size = max(m.bytes for m in plan.mems if (m.pool, m.offset) == (mem.pool, mem.offset))
            if pool.file is None:
                self._pools[key] = cl.Buffer(self._context, flags.READ_WRITE, size)
            else:
                access = flags.READ_ONLY if pool.access == "ro" else flags.READ_WRITE
                data = self.bundle.pools[mem.pool][mem.offset : mem.offset + size]
                self._pools[key] = cl.Buffer(
                    self._context, access | flags.COPY_HOST_PTR, hostbuf=np.ascontiguousarray(data)
                )
        return self._pools[key]

    def _image(self, mem: Mem, image: Image) -> Any:
        cl = self._cl
        kind = cl.channel_type.HALF_FLOAT if image.format == "RGBA_F16" else cl.channel_type.FLOAT
        data = self.bundle.pools[mem.pool][mem.offset : mem.offset + mem.bytes]
        limit = self.device.image_max
        if image.width > limit[0] or image.height > limit[1]:
            raise DeviceError(
                f"image {mem.name!r} is {image.width}x{image.height}, the device allows {limit}"
            )
        return cl.create_image(
            self._context,
            cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR,
            cl.ImageFormat(cl.channel_order.RGBA, kind),
            shape=(image.width, image.height),
            hostbuf=np.array(data),
        )

    def _dispatches(self) -> list[Any]:
        """What one inference enqueues: groups, and the launches that none of them stands for."""
        if not self.bundle.plan.groups:
            return self._one_by_one()
        return [self._bind(launch) for launch in self.bundle.plan.dispatched()]

    def _one_by_one(self) -> list[Any]:
        """Every launch of the plan, bound when first asked for: where they run as a chain, only a profile does."""
        if not self._each:
            self._each = [self._bind(launch) for launch in self.bundle.plan.launches]
        return self._each

    def _program(self, name: str) -> Any:
        """A program, built when first asked for."""
        if name not in self._programs:
            program = next(p for p in self.bundle.plan.programs if p.name == name)
            self._programs[name] = self._build(program, self._context.devices[0])
        return self._programs[name]

    def _build(self, program: Program, handle: Any) -> Any:
        cl = self._cl
        source = self.bundle.sources[program.file]
        target, options = program.target, program.options
        if target:
            self._check_target(target)
            options = f"{options} {ptx.OPTION}"
        key = hashlib.sha256(f"{source}|{options}|{self.device.identity}".encode()).hexdigest()
        path = icd.cache_dir() / "kernels" / f"{key}.bin"
        kept = checked.read(path) if self._cache else None
        if kept is not None:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", cl.CompilerWarning)
                    return cl.Program(self._context, [handle], [kept]).build()
            except cl.Error:
                path.unlink(missing_ok=True)  # written by another build of the driver: compile again
        try:
            with warnings.catch_warnings():
                # Some runtimes answer every build with a note; real errors raise.
                warnings.simplefilter("ignore", cl.CompilerWarning)
                built = cl.Program(self._context, source).build(options, cache_dir=False)
                binary = built.get_info(cl.program_info.BINARIES)[0] if target or self._cache else b""
                if target:
                    binary = ptx.complete(binary)
                    built = cl.Program(self._context, [handle], [binary]).build()
        except cl.Error as error:
            dump = icd.cache_dir() / "failed" / f"{key[:16]}.cl"
            dump.parent.mkdir(parents=True, exist_ok=True)
            dump.write_text(source)
            raise BuildError(
                f"OpenCL program {program.file} did not build (source kept in {dump}):\n{error}"
            ) from error
        if self._cache:
            with suppress(OSError):  # a cache that cannot be written costs time, not correctness
                checked.write(path, binary)
        return built

    def _check_target(self, target: str) -> None:
        """Instructions of sm_90a run on compute capability 9.0 and on no other."""
        major = getattr(self.device.handle, "compute_capability_major_nv", 0)
        if target != ptx.TARGET or major != 9:
            raise DeviceError(
                f"the bundle has kernels for {target}, {self.device.device} is of compute capability {major}.x; "
                f"compile again with --device {self.device.name}"
            )

    def _bind(self, launch: Launch) -> tuple[Any, tuple[int, ...], tuple[int, ...] | None]:
        program = self._program(launch.program)
        try:
            kernel = self._cl.Kernel(program, launch.kernel)
        except self._cl.Error as error:
            raise BundleError(f"program {launch.program!r} has no kernel {launch.kernel[:60]!r}") from error
        if kernel.num_args != len(launch.args):
            raise BundleError(
                f"the launch of {launch.kernel[:60]!r} has {len(launch.args)} arguments, "
                f"its kernel takes {kernel.num_args}"
            )
        kernel.set_args(*[self._argument(a) for a in launch.args])
        local = tuple(launch.local_size) if launch.local_size else None
        return kernel, tuple(launch.global_size), local

    def _argument(self, arg: MemArgument | IntArgument | FloatArgument) -> Any:
        if isinstance(arg, MemArgument):
            return self._mems[arg.mem]
        return np.int32(arg.i32) if isinstance(arg, IntArgument) else np.float32(arg.f32)


def _check_names(feeds: Mapping[str, np.ndarray], ports: Mapping[str, Any]) -> None:
    unknown, missing = sorted(set(feeds) - set(ports)), sorted(set(ports) - set(feeds))
    if unknown or missing:
        words = [f"unknown input {unknown[0]!r}"] if unknown else []
        words += [f"input {missing[0]!r} is missing"] if missing else []
        raise InputError(f"{', '.join(words)}; the model's inputs are {', '.join(sorted(ports))}")


def sub_device(cl: Any, device: OpenCLDevice, threads: int | None) -> Any:
    """The device itself, or its sub-device with ``threads`` compute units."""
    if threads is None or threads == device.compute_units:
        return device.handle
    if device.device_class != "cpu":
        raise DeviceError(f"{device.name!r} is a GPU: a thread count does not apply to it")
    if threads > device.compute_units:
        raise DeviceError(
            f"{threads} threads asked, {device.device} has {device.compute_units} compute units"
        )
    try:
        prop = cl.device_partition_property
        return device.handle.create_sub_devices([prop.BY_COUNTS, threads, prop.BY_COUNTS_LIST_END])[0]
    except cl.Error as error:
        raise DeviceError(f"{device.device} cannot be limited to {threads} threads: {error}") from error
