"""Energy of a measured stretch from the processor's own counters (RAPL), where the operating system exposes them.

Linux shows them under /sys/class/powercap as microjoules that wrap around, usually for root only; a virtual machine
mostly shows none. A package counter holds everything on the package, neighbours included, so a figure is only as
good as the block's ``load-by-others`` gate. What cannot be read is ``None`` with its reason, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.validity import SYS, is_virtual

SOURCE = "rapl"
FOLDER = "class/powercap"


def counters() -> tuple[dict[str, Path], str]:
    """Top-level RAPL domains by name (``package-0``, ``psys``) and, where there are none, the reason."""
    root = SYS / FOLDER
    if not root.is_dir():
        why = "a virtual machine shows no energy counters" if is_virtual() else "no powercap driver is loaded"
        return {}, f"{root} does not exist: {why}; measure on the real machine (modprobe intel_rapl_common)"
    found = {}
    for folder in sorted(root.glob("intel-rapl:[0-9]*")):
        # Sub-domains (intel-rapl:0:0 core, dram) are parts of these and would be counted twice.
        if folder.name.count(":") == 1 and (folder / "energy_uj").exists():
            found[(folder / "name").read_text().strip()] = folder
    return found, "" if found else f"{root} holds no RAPL domain"


def read() -> dict[str, Any]:
    """``{"domains": {name: [microjoules, range]}}`` now, or ``{"reason": ...}``."""
    found, reason = counters()
    if not found:
        return {"reason": reason}
    domains = {}
    for name, folder in found.items():
        try:
            domains[name] = [int((folder / f).read_text()) for f in ("energy_uj", "max_energy_range_uj")]
        except PermissionError:
            return {"reason": f"{folder}/energy_uj may be read by root only (chmod a+r it, or run as root)"}
        except (OSError, ValueError) as error:
            return {"reason": f"{folder}/energy_uj: {error}"}
    return {"domains": domains}


def between(before: Mapping[str, Any], after: Mapping[str, Any], inferences: int) -> dict[str, Any]:
    """Millijoules per inference between two :func:`read` results, by domain, and over all packages.

    ``value`` is None with a ``reason`` where either was not read. A counter that wrapped once is put right; a
    stretch so long that it wraps twice cannot be told from one (a package counter wraps after some hours).
    """
    for reading in (before, after):
        if "reason" in reading:
            return {"value": None, "unit": "mJ", "source": SOURCE, "reason": reading["reason"]}
    domains = {}
    for name, (start, span) in before["domains"].items():
        if name not in after["domains"]:
            reason = f"the counter {name} disappeared"
            return {"value": None, "unit": "mJ", "source": SOURCE, "reason": reason}
        used = after["domains"][name][0] - start
        domains[name] = (used if used >= 0 else used + span + 1) / 1e3 / inferences
    packages = {n: v for n, v in domains.items() if n.startswith("package")} or domains
    return {"value": sum(packages.values()), "unit": "mJ", "source": SOURCE, "domains": domains}
