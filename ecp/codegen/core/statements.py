"""Statements of a kernel and the finished kernel, as data.

Arithmetic is text: a leaf. What a kernel of its own and a part of a larger one say differently (where a work-item is,
barriers, local arrays, the grid's barrier) and what has a body (loops, branches) are objects, so that passes over
launches walk through them and never read text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Id(Enum):
    """Which number of a work-item along an axis."""

    GLOBAL = "global"
    LOCAL = "local"
    GROUP = "group"


@dataclass(frozen=True)
class WorkItem:
    """A work-item's number, as an operand: in the launch, in its work-group, or the number of its group."""

    id: Id
    axis: int = 0


#: C text in which work-items' numbers are left for the printer to write.
Code = tuple["str | WorkItem", ...]


class Form(Enum):
    """How a loop or a branch stands on the page; the compiler does not care."""

    BLOCK = "a line for the head, for each statement and for the closing brace"
    LINE = "head and statements on one line"
    BRACES = "as LINE, the statements in braces"
    BELOW = "the one statement under the head, without braces"


@dataclass(frozen=True)
class Text:
    """Statements without a body: arithmetic, loads, stores, calls. Further lines are indented as the first."""

    code: Code


@dataclass(frozen=True)
class Declare:
    """Variables of one type with their values: ``ctype a = ..., b = ...;``."""

    ctype: str
    names: tuple[tuple[str, Code], ...]


@dataclass(frozen=True)
class LocalArray:
    """Arrays (name, elements) in the memory that a work-group shares; ``aligned``: bytes, 0 for as the type is."""

    ctype: str
    arrays: tuple[tuple[str, int], ...]
    aligned: int = 0


@dataclass(frozen=True)
class Barrier:
    """All work-items of a group have come here, and see what each wrote into local memory."""


@dataclass(frozen=True)
class GridWait:
    """Where a kernel begins to read what other launches wrote: as a part of one launch it waits for them here.

    ``then``: statements between what others wrote and copies of it by other means than loads.
    """

    then: str = ""


@dataclass(frozen=True)
class Scope:
    """Names of a block of their own."""

    body: tuple[Statement, ...]


@dataclass(frozen=True)
class For:
    """``for (int name = first; condition; name += step)``, with ``first`` empty over a variable that is there.

    ``guard``: a condition on every step. ``unroll``: a number of steps, True for all of them, None for as the compiler
    likes.
    """

    name: str
    first: str
    condition: str
    step: int
    body: tuple[Statement, ...]
    guard: str = ""
    unroll: int | None = None
    form: Form = Form.BLOCK


@dataclass(frozen=True)
class While:
    """A loop on a condition."""

    condition: str
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class If:
    """A branch; ``otherwise``: one that is tried where those before it, its siblings, were not taken."""

    condition: str
    body: tuple[Statement, ...]
    otherwise: bool = False
    form: Form = Form.BLOCK


Statement = Text | Declare | LocalArray | Barrier | GridWait | Scope | For | While | If


def walk(body: tuple[Statement, ...]) -> Iterator[Statement]:
    """Every statement, those inside others after them, in the order of the text."""
    for statement in body:
        yield statement
        if isinstance(statement, Scope | For | While | If):
            yield from walk(statement.body)


def work_items(body: tuple[Statement, ...]) -> Iterator[WorkItem]:
    """Every number of a work-item that ``body`` uses."""
    for statement in walk(body):
        codes: tuple[Code, ...] = ()
        if isinstance(statement, Text):
            codes = (statement.code,)
        elif isinstance(statement, Declare):
            codes = tuple(code for _, code in statement.names)
        yield from (part for code in codes for part in code if isinstance(part, WorkItem))


@dataclass(frozen=True)
class Parameter:
    """A buffer that a kernel is given; ``ctype`` is ``image2d_t`` for an image of 4-wide texels."""

    name: str
    ctype: str
    written: bool = False

    @property
    def image(self) -> bool:
        """Whether it is read as an image."""
        return self.ctype == "image2d_t"


@dataclass(frozen=True)
class Helper:
    """A function or macros at the top of a program."""

    name: str
    text: str


@dataclass(frozen=True)
class Table:
    """A constant array of integers at the top of a program."""

    name: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Function:
    """A finished kernel. ``halves``: it reads or writes aligned vectors of halves (see the printer's dialects)."""

    name: str
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]
    helpers: tuple[Helper, ...] = ()
    tables: tuple[Table, ...] = ()
    attributes: str = ""
    halves: bool = False
