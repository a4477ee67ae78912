"""The one printer: statements to OpenCL C.

A :class:`Dialect` says how work-items' numbers, local arrays and barriers are written, which is all that differs
between a kernel of its own and the same statements as a part of a larger kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ecp.codegen.core.statements import (
    Barrier,
    Code,
    Declare,
    For,
    Form,
    Function,
    GridWait,
    If,
    LocalArray,
    Parameter,
    Scope,
    Statement,
    Table,
    Text,
    While,
    WorkItem,
)  # fmt: skip


class Dialect:
    """A kernel of its own."""

    def number(self, item: WorkItem) -> str:
        """A work-item's number."""
        return f"get_{item.id.value}_id({item.axis})"

    def local(self, arrays: LocalArray) -> list[str]:
        """Lines that declare local arrays."""
        names = ", ".join(f"{name}[{count}]" for name, count in arrays.arrays)
        aligned = f" __attribute__((aligned({arrays.aligned})))" if arrays.aligned else ""
        return [f"__local {arrays.ctype} {names}{aligned};"]

    def barrier(self) -> str:
        """A barrier of the work-group."""
        return "barrier(CLK_LOCAL_MEM_FENCE);"

    def grid_wait(self, wait: GridWait) -> str:
        """A launch of its own has nobody to wait for."""
        return "/* ECP_MEET */"


KERNEL = Dialect()


def program(functions: Sequence[Function], prelude: str = "") -> str:
    """The text of a program of kernels that differ in their names."""
    return f"{prelude}{definitions(functions)}\n" + "\n".join(kernel(f) for f in functions)


def kernel(function: Function) -> str:
    """The function as a kernel of its own."""
    head = f"__kernel {function.attributes}\nvoid {function.name}({parameters(function)})"
    return f"{head}\n{{\n{body(function.body, KERNEL)}\n}}\n"


def parameters(function: Function) -> str:
    """The parameters of a function."""
    return ", ".join(
        f"__read_only image2d_t {p.name}"
        if p.image
        else f"{pointer(p)} {'' if p.written else 'restrict '}{p.name}"
        for p in function.parameters
    )


def pointer(parameter: Parameter) -> str:
    """The type of a buffer that is passed on."""
    return f"__global {'' if parameter.written else 'const '}{parameter.ctype}*"


def body(statements: Iterable[Statement], dialect: Dialect) -> str:
    """Statements one level inside a function."""
    return "\n".join(_lines(statements, dialect, "  "))


def definitions(functions: Sequence[Function]) -> str:
    """What functions stand on, each once: helpers, then tables."""
    helpers = dict.fromkeys(helper.text for f in functions for helper in f.helpers)
    tables = dict.fromkeys(table(t) for f in functions for t in f.tables)
    return "".join((*helpers, *tables))


def table(table: Table) -> str:
    """A constant array."""
    return f"__constant int {table.name}[{len(table.values)}] = {{{','.join(map(str, table.values))}}};\n"


def _lines(statements: Iterable[Statement], dialect: Dialect, indent: str) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, Scope | For | While | If):
            yield from _nested(statement, dialect, indent)
        else:
            yield from (f"{indent}{line}" for line in _leaf(statement, dialect))


def _leaf(statement: Text | Declare | LocalArray | Barrier | GridWait, dialect: Dialect) -> list[str]:
    match statement:
        case Text(code):
            return _code(code, dialect).split("\n")
        case Declare(ctype, names):
            return [f"{ctype} {', '.join(f'{name} = {_code(code, dialect)}' for name, code in names)};"]
        case LocalArray():
            return dialect.local(statement)
        case Barrier():
            return [dialect.barrier()]
        case GridWait():
            return [dialect.grid_wait(statement)]


def _nested(statement: Scope | For | While | If, dialect: Dialect, indent: str) -> Iterator[str]:
    head, form = _head(statement), getattr(statement, "form", Form.BLOCK)
    unroll = getattr(statement, "unroll", None)
    if unroll is not None:
        yield f"{indent}#pragma unroll{'' if unroll is True else f' {unroll}'}"
    if form in (Form.BLOCK, Form.BELOW):
        yield f"{indent}{head} {{" if form is Form.BLOCK else f"{indent}{head}"
        yield from _lines(statement.body, dialect, indent + "  ")
        if form is Form.BLOCK:
            yield f"{indent}}}"
        return
    inner = " ".join(_lines(statement.body, dialect, ""))
    yield f"{indent}{head} {{ {inner} }}" if form is Form.BRACES else f"{indent}{head} {inner}"


def _head(statement: Scope | For | While | If) -> str:
    match statement:
        case Scope():
            return ""
        case While(condition):
            return f"while ({condition})"
        case If(condition):
            test = f"if ({condition})" if condition else ""
            return f"else {test}".rstrip() if statement.otherwise else test
        case For(name, first, condition, step):
            begin = f"int {name} = {first}" if first else ""
            advance = f"++{name}" if step == 1 else f"{name} += {step}"
            guard = f" if ({statement.guard})" if statement.guard else ""
            return f"for ({begin}; {condition}; {advance}){guard}"


def _code(code: Code, dialect: Dialect) -> str:
    return "".join(part if isinstance(part, str) else dialect.number(part) for part in code)
