"""``python -m bench.overhead RUN``: what the harness itself cost per block of a run, and where it went.

From the records alone, so any run of any machine can be asked: a block's whole time (process start to process end)
less first inference, warm-up, samples and compiling is the harness. Seconds, medians over blocks.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.names import check_name
from bench.paths import RESULTS
from bench.records import BlockRecord, iter_runs, read_records
from ecp.errors import EcpError

PARTS = ("block", "measuring", "compile", "start", "checks", "process", "harness")
MEANING = {
    "block": "whole block, process start to process end",
    "measuring": "first inference, warm-up and samples",
    "compile": "the backend's own prepare (compile or load)",
    "start": "imports, request, test inputs",
    "checks": "machine state before and after, output check, close",
    "process": "interpreter start, answer, process end",
    "harness": "all but measuring and compile",
}


def parts(record: BlockRecord) -> dict[str, float] | None:
    """Seconds of one block by part; ``None`` where it measured nothing or was half of an interleaved pair."""
    extra = record.extra
    known = all(k in extra for k in ("block_wall_s", "worker_start_s", "worker_total_s"))
    if not known or not record.samples_ms or record.cell.metric != "latency" or "pair_wall_s" in extra:
        return None
    measuring = (sum(record.warmup_ms) + sum(record.samples_ms) + (record.first_ms or 0.0)) / 1e3
    compile_s = record.compile_s or 0.0
    block, start, total = (float(extra[k]) for k in ("block_wall_s", "worker_start_s", "worker_total_s"))
    return {
        "block": block,
        "measuring": measuring,
        "compile": compile_s,
        "start": start,
        "checks": total - start - compile_s - measuring,
        "process": block - total,
        "harness": block - measuring - compile_s,
    }


def summary(records: Sequence[BlockRecord]) -> dict[str, dict[str, float]]:
    """Backend -> part -> median seconds; ``blocks`` is their number."""
    table: dict[str, list[dict[str, float]]] = {}
    for record in records:
        found = parts(record)
        if found is not None:
            table.setdefault(record.cell.backend, []).append(found)
    return {
        backend: {"blocks": len(rows), **{p: median(r[p] for r in rows) for p in PARTS}}
        for backend, rows in table.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the table of one run; 1 where it holds no block that says."""
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description=__doc__)
    parser.add_argument("run", nargs="?", help="a run's id; default: the newest latency run")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    args = parser.parse_args(arguments)
    runs = {f.name: f for f in iter_runs(args.out)}
    latency = [n for n in runs if "-latency-" in n]
    try:
        name = check_name("run", args.run or (latency[-1] if latency else "latency"), list(runs))
    except EcpError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    found = summary(read_records(runs[name] / "records.jsonl").records)
    if not found:
        print(f"{name}: no block that was measured alone", file=sys.stderr)
        return 1
    print(f"{name}: seconds per block, medians")
    for backend, row in found.items():
        print(f"{backend} ({row['blocks']} blocks)")
        for part in PARTS:
            print(f"  {part:10} {row[part]:7.3f}  {MEANING[part]}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
