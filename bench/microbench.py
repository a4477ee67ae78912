"""pytest-benchmark results as an ordinary run, so that kernel timings share the store and the history.

``nox -s microbench`` does this by itself; ``store(json.loads(...), results)`` takes a file that was made with
``--benchmark-json`` and ``--benchmark-save-data`` elsewhere.
"""

from __future__ import annotations

import datetime
import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.records import BlockRecord, CellKey, RunFolder
from bench.validity_machine import machine
from ecp.errors import UsageError

METRIC = "microbench"
BACKEND = "ecp-kernel"
# One process is one block: many rounds inside it are no more independent than iterations are.
MAX_SAMPLES = 1000


def to_record(benchmark: Mapping[str, Any], run_id: str, seq: int) -> BlockRecord:
    """One benchmark of pytest-benchmark's JSON. Its rounds are seconds there and milliseconds here.

    ``extra_info`` may name ``device``, ``version``, ``true_backend`` and ``sha256``. Raises
    :class:`UsageError` where the file holds no rounds.
    """
    rounds = benchmark.get("stats", {}).get("data")
    name = str(benchmark.get("name", "unnamed"))
    if not rounds:
        raise UsageError(f"benchmark {name} holds no rounds; make the file with --benchmark-save-data")
    info = benchmark.get("extra_info") or {}
    cell = CellKey(
        device=str(info.get("device", "local")),
        backend=BACKEND,
        backend_version=str(info.get("version", "")),
        model=name.removeprefix("test_"),
        model_sha256=str(info.get("sha256") or hashlib.sha256(name.encode()).hexdigest()),
        precision=str(info.get("precision", "fp32")),
        metric=METRIC,
    )
    extra = {
        "unit": "ms",
        "source": "wall",
        "true_backend": info.get("true_backend"),
        "details": {"driver": info.get("driver")},
        "threads": info.get("threads"),
        "rounds": len(rounds),
    }
    samples = [1e3 * float(t) for t in rounds[:MAX_SAMPLES]]
    return BlockRecord(run_id, seq, 0, cell, "measured", samples_ms=samples, extra=extra)


def store(data: Mapping[str, Any], results: Path) -> Path:
    """Write pytest-benchmark's JSON as a run below ``results``; the new run's folder."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = RunFolder(results / f"{stamp}-{METRIC}-{secrets.token_hex(3)}")
    records = [to_record(b, folder.run_id, n) for n, b in enumerate(data.get("benchmarks", []))]
    if not records:
        raise UsageError("the file holds no benchmark; is it pytest-benchmark's JSON?")
    folder.create()
    folder.write_run(
        {
            "schema_version": 1,
            "run_id": folder.run_id,
            "metric": METRIC,
            "state": "complete",
            "environment": machine(),
            "pytest_benchmark": data.get("version"),
        }
    )
    for record in records:
        folder.append(record)
    folder.close()
    return folder.folder
