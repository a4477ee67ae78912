"""GPU memory of the runner on a phone: what Android, Mali's and Qualcomm's drivers say while it runs.

``VmHWM`` counts what the processor maps; a GPU's buffers are in it on some drivers and not on others, so every
source stands beside it under its own name, each with its reason where it could not be read. ``dumpsys`` and the
Mali file are sampled, so their value is the highest of the samples; KGSL keeps a maximum itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.phones import parsers

MALI_FILE = "/sys/kernel/debug/mali0/gpu_memory"
# Long enough for several samples of dumpsys, which takes some tenths of a second itself.
WATCH_SECONDS = 2.0
# Rows of `dumpsys meminfo` that hold memory of the GPU (names of AOSP's meminfo; KiB).
TRACKED = ("GL mtrack", "EGL mtrack", "Gfx dev")
# The watcher runs beside the program and ends with it: a flag file tells the end, and a pid that is gone as well,
# so that nothing is left on a phone whose cable was pulled.
_WATCH = f"""log=$1; shift; rm -f "$log.pid"; : > "$log.on"
while [ -e "$log.on" ]; do
  if [ -s "$log.pid" ]; then
    read -r pid < "$log.pid"
    kill -0 "$pid" || break
    echo "@pid $pid"; echo @meminfo; dumpsys meminfo "$pid"; echo @mali; cat {MALI_FILE}; echo @end
  fi
  sleep 0.1
done > "$log" 2>&1 < /dev/null &
sh -c 'echo "$$" > "$1.pid"; shift; exec "$@"' sh "$log" "$@"
code=$?; rm -f "$log.on"; wait; rm -f "$log.pid"; exit $code"""


def watched(command: Sequence[str], log: str) -> list[str]:
    """A command line that runs ``command`` with its own exit code and streams, and samples its memory into ``log``."""
    return ["sh", "-c", _WATCH, "sh", log, *command]


def reading(log: str | None, kgsl: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """``{source: {"mib", "source", "reason", "samples"}}`` from the watcher's log and the runner's KGSL numbers."""
    samples = _samples(log or "")
    return {
        "dumpsys": _highest("dumpsys meminfo", [_tracked(s["meminfo"]) for s in samples]),
        "mali": _highest(MALI_FILE, [_mali(s["mali"], int(s["pid"])) for s in samples]),
        "kgsl": _kgsl(kgsl),
    }


def _samples(log: str) -> list[dict[str, str]]:
    """Complete samples only: one that the program's end cut off says nothing."""
    form = r"^@pid (?P<pid>\d+)\n@meminfo\n(?P<meminfo>.*?)^@mali\n(?P<mali>.*?)^@end$"
    return [m.groupdict() for m in re.finditer(form, log, re.M | re.S)]


def _tracked(text: str) -> int | str:
    """Bytes, or why there are none."""
    try:
        rows = parsers.meminfo(text)
    except ValueError as error:
        return " ".join(str(error).split())
    found = [rows[name] for name in TRACKED if name in rows]
    return 1024 * sum(found) if found else f"it has no row {', '.join(TRACKED)} for this process"


def _mali(text: str, pid: int) -> int | str:
    if "kctx" not in text:
        return " ".join(text.split()) or "the file is empty"
    found = parsers.mali_gpu_memory(text, pid)
    return "the process is not listed" if found is None else found


def _highest(source: str, values: list[int | str]) -> dict[str, Any]:
    numbers = [v for v in values if isinstance(v, int)]
    if numbers:
        return {"mib": max(numbers) / 2**20, "source": source, "reason": None, "samples": len(numbers)}
    reasons = [v for v in values if isinstance(v, str)]
    return {
        "mib": None,
        "source": source,
        "reason": reasons[-1][-200:] if reasons else "the runner ended before the first sample",
        "samples": 0,
    }


def _kgsl(values: Mapping[str, Any]) -> dict[str, Any]:
    source = "/sys/class/kgsl/kgsl/proc/PID"
    found = [values[k] for k in ("kernel_max", "user_max", "gpumem_mapped") if isinstance(values.get(k), int)]
    if not found:
        return {
            "mib": None,
            "source": source,
            "reason": "not readable here (Qualcomm only, root on most phones)",
        }
    return {"mib": max(found) / 2**20, "source": source, "reason": None, "bytes": dict(values)}
