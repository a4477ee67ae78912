"""Complete PTX that NVIDIA's OpenCL compiler made: instructions of sm_90a, which it does not target.

The compiler answers a program with PTX text for sm_90, keeps comments of inline assembly with the registers of
their operands in place, and accepts PTX text of another target as a program. So ``wgmma`` is written as a comment
(``//@ wgmma...``, :mod:`ecp.codegen.wgmma_gpu`), and uncovered here between two builds.
"""

from __future__ import annotations

import re

from ecp.errors import BuildError

# What a program that must be completed says of itself in the plan, and the option that lets its source compile.
TARGET = "sm_90a"
OPTION = "-DECP_SM_90A"
_TARGET = re.compile(r"^\.target sm_90\b", re.MULTILINE)


def complete(binary: bytes) -> bytes:
    """PTX for sm_90a. Raises :class:`~ecp.errors.BuildError` where ``binary`` is no PTX for sm_90."""
    text = binary.rstrip(b"\0").decode("utf-8", "replace")
    if not _TARGET.search(text) or "//@ " not in text:
        raise BuildError(
            f"the driver's compiler gave {text[:60]!r}..., not PTX for sm_90 with the instructions to complete; "
            "compile the model again for a GPU without them (a schedule with ptx=8)"
        )
    return _TARGET.sub(f".target {TARGET}", text).replace("//@ ", "").encode()
