"""Every ONNX node test either passes in the interpreter or is refused with a reason that is known."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest

from ecp.errors import ModelError
from ecp.frontend.onnx import supported_operators
from ecp.frontend.unsupported import REASONS
from ecp.ir.interp import run
from tests.ir import onnx_operators
from tests.ir.node_cases import cases, run_case

#: Forms of supported operators, and kinds of models, that are refused on purpose.
REFUSED_FORMS = [
    r"has type (bfloat16|float8\w*|float4\w*|u?int[24]|string|complex\d+|undefined)\b",
    r"is not a tensor of known rank",
    r"BatchNormalization .* training mode",
    r"Dropout .* training mode is random",
    r"MaxPool .* optional output 1",
    r"uantizeLinear .* blocked quantization",
    r"Scatter\w* .* reductions",
    r"Range in node .* run time",
    r"opset 1; supported are",
]


@pytest.mark.parametrize("name", sorted(cases()))
def test_node(name: str) -> None:
    try:
        run_case(cases()[name], lambda graph, feeds: run(graph, feeds))
    except ModelError as error:
        reason = str(error)
    else:
        return
    operator = re.search(r"operator ([\w.]+) \(node", reason)
    if operator:
        assert operator[1] not in supported_operators()
        assert operator[1].rpartition(".")[2] in REASONS or "." in operator[1], reason
    else:
        assert any(re.search(form, reason) for form in REFUSED_FORMS), reason
    pytest.skip(reason[:200])


@pytest.mark.slow
def test_documentation_is_current() -> None:
    """docs/onnx-operators.md lists what is not passed, for the onnx version that it names.

    The page is printed from compiled code, the outcomes here are the interpreter's: both refuse the same tests.
    """
    text = (Path(__file__).parents[2] / "docs" / "onnx-operators.md").read_text()
    if f"(onnx {onnx.__version__})" not in text:
        pytest.skip("the page was printed with another onnx version")
    assert text == onnx_operators.page(onnx_operators.on_interpreter(), "local-cpu")
