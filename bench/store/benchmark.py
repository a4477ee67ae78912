"""How long the index takes: ``python -m bench.store.benchmark --records 10000`` makes runs up and times them.

The records have the form and size of real ones (50 samples, states before and after). Wall and processor seconds
are both printed, because on a busy machine only the latter says something about the code.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import validity
from bench.records import BlockRecord, CellKey
from bench.store.engine import open_store
from bench.store.index import index_results, rebuild
from bench.store.query import Filter, counts, series
from bench.validity_machine import machine

MODELS = ("vit_tiny", "vit_small", "vit_base", "ecp_vit_tiny", "ecp_vit_small")
BACKENDS = ("ecp", "onnxruntime", "openvino", "torch")
BLOCKS = 10


def make_runs(results: Path, records: int) -> int:
    """Runs of 5 models x 4 backends x 10 blocks below ``results``; how many records were written."""
    rng = np.random.default_rng(0)
    state, host = validity.capture(), machine()
    cases = [(m, b) for m in MODELS for b in BACKENDS]
    written = 0
    for run in range(-(-records // (len(cases) * BLOCKS))):
        run_id = f"2026{1 + run // 28:02d}{1 + run % 28:02d}T000000Z-latency-{run:06x}"
        folder = results / run_id
        folder.mkdir(parents=True)
        git = {"commit": f"{run:040x}", "branch": "main", "dirty": False}
        (folder / "run.json").write_text(json.dumps({"run_id": run_id, "environment": host, "git": git}))
        lines: list[str] = []
        for seq, (model, backend) in enumerate(cases * BLOCKS):
            if written + len(lines) >= records:
                break
            cell = CellKey("local", backend, "1", model, f"{MODELS.index(model):064x}", "fp32", "latency")
            samples = [float(v) for v in 10.0 * np.exp(rng.normal(0, 0.01, 50))]
            record = BlockRecord(
                run_id,
                seq,
                seq // len(cases),
                cell,
                "measured",
                warmup_ms=samples[:16],
                samples_ms=samples,
                error={"ok": True, "max_abs": 1e-5},
                env_before=state,
                env_after=state,
                extra={"threads": 2, "unit": "ms", "source": "wall"},
            )
            lines.append(record.to_json() + "\n")
        (folder / "records.jsonl").write_text("".join(lines))
        written += len(lines)
    return written


def timed(what: str, work: Callable[[], Any]) -> Any:
    """Run ``work`` and print its wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what:32} {wall:8.3f} s wall {cpu:8.3f} s processor")
    return result


def main(argv: list[str] | None = None) -> int:
    """Make the runs, rebuild, index again without changes, query all and one series."""
    parser = argparse.ArgumentParser(prog="python -m bench.store.benchmark", description=__doc__)
    parser.add_argument("--records", type=int, default=10_000, help="how many records")
    parser.add_argument("--store", help="index to use, a path or URL (default: SQLite in a temporary folder)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        results = Path(name) / "results"
        written = timed("making the records", lambda: make_runs(results, args.records))
        size = sum(f.stat().st_size for f in results.glob("*/records.jsonl"))
        print(f"{written} records, {size / 1e6:.1f} MB")
        engine = open_store(args.store or str(Path(name) / "index.sqlite"))
        timed("rebuild", lambda: rebuild(engine, [results]))
        timed("index again, nothing changed", lambda: index_results(engine, [results]))
        timed("query one series", lambda: series(engine, Filter(models=("vit_tiny",), backends=("ecp",))))
        timed("query every series", lambda: series(engine, Filter()))
        print(counts(engine))
        engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
