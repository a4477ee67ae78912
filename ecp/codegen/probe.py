"""Ask where a read goes without emitting it: kernels use plain pointers where a read is a plain load."""

from __future__ import annotations

from collections.abc import Callable

from ecp.codegen.core.kernel import Kernel
from ecp.codegen.reader import Env, Reader
from ecp.index.expr import Expr


class AddressProbe(Reader):
    """A reader that records addresses."""

    def __init__(self, env: Env, width: int = 1):
        super().__init__(env, Kernel("probe"), width)
        self.found: list[tuple[str, Expr]] = []
        self.computed = False

    def load(self, buffer: str, address: Expr) -> str:
        """Record instead of emitting."""
        self.found.append((buffer, address))
        return "0"

    def apply(self, *_: object) -> str:
        """An operator between memory and the reader: not a plain load."""
        self.computed = True
        return "0"

    def guarded(self, *_: object) -> str:
        """A predicated read is not a plain load."""
        self.computed = True
        return "0"

    def literal(self, *_: object) -> str:
        """A number is not a load."""
        self.computed = True
        return "0"

    def address(self, read: Callable[[Reader], str]) -> tuple[str, Expr] | None:
        """The single (buffer, element address) behind a read through views only, else None."""
        read(self)
        return self.found[0] if len(self.found) == 1 and not self.computed else None
