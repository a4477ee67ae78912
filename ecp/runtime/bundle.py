"""The bundle: a compiled model as a folder that the Python session and the native runner both execute.

``plan.json`` names pools (one OpenCL buffer each), mems (ranges of pools, or images), programs and
launches; beside it lie the kernel sources, the prepacked weights and a golden input and output.
A bundle is untrusted input: :meth:`Bundle.load` checks every name, offset and size.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ecp.errors import BundleError

FORMAT, VERSION = "ecp-bundle", 1


@dataclass
class Report:
    """What the compiler did, for people and for the record (``explain`` prints it).

    ``compile_seconds`` is what the call took that gave the bundle: a look-up where ``from_cache``, and then
    ``cold_compile_seconds`` is what the compile took that filled the cache. ``dispatches``: calls of the driver for
    one inference, fewer than ``launches`` where these are chained. ``arithmetic`` is what was asked for,
    ``half_launches`` how many launches multiply in half (products and convolutions), ``wgmma_launches`` how many
    products by ``wgmma``.
    """

    imported_nodes: int = 0
    transformative_nodes: int = 0
    eliminated: int = 0
    launches: int = 0
    dispatches: int = 0
    layout_launches: int = 0
    layout_bytes: int = 0
    materialized: list[tuple[str, str]] = field(default_factory=list)
    arena_bytes: int = 0
    naive_bytes: int = 0
    weight_bytes: int = 0
    macs: int = 0
    compile_seconds: float = 0.0
    from_cache: bool = False
    cold_compile_seconds: float = 0.0
    arithmetic: str = "float"
    half_launches: int = 0
    wgmma_launches: int = 0


@dataclass
class Bundle:
    """A compiled model. ``plan`` is the content of plan.json; ``pools`` maps pool name to its bytes.

    ``folder``: where it was loaded from, with its files as they are there; None for a bundle made in memory.
    """

    plan: dict[str, Any]
    sources: dict[str, str]
    pools: dict[str, np.ndarray]
    golden: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def report(self) -> Report:
        """The compiler's report."""
        return Report(**self.plan.get("report", {}))

    @property
    def sha256(self) -> str:
        """Hash of the plan and the sources: what runs, without the weights."""
        text = json.dumps(
            {k: v for k, v in self.plan.items() if k not in ("report", "golden")}, sort_keys=True
        )
        return hashlib.sha256((text + repr(sorted(self.sources.items()))).encode()).hexdigest()

    def save(self, folder: str | Path) -> Path:
        """Write the bundle; the plan goes last, so that a half-written folder does not load."""
        folder = Path(folder)
        (folder / "kernels").mkdir(parents=True, exist_ok=True)
        (folder / "golden").mkdir(exist_ok=True)
        (folder / "plan.json").unlink(missing_ok=True)
        for name, text in self.sources.items():
            (folder / name).write_text(text)
        for pool in self.plan["pools"]:
            if pool["file"]:
                # Rewriting a pool in place would corrupt a bundle that another process has mapped.
                partial = folder / (pool["file"] + ".part")
                np.ascontiguousarray(self.pools[pool["name"]]).tofile(partial)
                partial.replace(folder / pool["file"])
        golden: dict[str, list[dict[str, str]]] = {"inputs": [], "outputs": []}
        for side, arrays in self.golden.items():
            for i, (name, array) in enumerate(arrays.items()):
                file = f"golden/{side[:-1]}{i}.bin"
                np.ascontiguousarray(array).tofile(folder / file)
                golden[side].append({"name": name, "file": file})
        plan = {**self.plan, "golden": golden}
        partial = folder / "plan.json.part"
        partial.write_text(json.dumps(plan, indent=1))
        partial.replace(folder / "plan.json")
        return folder

    @staticmethod
    def load(folder: str | Path) -> Bundle:
        """Read and check a bundle. Pools are memory-mapped. Raises :class:`~ecp.errors.BundleError`."""
        folder = Path(folder)
        try:
            plan = json.loads((folder / "plan.json").read_text())
            check_plan(plan)
            sources = {p["file"]: (folder / p["file"]).read_text() for p in plan["programs"]}
            pools = {p["name"]: _map(folder / p["file"], p["bytes"]) for p in plan["pools"] if p["file"]}
            golden = {side: _read_golden(folder, plan, side) for side in ("inputs", "outputs")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{folder} is not a usable bundle: {error}; compile the model again") from error
        return Bundle(plan, sources, pools, golden, folder)


def _map(path: Path, size: int) -> np.ndarray:
    if path.stat().st_size != size:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, the plan says {size}")
    return np.memmap(path, np.uint8, "r") if size else np.zeros(0, np.uint8)


def _read_golden(folder: Path, plan: dict[str, Any], side: str) -> dict[str, np.ndarray]:
    ports = {p["name"]: p for p in plan[side]}
    out = {}
    for entry in plan.get("golden", {}).get(side, []):
        port = ports[entry["name"]]
        data = np.fromfile(folder / _safe(entry["file"]), dtype=port["dtype"])
        out[entry["name"]] = data.reshape(port["shape"])
    return out


def _safe(name: str) -> str:
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or any(p in ("", ".", "..") for p in parts) or len(parts) > 2:
        raise ValueError(f"file name {name!r} leaves the bundle")
    return name


def check_plan(plan: dict[str, Any]) -> None:
    """Raise ValueError or KeyError where the plan is of another format or refers outside itself."""
    if plan.get("format") != FORMAT or plan.get("version") != VERSION:
        raise ValueError(
            f"format {plan.get('format')!r} version {plan.get('version')!r}, need {FORMAT} {VERSION}"
        )
    pools = {p["name"]: p for p in plan["pools"]}
    for pool in plan["pools"]:
        if pool["file"]:
            _safe(pool["file"])
    mems = {}
    for mem in plan["mems"]:
        pool = pools[mem["pool"]]
        if mem["offset"] < 0 or mem["bytes"] <= 0 or mem["offset"] + mem["bytes"] > pool["bytes"]:
            raise ValueError(f"mem {mem['name']!r} leaves pool {mem['pool']!r}")
        mems[mem["name"]] = mem
    for port in [*plan["inputs"], *plan["outputs"]]:
        need = int(np.prod(port["shape"], dtype=np.int64)) * np.dtype(port["dtype"]).itemsize
        if need > mems[port["mem"]]["bytes"]:
            raise ValueError(f"{port['name']!r} does not fit its mem")
    if "status" in plan:
        _check_status(plan["status"], mems, pools)
    programs = {p["name"] for p in plan["programs"]}
    for program in plan["programs"]:
        _safe(program["file"])
    stretches, end = plan.get("stretches", []), 0
    for stretch in stretches:
        if stretch["first"] < end or stretch["count"] < 1:
            raise ValueError(f"stretch {stretch['kernel']!r} begins before the one ahead of it ends")
        end = stretch["first"] + stretch["count"]
    if end > len(plan["launches"]):
        raise ValueError(f"a stretch ends at launch {end} of {len(plan['launches'])}")
    for launch in [*plan["launches"], *([plan["chain"]] if plan.get("chain") else []), *stretches]:
        if launch["program"] not in programs:
            raise ValueError(f"launch of unknown program {launch['program']!r}")
        if not 1 <= len(launch["global"]) <= 3 or any(g <= 0 for g in launch["global"]):
            raise ValueError(f"launch {launch['kernel']!r} has global size {launch['global']}")
        for arg in launch["args"]:
            if "mem" in arg and arg["mem"] not in mems:
                raise ValueError(f"launch {launch['kernel']!r} reads unknown mem {arg['mem']!r}")


def _check_status(status: dict[str, Any], mems: dict[str, Any], pools: dict[str, Any]) -> None:
    """Where kernels note run-time indices that are outside, and what the numbers that they note stand for."""
    mem = mems[status["mem"]]
    if mem["image"] or mem["bytes"] < 16 or pools[mem["pool"]]["access"] == "ro":
        raise ValueError(f"mem {status['mem']!r} cannot hold the status of run-time indices")
    for check in status["checks"]:
        if not (isinstance(check["node"], str) and isinstance(check["index"], str) and check["size"] >= 1):
            raise ValueError(f"a check of run-time indices is {check!r}")
