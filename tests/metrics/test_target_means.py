import numpy as np
import pytest
from scipy import stats

from vestige.errors import UsageError
from vestige.metrics import Band, Estimate, mean_band, mean_over_targets, withheld
from vestige.seeds import rng


def figure(value, half, reason=""):
    return Estimate(value=value, low=value - half, high=value + half, method="x", reason=reason)


def test_one_target_keeps_its_own_interval():
    one = figure(0.7, 0.02)
    mean = mean_over_targets([one])
    assert mean.mean == one
    assert mean.sd is None


def test_with_certain_figures_it_is_nearly_students_interval():
    values = rng(0, "targets").normal(0.7, 0.05, 40)
    mean = mean_over_targets([figure(v, 0.0) for v in values])
    exact = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert (mean.mean.low, mean.mean.high) == pytest.approx(exact, abs=3e-4)
    assert mean.sd == pytest.approx(np.std(values, ddof=1))
    assert mean.values == tuple(values)


def test_targets_that_happen_to_agree_are_not_certain():
    mean = mean_over_targets([figure(0.7, 0.0196)] * 2)
    assert mean.sd == 0
    assert mean.mean.half_width > 0.0196 / np.sqrt(2)


def test_a_withheld_target_withholds_the_mean():
    mean = mean_over_targets([figure(0.1, 0.01), withheld("too few")])
    assert mean.mean.value is None
    assert mean.mean.reason == "too few"
    assert mean.values == (0.1, None)


def test_caveats_survive_and_bounds_hold():
    mean = mean_over_targets([figure(0.001, 0.0, "coarse: few"), figure(0.03, 0.0), figure(0.0, 0.0)])
    assert mean.mean.reason == "coarse: few"
    assert mean.mean.low == 0


def test_no_target_is_an_error():
    with pytest.raises(UsageError, match="at least one"):
        mean_over_targets([])


@pytest.mark.parametrize("targets", [2, 3, 4, 8])
@pytest.mark.parametrize("between", [0.0, 0.01, 0.02])
def test_the_interval_covers_the_mean_over_targets(targets, between):
    """Within-target errors of 0.01, and targets that truly differ by none, as much, or twice as much."""
    draw = rng(1, "targets", targets, str(between))
    hits = []
    for _ in range(1500):
        values = 0.7 + draw.normal(0, np.hypot(0.01, between), targets)
        mean = mean_over_targets([figure(v, 1.96 * 0.01) for v in values]).mean
        hits.append(mean.low <= 0.7 <= mean.high)
    assert np.mean(hits) > 0.92


def test_curves_are_averaged_where_they_were_measured():
    rates = np.array([0.01, 0.1])
    one = Band(rates, np.array([0.2, 0.4]), np.array([0.1, 0.3]), np.array([0.3, 0.5]))
    other = Band(rates, np.array([0.4, 0.6]), np.array([0.3, 0.5]), np.array([0.5, 0.7]))
    mean = mean_band([one, other])
    assert mean.tpr.tolist() == pytest.approx([0.3, 0.5])
    assert (mean.low < mean.tpr).all()
    assert mean_band([one]) is one
    with pytest.raises(UsageError, match="same false-positive rates"):
        mean_band([one, Band(rates * 2, one.tpr, one.low, one.high)])
    with pytest.raises(UsageError, match="at least one"):
        mean_band([])
