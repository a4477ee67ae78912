"""The microbenchmarks behind ``python -m bench roofline``, measured by pytest-benchmark (:mod:`bench.peaks` runs it).

What is asked for comes as JSON in ``$ECP_PEAKS``: the OpenCL device's name, ``threads`` of a CPU device (else null),
``rounds``, and ``mib``, the size of one side of a copy. pytest-benchmark is given the device's own clock: a round
takes what its launch's OpenCL event says, so that neither Python nor the queue is in it.
"""

# ruff: noqa: E501
from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

FMA = """__kernel void fma_peak(__global float* out) {
  float16 a0=1,a1=2,a2=3,a3=4,a4=5,a5=6,a6=7,a7=8,a8=9,a9=10; const float16 x=1.0000001f, y=1e-9f;
  for (int i = 0; i < LOOPS; ++i) {
    a0=fma(a0,x,y); a1=fma(a1,x,y); a2=fma(a2,x,y); a3=fma(a3,x,y); a4=fma(a4,x,y);
    a5=fma(a5,x,y); a6=fma(a6,x,y); a7=fma(a7,x,y); a8=fma(a8,x,y); a9=fma(a9,x,y);
  }
  a0 += a1+a2+a3+a4+a5+a6+a7+a8+a9;
  out[get_global_id(0)] = a0.s0+a0.s1+a0.s2+a0.s3+a0.s4+a0.s5+a0.s6+a0.s7+a0.s8+a0.s9+a0.sa+a0.sb+a0.sc+a0.sd+a0.se+a0.sf;
}
"""
# A work-item of a CPU takes a run of memory, those of a GPU take turns: neighbours read what is next to each other.
MEMORY = """
#define BEGIN (STEP == 1 ? (int)get_global_id(0)*CHUNK : (int)get_global_id(0))
__kernel void copy_peak(__global const V* restrict a, __global V* restrict b) {
  const int begin = BEGIN;
  for (int i = 0; i < CHUNK; ++i) b[begin + i*STEP] = a[begin + i*STEP];
}
__kernel void read_peak(__global const V* restrict a, __global V* restrict b) {
  V s0=0, s1=0, s2=0, s3=0;
  const int begin = BEGIN;
  for (int i = 0; i < CHUNK; i += 4) {
    s0 += a[begin + i*STEP]; s1 += a[begin + (i+1)*STEP]; s2 += a[begin + (i+2)*STEP]; s3 += a[begin + (i+3)*STEP];
  }
  b[get_global_id(0)] = s0 + s1 + s2 + s3;
}
"""
WARMUP = 3


class Rig:
    """A device with a profiling queue; ``seconds`` is the time its launches took so far, by their events."""

    def __init__(self, device: str, threads: int | None, mib: int):
        from ecp.runtime import icd
        from ecp.runtime.devices import resolve
        from ecp.runtime.session import sub_device

        icd.setup()
        import pyopencl as cl

        self.cl, self.target, self.mib, self.seconds = cl, resolve(device), mib, 0.0
        self.cpu = self.target.device_class == "cpu"
        handle = sub_device(cl, self.target, threads if self.cpu else None)
        self.context = cl.Context([handle])
        self.queue = cl.CommandQueue(self.context, handle, cl.command_queue_properties.PROFILING_ENABLE)

    def kernel(self, kind: str) -> tuple[Callable[[], None], float, str]:
        """One launch of a microbenchmark, the work of a launch (in ``unit`` times seconds), and the unit."""
        if kind == "fma":
            loops, items = (200_000, 8) if self.cpu else (4_000, 65_536)
            out = self._buffer(4 * items)
            return self._launch(FMA, f"-D LOOPS={loops}", kind, items, out), 320e-9 * loops * items, "GFLOP/s"
        vector, width = ("float16", 64) if self.cpu else ("float4", 16)
        count, chunk = (self.mib << 20) // width, 64
        items = count // chunk
        if self.cpu:
            items, chunk = 64, count // 64
        a, b = self._buffer(self.mib << 20), self._buffer(self.mib << 20)
        self.cl.enqueue_fill_buffer(self.queue, a, np.ones(1, np.float32), 0, self.mib << 20).wait()
        options = f"-D V={vector} -D CHUNK={chunk} -D STEP={1 if self.cpu else items}"
        sides = 2 if kind == "copy" else 1
        return self._launch(MEMORY, options, kind, items, a, b), sides * (self.mib << 20) / 1e9, "GB/s"

    def _buffer(self, size: int) -> Any:
        return self.cl.Buffer(self.context, self.cl.mem_flags.READ_WRITE, size)

    def _launch(self, source: str, options: str, kind: str, items: int, *args: Any) -> Callable[[], None]:
        program = self.cl.Program(self.context, source).build(f"-cl-mad-enable {options}")
        kernel = self.cl.Kernel(program, f"{kind}_peak")
        local = (1,) if self.cpu else (64,)

        def once() -> None:
            kernel.set_args(*args)  # a kernel does not keep its buffers: this function does
            event = self.cl.enqueue_nd_range_kernel(self.queue, kernel, (items,), local)
            event.wait()
            self.seconds += (event.profile.end - event.profile.start) * 1e-9

        return once


ASKED: dict[str, Any] = json.loads(os.environ.get("ECP_PEAKS", "{}"))
RIG: list[Rig] = []


def device_clock() -> float:
    """Seconds of launches so far: pytest-benchmark's timer. It stands still between launches."""
    return RIG[0].seconds


@pytest.fixture(scope="module")
def rig() -> Rig:
    """The asked device, opened once."""
    if not ASKED:
        pytest.skip("ECP_PEAKS does not say what to measure; run python -m bench roofline")
    RIG[:] = [Rig(ASKED["device"], ASKED["threads"], ASKED["mib"])]
    return RIG[0]


@pytest.mark.parametrize("kind", ["fma", "read", "copy"])
@pytest.mark.benchmark(timer=device_clock)
def test_peak(benchmark: Any, rig: Rig, kind: str) -> None:
    """One peak: pytest-benchmark's rounds, and the work of a round beside them."""
    once, work, unit = rig.kernel(kind)
    benchmark.extra_info.update(
        kind=kind, unit=unit, work=work, source="device-event",
        true_backend=rig.target.device, driver=rig.target.driver,
    )  # fmt: skip
    # Pedantic: a calibration would wait for a clock that stands still.
    benchmark.pedantic(once, rounds=ASKED["rounds"], warmup_rounds=WARMUP)
