"""pytest-benchmark's JSON enters the store as a run like any other."""

import json

import pytest

from bench.microbench import store
from bench.store import index, query
from bench.store.engine import open_store
from ecp.errors import UsageError


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
