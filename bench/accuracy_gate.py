"""No speed without right answers: a backend's outputs against the float64 reference on the same inputs.

Every output has its own scale, because a small one beside a large one is as much an answer; type and shape count. The
outputs of the timed inferences themselves are checked too (:mod:`bench.timed_path`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from baselines.base import Backend
from bench import inputs
from bench.expected import Expected
from bench.timed_path import TimedPath


def check(
    backend: Backend,
    feeds: Mapping[str, np.ndarray],
    reference: Path,
    precision: str,
    onnx_path: Path | None = None,
    path: TimedPath | None = None,
) -> dict[str, Any]:
    """Run every test input. ``max_abs`` and its ``limit`` are those of the output that is worst against its own
    scale (``ref_max_abs``); ``ok``, top-1 agreement, and a reason if not ok.

    ``onnx_path``: the model's file, whose declared output types count; ``path``: the timed inferences to be checked.
    """
    expected = Expected.load(reference, precision, onnx_path)
    rows = len(next(iter(feeds.values())))
    answers = []
    for index in range(rows):
        got = backend.run(inputs.row(feeds, index))
        if problem := expected.problem(got):
            return _refused(problem)
        answers.append({name: np.array(got[name]) for name in expected.reference})
    found = compare(expected, answers)
    if not found["ok"] or path is None:
        return found
    seen = path.verify(expected)
    problem = seen.pop("reason", "")
    return {**found, "timed": seen, **({"ok": False, "reason": problem} if problem else {})}


def compare(expected: Expected, answers: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """The first ``len(answers)`` test inputs' outputs against the reference, as :func:`check` gives it."""
    errors = {name: 0.0 for name in expected.reference}
    agreed = counted = 0
    for index, got in enumerate(answers):
        if problem := expected.problem(got):
            return _refused(problem)
        wanted = inputs.row(expected.reference, index)
        for name, error in expected.errors(got, wanted).items():
            errors[name] = max(errors[name], error)
            right = wanted[name]
            if right.ndim and right.size:
                agreed += int((np.asarray(got[name]).argmax(-1) == right.argmax(-1)).sum())
                counted += int(np.prod(right.shape[:-1], dtype=np.int64))
    bad = expected.too_far(errors)
    worst = max(errors, key=lambda name: _times(errors[name], expected.limit(name)))
    where = f" in '{worst}'" if len(errors) > 1 else ""
    reason = (
        f"wrong output: max abs error {errors[worst]:.3g}{where} against the float64 reference, "
        f"limit {expected.limit(worst):.3g}"
    )
    found = {
        "ok": not bad,
        "max_abs": errors[worst],
        "limit": expected.limit(worst),
        "ref": "float64",
        "ref_max_abs": expected.scale(worst),
        "top1_agreement": agreed / counted if counted else None,
        "reason": reason if bad else "",
    }
    if len(errors) > 1:
        names = list(errors)
        found["outputs"] = {n: {"max_abs": errors[n], "limit": expected.limit(n)} for n in names}
    return found


def _times(error: float, limit: float) -> float:
    return error / limit if limit else float("inf") if error else 0.0


def _refused(problem: str) -> dict[str, Any]:
    return {"ok": False, "max_abs": None, "ref": "float64", "reason": problem}
