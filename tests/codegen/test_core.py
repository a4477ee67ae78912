"""Statements, the printer and its dialects; and that nothing else looks at what is printed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from ecp.codegen.core import printer
from ecp.codegen.core.kernel import Kernel, global_id, group_id, local_id
from ecp.codegen.core.statements import Form, Id, WorkItem, walk, work_items

CODEGEN = Path(printer.__file__).parents[1]


def sample() -> Kernel:
    kernel = Kernel("map", "__attribute__((a))")
    x, out = kernel.argument("x", "float16"), kernel.argument("y", "float32", write=True)
    kernel.declare("const int", item=global_id(), lid=local_id(1), last=("min((int)", group_id(2), ", 3)"))
    kernel.local_array("float4", mem=8, part=2, aligned=128)
    with kernel.loop("i", "n", first="item", step=4, guard="i != 3", unroll=2):
        kernel.each("v", 3, f"{out}[v] = {x}[v];", form=Form.BRACES)
        kernel.barrier()
        with kernel.when("a"):
            kernel.do_when("b", "c;")
        with kernel.otherwise("d"):
            kernel.emit("first\n  second")
        with kernel.otherwise():
            kernel.grid_wait()
        with kernel.when(""):
            kernel.each("x", 2, "e;", first="", form=Form.BELOW, unroll=True)
    with kernel.repeat("more"):
        kernel.emit(f"{kernel.load_halves(4, '0', x)};")
    return kernel


TEXT = """\
  const int item = get_global_id(0), lid = get_local_id(1), last = min((int)get_group_id(2), 3);
  __local float4 mem[8], part[2] __attribute__((aligned(128)));
  #pragma unroll 2
  for (int i = item; i < n; i += 4) if (i != 3) {
    for (int v = 0; v < 3; ++v) { m1[v] = m0[v]; }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (a) {
      if (b) c;
    }
    else if (d) {
      first
        second
    }
    else {
      /* ECP_MEET */
    }
     {
      #pragma unroll
      for (; x < 2; ++x)
        e;
    }
  }
  while (more) {
    vloada_half4(0, m0);
  }"""


def test_every_statement_prints() -> None:
    function = sample().finish((8,), None).kernel
    assert printer.body(function.body, printer.KERNEL) == TEXT
    assert printer.kernel(function) == (
        f"__kernel __attribute__((a))\nvoid {function.name}(__global const half* restrict m0, __global float* m1)\n"
        f"{{\n{TEXT}\n}}\n"
    )
    assert function.halves


def test_what_is_inside_is_found() -> None:
    function = sample().finish((8,), None).kernel
    assert {i for i in work_items(function.body)} == {
        WorkItem(Id.GLOBAL), WorkItem(Id.LOCAL, 1), WorkItem(Id.GROUP, 2),
    }  # fmt: skip
    kinds = [type(s).__name__ for s in walk(function.body)]
    assert kinds.count("For") == 3 and kinds.count("Barrier") == kinds.count("GridWait") == 1


def test_equal_kernels_have_one_name_and_others_do_not() -> None:
    names = [sample().finish((n,), None).kernel.name for n in (1, 2)]
    other = sample()
    other.emit(";")
    assert names[0] == names[1] != other.finish((1,), None).kernel.name


def test_statements_set_apart_compare_by_what_they_do() -> None:
    kernel = Kernel("map")

    def write() -> None:
        kernel.define("int", "1")

    first, second = kernel.apart(write), kernel.apart(write)
    assert first == second and hash(first) == hash(second) and not kernel.scopes[0].statements


def test_tables_and_helpers_of_many_kernels_stand_once_above_them() -> None:
    functions = []
    for n in (1, 2):
        kernel = Kernel("map")
        kernel.helper("twice", "int twice(int a) { return 2*a; }\n")
        kernel.emit(f"int a{n} = {kernel.table((3, 1, 2))}[0];")
        functions.append(kernel.finish((1,), None).kernel)
    text = printer.program(functions, "// first\n")
    assert text.startswith("// first\nint twice") and text.count("__constant int") == 1 == text.count(
        "int twice"
    )
    (table,) = functions[0].tables
    assert text.count(f"{table.name}[0]") == 2


def _strings(tree: ast.AST) -> list[tuple[int, str]]:
    """Literals that end up in code: those of docstrings do not."""
    docs = {
        id(body[0].value)
        for node in ast.walk(tree)
        if (body := getattr(node, "body", None)) and isinstance(body, list) and isinstance(body[0], ast.Expr)
    }
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


def sources() -> list[Path]:
    return sorted(CODEGEN.rglob("*.py"))


# What only the printer may write, and the kernels of several launches, whose own text nobody takes apart either.
PRINTED = ("get_global_id", "get_local_id", "get_group_id", "barrier(CLK", "#pragma unroll", "/* ECP_MEET")
WHOLE = {"chain.py", "chain_gpu.py"}


def structured(path: Path) -> bool:
    """Kernels written as statements: all but the persistent one, which is a template of its own."""
    return path.parent.name != "core" and path.name not in WHOLE and not path.name.startswith("nvidia_")


@pytest.mark.parametrize("path", sources(), ids=lambda p: p.name)
def test_no_stage_reads_emitted_text(path: Path) -> None:
    tree = ast.parse(path.read_text())
    strings = _strings(tree)
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    # A literal's suffix is no statement: the one expression that is looked at, while it is written.
    assert "re" not in imported or path.name == "functions.py"
    assert not [(line, s) for line, s in strings if set(s) & set("\f\v\0")]
    if structured(path):
        wrong = [(line, word) for line, s in strings for word in PRINTED if word in s]
        assert not wrong, f"{path.name}: these are statements, see ecp/codegen/core/statements.py: {wrong}"


def _added(path: Path) -> list[tuple[int, str]]:
    """The beginnings of what is given to ``emit``."""
    calls = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call) and n.args)
    firsts = (n.args[0] for n in calls if isinstance(n.func, ast.Attribute) and n.func.attr == "emit")
    heads = ((f.lineno, f.values[0] if isinstance(f, ast.JoinedStr) and f.values else f) for f in firsts)
    return [(line, h.value) for line, h in heads if isinstance(h, ast.Constant) and isinstance(h.value, str)]


@pytest.mark.parametrize("path", [p for p in sources() if structured(p)], ids=lambda p: p.name)
def test_loops_branches_and_local_arrays_are_statements(path: Path) -> None:
    heads = ("for ", "if ", "else", "while ", "switch ", "{", "}")
    assert not [(line, text) for line, text in _added(path) if text.startswith(heads)]
    arrays = [(line, text) for line, text in _added(path) if text.startswith("__local ") and "*" not in text]
    assert not arrays
