"""No speed without right answers: a backend's outputs against the float64 reference on the same inputs.

The limit is relative to the largest reference output, because logits of different models differ in scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from baselines.base import Backend
from bench import inputs

# fp32: frameworks that reorder sums or approximate GELU and exp stay under 1e-3 of the largest logit (MNN's
# `high` is the loosest seen, 4.5e-4); fp16 storage has 11 bits, and errors add up over twelve blocks.
LIMITS = {"fp32": 2e-3, "fp16": 3e-2}


def check(
    backend: Backend, feeds: Mapping[str, np.ndarray], reference: Path, precision: str
) -> dict[str, Any]:
    """Run every test input. ``max_abs`` over all, ``limit``, ``ok``, top-1 agreement, and a reason if not ok."""
    expected = inputs.load(reference)
    rows = len(next(iter(feeds.values())))
    worst, agreed, counted = 0.0, 0, 0
    scale = max(float(np.abs(v).max()) for v in expected.values())
    limit = LIMITS[precision] * scale
    for index in range(rows):
        got = backend.run(inputs.row(feeds, index))
        for name, wanted in inputs.row(expected, index).items():
            problem = _shape_problem(name, got, wanted)
            if problem:
                return {"ok": False, "max_abs": None, "ref": "float64", "reason": problem}
            value = np.asarray(got[name], dtype=np.float64)
            worst = max(worst, float(np.abs(value - wanted).max()))
            agreed += int((value.argmax(-1) == wanted.argmax(-1)).sum())
            counted += int(np.prod(wanted.shape[:-1], dtype=np.int64))
    ok = worst <= limit
    reason = (
        ""
        if ok
        else f"wrong output: max abs error {worst:.3g} against the float64 reference, limit {limit:.3g}"
    )
    return {
        "ok": ok,
        "max_abs": worst,
        "limit": limit,
        "ref": "float64",
        "ref_max_abs": scale,
        "top1_agreement": agreed / counted,
        "reason": reason,
    }


def _shape_problem(name: str, got: Mapping[str, np.ndarray], wanted: np.ndarray) -> str:
    if name not in got:
        return f"output '{name}' is missing; the backend gave {', '.join(got) or 'none'}"
    value = np.asarray(got[name])
    if value.shape != wanted.shape:
        return f"output '{name}' has shape {value.shape}, expected {wanted.shape}"
    if not np.isfinite(value).all():
        return f"output '{name}' holds NaN or infinity"
    return ""
