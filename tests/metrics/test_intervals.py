import numpy as np
import pytest
from scipy import stats

from reference import slow_roc
from vestige.errors import DataError
from vestige.metrics import auc, balanced_accuracy, best_threshold, clopper_pearson, operating_point, proportion, roc
from vestige.metrics.placements import delong
from vestige.seeds import rng


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_clopper_pearson_is_scipys(confidence):
    counts, trials = np.array([0, 1, 7, 40, 99, 100]), 100
    low, high = clopper_pearson(counts, trials, confidence=confidence)
    for place, count in enumerate(counts):
        exact = stats.binomtest(int(count), trials).proportion_ci(confidence, "exact")
        assert (low[place], high[place]) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_impossible_counts_are_refused():
    for count, trials in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(DataError, match="counts"):
            clopper_pearson(count, trials)
    assert proportion(0, 0).withheld


@pytest.mark.parametrize("rounded", [False, True])
def test_delongs_error_is_the_spread_of_the_full_matrix(rounded):
    draw = rng(0, "delong")
    m, n = draw.normal(1, 1, 60), draw.normal(0, 2, 80)
    m, n = (np.round(m), np.round(n)) if rounded else (m, n)
    assert delong(roc(m, n)) == pytest.approx(slow_roc.delong_error(m, n), rel=1e-10)


def test_an_auc_and_its_mirror_image():
    draw = rng(1, "auc")
    m, n = draw.normal(1, 1, 300), draw.normal(0, 1, 200)
    one, other = auc(roc(m, n)), auc(roc(-m, -n))
    assert one.value == pytest.approx(1 - other.value)
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low))
    assert one.low < one.value < one.high


def test_perfect_separation_still_leaves_doubt():
    estimate = auc(roc(np.arange(50) + 100.0, np.arange(80.0)))
    assert (estimate.value, estimate.high) == (1, 1)
    # 50 independent pairs that all come out right: were the AUC lower, that would happen in under 2.5 % of audits
    assert estimate.low**50 == pytest.approx(0.025)
    assert auc(roc(np.arange(80.0), np.arange(50) + 100.0)).high == pytest.approx(1 - estimate.low)


def test_equal_scores_are_one_half_and_not_certain():
    estimate = auc(roc(np.zeros(100), np.zeros(100)))
    assert estimate.value == 0.5
    assert 0.45 < estimate.low < 0.5 < estimate.high < 0.55


def test_one_record_on_a_side_bounds_nothing():
    estimate = auc(roc([1.0], np.arange(50.0)))
    assert (estimate.low, estimate.high) == (0, 1)


@pytest.mark.parametrize("shift", [3.0, 4.0])
def test_the_auc_interval_covers_near_one(shift):
    """At 0.9977 some audits separate perfectly; the interval must not collapse."""
    draw, truth = rng(2, "near one"), stats.norm.cdf(shift / np.sqrt(2))
    found = [auc(roc(draw.normal(shift, 1, 300), draw.normal(0, 1, 300))) for _ in range(600)]
    assert np.mean([e.low <= truth <= e.high for e in found]) > 0.91


def test_an_operating_point_counts_both_sides():
    point = operating_point([0.2, 0.6, 0.7, 0.9], [0.1, 0.3, 0.65, 0.2, 0.0], 0.5)
    assert (point.tpr.value, point.fpr.value) == (0.75, 0.2)
    assert point.balanced_accuracy.value == pytest.approx((0.75 + 0.8) / 2)
    exact = stats.binomtest(3, 4).proportion_ci(0.95, "exact")
    assert (point.tpr.low, point.tpr.high) == pytest.approx((exact.low, exact.high))


def test_newcombes_combination_is_the_published_example():
    """Newcombe (1998) II, method 10: 56/70 − 48/80 has the interval 0.0524 to 0.3339."""
    members = np.array([1.0] * 56 + [0.0] * 14)
    nonmembers = np.array([1.0] * 48 + [0.0] * 32)
    both = operating_point(members, nonmembers, 0.5).balanced_accuracy
    assert (2 * both.low - 1, 2 * both.high - 1) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_the_best_balanced_accuracy_is_never_significant_on_noise():
    draw = rng(3, "accuracy")
    lows = []
    for _ in range(300):
        curve = roc(draw.normal(size=200), draw.normal(size=200))
        estimate = balanced_accuracy(curve)
        assert estimate.value == best_threshold(curve)[1]
        lows.append(estimate.low)
    assert np.mean(np.array(lows) > 0.5) < 0.06


def test_the_best_balanced_accuracy_covers_a_known_law():
    draw, truth = rng(4, "accuracy"), stats.norm.cdf(0.5)
    found = [balanced_accuracy(roc(draw.normal(1, 1, 300), draw.normal(0, 1, 300))) for _ in range(300)]
    assert np.mean([e.low <= truth <= e.high for e in found]) > 0.93
    assert np.mean([e.value for e in found]) > truth  # the oracle's bias that the interval makes up for
