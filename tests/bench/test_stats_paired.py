"""Signed-rank test, Hodges-Lehmann bounds, margins, detectable effects: scipy, brute force, synthetic truth."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from bench.stats import paired, power

finite = st.floats(-1, 1, allow_nan=False)


@pytest.mark.parametrize("n", [1, 4, 9])
def test_null_distribution_equals_enumeration(n):
    ranks = np.arange(1, n + 1)
    sums = [int(ranks[list(s)].sum()) for s in itertools.product([False, True], repeat=n)]
    exact = [np.mean([x <= w for x in sums]) for w in range(n * (n + 1) // 2 + 1)]
    assert np.allclose(power.null_cumulative(n), exact)


@given(st.lists(finite, min_size=2, max_size=15, unique_by=abs))
@settings(max_examples=60, deadline=None)
def test_p_value_equals_scipys_exact_one(d):
    if any(x == 0 for x in d) or len({abs(x) for x in d}) < len(d):
        return
    expected = wilcoxon(d, alternative="greater", method="exact").pvalue
    averages = paired.walsh_averages(d)
    if np.any(averages == 0):
        return
    assert paired.p_above(d, 0.0) == pytest.approx(expected)


@given(st.lists(finite, min_size=7, max_size=20), finite)
@settings(max_examples=100, deadline=None)
def test_bound_and_test_say_the_same(d, threshold):
    assert (paired.lower_bound(d, 0.01) > threshold) == (paired.p_above(d, threshold) <= 0.01)


def test_bounds_are_symmetric_and_hold_the_estimate():
    d = np.random.default_rng(0).normal(0.03, 0.02, 12)
    assert paired.lower_bound(d) < paired.hodges_lehmann(d) < paired.upper_bound(d)
    assert paired.upper_bound(d) == -paired.lower_bound(-d)


def test_too_few_pairs_say_nothing():
    result = paired.compare([1.0] * 6, [2.0] * 6)
    assert (result.lo, result.hi, result.verdict, result.mde) == (0.0, math.inf, "inconclusive", None)
    assert power.pairs_needed(0.01) == 7
    assert paired.compare([1.0] * 7, [2.0] * 7).verdict == "regressed"


@pytest.mark.parametrize(
    ("effect", "verdict"),
    [(0.08, "regressed"), (-0.08, "improved"), (0.0, "unchanged"), (0.02, "inconclusive")],
)
def test_verdicts(effect, verdict):
    rng = np.random.default_rng(3)
    a = 10 * np.exp(rng.normal(0, 0.006, 12))
    b = 10 * (1 + effect) * np.exp(rng.normal(0, 0.006, 12))
    assert paired.compare(a, b, margin=0.02).verdict == verdict


def test_bound_covers_the_true_shift_at_its_level():
    rng = np.random.default_rng(4)
    above = sum(paired.lower_bound(rng.normal(0.05, 0.02, 10), 0.05) > 0.05 for _ in range(2000))
    assert above / 2000 <= 0.062
    assert above / 2000 >= 0.03


def test_detectable_shift_has_the_stated_power_on_fresh_noise():
    shift = power.detectable_shift(10, 0.01, 0.9)
    d = np.random.default_rng(99).normal(shift, 1.0, (3000, 10))
    found = np.mean([paired.p_above(row, 0.0) <= 0.01 for row in d])
    assert 0.87 <= found <= 0.93


def test_mde_shrinks_with_pairs_and_contains_the_margin():
    rng = np.random.default_rng(5)

    def mde(n):
        return paired.compare(np.exp(rng.normal(0, 0.012, n)), np.exp(rng.normal(0, 0.012, n))).mde

    assert mde(40) < mde(10)
    assert mde(200) > 0.02


def test_orders_are_random_but_repeatable():
    orders = paired.pair_orders(200, seed=1)
    assert orders == paired.pair_orders(200, seed=1)
    assert 70 < orders.count("AB") < 130
    assert set(orders) == {"AB", "BA"}


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([0.0], [1.0]), ([1.0], [math.nan])])
def test_impossible_pairs_are_refused(a, b):
    with pytest.raises(ValueError):
        paired.compare(a, b)
