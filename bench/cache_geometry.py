"""Caches to simulate: from devices.yaml for a named device, from sysfs for this computer."""

from __future__ import annotations

from pathlib import Path

from bench.devices import CacheGeometry, CacheLevel, get_device
from bench.validity import SYS
from ecp.errors import UsageError


def geometry(name: str) -> CacheGeometry:
    """Cache geometry of a devices.yaml entry; a local device without one is read from this computer.

    Raises :class:`UsageError` where neither says anything.
    """
    device = get_device(name)
    if device.cache is not None:
        return device.cache
    if device.transport == "local":
        return read_local(SYS / "devices/system/cpu/cpu0/cache")
    raise UsageError(f"device '{name}' has no `cache` entry in devices.yaml; add one, or use --geometry")


def read_local(folder: Path) -> CacheGeometry:
    """This computer's caches; sizes that a simulator cannot hold are rounded down, which provenance says."""
    levels: dict[tuple[int, str], CacheLevel] = {}
    rounded = []
    for index in sorted(folder.glob("index*")):
        try:
            level = int((index / "level").read_text())
            kind = (index / "type").read_text().strip()
            kib = int((index / "size").read_text().strip().rstrip("K"))
            ways = int((index / "ways_of_associativity").read_text())
            line = int((index / "coherency_line_size").read_text())
        except (OSError, ValueError):
            continue
        exact = CacheLevel(bytes=kib * 1024, ways=max(ways, 1), line=line)
        levels[level, kind] = power_of_two(exact)
        if levels[level, kind] != exact:
            rounded.append(f"L{level} {kind} {kib} KiB, {ways} ways")
    try:
        l2 = levels[2, "Unified"]
        last = levels.get((3, "Unified"), l2)
        found = {"i1": levels[1, "Instruction"], "d1": levels[1, "Data"], "l2": l2, "ll": last}
    except KeyError as error:
        raise UsageError(
            f"this computer does not show its caches in {folder}; name a device with --geometry, for example "
            "--geometry oneplus11"
        ) from error
    note = f"; rounded down to powers of two: {'; '.join(rounded)}" if rounded else ""
    return CacheGeometry(provenance=f"read from sysfs of this computer{note}", **found)


def power_of_two(level: CacheLevel) -> CacheLevel:
    """The largest cache not above ``level`` whose number of sets is a power of two, with the same line."""
    ways = level.ways
    sets = max(1, level.bytes // (ways * level.line))
    sets = 1 << (sets.bit_length() - 1)
    return CacheLevel(bytes=sets * ways * level.line, ways=ways, line=level.line)


def option(level: CacheLevel) -> str:
    """``size,associativity,line`` as valgrind's --D1, --LL take it."""
    return f"{level.bytes},{level.ways},{level.line}"
