"""Which function measures which metric inside a worker process; found by name, imported only there.

A metric's module offers ``measure(request: Request, session: Session) -> dict`` as :mod:`bench.measure` does; the
dict's keys are those of a reply (``samples_ms``, ``warmup_ms``, ``first_ms``, ``status``, ``reason``, ``extra``).
"""

from __future__ import annotations

METRICS: dict[str, str] = {
    "latency": "bench.measure:latency",
    "memory": "bench.measure:memory",
    "profile": "bench.profile:measure",
    "versus": "bench.measure:latency",
}
UNITS: dict[str, str] = {"latency": "ms", "memory": "MiB", "profile": "ms", "versus": "ms"}
SOURCES: dict[str, str] = {
    "latency": "wall",
    "memory": "rss",
    "profile": "framework profiler",
    "versus": "wall",
}
