"""The measured peaks of an OpenCL device, by pytest-benchmark in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecp import children
from ecp.errors import EcpError, UsageError

ROUNDS, MIB = 20, 512
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Peaks:
    """Multiply-adds in registers (GFLOP/s); reading, and copying, more than the caches hold (GB/s; a copy counts
    what it reads and what it writes). Every round; the peak is the best: only a disturbance makes a round slower.

    ``report`` is pytest-benchmark's own JSON.
    """

    fma: tuple[float, ...]
    read: tuple[float, ...]
    copy: tuple[float, ...]
    report: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def gflops(self) -> float:
        """Best multiply-add rate."""
        return max(self.fma)

    @property
    def gbs(self) -> float:
        """The memory roof: the faster of reading and copying. (A copy on a CPU also reads what it overwrites.)"""
        return max(*self.read, *self.copy)


def measure_peaks(device: str, threads: int | None = None, *, rounds: int = ROUNDS, mib: int = MIB) -> Peaks:
    """Measure on an OpenCL ``device`` (a name of :mod:`ecp.runtime.devices`), a CPU with ``threads``.

    Raises :class:`~ecp.errors.UsageError` where pytest-benchmark is not installed and
    :class:`~ecp.errors.EcpError` with pytest's last words where it failed.
    """
    if importlib.util.find_spec("pytest_benchmark") is None:
        raise UsageError(
            "the peaks are measured by pytest-benchmark, which is not installed: pip install pytest-benchmark"
        )
    asked = {"device": device, "threads": threads, "rounds": rounds, "mib": mib}
    with tempfile.TemporaryDirectory(prefix="ecp-peaks-") as name:
        folder = Path(name)
        # Settings of its own: those of a project around this one (parallel workers, markers) are not for timing.
        (folder / "pytest.ini").write_text("[pytest]\naddopts =\n")
        report = folder / "report.json"
        command = [
            sys.executable, "-m", "pytest", "-q", "-c", str(folder / "pytest.ini"), "-p", "no:cacheprovider",
            "-p", "no:warnings", "--benchmark-only", f"--benchmark-json={report}", "--pyargs", "bench.peaks_pytest",
        ]  # fmt: skip
        root = str(Path(__file__).parent.parent)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        environment |= {
            "ECP_PEAKS": json.dumps(asked),
            "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        try:
            done = children.run(command, env=environment, timeout_s=TIMEOUT_S)
        except children.TooLate as error:
            raise EcpError(f"the microbenchmarks of {device} took more than {TIMEOUT_S:g} s") from error
        if done.returncode != 0 or not report.exists():
            said = (done.text + done.error_text).splitlines()
            errors = [line.removeprefix("E ") for line in said if line.startswith("E ")]
            words = " ".join(" ".join(errors or said).split())[-800:]
            raise EcpError(f"the microbenchmarks of {device} failed: {words}")
        return from_report(json.loads(report.read_text()))


def from_report(report: Mapping[str, Any]) -> Peaks:
    """Rates out of pytest-benchmark's JSON: the work of a round over the seconds it took."""
    rates = {
        b["extra_info"]["kind"]: tuple(b["extra_info"]["work"] / s for s in b["stats"]["data"])
        for b in report["benchmarks"]
    }
    return Peaks(rates["fma"], rates["read"], rates["copy"], report)
