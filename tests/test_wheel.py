"""The wheel is the compiler: what it holds, what it needs, and that it works away from the checkout."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import ecp

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Parts of `ecp` that need an extra, and say so when it is missing.
NEED_AN_EXTRA = ("ecp/model/", "ecp/onnx_backend.py")
NAMES = {"google": "onnx"}  # protobuf comes with onnx


def third_party_imports(path: Path) -> set[str]:
    """Packages that are imported when the module is imported or a function of it runs."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return {NAMES.get(n, n) for n in names} - set(sys.stdlib_module_names) - {"ecp", "__future__"}


def test_base_dependencies_cover_every_import() -> None:
    declared = {re.split(r"[><=; \[]", d)[0].lower() for d in PROJECT["project"]["dependencies"]}
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "ecp").rglob("*.py")
        if not path.relative_to(ROOT).as_posix().startswith(NEED_AN_EXTRA)
        for name in third_party_imports(path)
        if name.lower() not in declared
    }
    assert not missing


def test_the_wheel_is_the_compiler_alone() -> None:
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["ecp"]
    assert PROJECT["project"]["scripts"] == {"ecp": "ecp.__main__:main"}
    assert (ROOT / "ecp" / "py.typed").is_file()
    assert re.fullmatch(r"\d+\.\d+\.\d+", ecp.__version__)


def small_model(path: Path) -> Path:
    weights = numpy_helper.from_array(np.eye(8, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Transpose", ["y"], ["z"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [8, 4])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.mark.slow
def test_compile_and_run_from_the_wheel(tmp_path: Path) -> None:
    """Builds the wheel (pip fetches hatchling), unpacks it away from the checkout and runs its command."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(pip, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        tops = {Path(name).parts[0] for name in archive.namelist()}
        assert {t for t in tops if not t.endswith(".dist-info")} == {"ecp"}
        archive.extractall(site)
    small_model(tmp_path / "small.onnx")
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def command(*arguments: str) -> str:
        line = [sys.executable, "-P", "-m", "ecp", *arguments]
        return subprocess.run(
            line, check=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        ).stdout

    where = [sys.executable, "-P", "-c", "import ecp; print(ecp.__file__)"]
    found = subprocess.run(where, check=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert Path(found.stdout.strip()).is_relative_to(site)
    command("compile", "small.onnx", "-o", "small.bundle")
    assert ": ok" in command("run", "small.bundle", "--check")
