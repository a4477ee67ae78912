"""The adapter printed in docs/baselines.md runs, and the contract catches adapters that do not keep it."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.base import Backend, Unavailable
from baselines.contract import AdapterContract, block_model, reference, sample

DOCS = Path(__file__).parents[2] / "docs" / "baselines.md"


def printed(block: int, name: str) -> Any:
    """What a Python block of the page defines under ``name``."""
    code = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)[block]
    scope: dict[str, Any] = {}
    exec(code, scope)
    return scope[name]


def printed_adapter() -> type[Backend]:
    """The adapter of the first block."""
    found: type[Backend] = printed(0, "MyBackend")
    return found


def framework(answer: Any = reference) -> types.ModuleType:
    """A framework that computes the block with numpy."""
    module = types.ModuleType("my_framework")

    class Model:
        version, device = "1.0", "numpy"

        def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
            return [answer(inputs[0]).astype(np.float32)]

    module.load = lambda path, threads: Model()  # type: ignore[attr-defined]
    module.Error = RuntimeError  # type: ignore[attr-defined]
    return module


class TestPrintedAdapter(printed(1, "TestMine")):  # type: ignore[misc]
    def new(self) -> Backend:
        return printed_adapter()()

    @pytest.fixture(autouse=True)
    def installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "my_framework", framework())


def test_without_its_framework_it_says_how_to_get_it(tmp_path: Path) -> None:
    adapter = printed_adapter()()
    with pytest.raises(Unavailable, match="pip install my-framework"):
        adapter.prepare(block_model(tmp_path / "m.onnx"), AdapterContract().config())


@pytest.mark.parametrize(
    "wrong", [lambda x: reference(x) * 1.01, lambda x: reference(sample(0))], ids=["off", "stale"]
)
def test_the_contract_catches_wrong_answers(
    wrong: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "my_framework", framework(wrong))
    adapter = printed_adapter()()
    adapter.prepare(block_model(tmp_path / "m.onnx"), AdapterContract().config())
    with pytest.raises(AssertionError):
        AdapterContract().test_answers_are_right_and_follow_the_input(adapter)
