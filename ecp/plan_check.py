"""What the types of a plan do not say: that its names refer, its ranges lie inside and its files are its own.

The native reader (native/src/bundle.cpp) has the same rules; one corpus of damaged bundles goes through both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import numpy as np

from ecp.kernel_text import check_options
from ecp.plan import MOST_BYTES, Launch, Mem, MemArgument, Plan, Pool, Port
from ecp.typed_json import FormError

ALIGNMENT = 4096
# Work-items of a launch and of a group: far above what a device takes, far below what hangs it for a day.
MOST_WORK, MOST_LOCAL = 1 << 34, 4096
STATUS_BYTES = 16
PLAN_FILE = "plan.json"


def check_plan(plan: Plan) -> None:
    """Raise :class:`~ecp.typed_json.FormError` where the plan refers outside itself."""
    _Checker(plan).check()


class _Checker:
    def __init__(self, plan: Plan):
        self.plan = plan
        self.pools: dict[str, Pool] = {}
        self.mems: dict[str, Mem] = {}
        self.programs: set[str] = set()

    def check(self) -> None:
        """All rules, in the order of the native reader."""
        plan = self.plan
        self.pools = _named("pools", plan.pools)
        _each("mems", plan.mems, self._mem)
        self.mems = _named("mems", plan.mems)
        for side, ports in (("inputs", plan.inputs), ("outputs", plan.outputs)):
            _named(side, ports)
            _each(side, ports, self._port)
        self.programs = set(_named("programs", plan.programs))
        _each("programs", plan.programs, lambda program: check_options(program.options))
        _each("launches", plan.launches, self._launch)
        self._groups()
        if plan.status is not None:
            mem = self._find(self.mems, plan.status.mem, "mem")
            if mem.image or mem.bytes < STATUS_BYTES or self.pools[mem.pool].access == "ro":
                raise FormError("status.mem cannot hold the status of run-time indices")
        self._golden()
        self._files()

    @staticmethod
    def _find(table: dict[str, Any], name: str, what: str) -> Any:
        if name not in table:
            raise FormError(f"names the unknown {what} {name[:60]!r}")
        return table[name]

    def _mem(self, mem: Mem) -> None:
        pool: Pool = self._find(self.pools, mem.pool, "pool")
        if mem.offset % ALIGNMENT:
            raise FormError(f"has an offset that is not a multiple of {ALIGNMENT}")
        if mem.offset + mem.bytes > pool.bytes:
            raise FormError(f"reaches beyond pool {pool.name!r} of {pool.bytes} bytes")
        if mem.image is None:
            return
        if pool.file is None:
            raise FormError("is an image in a pool without a file")
        texel = 8 if mem.image.format == "RGBA_F16" else 16
        if mem.image.width * mem.image.height * texel > mem.bytes:
            raise FormError(f"is an image larger than its {mem.bytes} bytes")

    def _port(self, port: Port) -> None:
        mem: Mem = self._find(self.mems, port.mem, "mem")
        if mem.image is not None:
            raise FormError("lies in an image")
        if self.pools[mem.pool].access == "ro":
            raise FormError("lies in a pool that is never written to")
        if (
            prod(port.shape) * np.dtype(port.dtype).itemsize > mem.bytes
            or prod(filter(None, port.shape)) > MOST_BYTES
        ):
            raise FormError(f"does not fit into mem {mem.name!r}")

    def _launch(self, launch: Launch) -> None:
        self._find(dict.fromkeys(self.programs), launch.program, "program")
        for index, argument in enumerate(launch.args):
            if isinstance(argument, MemArgument) and argument.mem not in self.mems:
                raise FormError(f"has argument {index} of the unknown mem {argument.mem[:60]!r}")
        if prod(launch.global_size) > MOST_WORK:
            raise FormError(f"has more than {MOST_WORK} work-items")
        local = launch.local_size
        if local is None:
            return
        if len(local) != len(launch.global_size):
            raise FormError("has a local_size of another rank than global_size")
        if prod(local) > MOST_LOCAL or any(g % n for g, n in zip(launch.global_size, local)):
            raise FormError(f"has a local_size that does not divide global_size or is over {MOST_LOCAL}")

    def _groups(self) -> None:
        end = 0
        for index, group in enumerate(self.plan.groups):
            if group.first < end or group.count < 1:
                raise FormError(f"groups[{index}] begins before the one ahead of it ends")
            end = group.first + group.count
            if end > len(self.plan.launches):
                raise FormError(f"groups[{index}] ends at launch {end} of {len(self.plan.launches)}")
        _each("groups", [group.launch for group in self.plan.groups], self._launch)

    def _golden(self) -> None:
        for side in ("inputs", "outputs"):
            ports = {port.name for port in getattr(self.plan, side)}
            entries = getattr(self.plan.golden, side)
            _named(f"golden.{side}", entries)
            for index, entry in enumerate(entries):
                if entry.name not in ports:
                    raise FormError(f"golden.{side}[{index}] names the unknown {entry.name[:60]!r}")

    def _files(self) -> None:
        """A file holds one thing: what is written through one name must not change what another reads."""
        plan = self.plan
        programs = dict.fromkeys(program.file for program in plan.programs)
        golden = [entry.file for entry in (*plan.golden.inputs, *plan.golden.outputs)]
        seen = {PLAN_FILE}
        for file in (*[pool.file for pool in plan.pools if pool.file], *programs, *golden):
            if file in seen:
                raise FormError(f"names the file {file!r} for two things")
            seen.add(file)


def _named(where: str, entries: Iterable[Any]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for index, entry in enumerate(entries):
        if entry.name in table:
            raise FormError(f"{where}[{index}] repeats the name {entry.name[:60]!r}")
        table[entry.name] = entry
    return table


def _each(where: str, entries: Iterable[Any], check: Callable[[Any], None]) -> None:
    for index, entry in enumerate(entries):
        try:
            check(entry)
        except FormError as error:
            error.path.append(f"{where}[{index}]")
            raise
