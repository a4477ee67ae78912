"""Emitted text of a few kernels, so that a change of the generator shows as a change of its output.

``ECP_UPDATE_GOLDEN=1 python -m pytest tests/codegen/test_golden.py`` rewrites the files; read the difference
before committing it. No device is needed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecp.compiler import compile_graph
from ecp.ir.graph import Graph
from tests.codegen.test_numerics import conv, matmul
from tests.graphs import build, core_periphery

GOLDEN = Path(__file__).parent / "golden"
GRAPHS: dict[str, Graph] = {
    "matmul": matmul(5, 12, 8),
    "conv": conv(4, 8, 5, 3),
    "map": build([("Gelu", ["x"], "y", {"approximate": "tanh"})], {"x": (3, 8)}, {}, ["y"]),
    "attention": build(
        [("MatMul", ["q", "k"], "s", {}), ("Softmax", ["s"], "p", {"axis": 2}), ("MatMul", ["p", "v"], "y", {})],
        {"q": (2, 5, 8), "k": (2, 8, 5), "v": (2, 5, 8)}, {}, ["y"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("device_class", ["cpu", "nvidia", "adreno"])
@pytest.mark.parametrize("name", list(GRAPHS))
def test_emitted_text(name: str, device_class: str) -> None:
    (text,) = compile_graph(GRAPHS[name], device_class).sources.values()
    _compare(f"{name}_{device_class}.cl", text)


def test_emitted_text_of_core_periphery_attention() -> None:
    (text,) = compile_graph(core_periphery(40, 2, 32, 30), "cpu").sources.values()
    _compare("core_periphery_cpu.cl", text)


@pytest.mark.parametrize("device_class", ["adreno", "generic"])
def test_emitted_text_in_half(device_class: str) -> None:
    graph = matmul(5, 44, 8)  # one full partial sum and a shorter one
    (text,) = compile_graph(graph, device_class, "fp16", arithmetic="half").sources.values()
    _compare(f"matmul_half_{device_class}.cl", text)


def _compare(file: str, text: str) -> None:
    path = GOLDEN / file
    if os.environ.get("ECP_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.exists(), f"{path.name} is missing; write it with ECP_UPDATE_GOLDEN=1"
    assert text == path.read_text(), f"{path.name} changed; if meant, rewrite it with ECP_UPDATE_GOLDEN=1"
