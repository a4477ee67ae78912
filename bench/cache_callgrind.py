"""Simulated cache misses per kernel: the native runner on PoCL under callgrind, collecting inside kernels only.

PoCL is told to generate AVX2 code (valgrind knows no AVX-512), once outside valgrind so that its kernel cache is
full before the slow run. callgrind has two levels, so the hierarchy is simulated twice: with the last level as L2
and as L3. Repeated launches of one kernel and size are simulated twice each and scaled to their number.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bench.cache_geometry import option
from bench.devices import CacheGeometry, CacheLevel
from bench.paths import cache_dir
from ecp import children
from ecp.errors import EcpError
from ecp.plan import Launch
from ecp.runtime.bundle import Bundle

# Occurrences of one launch that are simulated: the first meets cold data, the second what the first left.
OCCURRENCES = 2
EVENTS = ("Ir", "Dr", "Dw", "I1mr", "D1mr", "D1mw", "ILmr", "DLmr", "DLmw")
KERNEL = re.compile(r"^_pocl_kernel_(.+)_workgroup")
# Wall time of one simulated run: long, because the simulation shares its processor with whatever else runs.
TIMEOUT_S = 6 * 3600.0


@dataclass
class Simulated:
    """Data references and misses of one kernel (or their sum), scaled to all its launches of one inference."""

    refs: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    l3: float = 0.0
    instructions: float = 0.0
    launches: int = 0

    def rates(self) -> dict[str, float]:
        """Local miss rates in %: of the references that reach each level, the share that misses there."""

        def share(misses: float, of: float) -> float:
            return 100.0 * misses / of if of else 0.0

        return {"L1": share(self.l1, self.refs), "L2": share(self.l2, self.l1), "L3": share(self.l3, self.l2)}


@dataclass
class Result:
    """Per kernel and in total; ``simulated`` of ``launches`` launches were run under the simulator."""

    kernels: dict[str, Simulated] = field(default_factory=dict)
    simulated: int = 0
    launches: int = 0

    @property
    def total(self) -> Simulated:
        """Sum over kernels."""
        names = ("refs", "l1", "l2", "l3", "instructions", "launches")
        return Simulated(**{n: sum(getattr(k, n) for k in self.kernels.values()) for n in names})


class SimulationError(EcpError):
    """The simulation could not be carried out; the message says which step and why."""


def missing_parts() -> str:
    """What is not installed, with how to get it ('' where everything is there)."""
    if shutil.which("valgrind") is None:
        return "valgrind is not installed (apt install valgrind)"
    from ecp.errors import DeviceError
    from ecp.runtime import devices

    try:
        devices.resolve("local-pocl")
    except DeviceError as error:
        return str(error)
    return ""


def signature(launch: Launch) -> tuple[str, str, str]:
    """What makes two launches the same work: kernel, global and local size."""
    return launch.kernel, str(launch.global_size), str(launch.local_size)


def choose(launches: Sequence[Launch], occurrences: int) -> list[int]:
    """Indices of the launches to simulate: the first ``occurrences`` of each signature, in order."""
    seen: Counter[tuple[str, str, str]] = Counter()
    chosen = []
    for index, launch in enumerate(launches):
        seen[signature(launch)] += 1
        if seen[signature(launch)] <= occurrences:
            chosen.append(index)
    return chosen


def reduced_bundle(bundle: Path, folder: Path, chosen: Sequence[int]) -> None:
    """A copy of ``bundle`` in ``folder`` whose plan holds only the chosen launches (outputs are meaningless)."""
    shutil.copytree(bundle, folder, ignore=shutil.ignore_patterns("plan.json"), copy_function=_link)
    plan = Bundle.load(bundle).plan
    # One by one, so that counts belong to kernels.
    part = replace(plan, launches=[plan.launches[i] for i in chosen], groups=[])
    (folder / "plan.json").write_text(json.dumps(part.to_json()))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def pocl_environment() -> dict[str, str]:
    """AVX2 code on one thread, in a kernel cache of its own."""
    return {
        **os.environ,
        "POCL_LLVM_CPU_NAME": "haswell",
        "POCL_KERNELLIB_NAME": "avx2",
        "POCL_MAX_PTHREAD_COUNT": "1",
        "POCL_CACHE_DIR": str(cache_dir("pocl-avx2")),
    }


def runner_command(bundle: Path, folder: Path) -> list[str]:
    """One inference of the bundle by the native runner on PoCL, inputs of noise."""
    from ecp.native.build import runner

    plan = Bundle.load(bundle).plan
    command = [str(runner("host")), str(bundle), "--platform", "Portable Computing Language"]
    command += ["--warmup", "0", "--iterations", "1"]
    rng = np.random.default_rng(0)
    for number, value in enumerate(plan.inputs):
        path = folder / f"input{number}.bin"
        rng.standard_normal(value.shape).astype(value.dtype).tofile(path)
        command += ["--input", f"{value.name}={path}"]
    return command


def _run(command: Sequence[str], what: str) -> None:
    try:
        done = children.run(command, env=pocl_environment(), timeout_s=TIMEOUT_S)
    except (OSError, children.TooLate, children.TooMuch) as error:
        raise SimulationError(f"{what}: {error}") from error
    if done.returncode:
        last = [line for line in done.error_text.splitlines() if line.strip()][-1:] or ["no message"]
        raise SimulationError(f"{what} ended with status {done.returncode}: {last[0].strip()}")


def valgrind_command(caches: CacheGeometry, last: CacheLevel, out: Path) -> list[str]:
    """callgrind with data caches d1 and ``last``, counting inside PoCL's kernel functions."""
    return [
        "valgrind",
        "--tool=callgrind",
        "--cache-sim=yes",
        f"--I1={option(caches.i1)}",
        f"--D1={option(caches.d1)}",
        f"--LL={option(last)}",
        "--toggle-collect=_pocl_kernel_*_workgroup*",
        f"--callgrind-out-file={out}",
    ]


