"""What a model's outputs must be: shape, type and value of each, from the float64 reference and the ONNX file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import inputs

# fp32: frameworks that reorder sums or approximate GELU and exp stay under 1e-3 of the largest logit (MNN's
# `high` is the loosest seen, 4.5e-4); fp16 storage has 11 bits, and errors add up over twelve blocks.
LIMITS = {"fp32": 2e-3, "fp16": 3e-2}
STORED: dict[str, Any] = {"fp32": np.float32, "fp16": np.float16}


@dataclass(frozen=True)
class Expected:
    """``reference``: outputs by name, stacked over the test inputs [rows, ...]; ``types``: numpy dtype names by
    output as the ONNX file declares them (empty: not known). ``precision``: what the backend was asked for."""

    reference: Mapping[str, np.ndarray]
    precision: str
    types: Mapping[str, str]

    @classmethod
    def load(cls, reference: Path, precision: str, onnx_path: Path | None = None) -> Expected:
        """From the prepared files; without ``onnx_path`` the declared types are not known."""
        types = declared_types(onnx_path, reference.with_name("types.json")) if onnx_path else {}
        return cls(inputs.load(reference), precision, types)

    def scale(self, name: str) -> float:
        """Largest absolute value of one output over all test inputs."""
        values = self.reference[name]
        return float(np.abs(values.astype(np.float64)).max(initial=0.0))

    def limit(self, name: str) -> float:
        """Largest allowed absolute error of one output: relative to its own scale, not to that of a larger one.

        Integers and truth values must be exact. Where the reference is zero everywhere, or below what the precision
        can tell from zero, one rounding step is allowed.
        """
        if self.reference[name].dtype.kind != "f":
            return 0.0
        stored: Any = np.finfo(STORED[self.precision])
        scale = self.scale(name)
        least = float(stored.smallest_subnormal) if scale else float(stored.eps)
        return max(LIMITS[self.precision] * scale, least)

    def problem(self, got: Mapping[str, np.ndarray]) -> str:
        """Why these outputs of one inference cannot even be compared ('' where they can)."""
        for name, stacked in self.reference.items():
            if name not in got:
                return f"output '{name}' is missing; the backend gave {', '.join(got) or 'none'}"
            value = np.asarray(got[name])
            if value.shape != stacked.shape[1:]:
                return f"output '{name}' has shape {value.shape}, expected {stacked.shape[1:]}"
            wanted = self._types_of(name, stacked)
            if value.dtype.name not in wanted:
                return f"output '{name}' has type {value.dtype.name}, expected {' or '.join(wanted)}"
            if value.dtype.kind in "fV" and not np.isfinite(value.astype(np.float64)).all():
                return f"output '{name}' holds NaN or infinity"
        return ""

    def _types_of(self, name: str, stacked: np.ndarray) -> tuple[str, ...]:
        if stacked.dtype.kind != "f":
            return (self.types.get(name, stacked.dtype.name),)
        known = self.types.get(name)
        # A backend that stores halves may hand them out.
        half = ("float16",) if self.precision == "fp16" else ()
        return (known, *half) if known else ("float32", "float64", *half)

    def errors(self, got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Largest absolute difference of each output; ``got`` has no :meth:`problem`."""
        found = {}
        for name in self.reference:
            a, b = (np.asarray(values[name]).astype(np.float64) for values in (got, wanted))
            found[name] = float(np.abs(a - b).max(initial=0.0))
        return found

    def too_far(self, errors: Mapping[str, float], times: float = 1.0) -> list[str]:
        """Outputs whose error is above ``times`` their limit."""
        return [name for name, error in errors.items() if not error <= times * self.limit(name)]


def declared_types(onnx_path: Path, kept: Path) -> dict[str, str]:
    """numpy dtype names of the outputs that the file declares; kept in ``kept``, because parsing takes a while."""
    try:
        found: Any = json.loads(kept.read_text())
        return {str(name): str(dtype) for name, dtype in found.items()}
    except (OSError, ValueError, AttributeError):
        pass
    import onnx

    graph = onnx.load(str(onnx_path), load_external_data=False).graph
    dtype = onnx.helper.tensor_dtype_to_np_dtype
    types = {o.name: np.dtype(dtype(o.type.tensor_type.elem_type)).name for o in graph.output}
    partial = kept.with_suffix(f".{os.getpid()}.part")
    partial.write_text(json.dumps(types))
    partial.replace(kept)
    return types
