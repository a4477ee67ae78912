"""Steady state against synthetic truth."""

import numpy as np
import pytest

from bench.stats.steady import steady_start, still_steady


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
