"""What a model's blocks share, made once and cached by content: ONNX file, test inputs, float64 reference.

``python -m bench.prepare MODEL`` prints where they lie, as JSON. It runs as a process of its own, so that the
harness that starts worker processes never loads torch and stays small.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import inputs
from bench.paths import cache_dir
from ecp import checked, children
from ecp.errors import EcpError, ModelError, UsageError
from ecp.frontend.identity import model_sha256

# Part of the cache key: raise it when inputs or reference are made differently.
RECIPE = "2"


@dataclass(frozen=True)
class Prepared:
    """Paths and facts of one model, ready for workers. ``info`` goes into run.json."""

    model: str
    onnx: str
    sha256: str
    inputs: str
    reference: str
    info: dict[str, Any] = field(default_factory=dict)


def prepare(model: str) -> Prepared:
    """In a child process: export if needed, make inputs and reference. Raises the child's own EcpError."""
    done = children.run([sys.executable, "-m", "bench.prepare", model])
    lines = done.text.strip().splitlines()
    answer = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    if done.returncode == 0 and "prepared" in answer:
        return Prepared(**answer["prepared"])
    if "error" in answer:
        error = (UsageError if answer["exit_code"] == 2 else EcpError)(answer["error"])
        raise error
    last = done.error_text.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
    raise EcpError(f"model '{model}' could not be prepared: {last[0]}")


def prepare_here(model: str) -> Prepared:
    """:func:`prepare` in this process (imports torch where the model must be exported)."""
    from bench import models

    path = Path(models.onnx_path(model))
    info = models.info(model)
    sha = model_sha256(path)
    folder = cache_dir("prepared", f"{sha[:24]}-{RECIPE}")
    feeds_file, reference_file = folder / "inputs.npz", folder / "reference.npz"
    if checked.read(feeds_file) is None or checked.read(reference_file) is None:
        proto = _load(path)
        feeds = _feeds(proto, getattr(info, "mean", None), getattr(info, "std", None))
        reference = _reference(model, path, proto, feeds)
        if model_sha256(path) != sha:
            raise ModelError(f"{path} or its weights changed while the reference was computed; run again")
        inputs.save(feeds_file, feeds)
        inputs.save(reference_file, reference)
    known = asdict(info) if hasattr(info, "__dataclass_fields__") else {}
    plain = {k: v for k, v in known.items() if v is None or isinstance(v, str | int | float | bool)}
    return Prepared(model, str(path), sha, str(feeds_file), str(reference_file), plain)


def _load(path: Path) -> Any:
    import onnx

    try:
        return onnx.load(str(path))
    except Exception as error:
        raise ModelError(f"{path} is not a readable ONNX file: {' '.join(str(error).split())}") from error


def _feeds(proto: Any, mean: Any, std: Any) -> dict[str, np.ndarray]:
    constants = {i.name for i in proto.graph.initializer}
    feeds = {}
    for value in proto.graph.input:
        if value.name in constants:
            continue
        tensor = value.type.tensor_type
        shape = [d.dim_value for d in tensor.shape.dim]
        feeds[value.name] = _values(value.name, tensor.elem_type, shape, mean, std)
    if not feeds:
        raise ModelError("the model has no inputs to feed")
    return feeds


def _values(name: str, elem_type: int, shape: list[int], mean: Any, std: Any) -> np.ndarray:
    import onnx

    dtype = onnx.helper.tensor_dtype_to_np_dtype(elem_type)
    if dtype == np.float32:
        # Without the authors' preprocessing the ImageNet statistics are what image models expect.
        return inputs.make_inputs(shape, mean or (0.485, 0.456, 0.406), std or (0.229, 0.224, 0.225))
    if np.issubdtype(dtype, np.integer):
        rng = np.random.default_rng(0)
        return rng.integers(0, 100, size=(1 + inputs.RANDOM_ROWS, *shape)).astype(dtype)
    raise ModelError(f"input '{name}' has type {dtype}; float32 and integers can be fed")


def _reference(model: str, path: Path, proto: Any, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [o.name for o in proto.graph.output]
    rows = len(next(iter(feeds.values())))
    run = _onnx_float64(proto) if model.startswith("onnx:") else _torch_float64(model)
    outputs = [run(inputs.row(feeds, index)) for index in range(rows)]
    stacked = {name: np.stack([o[i] for o in outputs]) for i, name in enumerate(names)}
    for name, values in stacked.items():
        if not np.isfinite(values).all():
            raise ModelError(f"{path.name}: output '{name}' of the float64 reference holds NaN or infinity")
    return stacked


def _torch_float64(model: str) -> Any:
    import torch

    from bench import models

    module = models.torch_module(model).eval().double()

    def run(feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        tensors = [torch.from_numpy(v.astype(np.float64)) for v in feeds.values()]
        with torch.inference_mode():
            out = module(*tensors)
        return [t.numpy() for t in (out if isinstance(out, tuple | list) else (out,))]

    return run


def _onnx_float64(proto: Any) -> Any:
    """ONNX's own reference evaluator on a copy of the model in which every float32 is a float64."""
    import onnx
    from onnx import TensorProto, numpy_helper
    from onnx.reference import ReferenceEvaluator

    wide = onnx.ModelProto()
    wide.CopyFrom(proto)

    def widen(tensor: Any) -> None:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name)
            )

    for tensor in wide.graph.initializer:
        widen(tensor)
    for node in wide.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                widen(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
    for value in [*wide.graph.input, *wide.graph.output, *wide.graph.value_info]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    evaluator = ReferenceEvaluator(wide)

    def run(feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        cast = {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in feeds.items()}
        return [np.asarray(v) for v in evaluator.run(None, cast)]

    return run


def main() -> int:
    """Prepare the model named on the command line; one line of JSON on stdout either way."""
    answer_fd = os.dup(1)
    os.dup2(2, 1)
    answer: dict[str, Any]
    try:
        answer, code = {"prepared": asdict(prepare_here(sys.argv[1]))}, 0
    except EcpError as error:
        answer, code = {"error": str(error), "exit_code": error.exit_code}, error.exit_code
    with os.fdopen(answer_fd, "w") as stream:
        stream.write(json.dumps(answer) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
