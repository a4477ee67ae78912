"""Bootstrap and steady state against synthetic truth."""

import numpy as np
import pytest

from bench.stats.bootstrap import _resampled_medians, hierarchical_median_ci
from bench.stats.steady import steady_start, still_steady


def _sample(rng, blocks, iterations, between, within, centre=10.0):
    offsets = rng.normal(0.0, between, blocks)
    return [centre * (1 + o + rng.normal(0.0, within, iterations)) for o in offsets]


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(300):
        _, lo, hi = hierarchical_median_ci(_sample(rng, 12, 31, 0.02, 0.01), seed=trial)
        hits += lo <= 10.0 <= hi
    assert 0.90 <= hits / 300 <= 0.995


def test_between_block_noise_widens_the_interval():
    # Ten noisy processes of a quiet loop: resampling iterations alone would see only the quiet loop.
    blocks = _sample(np.random.default_rng(2), 10, 100, 0.05, 0.0001)
    _, lo, hi = hierarchical_median_ci(blocks)
    pooled = np.concatenate(blocks)
    assert hi - lo > 0.2
    assert lo < np.median(pooled) < hi


def test_value_is_the_median_of_block_medians_and_repeats():
    blocks = _sample(np.random.default_rng(3), 5, 10, 0.02, 0.01)
    first = hierarchical_median_ci(blocks, seed=3)
    assert first[0] == np.median([np.median(b) for b in blocks])
    assert first == hierarchical_median_ci(blocks, seed=3)


@pytest.mark.parametrize("size", [1, 2, 5, 8, 31])
def test_constant_time_resampling_equals_plain_resampling(size):
    rng = np.random.default_rng(size)
    ordered = np.sort(rng.normal(size=size))
    fast = _resampled_medians(ordered, 40_000, rng)
    plain = np.median(ordered[rng.integers(0, size, (40_000, size))], axis=1)
    for q in (0.1, 0.5, 0.9):
        # Same discrete distribution: the share at or below any support point agrees within sampling error.
        point = np.quantile(plain, q)
        assert abs((fast <= point).mean() - (plain <= point).mean()) < 0.015


@pytest.mark.parametrize("bad", [[], [[]], [[1.0], []], [[1.0, float("nan")]]])
def test_bad_blocks_are_refused(bad):
    with pytest.raises(ValueError):
        hierarchical_median_ci(bad)


def test_warm_up_is_found_after_an_exponential_start():
    rng = np.random.default_rng(5)
    truth = 40
    curve = 10.0 * (1 + 2.0 * np.exp(-np.arange(200) / 8.0)) * (1 + rng.normal(0, 0.004, 200))
    start = steady_start(curve, window=10, tolerance=0.02)
    assert start is not None
    assert truth - 15 <= start <= truth + 15
    assert abs(np.median(curve[start:]) / 10.0 - 1) < 0.01


def test_a_step_inside_the_warm_up_is_not_steady_before_the_step_ends():
    samples = [20.0, 19.0, 18.0, 17.0, 16.0, 15.0] + [10.0] * 12
    assert steady_start(samples, window=3, tolerance=0.02) == 8


def test_answer_does_not_change_when_samples_are_appended():
    rng = np.random.default_rng(6)
    samples = list(10 * (1 + np.exp(-np.arange(80) / 5)) * (1 + rng.normal(0, 0.01, 80)))
    answers = [steady_start(samples[:n], 8, 0.02) for n in range(len(samples))]
    settled = [a for a in answers if a is not None]
    assert settled
    assert len(set(settled)) == 1


def test_ever_falling_times_have_no_steady_state():
    assert steady_start(100.0 * 0.95 ** np.arange(60), window=5, tolerance=0.02) is None
    assert steady_start([1.0] * 9, window=5, tolerance=0.02) is None


def test_slow_ramp_is_seen_afterwards():
    assert not still_steady(np.linspace(10, 10.6, 60), 4, 0.02)
    assert still_steady(10 + np.random.default_rng(7).normal(0, 0.05, 60), 4, 0.02)
    with pytest.raises(ValueError):
        still_steady([1.0], 2, 0.1)


def test_zero_or_negative_times_are_refused():
    with pytest.raises(ValueError):
        steady_start([1.0, 0.0, 1.0, 1.0], 2, 0.1)
