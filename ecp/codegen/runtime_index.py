"""Indices that a model computes or is given at run time: memory is safe whatever they are, and what is wrong is told.

A kernel reads element 0 for an index outside its axis, and notes who it was in a small buffer that the host reads
after the inference (``plan.status``). Plans without such indices have neither.
"""

from __future__ import annotations

import numpy as np

from ecp.codegen.core.kernel import Kernel
from ecp.ir.graph import Node
from ecp.ir.interp import label
from ecp.passes.storage import Buffer
from ecp.plan import Check

#: Buffer of four integers: 0 or the number (from 1) of the first check that failed, unused, the index in two halves.
STATUS, WORDS = "@status", 4
# Longer names would be no help to who reads the message.
_LONGEST = 200

# Compared as long: what is cut to int first may land inside. The first to set the number writes the index.
_INDEX = """int ecp_index(long given, int size, int check, __global int* status) {
  const long at = given < 0 ? given + size : given;
  if (at >= 0 && at < size) return (int)at;
  if (atomic_cmpxchg(status, 0, check) == 0) { status[2] = (int)given; status[3] = (int)(given >> 32); }
  return 0;
}
"""


def checked(kernel: Kernel, buffers: dict[str, Buffer], checks: list[Check], check: Check, index: str) -> str:
    """C expression of ``index`` counted from the start: inside ``check.size`` elements whatever it is."""
    if check not in checks:
        checks.append(check)
    buffers.setdefault(STATUS, Buffer(STATUS, WORDS, "int32", "static", np.zeros(WORDS, np.int32)))
    status = kernel.argument(STATUS, "int32", write=True)
    name = kernel.helper("ecp_index", _INDEX)
    return f"{name}((long)({index}), {check.size}, {checks.index(check) + 1}, {status})"


def check_of(node: Node, size: int) -> Check:
    """The check of a node's indices, with names as they are printed."""
    return Check(_printable(label(node)), _printable(node.inputs[1]), size)


def _printable(text: str) -> str:
    return repr(text)[1:-1][:_LONGEST]
