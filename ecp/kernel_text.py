"""What a kernel's text and build options may not do: read files of the computer that builds it.

A bundle is somebody else's OpenCL C. Its kernels run on the device like any program, but the compiler that builds
them works on the host with the user's rights: ``#include``, the assembler's ``.incbin`` and options such as ``-I``
would put lines of any file into a program or a build log. native/src/kernel_text.cpp has the same rules.
"""

from __future__ import annotations

import re

from ecp.typed_json import FormError

_DIRECTIVES = frozenset(("define", "undef", "if", "ifdef", "ifndef", "else", "elif", "endif", "error"))
_PRAGMAS = frozenset(("unroll", "nounroll", "OPENCL"))
_OPTION = re.compile(
    r"-cl-(?:std=CL[1-3]\.[0-2]|mad-enable|no-signed-zeros|denorms-are-zero|fast-relaxed-math|finite-math-only"
    r"|unsafe-math-optimizations|single-precision-constant|fp32-correctly-rounded-divide-sqrt|opt-disable)"
    r"|-D[A-Za-z_][A-Za-z0-9_]{0,63}(?:=[0-9]{1,9})?"
)
# Line ends joined by a backslash, other spellings of '#', and operators that reach the preprocessor from an expression.
_HIDDEN = re.compile(r"\\[ \t\v\f]*[\r\n]|\?\?|%:|_Pragma|__has_include|__has_embed|\\\Z")
_AFTER_HASH = re.compile(r"(#?)[ \t]*([A-Za-z_]*)[ \t]*([A-Za-z_]*)")
_WORD = {"include", "include_next", "import", "embed", "line", "__include_macros", "pragma"}


def check_options(options: str) -> None:
    """Raise :class:`~ecp.typed_json.FormError` for a build option that is not known to be harmless."""
    for option in options.split(" "):
        if option and not _OPTION.fullmatch(option):
            raise FormError(f"has the build option {option[:60]!r}, which is not allowed")


def check_source(text: str, assembler: bool) -> None:
    """Raise :class:`~ecp.typed_json.FormError` for a text that could make its compiler read a file.

    ``assembler``: inline assembly is allowed (PTX, whose assembler reads no files).
    """
    if "\0" in text:
        raise FormError("holds a NUL byte")
    hidden = _HIDDEN.search(text)
    if hidden:
        raise FormError(f"holds {hidden[0]!r} in line {_line(text, hidden.start())}, which is not allowed")
    if not assembler and ("asm" in text or "##" in text):
        raise FormError("holds inline assembly or '##', which only kernels for NVIDIA may")
    at = text.find("#")
    while at >= 0:
        at = _check_hash(text, at)


def _check_hash(text: str, at: int) -> int:
    """Check the directive or operator at a ``#``; where the next ``#`` is, or -1."""
    found = _AFTER_HASH.match(text, at + 1)
    assert found is not None
    begins = not text[text.rfind("\n", 0, at) + 1 : at].strip(" \t")
    word, more = found[2], found[3]
    if begins and not found[1]:
        allowed = word in _DIRECTIVES or (word == "pragma" and more in _PRAGMAS)
    else:  # an operator of a macro, whose operand is no directive even after a comment
        allowed = bool(found[1] or word) and word not in _WORD and word not in _DIRECTIVES
    if not allowed:
        raise FormError(f"holds '#{word[:20]}' in line {_line(text, at)}, which is not allowed")
    return text.find("#", found.end(1))


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
