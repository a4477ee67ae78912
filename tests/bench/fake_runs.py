"""Run folders made up for tests: real files in the real format, no measurement behind them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bench.records import BlockRecord, CellKey
from bench.validity import known


def host(cpu: str = "Test CPU") -> dict:
    values = {"machine": "x86_64", "kernel": "6.1.0-9", "cpu": {"model": cpu}, "cpus": 2}
    return {name: known(value, "made up") for name, value in values.items()}


def cell(**changes: str) -> CellKey:
    values = {
        "device": "local",
        "backend": "ecp",
        "backend_version": "1",
        "model": "vit_tiny",
        "model_sha256": "0" * 64,
        "precision": "fp32",
        "metric": "latency",
    }
    return CellKey(**{**values, **changes})


def make_run(
    results: Path,
    run_id: str,
    medians: list[float],
    *,
    commit: str | None = None,
    seed: int = 0,
    status: str = "measured",
    cpu: str = "Test CPU",
    samples: int = 5,
    cells: list[CellKey] | None = None,
    extra: dict | None = None,
) -> Path:
    """A run with one block per median and cell; samples scatter 0.1 % round the median (median exact)."""
    folder = results / run_id
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    run = {"schema_version": 1, "run_id": run_id, "metric": "latency", "environment": host(cpu), "plan": []}
    if commit:
        run["git"] = {"commit": commit, "branch": "main", "dirty": False}
    (folder / "run.json").write_text(json.dumps(run))
    lines = []
    for block, median in enumerate(medians):
        for key in cells or [cell()]:
            half = np.abs(rng.normal(0, 0.001, samples // 2)) * median
            times = [median, *(median - half), *(median + half)]
            record = BlockRecord(
                run_id=run_id,
                seq=len(lines),
                block=block,
                cell=key,
                status=status,
                reason="" if status == "measured" else f"made up {status}",
                samples_ms=[float(t) for t in times] if status == "measured" else [],
                extra={"threads": 2, "source": "wall", "unit": "ms", **(extra or {})},
                error={"ok": True, "max_abs": 1e-5},
            )
            lines.append(record.to_json())
    (folder / "records.jsonl").write_text("".join(line + "\n" for line in lines))
    return folder
