"""pytest-benchmark's JSON enters the store as a run like any other."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.microbench import store
from bench.store import index, query
from bench.store.engine import open_store
from ecp.errors import UsageError

ROOT = Path(__file__).parent.parent.parent


def _json(rounds):
    stats = {"data": rounds} if rounds else {}
    info = {"device": "local", "driver": "1.0", "true_backend": "a device"}
    return {
        "version": "5.0",
        "benchmarks": [{"name": "test_kernel[softmax]", "stats": stats, "extra_info": info}],
    }


def test_rounds_become_a_series(tmp_path):
    for seconds in (0.002, 0.003):
        store(json.loads(json.dumps(_json([seconds] * 5))), tmp_path)
    engine = open_store(str(tmp_path / "index.sqlite"))
    index.index_results(engine, [tmp_path])
    ((identity, points),) = query.series(engine, query.Filter(metrics=("microbench",))).items()
    assert (identity.model, identity.backend) == ("kernel[softmax]", "ecp-kernel")
    assert sorted(p.medians[0] for p in points) == [2.0, 3.0]


@pytest.mark.parametrize(("data", "said"), [(_json([]), "benchmark-save-data"), ({}, "no benchmark")])
def test_files_without_rounds_are_refused(tmp_path, data, said):
    with pytest.raises(UsageError, match=said):
        store(data, tmp_path)


def test_the_session_keeps_what_pytest_benchmark_measured(tmp_path):
    shutil.copy(ROOT / "tests/microbench/conftest.py", tmp_path)
    (tmp_path / "test_one.py").write_text(
        "def test_sum(benchmark):\n    assert benchmark(sum, range(99)) == 4851\n"
    )
    kept = tmp_path / "kept"
    # Under xdist this variable would reach the child, and pytest-benchmark does not measure where it is set.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:xdist",
            "-p",
            "no:cacheprovider",
            "--benchmark-only",
        ],
        cwd=tmp_path,
        env={**env, "ECP_RESULTS": str(kept), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((kept / "microbench.json").read_text())["benchmarks"]
    (line,) = next(kept.glob("*-microbench-*/records.jsonl")).read_text().splitlines()
    record = json.loads(line)
    assert record["cell"]["model"] == "sum" and record["samples_ms"]