def _numbers(line: str) -> list[int]:
    """Costs of one line: everything after the position column; missing trailing columns are zero."""
    values = [int(v) for v in line.split()[1:]]
    return values + [0] * (len(EVENTS) - len(values))


def _cost_lines(text: str) -> Iterator[tuple[str, list[int]]]:
    """(function, costs) of every cost line, calls included: summed they are the function's inclusive costs."""
    names: dict[str, str] = {}
    current = ""
    for line in text.splitlines():
        if line.startswith("fn="):
            match = re.match(r"fn=(\(\d+\))(?: (.*))?", line)
            if match is None:
                raise SimulationError(f"callgrind wrote an unknown line: {line[:80]}")
            if match[2]:
                names[match[1]] = match[2]
            current = names.get(match[1], "")
        elif line.startswith("cfn=") and (match := re.match(r"cfn=(\(\d+\)) (.*)", line)):
            names[match[1]] = match[2]
        elif line[:1].isdigit() or line[:1] in "+-*":
            yield current, _numbers(line)


def parse(text: str) -> dict[str, dict[str, int]]:
    """Inclusive event counts per kernel from a callgrind output file."""
    events = next((line.split()[1:] for line in text.splitlines() if line.startswith("events:")), [])
    if tuple(events) != EVENTS:
        raise SimulationError(f"callgrind counted {' '.join(events) or 'nothing'}, not {' '.join(EVENTS)}")
    table: dict[str, dict[str, int]] = {}
    for function, costs in _cost_lines(text):
        match = KERNEL.match(function)
        if match is None:
            continue
        row = table.setdefault(match[1], dict.fromkeys(EVENTS, 0))
        for name, cost in zip(EVENTS, costs, strict=True):
            row[name] += cost
    return table


def simulate(bundle: Path, caches: CacheGeometry, exact: bool = False) -> Result:
    """Simulate one inference. ``exact``: every launch, instead of two per repeated one.

    Raises :class:`SimulationError`. Takes about a second per 10 million instructions, twice.
    """
    launches = Bundle.load(bundle).plan.launches
    chosen = list(range(len(launches))) if exact else choose(launches, OCCURRENCES)
    with tempfile.TemporaryDirectory(prefix="ecp-cache-") as name:
        folder = Path(name)
        reduced_bundle(bundle, folder / "bundle", chosen)
        command = runner_command(folder / "bundle", folder)
        _run(command, "building kernels for the simulation")
        counts = []
        for level, last in (("l2", caches.l2), ("ll", caches.ll)):
            out = folder / f"callgrind.{level}"
            _run([*valgrind_command(caches, last, out), *command], f"callgrind with {level}")
            counts.append(parse(out.read_text()))
    return combine(launches, chosen, *counts)


def combine(
    launches: Sequence[Launch],
    chosen: Sequence[int],
    with_l2: Mapping[str, Mapping[str, int]],
    with_l3: Mapping[str, Mapping[str, int]],
) -> Result:
    """Scale each kernel's counts from its simulated launches to all of them.

    A kernel launched with several sizes is scaled by work-items, not by launches.
    """

    def work(indices: Sequence[int]) -> Counter[str]:
        total: Counter[str] = Counter()
        for i in indices:
            total[launches[i].kernel] += int(np.prod(launches[i].global_size))
        return total

    every, done = work(range(len(launches))), work(chosen)
    result = Result(simulated=len(chosen), launches=len(launches))
    for kernel in every:
        if kernel not in with_l2 or kernel not in with_l3:
            raise SimulationError(f"kernel {kernel} left no trace under callgrind")
        scale = every[kernel] / done[kernel]
        small, large = with_l2[kernel], with_l3[kernel]
        result.kernels[kernel] = Simulated(
            refs=scale * (small["Dr"] + small["Dw"]),
            l1=scale * (small["D1mr"] + small["D1mw"]),
            l2=scale * (small["DLmr"] + small["DLmw"]),
            l3=scale * (large["DLmr"] + large["DLmw"]),
            instructions=scale * small["Ir"],
            launches=sum(launch.kernel == kernel for launch in launches),
        )
    return result
