import time

import numpy as np
import pytest
import scipy

from reference import slow_roc
from vestige.errors import UsageError
from vestige.metrics import band, needed, roc, thin, tnr_at_fnr, tpr, tpr_at_fpr, tprs_at
from vestige.seeds import rng


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("fpr", [0.02, 0.1, 0.5, 0.95])
def test_the_interval_is_the_mixture_written_out(shift, fpr):
    draw = rng(0, "tpr", str(shift))
    m, n = draw.normal(shift, 1, 90), draw.normal(0, 1, 120)
    estimate = tpr_at_fpr(m, n, fpr)
    low, high = slow_roc.tpr_interval(m, n, fpr)
    assert estimate.value == slow_roc.tpr_by_scan(m, n, fpr)
    assert estimate.low == pytest.approx(low, abs=2e-3)  # many values of J are taken in runs
    assert estimate.high == pytest.approx(high, abs=2e-3)


def test_with_ties_too():
    draw = rng(1, "tpr")
    m, n = np.round(draw.normal(1, 1, 80)), np.round(draw.normal(0, 1, 100))
    estimate = tpr_at_fpr(m, n, 0.1)
    low, high = slow_roc.tpr_interval(m, n, 0.1)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=2e-3)


@pytest.mark.parametrize("level", [0.0005, 0.025, 0.975, 0.9995])
@pytest.mark.parametrize(("members", "shift"), [(1, 0.0), (40, 8.0), (2500, 0.5)])
def test_quantiles_of_a_mixture_are_those_that_halving_alone_finds(members, shift, level):
    draw = rng(2, "tpr", str(members))
    curve = roc(draw.normal(shift, 1, members), draw.normal(0, 1, 700))
    counts, weights = tpr._mixture(curve, np.geomspace(1e-4, 0.999, 25))
    low, high = np.zeros(len(counts)), np.ones(len(counts))
    for _ in range(50):
        centre = (low + high) / 2
        parts = scipy.special.betainc(counts + 0.5, members - counts + 0.5, centre[:, None])
        under = (weights * parts).sum(axis=1) < level
        low, high = np.where(under, centre, low), np.where(under, high, centre)
    assert tpr._quantile(counts, weights, members, level) == pytest.approx(low, abs=1e-6)


def test_equal_scores_give_zero():
    estimate = tpr_at_fpr(np.ones(2000), np.ones(2000), 0.01)
    assert estimate.value == 0
    assert estimate.low == 0
    assert estimate.high < 0.01


def test_a_rate_that_the_data_cannot_resolve_is_withheld_not_zero():
    draw = rng(2, "tpr")
    m = draw.normal(9, 1, 500)
    below = tpr_at_fpr(m, draw.normal(size=999), 0.001)
    assert below.value is None
    assert below.low is None
    assert "1,000 non-members" in below.reason
    assert "10,000" in below.reason
    coarse = tpr_at_fpr(m, draw.normal(size=1000), 0.001)
    assert coarse.value == 1
    assert coarse.reason.startswith("coarse")
    fine = tpr_at_fpr(m, draw.normal(size=10_000), 0.001)
    assert fine.value == 1
    assert fine.reason == ""


@pytest.mark.parametrize(("fpr", "least"), [(0.001, 10_000), (0.01, 1_000), (0.1, 100), (0.03, 334)])
def test_ten_expected_alarms_are_needed(fpr, least):
    assert needed(fpr) == least


def test_perfect_separation_reaches_one():
    estimate = tpr_at_fpr(np.arange(100) + 1000.0, np.arange(1000.0), 0.01)
    assert (estimate.value, estimate.high) == (1, 1)
    assert 0.9 < estimate.low < 1


def test_a_known_threshold_would_leave_the_binomial_interval():
    """Where the curve is flat the random threshold costs nothing, and Jeffreys' interval is left."""
    from scipy import stats

    members = np.concatenate([np.full(100, 9.0), np.full(300, -9.0)])
    estimate = tpr_at_fpr(members, rng(3, "tpr").normal(size=5000), 0.1)
    assert estimate.value == 0.25
    assert (estimate.low, estimate.high) == pytest.approx(tuple(stats.beta.ppf([0.025, 0.975], 100.5, 300.5)), abs=1e-4)


def test_more_confidence_is_wider_and_more_records_are_narrower():
    draw = rng(4, "tpr")
    m, n = draw.normal(1, 1, 8000), draw.normal(0, 1, 8000)
    usual, sure = tpr_at_fpr(m, n, 0.01), tpr_at_fpr(m, n, 0.01, confidence=0.99)
    few = tpr_at_fpr(m[:1000], n[:1000], 0.01)
    assert usual.half_width < sure.half_width
    assert usual.half_width < few.half_width


def test_confident_non_members_are_the_mirror_image():
    draw = rng(5, "tpr")
    m, n = draw.normal(1, 1, 700), draw.normal(0, 1, 900)
    assert tnr_at_fnr(m, n, 0.05) == tpr_at_fpr(-n, -m, 0.05)


def test_several_rates_agree_with_one_at_a_time():
    draw = rng(6, "tpr")
    m, n = draw.normal(1, 1, 3000), draw.normal(0, 1, 3000)
    together = tprs_at(roc(m, n), [0.001, 0.01, 0.1])
    assert together == [tpr_at_fpr(m, n, fpr) for fpr in (0.001, 0.01, 0.1)]


@pytest.mark.parametrize("fpr", [0, 1, -0.1, 2])
def test_a_rate_outside_the_open_unit_interval_is_refused(fpr):
    with pytest.raises(UsageError, match="false-positive rate"):
        tpr_at_fpr([1], [0], fpr)


def test_the_band_holds_the_curve_and_agrees_with_the_points():
    draw = rng(7, "tpr")
    curve = roc(draw.normal(1, 1, 4000), draw.normal(0, 1, 4000))
    drawn = band(curve, np.array([1e-5, 0.01, 0.1, 1.0]))
    points = tprs_at(curve, [0.01, 0.1])
    for place, point in zip((1, 2), points, strict=True):
        assert (drawn.tpr[place], drawn.low[place], drawn.high[place]) == pytest.approx(
            (point.value, point.low, point.high)
        )
    assert drawn.low[0] == 0
    assert (drawn.tpr[-1], drawn.high[-1]) == (1, 1)
    assert (drawn.low <= drawn.tpr).all()
    assert (drawn.tpr <= drawn.high).all()


def test_a_band_of_two_hundred_points_is_quick():
    draw = rng(8, "tpr")
    curve = roc(draw.normal(1, 1, 12_500), draw.normal(0, 1, 12_500))
    rates = thin(curve, 200)
    started = time.process_time()
    band(curve, rates)
    assert time.process_time() - started < 1.0  # measured 0.12
