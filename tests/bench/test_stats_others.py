"""Multiple testing, percentiles, Wilson, change points, and the simulation benchmark itself."""

import numpy as np
import pytest
from scipy.stats import binom, false_discovery_control

from bench.stats import changepoints, multiple, percentiles, simulate
from bench.stats.wilson import wilson


def test_holm_by_hand_and_in_any_order():
    assert multiple.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert multiple.holm([]) == []
    assert multiple.holm([0.6, 0.9]) == [1.0, 1.0]


def test_holm_keeps_the_familywise_rate():
    rng = np.random.default_rng(0)
    alarms = np.mean([min(multiple.holm(rng.uniform(size=10))) <= 0.05 for _ in range(3000)])
    assert 0.03 < alarms < 0.065


def test_benjamini_hochberg_equals_scipy():
    p = np.random.default_rng(1).uniform(size=25) ** 2
    assert multiple.benjamini_hochberg(p) == pytest.approx(list(false_discovery_control(p)))
    assert multiple.benjamini_hochberg([]) == []
    with pytest.raises(ValueError):
        multiple.holm([1.5])


def test_percentiles_need_their_samples():
    assert [percentiles.samples_needed(p) for p in (0.5, 0.9, 0.99)] == [5, 29, 299]
    rng = np.random.default_rng(2)
    few = percentiles.percentile([rng.normal(10, 1, 5) for _ in range(5)], 0.9)
    assert few.value is None
    assert "needs 29 independent samples" in few.reason
    many = percentiles.percentile([rng.normal(10, 1, 60) for _ in range(10)], 0.9)
    assert many.value == pytest.approx(11.28, abs=0.25)


def test_samples_of_one_process_count_for_less_where_processes_differ():
    rng = np.random.default_rng(3)
    independent = [rng.normal(10, 1, 50) for _ in range(10)]
    offset = [rng.normal(0, 3) + rng.normal(10, 1, 50) for _ in range(10)]
    assert percentiles.effective_samples(independent) > 150
    assert percentiles.effective_samples(offset) < 30
    assert percentiles.percentile(offset, 0.99).value is None


def test_autocorrelated_samples_of_one_block_count_for_less():
    rng = np.random.default_rng(4)
    walk = np.zeros(1000)
    for t in range(1, 1000):
        walk[t] = 0.98 * walk[t - 1] + rng.normal()
    assert percentiles.effective_samples([walk]) < 150
    assert percentiles.effective_samples([rng.normal(size=1000)]) > 400


@pytest.mark.parametrize(("n", "p"), [(50, 0.9), (200, 0.99), (1000, 0.5)])
def test_wilson_covers(n, p):
    k = np.arange(n + 1)
    inside = np.array([lo <= p <= hi for lo, hi in (wilson(int(i), n) for i in k)])
    assert 0.92 <= (binom.pmf(k, n, p) * inside).sum() <= 0.99


def test_wilson_edges():
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(10, 10)[1] == 1.0
    assert 0.6 < wilson(10, 10)[0] < 0.8
    assert wilson(0, 10)[0] == 0.0
    with pytest.raises(ValueError):
        wilson(3, 2)


def _brute_cost(values, i, j):
    piece = values[i:j]
    return np.abs(piece - np.median(piece)).sum()


def test_interval_costs_equal_brute_force():
    v = np.random.default_rng(5).normal(10, 1, 14)
    cost = changepoints._interval_costs(v)
    for i in range(14):
        for j in range(i + 3, 15):
            assert cost[i, j] == pytest.approx(_brute_cost(v, i, j), abs=1e-9)


def test_planted_steps_are_found_at_their_place():
    rng = np.random.default_rng(6)
    v = np.concatenate([np.full(30, 10.0), np.full(25, 10.6), np.full(40, 9.5)])
    v = v * (1 + rng.normal(0, 0.01, v.size))
    found = changepoints.steps(v, minimum=0.02)
    assert [abs(i - truth) <= 2 for (i, _), truth in zip(found, (30, 55), strict=True)] == [True, True]
    assert found[0][1] == pytest.approx(1.06, abs=0.01)


def test_noise_and_single_outliers_make_few_steps():
    rng = np.random.default_rng(7)
    false = 0
    for _ in range(40):
        v = 10 * (1 + rng.normal(0, 0.015, 60))
        v[rng.integers(0, 60)] *= 2.0
        false += bool(changepoints.steps(v, minimum=0.02))
    assert false <= 2


def test_short_flat_and_bad_histories():
    assert changepoints.potts([]) == []
    assert changepoints.potts([1.0, 5.0]) == [changepoints.Segment(0, 2, 3.0)]
    assert changepoints.steps([7.0] * 50) == []
    with pytest.raises(ValueError):
        changepoints.potts([1.0, float("nan")])


def test_simulated_rates_hold_and_the_benchmark_can_fail(tmp_path):
    assert simulate.main(["--json", str(tmp_path / "t.json")]) == 0
    assert "sequential" in (tmp_path / "t.json").read_text()
    # Four times the noise: 5 % is no longer found, so the benchmark must say so.
    assert simulate.main(["--sd", "0.08"]) == 1


def test_vectorised_alarm_rate_equals_the_gate_row_by_row():
    from bench.stats.paired import p_above

    rng = np.random.default_rng(8)
    d = simulate.differences(simulate.iid(0.018), "random", 0.02, 10, 300, rng)
    one_by_one = np.mean([p_above(row, np.log1p(0.01)) <= 0.01 for row in d])
    assert simulate.alarm_rate(d, 0.01, 0.01) == pytest.approx(one_by_one)
