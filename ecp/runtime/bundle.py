"""The bundle: a compiled model as a folder that the Python session and the native runner both execute.

``plan.json`` names pools (one OpenCL buffer each), mems (ranges of pools, or images), programs and
launches; beside it lie the kernel sources, the prepacked weights and a golden input and output.
A bundle is untrusted input: :meth:`Bundle.load` checks every name, offset and size.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

import numpy as np

from ecp.errors import BundleError
from ecp.kernel_text import check_source
from ecp.plan import Golden, GoldenFile, Plan, Port, Report
from ecp.plan_check import PLAN_FILE, check_plan
from ecp.runtime.folder import Folder
from ecp.typed_json import FormError

MOST_PLAN, MOST_SOURCE = 16 << 20, 16 << 20


@dataclass
class Bundle:
    """A compiled model. ``plan`` is the content of plan.json; ``pools`` maps pool name to its bytes.

    ``folder``: where it was loaded from, with its files as they are there; None for a bundle made in memory.
    """

    plan: Plan
    sources: dict[str, str]
    pools: dict[str, np.ndarray]
    golden: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def report(self) -> Report:
        """The compiler's report."""
        return self.plan.report

    @property
    def sha256(self) -> str:
        """Hash of the plan and the sources: what runs, without the weights."""
        told = {k: v for k, v in self.plan.to_json().items() if k not in ("report", "golden")}
        text = json.dumps(told, sort_keys=True)
        return hashlib.sha256((text + repr(sorted(self.sources.items()))).encode()).hexdigest()

    def save(self, folder: str | Path) -> Path:
        """Write the bundle; the plan goes last, so that a half-written folder does not load."""
        folder = Path(folder)
        (folder / "kernels").mkdir(parents=True, exist_ok=True)
        (folder / "golden").mkdir(exist_ok=True)
        (folder / PLAN_FILE).unlink(missing_ok=True)
        for name, text in self.sources.items():
            (folder / name).write_text(text)
        for pool in self.plan.pools:
            if pool.file:
                # Rewriting a pool in place would corrupt a bundle that another process has mapped.
                partial = folder / (pool.file + ".part")
                np.ascontiguousarray(self.pools[pool.name]).tofile(partial)
                partial.replace(folder / pool.file)
        golden = Golden()
        for side, arrays in self.golden.items():
            for i, (name, array) in enumerate(arrays.items()):
                file = f"golden/{side[:-1]}{i}.bin"
                np.ascontiguousarray(array).tofile(folder / file)
                getattr(golden, side).append(GoldenFile(name, file))
        partial = folder / f"{PLAN_FILE}.part"
        partial.write_text(json.dumps(replace(self.plan, golden=golden).to_json(), indent=1))
        partial.replace(folder / PLAN_FILE)
        return folder

    @staticmethod
    def load(folder: str | Path) -> Bundle:
        """Read and check a bundle. Pools are memory-mapped. Raises :class:`~ecp.errors.BundleError`."""
        folder = Path(folder)
        try:
            files = Folder(folder)
            plan = Plan.from_json(files.read(PLAN_FILE, MOST_PLAN))
            check_plan(plan)
            sources = {name: _source(files, name, plan) for name in {p.file: None for p in plan.programs}}
            pools = {p.name: files.map(p.file, p.bytes) for p in plan.pools if p.file}
            golden = {
                "inputs": _golden(files, plan.inputs, plan.golden.inputs),
                "outputs": _golden(files, plan.outputs, plan.golden.outputs),
            }
        except (FormError, OSError) as error:
            raise BundleError(f"{folder} is not a usable bundle: {error}; compile the model again") from error
        return Bundle(plan, sources, pools, golden, folder)


def _source(files: Folder, name: str, plan: Plan) -> str:
    try:
        text = files.read(name, MOST_SOURCE).decode("utf-8")
        check_source(text, assembler=plan.device_class == "nvidia")
    except UnicodeDecodeError:
        raise FormError(f"{name} is not UTF-8") from None
    except FormError as error:
        error.path = error.path or [name]
        raise
    return text


def _golden(files: Folder, ports: list[Port], entries: list[GoldenFile]) -> dict[str, np.ndarray]:
    """Contents by port, in the plan's order."""
    known = {port.name: port for port in ports}
    out = {}
    for entry in entries:
        port = known[entry.name]
        dtype = np.dtype(port.dtype)
        data = files.map(entry.file, prod(port.shape) * dtype.itemsize)
        out[entry.name] = np.array(data).view(dtype).reshape(port.shape)
    return out
