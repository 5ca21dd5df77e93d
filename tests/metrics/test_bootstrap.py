import numpy as np
import pytest
from scipy import stats

from vestige.errors import UsageError
from vestige.metrics import area, auc, bootstrap, bootstrap_auc, roc
from vestige.metrics.bootstrap import _acceleration, areas, bca
from vestige.seeds import rng


def normal(seed, n1, n0, shift=1.0):
    draw = rng(seed, "bootstrap")
    return draw.normal(shift, 1, n1), draw.normal(0, 1, n0)


def wins(members, nonmembers, axis=-1):
    """The AUC by pairs, vectorised over leading axes, as scipy's bootstrap wants it."""
    both = np.concatenate([members, nonmembers], axis=axis)
    ranks = stats.rankdata(both, axis=axis)
    n1, n0 = members.shape[axis], nonmembers.shape[axis]
    return (ranks[..., :n1].sum(axis=axis) - n1 * (n1 + 1) / 2) / (n1 * n0)


@pytest.mark.parametrize("rounded", [False, True])
def test_it_is_scipys_bca_interval(rounded):
    m, n = normal(0, 60, 90)
    m, n = (np.round(2 * m), np.round(2 * n)) if rounded else (m, n)
    ours = bootstrap_auc(roc(m, n), draws=6000)
    theirs = stats.bootstrap(
        (m, n), wins, n_resamples=6000, method="BCa", vectorized=True, rng=np.random.default_rng(1)
    ).confidence_interval
    # each end is a 2.5 % quantile of 6,000 draws, with a Monte-Carlo error of about a fortieth of the width
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.1 * (theirs.high - theirs.low))
    assert ours.value == pytest.approx(wins(m, n))


def test_the_acceleration_is_the_jackknifes():
    m, n = normal(1, 25, 40)
    left_m = np.array([area(roc(np.delete(m, k), n)) for k in range(len(m))])
    left_n = np.array([area(roc(m, np.delete(n, k))) for k in range(len(n))])
    pulls = [(len(left) - 1) * (left.mean() - left) / len(left) for left in (left_m, left_n)]
    slow = sum((p**3).sum() for p in pulls) / (6 * sum((p**2).sum() for p in pulls) ** 1.5)
    assert _acceleration(roc(m, n)) == pytest.approx(slow, rel=0.02)


@pytest.mark.parametrize(("n1", "n0", "shift"), [(500, 500, 0.0), (500, 500, 1.0), (2000, 300, 0.5), (4000, 4000, 2.0)])
def test_delong_and_the_bootstrap_agree(n1, n0, shift):
    curve = roc(*normal(2, n1, n0, shift))
    one, other = auc(curve), bootstrap_auc(curve, draws=2000)
    assert one.value == other.value
    assert other.half_width == pytest.approx(one.half_width, rel=0.07)
    assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=0.25 * one.half_width)


@pytest.mark.parametrize("rounded", [False, True])
def test_the_short_cut_for_the_auc_gives_the_same_resamples(rounded):
    m, n = normal(7, 130, 90)
    curve = roc(np.round(m), np.round(n)) if rounded else roc(m, n)
    slow = bootstrap(curve, lambda each: (area(each),), draws=50, seed=3)[:, 0]
    assert areas(curve, draws=50, seed=3) == pytest.approx(slow, abs=1e-12)


def test_a_resample_is_a_curve_with_as_many_records():
    curve = roc(*normal(3, 50, 70))
    seen = []
    bootstrap(curve, lambda each: seen.append(each) or (0.0,), draws=20)
    assert {(each.members, each.nonmembers) for each in seen} == {(50, 70)}
    assert all((np.diff(each.hits) >= 0).all() and (np.diff(each.alarms) >= 0).all() for each in seen)


def test_statistics_are_those_of_scores_drawn_again():
    """The law of the resampled AUC is that of indices drawn with replacement."""
    m, n = normal(4, 40, 30)
    ours = bootstrap(roc(m, n), lambda each: (area(each),), draws=4000)[:, 0]
    draw = rng(4, "slow")
    slow = [area(roc(draw.choice(m, 40), draw.choice(n, 30))) for _ in range(2000)]
    assert stats.ks_2samp(ours, slow).pvalue > 0.01


def test_where_nothing_can_move_the_exact_interval_stands():
    perfect = roc(np.arange(50) + 100.0, np.arange(80.0))
    assert bootstrap_auc(perfect) == auc(perfect)
    equal = roc(np.zeros(30), np.zeros(40))
    assert bootstrap_auc(equal) == auc(equal)
    assert bootstrap_auc(roc([1.0], [0.0, 2.0])) == auc(roc([1.0], [0.0, 2.0]))


def test_the_ends_are_quantiles_when_nothing_is_skewed():
    draws = np.linspace(-1, 1, 20_001)
    assert bca(draws, 0.0, 0.0, 0.9) == pytest.approx((-0.9, 0.9), abs=1e-3)


def test_one_draw_is_refused():
    with pytest.raises(UsageError, match="at least 2"):
        bootstrap_auc(roc(*normal(5, 10, 10)), draws=1)


def test_it_covers_as_delong_does():
    draw, truth = rng(6, "cover"), stats.norm.cdf(1 / np.sqrt(2))
    hits = []
    for k in range(300):
        found = bootstrap_auc(roc(draw.normal(1, 1, 150), draw.normal(0, 1, 150)), draws=400, seed=k)
        hits.append(found.low <= truth <= found.high)
    assert 0.91 <= np.mean(hits) <= 0.985
