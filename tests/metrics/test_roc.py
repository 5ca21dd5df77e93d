import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import slow_roc
from vestige.errors import DataError, UsageError
from vestige.metrics import area, best_threshold, distinct_above, ppv, roc, thin, threshold_at_fpr
from vestige.seeds import rng

SCORES = st.lists(st.integers(-4, 4), min_size=1, max_size=12)  # a narrow range, so that ties are common


@given(SCORES, SCORES)
@settings(max_examples=200, deadline=None)
def test_the_area_counts_every_pair_with_half_for_ties(members, nonmembers):
    assert area(roc(members, nonmembers)) == pytest.approx(slow_roc.area_by_pairs(members, nonmembers), abs=1e-12)


@given(SCORES, SCORES, st.sampled_from([0.05, 0.1, 0.25, 1 / 3, 0.5, 0.9]))
@settings(max_examples=300, deadline=None)
def test_the_vertex_at_a_rate_is_the_best_admissible_threshold(members, nonmembers, fpr):
    curve = roc(members, nonmembers)
    at = curve.vertex_at(fpr)
    assert curve.tpr[at] == slow_roc.tpr_by_scan(members, nonmembers, fpr)
    called = np.array(members) > curve.thresholds[at]
    assert called.mean() == curve.tpr[at]
    assert np.mean(np.array(nonmembers) > curve.thresholds[at]) == curve.fpr[at]


@given(SCORES, SCORES)
@settings(max_examples=100, deadline=None)
def test_swapping_the_sides_and_the_sign_is_the_reversed_curve(members, nonmembers):
    one, other = roc(members, nonmembers).reversed(), roc(-np.array(nonmembers), -np.array(members))
    np.testing.assert_array_equal(one.hits, other.hits)
    np.testing.assert_array_equal(one.alarms, other.alarms)


@given(SCORES, SCORES)
@settings(max_examples=100, deadline=None)
def test_the_best_balanced_accuracy_is_the_best_of_all_thresholds(members, nonmembers):
    threshold, value = best_threshold(roc(members, nonmembers))
    m, n = np.array(members), np.array(nonmembers)
    assert value == pytest.approx(slow_roc.accuracy_by_scan(m, n), abs=1e-12)
    assert (np.mean(m > threshold) + np.mean(n <= threshold)) / 2 == pytest.approx(value, abs=1e-12)


def test_no_vertex_is_dropped_from_a_straight_stretch():
    curve = roc([9, 8, 7, 6], [0, 1, 2, 3])
    assert curve.tpr.tolist() == [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1]


def test_equal_scores_have_no_curve_between_the_corners():
    curve = roc(np.zeros(50), np.zeros(50))
    assert curve.tpr.tolist() == [0, 1]
    assert area(curve) == 0.5
    assert curve.tpr[curve.vertex_at(0.99)] == 0


def test_a_rate_that_rounding_puts_just_below_a_count_is_allowed():
    curve = roc([5.0], np.arange(30.0))
    assert curve.alarms[curve.vertex_at(0.1)] == 3  # 0.1 * 30 is a little more than 3, 0.3 - 0.2 a little less
    assert curve.alarms[curve.vertex_at(0.3 - 0.2)] == 3


def test_a_rising_transform_changes_nothing():
    draw = rng(0, "roc")
    m, n = draw.normal(1, 1, 300), draw.normal(0, 1, 400)
    one, other = roc(m, n), roc(np.exp(m), np.exp(n))
    np.testing.assert_array_equal(one.hits, other.hits)
    np.testing.assert_array_equal(one.alarms, other.alarms)


def test_a_threshold_set_on_nonmembers_keeps_their_rate():
    draw = rng(1, "roc")
    for scores in (draw.normal(size=1000), np.round(draw.normal(size=1000)), np.zeros(10)):
        for fpr in (0.001, 0.01, 0.1, 0.5):
            threshold = threshold_at_fpr(scores, fpr)
            assert np.mean(scores > threshold) <= fpr
            lower = scores[scores < threshold]
            if len(lower):
                assert np.mean(scores > lower.max()) > fpr


def test_precision_depends_on_the_prior():
    assert ppv(0.1, 0.001, 0.5) == pytest.approx(0.1 / 0.101)
    assert ppv(0.1, 0.001, 0.01) == pytest.approx(0.001 / (0.001 + 0.00099))
    assert ppv(0.0, 0.0, 0.5) is None


def test_distinct_scores_above_a_threshold():
    assert distinct_above(roc([3, 3, 2, 1], [2, 0]), 1.0) == 2


def test_thinned_rates_are_the_curves_own_and_keep_both_ends():
    draw = rng(2, "roc")
    curve = roc(draw.normal(1, 1, 20_000), draw.normal(0, 1, 20_000))
    rates = thin(curve, 100)
    assert len(rates) <= 100
    assert np.isin(rates, curve.fpr).all()
    assert rates[0] == 1 / 20_000
    assert rates[1] == 2 / 20_000
    assert rates[-1] == 1
    assert (np.diff(rates) > 0).all()
    assert len(thin(roc([1, 2], [0, 3]), 50)) == 2
    with pytest.raises(UsageError, match="2 points"):
        thin(curve, 1)


@pytest.mark.parametrize("bad", [[], [[1.0, 2.0]], [1.0, np.nan], [np.inf], ["a"]])
def test_scores_that_cannot_be_ranked_are_refused(bad):
    with pytest.raises(DataError, match="member scores"):
        roc(bad, [1.0])


def test_a_hundred_thousand_scores_are_ranked_in_ten_milliseconds():
    draw = rng(3, "roc")
    m, n = draw.normal(size=50_000), draw.normal(size=50_000)
    seconds = []
    for _ in range(7):
        started = time.process_time()
        roc(m, n)
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.03  # measured 0.004 on two cores; room for a slower machine
