"""Text of Android tools to numbers. Pure functions: tested on recorded text, no phone needed.

Sources of the formats: AOSP (simpleperf ``cmd_stat.cpp``, ``ThermalManagerService``, ``BatteryService``,
``dumpsys meminfo``), proc(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# android.os.Temperature.Type; the types above 5 that are voltages, currents or percentages are left out.
TEMPERATURE_TYPES = {0: "cpu", 1: "gpu", 2: "battery", 3: "skin", 4: "usb", 5: "power-amplifier", 9: "npu"}
THERMAL_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


@dataclass(frozen=True)
class Counter:
    """One row of ``simpleperf stat --csv``. ``share``: part of the time it was counted (1.0 = always)."""

    name: str
    count: int
    share: float


def simpleperf_csv(text: str) -> dict[str, Counter]:
    """Counters by event name. Raises ValueError where the closing ``Total test time`` is missing (cut off)."""
    found: dict[str, Counter] = {}
    ended = False
    for line in text.splitlines():
        if line.startswith("Total test time,"):
            ended = True
        fields = line.split(",")
        if len(fields) < 3 or not fields[0].isdigit():
            continue
        share = re.search(r"\((\d+(?:\.\d+)?)%\)", line)
        found[fields[1]] = Counter(
            fields[1], int(fields[0]), float(share.group(1)) / 100 if share else float("nan")
        )
    if not ended:
        raise ValueError("simpleperf's output has no end: " + (text.strip()[-200:] or "it is empty"))
    return found


@dataclass(frozen=True)
class Thermal:
    """``dumpsys thermalservice``: Android's own verdict and what its sensors read now, in degrees Celsius."""

    status: int
    celsius: dict[str, float]

    @property
    def status_name(self) -> str:
        """``none`` (no throttling) to ``shutdown``."""
        return (
            THERMAL_STATUS[self.status]
            if 0 <= self.status < len(THERMAL_STATUS)
            else f"unknown {self.status}"
        )


def thermalservice(text: str) -> Thermal:
    """Only what follows ``Current temperatures from HAL:`` counts; the cache above it can be hours old.

    Raises ValueError where there is no status line. Sensors that read 0 or are no temperature are left out.
    """
    status = re.search(r"^\s*Thermal Status:\s*(\d+)\s*$", text, re.M)
    if status is None:
        raise ValueError("dumpsys thermalservice has no line 'Thermal Status'")
    _, _, now = text.partition("Current temperatures from HAL:")
    now = re.split(r"^\S", now.partition("\n")[2], maxsplit=1, flags=re.M)[0]
    celsius = {}
    for body in re.findall(r"Temperature\{([^}]*)\}", now):
        value = re.search(r"mValue=(-?\d+(?:\.\d+)?)", body)
        kind = re.search(r"mType=(-?\d+)", body)
        name = re.search(r"mName=([^,}]+)", body)
        if not (value and kind and name) or int(kind.group(1)) not in TEMPERATURE_TYPES:
            continue
        degrees = float(value.group(1))
        if degrees != 0 and -40 <= degrees <= 150:
            celsius[f"{TEMPERATURE_TYPES[int(kind.group(1))]}:{name.group(1).strip()}"] = degrees
    return Thermal(int(status.group(1)), celsius)


def battery(text: str) -> dict[str, float | bool]:
    """``dumpsys battery``: ``level`` in percent, ``celsius``, ``charging`` (any power source). Raises ValueError."""
    fields = dict(re.findall(r"^\s*([A-Za-z ]+):\s*(\S+)\s*$", text, re.M))
    if "level" not in fields or "temperature" not in fields:
        raise ValueError("dumpsys battery has no level or no temperature")
    powered = any(fields.get(f"{kind} powered") == "true" for kind in ("AC", "USB", "Wireless", "Dock"))
    level = 100 * int(fields["level"]) / int(fields.get("scale", "100"))
    return {"level": level, "celsius": int(fields["temperature"]) / 10, "charging": powered}


def meminfo(text: str) -> dict[str, int]:
    """``dumpsys meminfo PID``: KiB by row name (``GL mtrack``, ``EGL mtrack``, ``TOTAL``, ...), first column.

    Raises ValueError for the answer that there is no such process.
    """
    rows = {}
    for line in text.splitlines():
        found = re.match(r"^\s{2,}([A-Za-z.][A-Za-z. ]*?)\s{2,}(\d+)\s", line + " ")
        if found and found.group(1) not in rows:
            rows[found.group(1)] = int(found.group(2))
    if "TOTAL" not in rows:
        raise ValueError(text.strip()[-200:] or "dumpsys meminfo said nothing")
    return rows


def cpuinfo_max_khz(text: str) -> dict[int, int]:
    """Lines ``/sys/.../cpuN/...:KHZ`` (as ``grep -H ''`` prints them) to kHz by processor."""
    return {int(n): int(khz) for n, khz in re.findall(r"/cpu(\d+)/[^:\n]*:(\d+)\s*$", text, re.M)}


def getprop(text: str) -> dict[str, str]:
    """``[name]: [value]`` lines of ``getprop``; a value may span lines."""
    return {k: v for k, v in re.findall(r"^\[([^\]\n]+)\]: \[(.*?)\]$", text, re.M | re.S)}


def kgsl_clock_mhz(text: str) -> float | None:
    """``gpuclk`` (Hz) in MHz; None for an empty or odd answer."""
    return int(text) / 1e6 if text.strip().isdigit() else None


def kgsl_celsius(text: str) -> float | None:
    """``temp``: milli-degrees on most kernels, degrees on a few."""
    if not re.fullmatch(r"-?\d+", text.strip()):
        return None
    value = int(text)
    return value / 1000 if abs(value) >= 1000 else float(value)


def mali_gpu_memory(text: str, pid: int, page_bytes: int = 4096) -> int | None:
    """Bytes of a process in ``/sys/kernel/debug/mali0/gpu_memory``; None where it is not listed.

    Two layouts: ``kctx-0xADDR PAGES PID`` of older kernels, ``PAGES`` before a ``PID`` column of newer ones;
    both have the process id as the last or the second number of the row, pages as the other.
    """
    total = None
    for line in text.splitlines():
        numbers = [int(n) for n in re.findall(r"(?<![\w])\d+(?![\w])", line)]
        if len(numbers) >= 2 and "kctx" in line and pid in numbers[:2]:
            pages = numbers[0] if numbers[1] == pid else numbers[1]
            total = (total or 0) + pages * page_bytes
    return total
