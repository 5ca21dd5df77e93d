import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reference import slow_paired
from vestige.errors import DataError
from vestige.metrics import auc, judged, paired_auc, paired_tpr, paired_tprs, tprs_at
from vestige.metrics.paired import auc_correlation, joined, tpr_correlations, widening
from vestige.seeds import rng


def scores(draw, member, common, shift, share):
    own = draw.normal(size=len(member))
    return np.sqrt(share) * common + np.sqrt(1 - share) * own + shift * member


def two(seed, n=80, share=0.7, shifts=(1.0, 1.4), same=True, rounded=False):
    draw = rng(seed, "paired", n, str(share))
    common = draw.normal(size=n)
    member = np.arange(n) % 2 == 0
    other = member if same else draw.permutation(member)
    pair = [scores(draw, m, common, shift, share) for m, shift in zip((member, other), shifts, strict=True)]
    if rounded:
        pair = [np.round(each) for each in pair]
    return judged(pair[0], member), judged(pair[1], other)


@pytest.mark.parametrize("rounded", [False, True])
def test_the_correlation_is_that_of_delongs_full_matrices(rounded):
    a, b = two(0, rounded=rounded)
    full = slow_paired.delong_covariance(a.scores, b.scores, a.member)
    assert auc_correlation(a, b) == pytest.approx(full[0, 1] / np.sqrt(full[0, 0] * full[1, 1]), rel=1e-9)


@pytest.mark.parametrize("same", [True, False])
def test_leaving_out_each_record_gives_nearly_the_same_correlation(same):
    a, b = two(1, n=200, same=same)
    slow = slow_paired.jackknife_correlation(a.scores, b.scores, a.member, b.member)
    assert auc_correlation(a, b) == pytest.approx(slow, abs=0.02)


def test_an_attack_differs_from_itself_by_nothing():
    a, _ = two(2, n=400)
    again = judged(2 * a.scores + 1, a.member)
    for estimate in (paired_auc(a, again), paired_tpr(a, again, 0.1)):
        assert (estimate.value, estimate.low, estimate.high) == (0, 0, 0)


def test_two_perfect_attacks_with_different_rankings_need_not_be_alike():
    member = np.arange(40) < 20
    first = np.arange(40)[::-1].astype(float)
    second = np.where(member, 100.0, 0.0) + np.arange(40) % 7
    estimate = paired_auc(judged(first, member), judged(second, member))
    assert estimate.value == 0
    assert estimate.low < 0 < estimate.high


@pytest.mark.parametrize("same", [True, False])
def test_differences_turn_round_with_their_order(same):
    a, b = two(3, n=1000, same=same)
    for forth, back in ((paired_auc(a, b), paired_auc(b, a)), (paired_tpr(a, b, 0.1), paired_tpr(b, a, 0.1))):
        assert forth.value == pytest.approx(-back.value)
        # resamples of the two orders differ, so that the TPR's correlation is the same only nearly
        assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low), abs=0.004)


def test_what_two_attacks_share_makes_the_difference_surer():
    a, b = two(4, n=2000, share=0.95)
    alone = joined(auc(a.curve), auc(b.curve))
    paired = paired_auc(a, b)
    assert paired.half_width < 0.6 * alone.half_width
    assert paired.value == pytest.approx(alone.value)
    rates = [tprs_at(each.curve, [0.1])[0] for each in (a, b)]
    assert paired_tpr(a, b, 0.1).half_width < 0.85 * joined(*rates).half_width


def test_a_rate_too_small_for_the_records_is_withheld():
    a, b = two(5, n=100)
    small, large = paired_tprs(a, b, [0.001, 0.1])
    assert small.value is None
    assert large.value is not None


def test_scores_of_different_records_are_refused():
    a, _ = two(6, n=80)
    b, _ = two(6, n=90)
    with pytest.raises(DataError, match="80 and 90"):
        paired_auc(a, b)
    with pytest.raises(DataError, match="members and non-members"):
        judged([1.0, 2.0], [True, True])
    with pytest.raises(DataError, match="one true-or-false"):
        judged([1.0, 2.0], [True])


@given(st.floats(-1, 1), st.floats(0, 0.2), st.floats(0, 0.2))
def test_correlation_only_narrows_what_is_shared(correlation, one, other):
    from vestige.metrics import Estimate

    first = Estimate(value=0.6, low=0.6 - one, high=0.6 + one)
    second = Estimate(value=0.7, low=0.7 - other, high=0.7 + other)
    found = joined(first, second, correlation)
    exact = np.sqrt(max(one**2 + other**2 - 2 * correlation * one * other, 0))
    assert (found.high - found.low) / 2 == pytest.approx(exact, abs=1e-9)


def test_widening_is_bonferronis():
    assert widening(1) == 1
    assert widening(10) == pytest.approx(stats.norm.isf(0.0025) / stats.norm.isf(0.025))


@pytest.mark.parametrize(
    ("share", "shifts", "same"), [(0.0, (1.0, 1.3), True), (0.8, (0.5, 1.0), True), (0.8, (1.0, 1.0), False)]
)
def test_the_intervals_cover_the_true_difference(share, shifts, same):
    """500 members and as many non-members; over 250 audits the coverage has a standard deviation of 1.4 points."""
    draw = rng(7, "cover", str(share), str(shifts))
    member = np.arange(1000) < 500
    areas, rates = [], []
    power = [stats.norm.sf(stats.norm.isf(0.1) - shift) for shift in shifts]
    truth = stats.norm.cdf(shifts[1] / np.sqrt(2)) - stats.norm.cdf(shifts[0] / np.sqrt(2)), power[1] - power[0]
    for _ in range(250):
        common = draw.normal(size=1000)
        other = member if same else draw.permutation(member)
        a = judged(scores(draw, member, common, shifts[0], share), member)
        b = judged(scores(draw, other, common, shifts[1], share), other)
        area, rate = paired_auc(a, b), paired_tpr(a, b, 0.1, draws=100)
        areas.append(area.low <= truth[0] <= area.high)
        rates.append(rate.low <= truth[1] <= rate.high)
    assert 0.91 <= np.mean(areas) <= 0.99
    assert 0.91 <= np.mean(rates) <= 0.995


def test_the_same_seed_gives_the_same_correlation():
    a, b = two(8, n=600)
    assert tpr_correlations(a, b, [0.1], seed=3) == tpr_correlations(a, b, [0.1], seed=3)
    assert -1 <= tpr_correlations(a, b, [0.1], seed=4)[0] <= 1
