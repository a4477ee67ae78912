"""LiteRT (TensorFlow Lite) with XNNPACK on the CPU, converted from the PyTorch source by litert-torch.

The converter cannot be installed beside this project's other packages (it pins older ones), so it may live in an
environment of its own, named by ``ECP_LITERT_PYTHON``. Source: LiteRT documentation, "Convert PyTorch models".
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from baselines.base import Backend, Description, OpTime, RunConfig, Unavailable, Unsupported
from baselines.common import (
    check_feeds,
    first_line,
    read_interface,
    require_local_cpu,
    require_precision,
    verify_threads,
    zero_feeds,
)
from baselines.litert_profile import ProfiledModel, operators
from baselines.output import captured_output
from baselines.torch_source import converted

PYTHON_VARIABLE = "ECP_LITERT_PYTHON"
HOW = (
    "python -m venv litert-env && litert-env/bin/pip install litert-torch timm platformdirs && "
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
        self._config = config
        model, facts = converted("litert", onnx_path, self._interface, config, _converter(), self._version)
        try:
            with captured_output():
                self._interpreter: Any = Interpreter(str(model), num_threads=config.threads)
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as exc:
            raise Unsupported(f"litert: {first_line(exc)}") from exc
        self._path = model
        self._inputs = [d["index"] for d in self._interpreter.get_input_details()]
        self._outputs = [d["index"] for d in self._interpreter.get_output_details()]
        taken = executed(self._interpreter._get_ops_details(), self._outputs)
        if not taken["delegated_pieces"]:
            raise Unsupported(
                "litert: XNNPACK took no operator; LiteRT's reference kernels would be measured"
            )
        self._facts: dict[str, Any] = {
            "delegate": "XNNPACK",
            "model_bytes": model.stat().st_size,
            "from": "litert-torch conversion of the PyTorch source (not the ONNX bytes)",
            **facts,
            **taken,
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

    def profile(self, feeds: Mapping[str, np.ndarray], repeats: int) -> list[OpTime]:
        """Times of XNNPACK's operators and of LiteRT's own kernels, of the same file compiled a second time.

        Raises :class:`Unsupported` where the profiled run's outputs, or the operators outside the delegate, are not
        those of the interpreter that is timed.
        """
        self.stage(feeds)
        self.execute()
        wanted = {i: self._interpreter.get_tensor(i) for i in self._outputs}
        inputs = dict(zip(self._inputs, check_feeds(self._interface, feeds), strict=True))
        threads = self._config.threads
        with captured_output(), closing(ProfiledModel(self._path, threads, self._version)) as model:
            model.write(inputs)
            model.run()
            clocked, passes = zip(*(model.profiled() for _ in range(repeats)), strict=True)
            require_same(model.read(wanted), wanted)
            verify_threads(model.run, self._config, self.name)
        found = operators(passes)
        outside = Counter(op.op_type for op in found if op.details["runs_in"] == "LiteRT")
        if outside != self._facts["operators_outside_the_delegate"]:
            told = self._facts["operators_outside_the_delegate"]
            raise Unsupported(
                f"litert: {dict(outside)} outside the delegate in the profiled run, {told} in the timed"
            )
        self.profiled_pass_ms = statistics.median(clocked)
        return found

    def close(self) -> None:
        """Drop the interpreter."""
        self.__dict__.pop("_interpreter", None)


def require_same(found: Mapping[int, np.ndarray], wanted: Mapping[int, np.ndarray]) -> None:
    """Raise where the profiled run computed something else than the timed one: its times would not be the model's."""
    for index, array in wanted.items():
        limit = 1e-5 * float(np.abs(array).max(initial=0))
        error = float(np.abs(found[index] - array).max(initial=0))
        if not error <= limit:  # also where either is not a number
            raise Unsupported(
                f"litert: output {index} of the profiled run is {error:.3g} from the interpreter's (limit {limit:.3g})"
            )


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
