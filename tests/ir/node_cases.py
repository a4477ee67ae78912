"""ONNX's own node tests, run through an engine: a function from (graph, feeds) to outputs by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ecp.frontend.onnx import import_onnx
from ecp.frontend.specialize import import_with_feeds
from ecp.ir.graph import Graph
from ecp.ir.verify import verify

Engine = Callable[[Graph, Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


@cache
def cases() -> dict[str, Any]:
    """Name -> test case with ``model`` and ``data_sets``."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {c.name: c for c in load_model_tests(kind="node")}


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def run_case(case: Any, engine: Engine) -> None:
    """Raises AssertionError on a wrong result, :class:`ecp.errors.ModelError` where it is not supported."""
    for inputs, outputs in case.data_sets:
        names = [i.name for i in case.model.graph.input]
        if any(isinstance(a, list) or a is None for a in inputs):
            import_onnx(case.model)
            raise AssertionError("a model of sequences or optionals was imported")
        feeds = {n: np.asarray(_array(a)) for n, a in zip(names, inputs)}
        graph, left = import_with_feeds(case.model, feeds)
        verify(graph)
        got = engine(graph, left)
        assert list(got) == [o.name for o in case.model.graph.output]
        for (name, value), expected in zip(got.items(), outputs):
            want = np.asarray(_array(expected))
            assert value.dtype == want.dtype and value.shape == want.shape, name
            # One float16 step is 1e-3 relative; the test's tolerance assumes one order of rounding.
            rtol = 2e-3 if want.dtype == np.float16 else case.rtol
            np.testing.assert_allclose(value, want, rtol=rtol, atol=case.atol, err_msg=name)
