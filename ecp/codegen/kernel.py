"""Builder of one kernel: arguments by buffer, statements in nested scopes, names that do not depend on the layer.

Two layers with the same text share one compiled kernel, so nothing model-specific may leak into it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

C_STORAGE = {
    "float32": "float", "float16": "half", "float64": "double", "int64": "long", "int32": "int", "int16": "short",
    "int8": "char", "uint8": "uchar", "uint16": "ushort", "uint32": "uint", "uint64": "ulong", "bool": "uchar",
}  # fmt: skip


@dataclass
class Launch:
    """A finished kernel with its arguments: (buffer name or constant array key, written?)."""

    family: str
    source: str
    kernel: str
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


@dataclass
class Scope:
    """Statements of one block and the expressions already computed in it."""

    lines: list[str] = field(default_factory=list)
    memo: dict[object, str] = field(default_factory=dict)


class Kernel:
    """Text of a kernel under construction."""

    def __init__(self, family: str, attributes: str = ""):
        self.family = family
        self.attributes = attributes
        self.args: dict[str, tuple[str, str, bool]] = {}  # buffer -> (parameter, C type, written)
        self.tables: dict[tuple[int, ...], str] = {}
        self.helpers: dict[str, str] = {}
        self.scopes: list[Scope] = [Scope()]
        self._names = 0
        self.flops = 0

    def argument(self, buffer: str, dtype: str, *, write: bool = False) -> str:
        """Parameter name of a buffer, added on first use."""
        if buffer in self.args:
            name, ctype, written = self.args[buffer]
            self.args[buffer] = (name, ctype, written or write)
            return name
        name = f"m{len(self.args)}"
        self.args[buffer] = (name, C_STORAGE[dtype], write)
        return name

    def image(self, buffer: str) -> str:
        """Parameter name of a buffer that is read as an image of 4-wide texels."""
        return self.args.setdefault(buffer, (f"m{len(self.args)}", "image2d_t", False))[0]

    def table(self, values: tuple[int, ...]) -> str:
        """Name of a constant index table in the program."""
        return self.tables.setdefault(values, f"table{len(self.tables)}")

    def name(self, prefix: str) -> str:
        """A fresh local name."""
        self._names += 1
        return f"{prefix}{self._names}"

    def emit(self, line: str) -> None:
        """Append a statement to the current block."""
        self.scopes[-1].lines.append("  " * len(self.scopes) + line)

    def define(self, ctype: str, text: str, key: object | None = None, prefix: str = "t") -> str:
        """A named temporary; the same ``key`` in this block or one around it gives the same name."""
        if key is not None:
            for scope in reversed(self.scopes):
                if key in scope.memo:
                    return scope.memo[key]
        name = self.name(prefix)
        self.emit(f"const {ctype} {name} = {text};")
        if key is not None:
            self.scopes[-1].memo[key] = name
        return name

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """``head { ... }`` with a scope of its own."""
        self.emit(f"{head} {{")
        self.scopes.append(Scope())
        yield
        inner = self.scopes.pop()
        self.scopes[-1].lines += inner.lines
        self.emit("}")

    def apart(self, write: Callable[[], None]) -> list[str]:
        """Statements that ``write`` emits, for a block of their own: what is equal code has equal text."""
        first = self._names
        self.scopes.append(Scope())
        write()
        lines = self.scopes.pop().lines
        self._names = first
        return lines

    def helper(self, name: str, text: str) -> str:
        """Add a function to the program; returns its name."""
        self.helpers[name] = text
        return name

    def finish(self, global_size: tuple[int, ...], local_size: tuple[int, ...] | None) -> Launch:
        """The launch; the kernel is named after its own text."""
        body = "\n".join(self.scopes[0].lines)
        params = ", ".join(
            f"__read_only image2d_t {name}"
            if ctype == "image2d_t"
            else f"__global {'' if written else 'const '}{ctype}* {'restrict ' if not written else ''}{name}"
            for name, ctype, written in self.args.values()
        )
        tables = "".join(
            f"__constant int {n}_NAME[{len(v)}] = {{{','.join(map(str, v))}}};\n"
            for v, n in self.tables.items()
        )
        text = f"{body}|{params}|{tables}|{self.attributes}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        kernel = f"{self.family}_{digest}"
        # Tables live at program scope, where two kernels must not share a name.
        for n in self.tables.values():
            body = body.replace(f"{n}[", f"{n}_{digest}[")
            tables = tables.replace(f"{n}_NAME[", f"{n}_{digest}[")
        source = f"{tables}__kernel {self.attributes}\nvoid {kernel}({params})\n{{\n{body}\n}}\n"
        helpers = "\v".join(self.helpers.values())
        launch = Launch(
            self.family, helpers + "\f" + source, kernel, list(self.args), global_size, local_size
        )
        launch.flops = self.flops
        return launch
