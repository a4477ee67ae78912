"""Intervals against synthetic truth: what is printed holds what it promises, and nothing else is printed."""

import numpy as np
import pytest

from bench.cells import make_cell
from bench.plan import Case
from bench.records import BlockRecord
from bench.stats.median_interval import blocks_interval
from bench.store.query import Point
from tests.bench.fake_runs import cell


@pytest.mark.parametrize("blocks", [6, 8, 10, 15])
@pytest.mark.parametrize("heavy", [False, True])
def test_an_interval_covers_the_truth_at_least_as_often_as_it_says(blocks, heavy):
    rng, hits, runs = np.random.default_rng(blocks), 0, 1500
    for _ in range(runs):
        offsets = rng.standard_cauchy(blocks) if heavy else rng.normal(size=blocks)
        samples = [10 * np.exp(0.02 * o + rng.normal(0, 0.01, 11)) for o in offsets]
        lo, hi = blocks_interval(samples)
        hits += lo <= 10.0 <= hi
    # Three standard errors of a rate of 95 % over so many runs.
    assert hits / runs >= 0.95 - 3 * (0.95 * 0.05 / runs) ** 0.5


def test_more_samples_in_a_block_narrow_nothing():
    quiet = [[m] * n for m, n in zip((10.0, 10.4, 9.8, 10.1, 10.2, 9.9), (1, 500, 3, 40, 7, 9), strict=True)]
    assert blocks_interval(quiet) == (9.8, 10.4)


@pytest.mark.parametrize("blocks", [1, 2, 3, 5])
def test_under_six_blocks_there_is_no_interval_anywhere(blocks):
    records = [
        BlockRecord("r", n, n, cell(), "measured", samples_ms=[10.0 + n] * 9, error={"ok": True})
        for n in range(blocks)
    ]
    found = make_cell(Case("local", "ecp", "vit_tiny", "latency"), records, blocks)
    assert found.value and found.ci is None and "under six" in found.extra["ci_reason"]
    assert blocks_interval([[1.0]] * blocks) is None
    assert Point("r", "", None, "1", "ms", [10.0] * blocks).interval() is None


@pytest.mark.parametrize("bad", [[], [[]], [[1.0], []], [[1.0, float("nan")]]])
def test_bad_blocks_are_refused(bad):
    with pytest.raises(ValueError):
        blocks_interval(bad)
