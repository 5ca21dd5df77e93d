import numpy as np
import pytest
from scipy import stats

from reference import slow_roc
from vestige.errors import DataError, UsageError
from vestige.metrics import calibrate, reliability
from vestige.seeds import rng


def normal_posterior(scores, shift, prior=0.5):
    odds = prior / (1 - prior) * np.exp(shift * scores - shift**2 / 2)
    return odds / (1 + odds)


@pytest.mark.parametrize("prior", [0.5, 0.1])
def test_it_recovers_a_known_posterior(prior):
    draw = rng(0, "calibration")
    fitted = calibrate(draw.normal(2, 1, 20_000), draw.normal(0, 1, 20_000), prior=prior)
    asked = np.linspace(-1.5, 3.5, 60)
    assert np.max(np.abs(fitted(asked).value - normal_posterior(asked, 2.0, prior))) < 0.06


def test_the_prior_is_of_the_target_not_of_the_sample():
    draw = rng(1, "calibration")
    m, n = draw.normal(2, 1, 20_000), draw.normal(0, 1, 20_000)
    asked = np.linspace(-1, 3, 30)
    few = calibrate(m[:4000], n, prior=0.5)(asked).value
    assert np.max(np.abs(few - calibrate(m, n, prior=0.5)(asked).value)) < 0.08


def test_posteriors_rise_stay_inside_their_intervals_and_are_never_certain():
    draw = rng(2, "calibration")
    fitted = calibrate(draw.standard_t(2, 900) + 1, draw.standard_t(2, 1200), prior=0.3)
    asked = fitted(np.linspace(-1000, 1000, 4001))
    assert (np.diff(asked.value) >= 0).all()
    assert (np.diff(asked.low) >= -1e-12).all()
    assert (np.diff(asked.high) >= -1e-12).all()
    assert ((asked.low <= asked.value) & (asked.value <= asked.high)).all()
    assert asked.value[0] > 0
    assert asked.value[-1] < 1


def test_perfect_separation_is_sure_but_not_certain():
    fitted = calibrate(np.arange(100) + 1000.0, np.arange(100.0))
    top = fitted([5000.0])
    assert top.value[0] == pytest.approx(100.5 / 101)
    assert top.high[0] == 1
    assert top.low[0] == pytest.approx(0.025 ** (1 / 100))


def test_scores_that_say_nothing_give_back_the_prior():
    draw = rng(3, "calibration")
    flat = calibrate(np.zeros(300), np.zeros(300), prior=0.2)
    assert flat([0.0, 9.0]).value == pytest.approx([0.2, 0.2])
    upside_down = calibrate(draw.normal(-1, 1, 3000), draw.normal(0, 1, 3000))
    assert np.ptp(upside_down(np.linspace(-3, 3, 50)).value) < 0.2


def test_equal_scores_share_one_level():
    m = np.repeat([0.0, 1.0, 2.0], [50, 100, 150])
    n = np.repeat([0.0, 1.0, 2.0], [150, 100, 50])
    fitted = calibrate(m, n)
    assert fitted([0.0, 1.0, 2.0]).value == pytest.approx([50.5 / 201, 0.5, 150.5 / 201])
    assert fitted.counts.sum(axis=0).tolist() == [300, 300]


def test_levels_hold_at_least_the_smallest_number():
    draw = rng(4, "calibration")
    for size in (13, 25, 26, 49, 51, 500):
        fitted = calibrate(draw.normal(1, 1, size), draw.normal(0, 1, size), least=25)
        assert fitted.counts.sum(axis=1).min() >= min(25, 2 * size)


def test_levels_are_the_max_min_shares_of_the_runs():
    """Fifteen runs of twenty scores each, pooled by hand with the max-min formula of isotonic regression."""
    draw = rng(5, "calibration")
    hits = draw.integers(0, 21, 15)
    place = np.arange(15.0)
    fitted = calibrate(np.repeat(place, hits), np.repeat(place, 20 - hits), least=20)
    pooled = slow_roc.isotonic_by_minimax(hits / 20, np.full(15, 20.0))
    level = np.searchsorted(fitted.starts, place, side="right") - 1
    shares = fitted.counts[:, 0] / fitted.counts.sum(axis=1)
    np.testing.assert_allclose(shares[level], pooled)


def test_the_interval_covers_the_posterior_of_most_records():
    draw, hits = rng(6, "calibration"), []
    for _ in range(60):
        fitted = calibrate(draw.normal(1.5, 1, 1000), draw.normal(0, 1, 1000))
        asked = stats.norm.ppf(np.linspace(0.05, 0.95, 19)) + 0.75
        found, truth = fitted(asked), normal_posterior(asked, 1.5)
        hits.append((found.low <= truth) & (truth <= found.high))
    assert np.mean(hits) > 0.85  # levels are chosen on the data, so a little less than 95 %


def test_too_few_scores_and_senseless_priors_are_refused():
    with pytest.raises(DataError, match="at least 25"):
        calibrate([1.0], [0.0])
    with pytest.raises(UsageError, match="prior"):
        calibrate(np.arange(50.0), np.arange(50.0), prior=1.0)


def test_reliability_counts_members_per_bin():
    found = reliability([0.05, 0.95, 0.97, 1.0, 0.5], [False, True, True, False, True])
    assert found == [(0.05, 0.0, 1), (0.5, 1.0, 1), (pytest.approx(0.97333333), pytest.approx(2 / 3), 3)]


def test_a_calibrated_posterior_is_reliable():
    draw = rng(7, "calibration")
    fitted = calibrate(draw.normal(1, 1, 30_000), draw.normal(0, 1, 30_000))
    m, n = draw.normal(1, 1, 20_000), draw.normal(0, 1, 20_000)
    found = fitted(np.concatenate([m, n]))
    for mean, share, count in reliability(found.value, np.arange(40_000) < 20_000):
        assert abs(mean - share) < 4 * np.sqrt(0.25 / count) + 0.02
