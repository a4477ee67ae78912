"""Kernel microbenchmarks keep their rounds and become a run in the store when the session ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.microbench import store
from bench.paths import RESULTS


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    option = config.option
    if getattr(option, "benchmark_only", False) and not getattr(option, "benchmark_json", None):
        folder = Path(os.environ.get("ECP_RESULTS", RESULTS))
        folder.mkdir(parents=True, exist_ok=True)
        option.benchmark_json = str(folder / "microbench.json")


def pytest_benchmark_update_json(config, benchmarks, output_json):
    """Rounds are in the JSON only if asked for; here they always are, for they are what is stored."""
    by_name = {b.fullname: b for b in benchmarks}
    for row in output_json["benchmarks"]:
        row["stats"]["data"] = list(by_name[row["fullname"]].stats.data)
    folder = store(output_json, Path(os.environ.get("ECP_RESULTS", RESULTS)))
    print(f"\nkept as run {folder}")
