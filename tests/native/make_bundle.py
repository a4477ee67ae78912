"""Bundles made by hand, so that the runner is proven without the compiler.

``y = scale * (x @ W) + bias + shift`` in small whole numbers, so that every OpenCL device computes it
exactly: a matmul from buffers, then a kernel that reads the bias from an image2d.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from ecp import typed_json
from ecp.plan import Report

ROWS, DEPTH, COLS = 8, 16, 12
SCALE, SHIFT = 0.5, 3

SOURCES = {
    "kernels/mm.cl": """
__kernel void mm(__global const float *x, __global const float *w, __global float *h, int depth, int cols) {
  int row = get_global_id(0), col = get_global_id(1);
  float sum = 0.0f;
  for (int k = 0; k < depth; ++k) sum += x[row * depth + k] * w[k * cols + col];
  h[row * cols + col] = sum;
}
""",
    "kernels/bias.cl": """
__constant sampler_t nearest = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP_TO_EDGE | CLK_FILTER_NEAREST;
__kernel void bias(__global const float *h, __read_only image2d_t b, __global float *y, float scale, int shift) {
  int quad = get_global_id(0), row = get_global_id(1), at = row * get_image_width(b) + quad;
  vstore4(scale * vload4(at, h) + read_imagef(b, nearest, (int2)(quad, 0)) + (float)shift, at, y);
}
""",
}


def arrays(dtype: str = "float32") -> dict[str, np.ndarray]:
    """x, W, bias and the exact y, as the bundle holds them."""
    rng = np.random.default_rng(7)
    x = rng.integers(-4, 5, (ROWS, DEPTH)).astype(np.float32)
    w = rng.integers(-4, 5, (DEPTH, COLS)).astype(np.float32)
    bias = rng.integers(-8, 9, COLS).astype(dtype)
    y = SCALE * (x @ w) + bias.astype(np.float32) + SHIFT
    return {"x": x, "w": w, "bias": bias, "y": y.astype(np.float32)}


def plan(half_image: bool = False) -> dict[str, Any]:
    """A valid plan.json; tests damage copies of it."""
    mm_args = [{"mem": "in0"}, {"mem": "w"}, {"mem": "h"}, {"i32": DEPTH}, {"i32": COLS}]
    bias_args = [{"mem": "h"}, {"mem": "b"}, {"mem": "out0"}, {"f32": SCALE}, {"i32": SHIFT}]
    image = {"width": COLS // 4, "height": 1, "format": "RGBA_F16" if half_image else "RGBA_F32"}
    image_bytes = COLS * (2 if half_image else 4)

    def mem(name: str, pool: str, offset: int, size: int, image: Any = None) -> dict[str, Any]:
        return {"name": name, "pool": pool, "offset": offset, "bytes": size, "image": image}

    return {
        "format": "ecp-bundle",
        "version": 2,
        "model": {"name": "hand", "sha256": "0" * 64},
        "device": "",
        "device_class": "generic",
        "precision": "fp32",
        "arithmetic": "float",
        "options": {"eliminate": True, "fuse": True, "layout_choice": True, "memory_plan": True},
        "persistent": False,
        "persistent_reason": "",
        "schedule": {"source": "given", "row": {"vec": 4, "wg": [8, 8], "local": True, "attributes": ""}},
        "inputs": [{"name": "x", "shape": [ROWS, DEPTH], "dtype": "float32", "mem": "in0"}],
        "outputs": [{"name": "y", "shape": [ROWS, COLS], "dtype": "float32", "mem": "out0"}],
        "pools": [
            {"name": "arena", "bytes": 3 * 4096, "file": None, "access": "rw"},
            {"name": "weights", "bytes": 4096 + image_bytes, "file": "weights.bin", "access": "ro"},
        ],
        "mems": [
            mem("in0", "arena", 0, ROWS * DEPTH * 4),
            mem("h", "arena", 4096, ROWS * COLS * 4),
            mem("out0", "arena", 8192, ROWS * COLS * 4),
            mem("w", "weights", 0, DEPTH * COLS * 4),
            mem("b", "weights", 4096, image_bytes, image),
        ],
        "programs": [
            {"name": "p0", "file": "kernels/mm.cl", "options": "-cl-std=CL1.2", "target": ""},
            {"name": "p1", "file": "kernels/bias.cl", "options": "", "target": ""},
        ],
        "launches": [
            {
                "program": "p0",
                "kernel": "mm",
                "args": mm_args,
                "global_size": [ROWS, COLS],
                "local_size": [2, 4],
                "family": "matmul",
                "nodes": ["/mm"],
                "flops": 2 * ROWS * DEPTH * COLS,
                "bytes": 0,
                "layout": False,
                "reason": "",
                "arithmetic": "float",
                "target": "",
                "resident_groups": 0,
            },
            {
                "program": "p1",
                "kernel": "bias",
                "args": bias_args,
                "global_size": [COLS // 4, ROWS],
                "local_size": None,
                "family": "elementwise",
                "nodes": ["/mul", "/bias", "größe"],
                "flops": 0,
                "bytes": 0,
                "layout": False,
                "reason": "",
                "arithmetic": "float",
                "target": "",
                "resident_groups": 0,
            },
        ],
        "groups": [],
        "status": None,
        "golden": {
            "inputs": [{"name": "x", "file": "golden/input0.bin"}],
            "outputs": [{"name": "y", "file": "golden/output0.bin"}],
        },
        "report": typed_json.encode(Report()),
    }


def write(folder: Path, half_image: bool = False, changed_plan: dict[str, Any] | None = None) -> Path:
    """Write the whole bundle into ``folder`` and return it."""
    data = arrays("float16" if half_image else "float32")
    (folder / "kernels").mkdir(parents=True, exist_ok=True)
    (folder / "golden").mkdir(exist_ok=True)
    for name, text in SOURCES.items():
        (folder / name).write_text(text)
    weights = data["w"].tobytes().ljust(4096, b"\0") + data["bias"].tobytes()
    (folder / "weights.bin").write_bytes(weights)
    (folder / "golden/input0.bin").write_bytes(data["x"].tobytes())
    (folder / "golden/output0.bin").write_bytes(data["y"].tobytes())
    content = plan(half_image) if changed_plan is None else changed_plan
    (folder / "plan.json").write_text(json.dumps(content))
    return folder


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    import sys

    print(write(Path(sys.argv[1])))
