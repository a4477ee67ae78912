"""The comparability key: which measurements may be compared at all, as a hash with its inputs kept beside it.

Same device, processor, model bytes, backend, precision, threads, options and OpenCL driver: same key.
Versions of the code and of the framework are left out on purpose, they are what a comparison compares.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bench.records import BlockRecord
from bench.validity_machine import sha256_json

KEY_VERSION = 1


def _value(readings: Mapping[str, Any], name: str) -> Any:
    """Value of a reading with provenance; None where it is absent or unknown."""
    entry = readings.get(name)
    return entry.get("value") if isinstance(entry, Mapping) else None


def comparability(record: BlockRecord, run: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """``(sha256, inputs)``. ``run`` is run.json; what it does not say stands as ``None`` (unknown).

    An unknown equals only another unknown: a record that cannot say which processor it ran on is not
    comparable with one that can.
    """
    host = run.get("environment") or {}
    details = record.extra.get("details") or {}
    cpu = _value(host, "cpu")
    kernel = _value(host, "kernel")
    inputs = {
        "key_version": KEY_VERSION,
        "device": record.cell.device,
        "device_identity": details.get("device_identity"),
        "cpu": cpu.get("model") if isinstance(cpu, Mapping) else None,
        "cpus": _value(host, "cpus"),
        "machine": _value(host, "machine"),
        "kernel": ".".join(re.findall(r"\d+", kernel)[:2]) if isinstance(kernel, str) else None,
        "true_backend": record.extra.get("true_backend"),
        "driver": details.get("driver"),
        "backend": record.cell.backend,
        "model": record.cell.model,
        "model_sha256": record.cell.model_sha256,
        "precision": record.cell.precision,
        "metric": record.cell.metric,
        "threads": record.extra.get("threads"),
        "options": record.extra.get("options") or {},
        "source": record.extra.get("source"),
    }
    return sha256_json(inputs), inputs


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """One sentence per input that differs: why two measurements are ``incomparable``."""
    return [f"{k}: {a.get(k)!r} against {b.get(k)!r}" for k in sorted({*a, *b}) if a.get(k) != b.get(k)]
