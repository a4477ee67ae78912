"""State of NVIDIA GPUs as ``nvidia-smi`` tells it: clocks, heat, power and what holds the clocks down."""

from __future__ import annotations

import csv
import subprocess

from bench.validity import Reading, read

FIELDS = (
    *("name", "driver_version", "vbios_version", "memory.total"),
    *("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw", "clocks_event_reasons.active"),
)
COMMAND = ("nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits")
SECONDS = 20


def state() -> Reading:
    """One row per GPU (MHz, degrees Celsius, watts, MiB, as text); unknown where the program is not there."""
    return read(" ".join(COMMAND), _rows)


def _rows() -> list[dict[str, str]]:
    try:
        done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=SECONDS, check=True)
    except subprocess.SubprocessError as error:
        raise OSError(f"nvidia-smi: {error}") from error
    rows = csv.reader(done.stdout.splitlines(), skipinitialspace=True)
    return [dict(zip(FIELDS, row, strict=True)) for row in rows if row]
