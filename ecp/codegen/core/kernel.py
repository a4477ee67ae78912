"""Builder of one kernel: parameters by buffer, statements in nested scopes, names that do not depend on the layer.

Two layers with the same statements share one compiled kernel, so nothing model-specific may leak into it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

from ecp.codegen.core import printer
from ecp.codegen.core.statements import (
    Barrier,
    Code,
    Declare,
    For,
    Form,
    Function,
    GridWait,
    Helper,
    Id,
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

C_STORAGE = {
    "float32": "float", "float16": "half", "float64": "double", "int64": "long", "int32": "int", "int16": "short",
    "int8": "char", "uint8": "uchar", "uint16": "ushort", "uint32": "uint", "uint64": "ulong", "bool": "uchar",
}  # fmt: skip


@dataclass
class Launch:
    """A finished kernel with the names of its buffers, in the order of its parameters."""

    family: str
    kernel: Function
    args: list[str]
    global_size: tuple[int, ...]
    local_size: tuple[int, ...] | None
    flops: int = 0
    bytes: int = 0
    layout: bool = False
    nodes: tuple[str, ...] = ()
    reason: str = ""
    arithmetic: str = "float"
    target: str = ""  # instructions beyond what the device's compiler targets (ecp.runtime.ptx)


def global_id(axis: int = 0) -> WorkItem:
    """The work-item's number in the launch."""
    return WorkItem(Id.GLOBAL, axis)


def local_id(axis: int = 0) -> WorkItem:
    """The work-item's number in its work-group."""
    return WorkItem(Id.LOCAL, axis)


def group_id(axis: int = 0) -> WorkItem:
    """The number of the work-item's group."""
    return WorkItem(Id.GROUP, axis)


@dataclass
class _Open:
    """Statements of a block that is being written, and the expressions already computed in it."""

    statements: list[Statement] = field(default_factory=list)
    memo: dict[object, str] = field(default_factory=dict)


def _body(statements: tuple[str | Statement, ...]) -> tuple[Statement, ...]:
    return tuple(Text((s,)) if isinstance(s, str) else s for s in statements)


