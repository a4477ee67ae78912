"""Tunable numbers of the kernels, a row per device class; the tuner perturbs these rows.

CPU OpenCL runtimes want one work-item per register tile with explicit wide vectors and no local memory;
GPUs want the opposite. One code generator serves both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Schedule:
    """``mr`` x ``nr*vec`` is the register tile of a product, ``pack_bytes`` the rows one work-item keeps in L2,
    ``chunk_k`` the piece of a long reduction. Weights above ``stream_bytes`` are read once, whatever that costs.

    ``workers`` is the number of work-items that share a CPU launch's queue (one a compute unit). ``prefetch``: ask
    for the next weights ahead of time (not every driver's compiler survives the hint). ``chain``: one launch for the
    whole model. ``attention_q`` vectors of queries and ``attention_k`` keys make the register tile of attention.

    On GPUs ``nr`` counts vectors of 4, ``wg`` is the largest work-group (columns, rows), ``groups`` the number of
    multiprocessors to keep busy, ``bk`` the most steps along k in local memory at once, ``local_bytes`` the local
    memory of a work-group (``local``: products pass through it), ``image`` the largest side of an image that
    holds weights (0: buffers only). ``ptx``: the compute capability (major) whose PTX the device runs: from 8
    asynchronous copies and tensor cores, from 9 local memory for large products; False runs none.
    """

    vec: int = 16
    mr: int = 6
    nr: int = 4
    pack_bytes: int = 1 << 20
    stream_bytes: int = 1 << 20
    chunk_k: int = 768
    workers: int = 2
    unroll: int = 4
    prefetch: bool = False
    chain: bool = False
    attention_q: int = 1
    attention_k: int = 12
    wg: tuple[int, int] = (1, 1)
    groups: int = 64
    bk: int = 16
    local: bool = True
    local_bytes: int = 32768
    ptx: int = False
    image: int = 0
    cpu: bool = True
    attributes: str = "__attribute__((reqd_work_group_size(1,1,1))) __attribute__((intel_vec_len_hint(1)))"


ROWS: dict[str, Schedule] = {
    "cpu": Schedule(),
    "nvidia": Schedule(
        vec=4,
        mr=8,
        nr=2,
        wg=(16, 16),
        groups=132,
        bk=256,
        local_bytes=98304,
        ptx=9,
        cpu=False,
        attributes="",
    ),
    "adreno": Schedule(
        vec=4, mr=4, nr=2, wg=(16, 8), groups=8, local=False, image=16384, cpu=False, attributes=""
    ),
    "generic": Schedule(vec=4, mr=4, nr=1, wg=(8, 8), cpu=False, attributes=""),
}


def schedule_for(device_class: str, vector_width: int = 16) -> Schedule:
    """The default row. CPU vectors follow the device's native width."""
    row = ROWS[device_class]
    if device_class == "cpu" and vector_width < 16:
        return replace(row, vec=max(4, vector_width))
    return row
