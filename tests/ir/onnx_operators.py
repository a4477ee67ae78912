"""Prints docs/onnx-operators.md: ``python -m tests.ir.onnx_operators local-cpu > docs/onnx-operators.md``.

Every ONNX node test is compiled and run on the device (minutes); without a device name it runs through the numpy
interpreter, which must give the same page but for its head.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections import defaultdict

import onnx

from ecp.errors import ModelError
from ecp.frontend.onnx import supported_operators
from ecp.frontend.unsupported import REASONS
from ecp.ir.interp import run
from tests.ir.node_cases import Engine, cases, run_case

HEAD = """# ONNX operators

Printed by `python -m tests.ir.onnx_operators{option}` from ONNX's own node tests (onnx {version}), each {how}
and compared with the expected outputs: {passed} of {total} pass, {refused} are refused with a reason,
{failed} fail. Opsets {low} to {high} are read; 9 to 21 are what exporters write today.

Operators that ONNX defines by other operators (Attention, RMSNormalization, MeanVarianceNormalization,
SoftmaxCrossEntropyLoss, ...) are expanded through ONNX's definition and are not listed. A node test that feeds
axes, sizes or pads as inputs is compiled for the values that it feeds.
"""


def outcome(name: str, engine: Engine) -> str:
    """Empty where the test passes, ``refused: ...`` or ``failed: ...`` otherwise."""
    try:
        run_case(cases()[name], engine)
    except ModelError as error:
        return f"refused: {normalised(str(error))}"
    except Exception as error:
        return f"failed: {type(error).__name__}: {' '.join(str(error).split())[:150]}"
    return ""


def normalised(message: str) -> str:
    """The reason without names of nodes, values and models, so that equal reasons group."""
    text = message.partition("; supported are")[0]
    text = re.sub(r"^[^:]*: (?=operator|node|input|attribute)", "", text)
    text = re.sub(r" \(node '[^']*'\)| in node '[^']*'|node '[^']*' ", "", text)
    text = re.sub(r"attribute 'to' of \S+ has|input '[^']*' has", "a value has", text)
    text = re.sub(r"input '[^']*' is not", "an input is not", text)
    text = re.sub(r" \('[^']*'\)|(?<=Concat) '[^']*'", "", text)
    return re.sub(r"^\S+: opset (\d+)$", r"opset \1 is older than 7", text)


def page(outcomes: dict[str, str], device: str = "") -> str:
    """The Markdown page for outcomes by test name, of a device or of the interpreter."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, reason in sorted(outcomes.items()):
        if reason:
            groups[reason].append(name)
    refused = sum(len(v) for k, v in groups.items() if k.startswith("refused"))
    failed = sum(len(v) for k, v in groups.items() if k.startswith("failed"))
    lines = [
        HEAD.format(
            version=onnx.__version__,
            option=f" {device}" if device else "",
            how=f"compiled for {device}" if device else "imported and run by the numpy interpreter",
            total=len(outcomes),
            passed=len(outcomes) - refused - failed,
            refused=refused,
            failed=failed,
            low=7,
            high=onnx.defs.onnx_opset_version(),
        ),
        f"## Supported ({len(supported_operators())})\n",
        ", ".join(supported_operators()) + "\n",
        "## Not supported, and why\n",
    ]
    by_reason: dict[str, list[str]] = defaultdict(list)
    for operator, reason in REASONS.items():
        by_reason[reason].append(operator)
    lines += [f"- {', '.join(sorted(names))}: {reason}." for reason, names in by_reason.items()]
    lines.append("\n## Node tests that are not passed\n")
    for reason, names in sorted(groups.items()):
        lines.append(f"- {reason}\n  ({len(names)}) {', '.join(names)}")
    return "\n".join(lines) + "\n"


def on_interpreter() -> dict[str, str]:
    """Outcomes of the numpy interpreter."""
    return {name: outcome(name, lambda graph, feeds: run(graph, feeds)) for name in cases()}


def on_device(device: str) -> dict[str, str]:
    """Outcomes of compiled code."""
    from ecp.onnx_backend import run_graph
    from ecp.runtime.devices import resolve

    target = resolve(device)
    found = {}
    for count, name in enumerate(cases(), start=1):
        found[name] = outcome(name, lambda graph, feeds: run_graph(graph, feeds, target))
        if count % 100 == 0:
            print(f"{count} of {len(cases())}", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    chosen = sys.argv[1] if len(sys.argv) > 1 else ""
    sys.stdout.write(page(on_device(chosen) if chosen else on_interpreter(), chosen))
