"""Invented records for tests only: two runs on two days, several metrics, some failures. Never a result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from bench.records import BlockRecord, CellKey, RunFolder

LATENCY = {
    "vit_tiny": {"ecp": 8.0, "mnn": 15.0, "tvm": 20.0, "onnxruntime": 10.5},
    "ecp_vit_tiny": {"ecp": 7.4, "mnn": 16.0, "tvm": 33.0, "onnxruntime": 10.9},
    "vit_small": {"ecp": 24.0, "mnn": 41.0, "tvm": 60.0, "onnxruntime": 32.0},
    "ecp_vit_small": {"ecp": 26.0, "mnn": 40.0, "tvm": 75.0, "onnxruntime": 31.0},
    "vit_base": {"ecp": 95.0, "mnn": 180.0, "tvm": 240.0, "onnxruntime": 131.0},
}
SHA = "0" * 64


def key(model: str, backend: str, metric: str) -> CellKey:
    return CellKey("local", backend, "1.0", model, SHA, "fp32", metric)


def report(nodes: int = 620) -> dict[str, object]:
    return {
        "imported_nodes": nodes,
        "transformative_nodes": 200,
        "eliminated": 199,
        "launches": 63,
        "layout_launches": 0,
        "materialized": [["/head/Gather", "only the class token is read"]],
        "arena_bytes": 3_000_000,
        "naive_bytes": 90_000_000,
        "macs": 1_254_000_000,
        "compile_seconds": 2.5,
    }


def latency_records(rng: np.random.Generator, run: str, scale: float) -> list[BlockRecord]:
    records = []
    for block in range(6):
        for model, by_backend in LATENCY.items():
            for backend, level in by_backend.items():
                mean = level * scale * rng.normal(1, 0.005)
                samples = (mean * (1 + np.abs(rng.normal(0, 0.01, 12)))).round(4).tolist()
                records.append(
                    BlockRecord(
                        run,
                        len(records),
                        block,
                        key(model, backend, "latency"),
                        "measured",
                        warmup_ms=[2 * mean, 1.1 * mean],
                        samples_ms=samples,
                        first_ms=3 * mean,
                        compile_s=1.5,
                        error={"max_abs": 1e-5, "ref": "float64", "limit": 1e-3},
                        env_before={"unix_time": 1.0, "load_1min": 0.1, "affinity": [0, 1]},
                        env_after={"unix_time": 2.0, "load_1min": 0.2, "affinity": [0, 1]},
                        extra={
                            "unit": "ms",
                            "source": "wall",
                            "details": report() if backend == "ecp" else {},
                            "true_backend": f"{backend} <b>cpu</b>",
                            "threads": 2,
                        },
                    )
                )
    for block in range(2):
        slow = 8.0 * scale * 1.5
        options = {"eliminate": False, "threads": 2}
        cell = key("vit_tiny", "ecp", "latency")
        extra = {"unit": "ms", "source": "wall", "options": options}
        records.append(
            BlockRecord(
                run, len(records), block, cell, "measured", samples_ms=[slow, slow * 1.01], extra=extra
            )
        )
    missing = key("vit_tiny", "tnn", "latency")
    records.append(
        BlockRecord(run, len(records), 0, missing, "unavailable", "TNN is not installed; build it first")
    )
    return records


def profile(layout: float, compute: float, **more: object) -> dict[str, object]:
    """``extra["profile"]`` as ``bench profile`` writes it."""
    heaviest = [{"op": "MatMul", "class": "matmul", "count": 49, "hooked_ms": compute}]
    return {
        "layout_ms": layout,
        "compute_ms": compute,
        "latency_ms": layout + compute,
        "hook_overhead": 0.25,
        "class_ms": {"matmul": compute, **({"layout": layout} if layout else {})},
        "heaviest": heaviest,
        "intermediate_mb": 101.5,
        **more,
    }


def other_records(run: str) -> list[BlockRecord]:
    kinds = [("matmul", 4.0, 2e9, 8e6), ("attention", 1.0, 2e8, 4e6), ("norm", 0.5, 1e6, 2e6)]
    launches = [
        {"name": f"k{i}", "family": kind, "ms": ms, "flops": f, "bytes": b, "nodes": [f"/blocks.{i}/MatMul"]}
        for i, (kind, ms, f, b) in enumerate(kinds)
    ]
    ecp = {"source": "device-event", "details": report(), "profile": profile(0.0, 5.5, launches=launches)}
    mnn = {"profile": profile(5.0, 10.0)}
    return [
        BlockRecord(run, 0, 0, key("vit_tiny", "ecp", "profile"), "measured", samples_ms=[0.0], extra=ecp),
        BlockRecord(
            run,
            1,
            0,
            key("vit_base", "mnn", "profile"),
            "measured",
            samples_ms=[5.0],
            extra=mnn,
        ),
        BlockRecord(
            run, 2, 0, key("vit_base", "ecp", "memory"), "measured", samples_ms=[410.0], extra={"unit": "MiB"}
        ),
        BlockRecord(
            run,
            3,
            0,
            key("ecp_vit_base", "ecp", "memory"),
            "measured",
            samples_ms=[405.0],
            extra={"unit": "MiB"},
        ),
    ]


def roofline_records(run: str) -> list[BlockRecord]:
    """Two peaks as ``bench roofline`` writes them; they belong to no model."""
    both = {"gflops": 400.0, "gbytes_per_s": 20.0}
    return [
        BlockRecord(
            run,
            i,
            0,
            key(f"peak:{kind}", "ecp", "roofline"),
            "measured",
            samples_ms=[value],
            extra={"unit": unit, "source": "device-event", "peaks": both},
        )
        for i, (kind, unit, value) in enumerate((("fma", "GFLOP/s", 400.0), ("copy", "GB/s", 20.0)))
    ]


TURNS = {"ecp": 1.0, "onnxruntime": 1.25, "openvino": 0.8}


def versus_records(
    run: str,
    ratios: dict[tuple[str, str], float],
    blocks: int = 8,
    seed: int = 5,
    options: dict[str, str] | None = None,
) -> list[BlockRecord]:
    """Contenders (backend, model) that take turns: ``ratios`` are their times over the first one's.

    The machine's speed is another one in every round; block 3 never became steady.
    """
    rng = np.random.default_rng(seed)
    records = []
    for block in range(blocks):
        levels = rng.uniform(8, 14) * rng.uniform(1.0, 1.5, 6).repeat(2)
        for (backend, model), ratio in ratios.items():
            turns = [(ratio * level * rng.normal(1, 0.004, 5)).tolist() for level in levels]
            extra = {"turn_lengths": [5] * 12, "threads": 2, "options": options or {}}
            status = "unstable" if block == 3 else "measured"
            records.append(
                BlockRecord(
                    run,
                    len(records),
                    block,
                    key(model, backend, "versus"),
                    status,
                    "never steady" if block == 3 else "",
                    samples_ms=[t for turn in turns for t in turn],
                    error={"max_abs": 1e-5, "ok": True},
                    extra=extra,
                )
            )
    return records


def versus_plan(records: list[BlockRecord]) -> list[dict[str, object]]:
    """The plan in run.json, as ``bench versus`` writes it."""
    return [
        {
            "seq": r.seq,
            "block": r.block,
            "case": {n: getattr(r.cell, n) for n in ("device", "backend", "model", "metric", "precision")},
        }
        for r in records
    ]


def refused(run: str, seq: int, backend: str, model: str) -> BlockRecord:
    """A contender that cannot take turns."""
    reason = "clocks itself and cannot take turns"
    return BlockRecord(run, seq, 0, key(model, backend, "versus"), "unsupported", reason)


def accuracy_cells() -> list[dict[str, object]]:
    rows = [
        ("vit_small", 90.0),
        ("ecp_vit_small", 91.0),
        ("ecp_vit_small@0.3", 84.0),
        ("ecp_vit_tiny@0.5", 71.4),
    ]
    return [
        {
            "device": "local",
            "backend": "torch",
            "backend_version": "2",
            "model": model,
            "model_sha256": SHA,
            "precision": "fp32",
            "metric": "accuracy",
            "status": "measured",
            "value": value,
            "unit": "%",
            "ci": [value - 0.3, value + 0.3],
            "blocks": [],
            "source": "labels",
            "reason": "",
            "extra": {"dataset": "imagenet" if "tiny" in model else "stl10"},
        }
        for model, value in rows
    ]


def training(ratio: float, seed: int, top1: float) -> dict[str, object]:
    """A summary as ``bench train`` writes it."""
    return {
        "top1": top1,
        "unit": "%",
        "device": "cpu",
        "torch": "2",
        "train_images": 1000,
        "core": {"method": "grad-cam"},
        "config": {
            "seed": seed,
            "model": {"name": "vit_base_patch16_224", "core_ratio": ratio},
            "data": {"kind": "tiny-imagenet"},
            "recipe": {"epochs": 2},
        },
    }


def write_run(folder: Path, records: list[BlockRecord], metric: str, stamp: str, **more: object) -> None:
    run = RunFolder(folder)
    run.create()
    run.write_run(
        {
            "schema_version": 1,
            "run_id": f"{stamp}T100000Z-{metric}-aaaaaa",
            "metric": metric,
            "state": "complete",
            "host": {"cpu_model": "invented processor", "cpus": 2},
            "command": ["bench", metric],
            **more,
        }
    )
    for record in records:
        run.append(record)
    run.close()


def write_all(folder: Path) -> Path:
    """A records folder with eight runs."""
    rng = np.random.default_rng(0)
    write_run(folder / "2026-01-01-latency", latency_records(rng, "a", 1.2), "latency", "20260101")
    write_run(folder / "2026-01-02-latency", latency_records(rng, "b", 1.0), "latency", "20260102")
    write_run(folder / "2026-01-03-various", other_records("c"), "profile", "20260103")
    for day in ("04", "05"):
        name = f"2026-01-{day}-roofline"
        write_run(folder / name, roofline_records(day), "roofline", f"202601{day}")
    (folder / "2026-01-03-various" / "accuracy.json").write_text(json.dumps(accuracy_cells()))
    turns = versus_records("v", {(b, "vit_tiny"): r for b, r in TURNS.items()})
    plan = versus_plan([*turns, refused("v", len(turns), "tnn", "vit_tiny")])
    turns.append(refused("v", len(turns), "tnn", "vit_tiny"))
    write_run(folder / "2026-01-06-versus", turns, "versus", "20260106", plan=plan)
    pair = versus_records("w", {("ecp", "ecp_vit_tiny"): 1.0, ("ecp", "vit_tiny"): 1.1}, blocks=6)
    write_run(folder / "2026-01-07-versus", pair, "versus", "20260107")
    (folder / "2026-01-04-train").mkdir()
    for ratio, seed, top1 in ((1.0, 0, 80.0), (1.0, 1, 82.0), (0.9, 0, 83.0), (0.9, 1, 84.0)):
        name = folder / "2026-01-04-train" / f"r{ratio}-s{seed}.json"
        name.write_text(json.dumps(training(ratio, seed, top1)))
    return folder
