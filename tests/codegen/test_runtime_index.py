"""Run-time indices: whatever their value, no access leaves its buffer, and what ONNX Runtime refuses is refused."""

from __future__ import annotations

import pytest

from ecp.compiler import compile_graph
from ecp.runtime.devices import OpenCLDevice
from ecp.runtime.session import Session
from tests.codegen.indices import CASES, Case, interpreted, outcome, peer, tensors, wrong

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("opencl", ["local-cpu"], indirect=True)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_as_onnxruntime(case: Case, opencl: OpenCLDevice) -> None:
    """Compiled code and the interpreter give what ONNX Runtime gives, and refuse what it refuses."""
    ours, theirs = interpreted(case), peer(case)
    refused = 0
    with Session(compile_graph(case.graph, "cpu"), opencl) as session:
        for indices in tensors(case, 150):
            feeds = case.feeds(indices)
            want = outcome(theirs, feeds)
            refused += isinstance(want, str)
            for engine in (session.run, ours):
                assert not (words := wrong(case, indices, outcome(engine, feeds), want)), words
    assert (refused > 20) == (case.op != "OneHot")
