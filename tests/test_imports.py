"""The house's rule: imports point one way. Read from the source by ast, so nothing is imported to check it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What each part may import of this project (itself always). `ecp.errors` is everyone's.
PACKAGES = {
    "ecp": set(),
    "baselines": {"ecp"},
    "bench": {"ecp", "baselines"},
    "reports": {"ecp", "baselines", "bench"},
}
INSIDE_ECP = {
    "ecp.index": set(),
    "ecp.ir": {"ecp.index"},
    "ecp.passes": {"ecp.ir", "ecp.index"},
    "ecp.frontend": {"ecp.ir"},
    "ecp.codegen": {"ecp.passes", "ecp.ir", "ecp.index"},
    "ecp.pipeline": {"ecp.codegen", "ecp.passes", "ecp.ir"},
    "ecp.runtime": {"ecp.codegen", "ecp.passes", "ecp.ir", "ecp.index"},
    "ecp.tune": {"ecp.pipeline", "ecp.runtime", "ecp.codegen", "ecp.passes", "ecp.ir", "ecp.index"},
    "ecp.model": set(),
}
TORCH = {"torch", "torchvision", "timm", "transformers", "vit_pytorch", "pytorch_grad_cam", "safetensors"}
# torch loads slowly and takes memory: only the models, their training and export, and its own baseline need it.
TORCH_ALLOWED = ("ecp/model/", "bench/models/", "baselines/torch", "bench/train", "bench/codesign")
# Functions that import torch when called, in a process of their own; never at module level.
TORCH_LAZY = ("bench/prepare.py", "baselines/executorch_backend.py", "bench/accuracy", "bench/datasets/")


def sources() -> list[Path]:
    return sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py") if "build" not in p.parts)


def imported(tree: ast.AST, module: str, is_package: bool) -> set[str]:
    """Full names of everything imported in ``tree``; relative imports are resolved against ``module``."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                kept = parts[: len(parts) - node.level + (1 if is_package else 0)]
                base = ".".join([*kept, *([base] if base else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read(path: Path) -> tuple[str, set[str]]:
    name = module_name(path)
    return name, imported(ast.parse(path.read_text()), name, path.stem == "__init__")


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def package_breaches(module: str, names: set[str]) -> list[str]:
    home = module.split(".")[0]
    return [
        f"{module} imports {name}"
        for name in sorted(names)
        if (top := name.split(".")[0]) in PACKAGES and top != home and top not in PACKAGES[home]
    ]


def ecp_breaches(module: str, names: set[str]) -> list[str]:
    home = next((part for part in INSIDE_ECP if within(module, part)), None)
    if home is None:
        return []
    return [
        f"{module} imports {name}"
        for name in sorted(names)
        for part in INSIDE_ECP
        if within(name, part) and part != home and part not in INSIDE_ECP[home]
    ]


def top_level(path: Path) -> set[str]:
    """Imports that happen when the module is imported: outside functions and outside TYPE_CHECKING blocks."""
    tree = ast.parse(path.read_text())
    body: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        body.append(node)
    kept = [n for n in body if not isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    return imported(ast.Module(kept, []), module_name(path), path.stem == "__init__")


def test_there_is_something_to_check() -> None:
    assert {p.relative_to(ROOT).parts[0] for p in sources()} == set(PACKAGES)
    assert len(sources()) > 50


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    module, names = read(path)
    assert not package_breaches(module, names)
    assert not ecp_breaches(module, names)


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_torch_stays_where_it_belongs(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    if place.startswith(TORCH_ALLOWED):
        return
    _, names = read(path)
    used = {n for n in names if n.split(".")[0] in TORCH}
    if place.startswith(TORCH_LAZY):
        used = {n for n in top_level(path) if n.split(".")[0] in TORCH}
    assert not used


def test_the_rules_can_fail() -> None:
    assert package_breaches("ecp.x", {"bench.plan.Case"}) == ["ecp.x imports bench.plan.Case"]
    assert package_breaches("baselines.x", {"reports.site"}) and not package_breaches("reports.x", {"bench"})
    assert ecp_breaches("ecp.ir.graph", {"ecp.codegen.lower"}) and not ecp_breaches(
        "ecp.codegen.a", {"ecp.ir.ops"}
    )
    relative = ast.parse("from ..codegen import lower")
    assert imported(relative, "ecp.ir.graph", False) == {"ecp.codegen.lower"}
    assert imported(ast.parse("from . import ops"), "ecp.ir", True) == {"ecp.ir.ops"}
