"""Measure the constants of the layout model on a device: one work-item, plain loops, best of several runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecp.passes.layoutcost import Row
from ecp.runtime import icd
from ecp.runtime.devices import OpenCLDevice

# Each kernel touches `count` times something whose cost is asked; `x` holds `size` floats.
SOURCE = """
__kernel void vectors(__global float* x, int size, int rounds) {
  for (int r = 0; r < rounds; ++r) for (int i = 0; i < size/2; i += 16) vstore16(vload16(0, x + i) + 1.0f, 0, x + size/2 + i);
}
__kernel void scalars(__global float* x, int size, int rounds) {
  const int s = size / 32;
  for (int r = 0; r < rounds; ++r) for (int i = 0; i < s; ++i) {
    const __global float* p = x + i;
    const float16 v = (float16)(p[0], p[s], p[2*s], p[3*s], p[4*s], p[5*s], p[6*s], p[7*s], p[8*s], p[9*s], p[10*s], p[11*s], p[12*s], p[13*s], p[14*s], p[15*s]);
    vstore16(v, 0, x + size/2 + (i*16 & (size/2 - 1)));
  }
}
__kernel void lines(__global float* x, int size, int rounds) {
  float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
  for (int r = 0; r < rounds; ++r) for (int o = 0; o < 1040; o += 16) for (int i = o; i + 3*1040 < size; i += 4*1040) {
    a += x[i]; b += x[i + 1040]; c += x[i + 2080]; d += x[i + 3120];
  }
  x[0] = a + b + c + d;
}
"""  # noqa: E501
NEAR, SECOND, FAR = 1 << 12, 1 << 17, 1 << 25  # floats: 16 KiB, 512 KiB, 128 MiB


def calibrate(device: OpenCLDevice, repeats: int = 7) -> Row:
    """The cost row of a device, in nanoseconds on one core."""
    icd.setup()
    import pyopencl as cl

    context = cl.Context([device.handle])
    queue = cl.CommandQueue(context, properties=cl.command_queue_properties.PROFILING_ENABLE)
    program = cl.Program(context, SOURCE).build(options=["-cl-std=CL1.2"])
    kernels = {k.function_name: k for k in program.all_kernels()}
    data = cl.Buffer(context, cl.mem_flags.READ_WRITE, 4 * FAR)
    cl.enqueue_fill_buffer(queue, data, np.zeros(1, np.float32), 0, 4 * FAR)

    def nanoseconds(name: str, size: int, rounds: int) -> float:
        best = float("inf")
        for _ in range(repeats):
            event: Any = kernels[name](queue, (1,), (1,), data, np.int32(size), np.int32(rounds))
            event.wait()
            best = min(best, event.profile.end - event.profile.start)
        return best / rounds

    vector = nanoseconds("vectors", NEAR, 2000) / (NEAR / 2 / 16) / 2
    scalar = (nanoseconds("scalars", NEAR, 2000) - vector * NEAR / 32) / (NEAR / 2)
    second = nanoseconds("lines", SECOND, 200) / (SECOND / 16)
    memory = nanoseconds("lines", FAR, 1) / (FAR / 16)
    data.release()
    return Row(vector=vector, scalar=scalar, line=second, memory=memory, near=12288, far=1 << 19)