class Kernel:
    """A kernel under construction."""

    def __init__(self, family: str, attributes: str = ""):
        self.family = family
        self.attributes = attributes
        self.parameters: dict[str, Parameter] = {}  # by buffer
        self.tables: dict[tuple[int, ...], Table] = {}
        self.helpers: dict[str, Helper] = {}
        self.scopes: list[_Open] = [_Open()]
        self.halves = False
        self._names = 0
        self.flops = 0

    def argument(self, buffer: str, dtype: str, *, write: bool = False) -> str:
        """Parameter name of a buffer, added on first use."""
        found = self.parameters.get(buffer) or Parameter(f"m{len(self.parameters)}", C_STORAGE[dtype])
        self.parameters[buffer] = replace(found, written=found.written or write)
        return found.name

    def image(self, buffer: str) -> str:
        """Parameter name of a buffer that is read as an image of 4-wide texels."""
        return self.parameters.setdefault(buffer, Parameter(f"m{len(self.parameters)}", "image2d_t")).name

    def table(self, values: tuple[int, ...]) -> str:
        """Name of a constant index table in the program: after its values, so that kernels may share it."""
        if values not in self.tables:
            digest = hashlib.sha256(repr(values).encode()).hexdigest()[:10]
            self.tables[values] = Table(f"table_{digest}", values)
        return self.tables[values].name

    def name(self, prefix: str) -> str:
        """A fresh local name."""
        self._names += 1
        return f"{prefix}{self._names}"

    def remembered(self, key: object) -> str | None:
        """The temporary that holds ``key``, of this block or one around it."""
        return next((scope.memo[key] for scope in reversed(self.scopes) if key in scope.memo), None)

    def add(self, *statements: Statement) -> None:
        """Append to the current block."""
        self.scopes[-1].statements += statements

    def emit(self, *code: str | WorkItem) -> None:
        """Append a statement without a body."""
        self.add(Text(code))

    def declare(self, ctype: str, **names: str | WorkItem | Code) -> None:
        """``ctype a = ..., b = ...;``"""
        values = ((n, c if isinstance(c, tuple) else (c,)) for n, c in names.items())
        self.add(Declare(ctype, tuple(values)))

    def define(self, ctype: str, text: str, key: object | None = None, prefix: str = "t") -> str:
        """A named temporary; the same ``key`` in this block or one around it gives the same name."""
        found = self.remembered(key) if key is not None else None
        if found is not None:
            return found
        name = self.name(prefix)
        self.declare(f"const {ctype}", **{name: text})
        if key is not None:
            self.scopes[-1].memo[key] = name
        return name

    def load_halves(self, width: int, at: str, pointer: str) -> str:
        """C expression of an aligned vector of halves as floats: noted, since not every compiler keeps it whole."""
        self.halves = True
        return f"vloada_half{width}({at}, {pointer})"

    def store_halves(self, width: int, text: str, at: str, pointer: str) -> str:
        """Statement that stores floats as an aligned vector of halves."""
        self.halves = True
        return f"vstorea_half{width}({text}, {at}, {pointer});"

    def local_array(self, ctype: str, aligned: int = 0, **arrays: int) -> None:
        """Arrays of so many elements in the work-group's memory."""
        self.add(LocalArray(ctype, tuple(arrays.items()), aligned))

    def barrier(self) -> None:
        """Wait for the work-group."""
        self.add(Barrier())

    def grid_wait(self, then: str = "") -> None:
        """What follows reads what other launches wrote."""
        self.add(GridWait(then))

    @contextmanager
    def _inside(self, close: Callable[[tuple[Statement, ...]], Statement]) -> Iterator[None]:
        """A block with a scope of its own."""
        self.scopes.append(_Open())
        yield
        inner = self.scopes.pop()
        self.add(close(tuple(inner.statements)))

    def scope(self) -> AbstractContextManager[None]:
        """Names of a block of their own."""
        return self._inside(Scope)

    def loop(
        self, name: str, end: object = "", *, first: object = 0, step: int = 1, condition: str = "",
        guard: str = "", unroll: int | None = None,
    ) -> AbstractContextManager[None]:  # fmt: skip
        """``for`` from ``first`` below ``end`` (or while ``condition``); see :class:`For`."""
        test = condition or f"{name} < {end}"
        return self._inside(lambda body: For(name, str(first), test, step, body, guard, unroll))

    def each(
        self, name: str, end: object, *body: str | Statement, first: object = 0, step: int = 1,
        guard: str = "", unroll: int | None = None, form: Form = Form.LINE,
    ) -> None:  # fmt: skip
        """A loop over a few statements."""
        test = f"{name} < {end}"
        self.add(For(name, str(first), test, step, _body(body), guard, unroll, form))

    def repeat(self, condition: str) -> AbstractContextManager[None]:
        """``while``."""
        return self._inside(lambda body: While(condition, body))

    def when(self, condition: str) -> AbstractContextManager[None]:
        """``if``; without a condition, a scope."""
        return self._inside(lambda body: If(condition, body) if condition else Scope(body))

    def otherwise(self, condition: str = "") -> AbstractContextManager[None]:
        """``else``, or ``else if``."""
        return self._inside(lambda body: If(condition, body, otherwise=True))

    def do_when(self, condition: str, *body: str | Statement, form: Form = Form.LINE) -> None:
        """A branch of a few statements."""
        self.add(If(condition, _body(body), form=form))

    def apart(self, write: Callable[[], None]) -> tuple[Statement, ...]:
        """Statements that ``write`` adds, for a block of their own: what is equal code compares equal."""
        first = self._names
        self.scopes.append(_Open())
        write()
        statements = tuple(self.scopes.pop().statements)
        self._names = first
        return statements

    def helper(self, name: str, text: str) -> str:
        """Add a function to the program; returns its name."""
        self.helpers[name] = Helper(name, text)
        return name

    def finish(self, global_size: tuple[int, ...], local_size: tuple[int, ...] | None) -> Launch:
        """The launch; the kernel is named after its own text."""
        function = Function(
            "", tuple(self.parameters.values()), tuple(self.scopes[0].statements), tuple(self.helpers.values()),
            tuple(self.tables.values()), self.attributes, self.halves,
        )  # fmt: skip
        tables = "".join(printer.table(t) for t in function.tables)
        body, parameters = printer.body(function.body, printer.KERNEL), printer.parameters(function)
        digest = hashlib.sha256(f"{body}|{parameters}|{tables}|{self.attributes}".encode()).hexdigest()[:10]
        function = replace(function, name=f"{self.family}_{digest}")
        return Launch(self.family, function, list(self.parameters), global_size, local_size, flops=self.flops)
