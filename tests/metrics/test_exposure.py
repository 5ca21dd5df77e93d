import numpy as np
import pytest
from scipy import stats

from vestige.errors import DataError
from vestige.metrics import exposure, moments
from vestige.seeds import rng


def from_draws(values):
    return moments(np.full(values.shape[1], len(values)), values.mean(axis=0), values.var(axis=0, ddof=1))


def world(models, records=3000, seed=0):
    """Records whose IN and OUT laws are known: shifts spread around 1, unit variance."""
    draw = rng(seed, "exposure", models)
    shift = draw.gamma(1.0, 1.0, records)
    inside = draw.normal(shift, 1, (models, records))
    outside = draw.normal(0, 1, (models, records))
    return from_draws(inside), from_draws(outside), stats.norm.cdf(shift / np.sqrt(2))


def test_with_many_models_it_is_each_records_own_auc():
    inside, outside, truth = world(2000, records=300)
    assert np.max(np.abs(exposure(inside, outside) - truth)) < 0.04


@pytest.mark.parametrize("models", [4, 8, 32])
def test_with_few_models_borrowing_beats_each_record_alone(models):
    inside, outside, truth = world(models)
    alone = stats.norm.cdf((inside.mean - outside.mean) / np.sqrt(inside.variance + outside.variance))
    borrowed = exposure(inside, outside)
    assert np.mean((borrowed - truth) ** 2) < np.mean((alone - truth) ** 2)
    # the most exposed records are not merely the noisiest: what is claimed of the top is true on average
    top = np.argsort(-borrowed)[:100]
    assert abs(borrowed[top].mean() - truth[top].mean()) < 0.03


def test_without_leakage_nobody_is_exposed():
    draw = rng(1, "exposure")
    found = exposure(from_draws(draw.normal(size=(16, 2000))), from_draws(draw.normal(size=(16, 2000))))
    assert np.max(np.abs(found - 0.5)) < 0.1


def test_a_record_without_in_or_out_models_has_none():
    inside = moments([3, 0, 2], [1.0, np.nan, 2.0], [1.0, np.nan, 1.0])
    outside = moments([3, 4, 0], [0.0, 0.0, np.nan], [1.0, 1.0, np.nan])
    assert np.isfinite(exposure(inside, outside)).tolist() == [True, False, False]


def test_a_single_model_on_a_side_borrows_its_spread():
    inside = moments([1, 8, 8], [2.0, 2.0, 2.1], [np.nan, 1.0, 1.0])
    outside = moments([8, 8, 8], [0.0, 0.0, 0.1], [1.0, 1.0, 1.0])
    found = exposure(inside, outside)
    assert np.isfinite(found).all()
    assert found[0] == pytest.approx(found[1], abs=0.05)


def test_exposure_does_not_depend_on_the_signals_unit():
    inside, outside, _ = world(8, records=200)
    scaled = [moments(m.count, 7 * m.mean + 3, 49 * m.variance) for m in (inside, outside)]
    np.testing.assert_allclose(exposure(*scaled), exposure(inside, outside))


def test_constant_signals_are_exposed_or_not_at_all():
    none = [0.0, 0.0]
    found = exposure(moments([4, 4], [1.0, 0.0], none), moments([4, 4], [0.0, 0.0], none))
    assert found.tolist() == [1.0, 0.5]


def test_moments_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="equal length"):
        moments([1, 2], [1.0], [1.0])
    one = moments([1, 1], [0.0, 1.0], [np.nan, np.nan])
    with pytest.raises(DataError, match="two models"):
        exposure(one, one)
