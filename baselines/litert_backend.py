"""LiteRT (TensorFlow Lite) with XNNPACK on the CPU, converted from the PyTorch source by litert-torch.

The converter cannot be installed beside this project's other packages (it pins older ones), so it may live in an
environment of its own, named by ``ECP_LITERT_PYTHON``. Source: LiteRT documentation, "Convert PyTorch models".
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from baselines.base import Backend, Description, RunConfig, Unavailable, Unsupported
from baselines.common import (
    check_feeds,
    first_line,
    read_interface,
    require_local_cpu,
    require_precision,
    verify_threads,
    zero_feeds,
)
from baselines.output import captured_output
from baselines.torch_source import converted

PYTHON_VARIABLE = "ECP_LITERT_PYTHON"
HOW = (
    "python -m venv litert-env && litert-env/bin/pip install litert-torch timm && "
    f"export {PYTHON_VARIABLE}=$PWD/litert-env/bin/python"
)


class LiteRtBackend(Backend):
    """LiteRT's interpreter on this computer's CPU, fp32, XNNPACK delegate (its default)."""

    name: ClassVar[str] = "litert"

    def prepare(self, onnx_path: Path, config: RunConfig) -> None:
        """Convert in the converter's environment (cached), load, check threads and the delegate."""
        require_local_cpu(config, self.name)
        require_precision(config, ["fp32"], "litert with XNNPACK from fp32 source")
        try:
            from ai_edge_litert.interpreter import Interpreter

            self._version = version("ai-edge-litert")
        except (ImportError, PackageNotFoundError) as exc:
            raise Unavailable("ai-edge-litert is not installed; pip install ai-edge-litert") from exc
        self._interface = read_interface(onnx_path)
        model, facts = converted("litert", onnx_path, self._interface, config, _converter(), self._version)
        try:
            with captured_output() as text:
                self._interpreter: Any = Interpreter(str(model), num_threads=config.threads)
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as exc:
            raise Unsupported(f"litert: {first_line(exc)}") from exc
        if "XNNPACK delegate" not in text():
            raise Unsupported(
                "litert: the XNNPACK delegate did not load; the reference kernels would be measured"
            )
        self._inputs = [d["index"] for d in self._interpreter.get_input_details()]
        self._outputs = [d["index"] for d in self._interpreter.get_output_details()]
        self._facts: dict[str, Any] = {
            "delegate": "XNNPACK",
            "model_bytes": model.stat().st_size,
            "from": "litert-torch conversion of the PyTorch source (not the ONNX bytes)",
            **facts,
            **executed(self._interpreter._get_ops_details(), self._outputs),
        }
        self.stage(zero_feeds(self._interface))
        self.execute()
        self._facts |= verify_threads(self.execute, config, self.name)

    def describe(self) -> Description:
        """The wheel's version and the delegate."""
        return Description(self._version, "LiteRT XNNPACK delegate on CPU", dict(self._facts))

    def stage(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Copy the inputs into the interpreter; the converter keeps their order."""
        for index, array in zip(self._inputs, check_feeds(self._interface, feeds), strict=True):
            self._interpreter.set_tensor(index, array)

    def execute(self) -> None:
        """One invocation."""
        self._interpreter.invoke()

    def fetch(self) -> dict[str, np.ndarray]:
        """Copies of the outputs by ONNX name."""
        ports = self._interface.outputs
        return {p.name: self._interpreter.get_tensor(i) for p, i in zip(ports, self._outputs, strict=True)}

    def close(self) -> None:
        """Drop the interpreter."""
        self.__dict__.pop("_interpreter", None)


def executed(operators: list[dict[str, Any]], outputs: list[int]) -> dict[str, Any]:
    """How many pieces the delegate took, and the operators left to LiteRT's own kernels.

    The interpreter lists delegated operators too, so what really runs is found from the outputs backwards: a tensor
    that a delegate writes is the delegate's work, whoever wrote it before.
    """
    writer: dict[int, dict[str, Any]] = {}
    for operator in sorted(operators, key=lambda o: o["op_name"] == "DELEGATE"):
        writer |= {int(t): operator for t in operator["outputs"]}
    open_tensors, seen = list(outputs), set()
    plan: dict[int, str] = {}
    while open_tensors:
        tensor = int(open_tensors.pop())
        if tensor in seen or tensor not in writer:
            continue
        seen.add(tensor)
        plan[writer[tensor]["index"]] = writer[tensor]["op_name"]
        open_tensors += list(writer[tensor]["inputs"])
    names = Counter(plan.values())
    pieces = names.pop("DELEGATE", 0)
    return {"delegated_pieces": pieces, "operators_outside_the_delegate": dict(sorted(names.items()))}


def _converter() -> str:
    """The Python that has litert-torch: this one, else the one the user named."""
    if importlib.util.find_spec("litert_torch") is not None:
        return sys.executable
    named = os.environ.get(PYTHON_VARIABLE)
    if not named:
        raise Unavailable(
            f"litert: the converter litert-torch is not installed; give it its own environment: {HOW}"
        )
    return named
