import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erfcx, polygamma
from scipy.stats import norm, t

from reference import slow_calibrated as slow
from reference.slow_toys import Gaussian, auc, balanced_masks, evidence, tpr_at
from vestige.attacks.calibrated import Calibrated
from vestige.attacks.lira import LiRA, LiRAOffline, log_density
from vestige.attacks.spread import prior, trigamma_inverse
from vestige.errors import UsageError
from vestige.seeds import rng

TOY = Gaussian()
PER_RECORD = LiRA(variance="per_record", centre="mean")
FIXED = LiRA(variance="pooled", centre="mean")
OFFLINE_FIXED = LiRAOffline(variance="pooled")
OFFLINE_PER_RECORD = LiRAOffline(variance="per_record")
OFFLINE_TWO = LiRAOffline(variance="per_record", sides="two")


def drawn(models, records, *path):
    return TOY.draw(models, records, rng(1, "lira", *path))


# AUC and TPR at 1 % FPR of 10,000 members and as many others, for n IN and n OUT references. The figures come from one
# draw each, whose own standard error is about .003 (AUC) and .012 (TPR); we average three.
TABLE = {
    2: ((0.708, 0.018), (0.878, 0.225), (0.875, 0.244), (0.821, 0.035), (0.691, 0.018)),
    4: ((0.844, 0.065), (0.897, 0.278), (0.894, 0.304), (0.872, 0.101), (0.775, 0.058)),
    8: ((0.893, 0.216), (0.909, 0.292), (0.907, 0.315), (0.898, 0.228), (0.817, 0.157)),
    32: ((0.916, 0.310), (0.919, 0.358), (0.918, 0.354), (0.915, 0.324), (0.846, 0.233)),
    128: ((0.923, 0.379), (0.923, 0.375), (0.923, 0.374), (0.922, 0.381), (0.858, 0.294)),
}


@pytest.mark.parametrize("n", TABLE)
def test_the_gaussian_world_gives_the_known_powers(n):
    attacks = (PER_RECORD, FIXED, OFFLINE_FIXED, OFFLINE_PER_RECORD, OFFLINE_TWO)
    found = []
    for repeat in range(3):
        own, references, masks, truth = drawn(2 * n, 20_000, n, repeat)
        scores = [attack.score(evidence(attack, own, references, masks)) for attack in attacks]
        found.append([(auc(s, truth), tpr_at(s, truth, 0.01)) for s in scores])
    for attack, got, (area, power) in zip(attacks, np.mean(found, axis=0), TABLE[n], strict=True):
        assert got[0] == pytest.approx(area, abs=0.015), attack
        assert got[1] == pytest.approx(power, abs=0.035), attack


@pytest.mark.parametrize("n", [1, 4, 16])
def test_offline_with_one_variance_has_the_closed_form_power(n):
    own, references, masks, truth = drawn(2 * n, 60_000, "closed", n)
    scores = OFFLINE_FIXED.score(evidence(OFFLINE_FIXED, own, references, masks))
    apart = TOY.shift / (TOY.sigma * np.sqrt(1 + 1 / n))
    assert auc(scores, truth) == pytest.approx(norm.cdf(apart / np.sqrt(2)), abs=0.004)
    for fpr in (0.1, 0.01):
        assert tpr_at(scores, truth, fpr) == pytest.approx(norm.sf(norm.isf(fpr) - apart), abs=0.025)


def test_many_references_reach_the_oracle_and_two_sides_lose_to_one():
    own, references, masks, truth = drawn(400, 20_000, "oracle")
    scores = {a: a.score(evidence(a, own, references, masks)) for a in (FIXED, OFFLINE_FIXED, OFFLINE_TWO)}
    assert TOY.best_auc == pytest.approx(0.9214, abs=1e-4)
    assert auc(scores[FIXED], truth) == pytest.approx(TOY.best_auc, abs=0.006)
    assert tpr_at(scores[FIXED], truth, 0.01) == pytest.approx(TOY.best_tpr(0.01), abs=0.035)
    one = norm.cdf(TOY.shift / (np.sqrt(2) * TOY.sigma))
    assert auc(scores[OFFLINE_TWO], truth) == pytest.approx(one**2 + (1 - one) ** 2, abs=0.008)
    assert auc(scores[OFFLINE_FIXED], truth) == pytest.approx(TOY.best_auc, abs=0.006)


@pytest.mark.parametrize("variance", ["per_record", "pooled"])
def test_scores_equal_a_loop_over_records(variance):
    own, references, masks, _ = drawn(12, 80, "loop")
    own, references = own.astype(np.float32), references.astype(np.float32)
    for centre, function in (("mean", np.mean), ("median", np.median)):
        attack = LiRA(variance=variance, centre=centre)
        expected = slow.lira(own, references, masks, variance=variance, centre=function)
        assert np.allclose(attack.score(evidence(attack, own, references, masks)), expected, rtol=1e-9, atol=1e-9)
    for sides in ("one", "two"):
        attack = LiRAOffline(variance=variance, sides=sides)
        expected = slow.lira_offline(own, references, masks, variance=variance, sides=sides)
        expected -= 0.5 * np.log(2 * np.pi) * (sides == "two")
        assert np.allclose(attack.score(evidence(attack, own, references, masks)), expected, rtol=1e-9, atol=1e-9)


def test_with_one_variance_the_ranking_is_that_of_the_linear_form():
    draw = rng(2, "linear")
    hard, gap = draw.normal(0, 3, 400), draw.uniform(0.2, 2, 400)
    masks = balanced_masks(8, 400, draw)
    noise = draw.normal(0, 0.5, (8, 400))
    own = (hard + draw.normal(0, 1, 400)).astype(np.float32)
    for side in (masks, ~masks):  # the same residuals on both sides: one variance
        noise[side] = np.tile(np.repeat([-0.5, 0.5], 2)[:, None], (1, 400)).T.ravel()[: side.sum()]
    references = np.empty((8, 400))
    for n in range(400):
        references[masks[:, n], n] = hard[n] + gap[n] + np.array([-0.5, -0.5, 0.5, 0.5])
        references[~masks[:, n], n] = hard[n] + np.array([-0.5, 0.5, -0.5, 0.5])
    references = references.astype(np.float32)
    ins = np.where(masks, references.astype(np.float64), 0).sum(axis=0) / 4
    outs = np.where(masks, 0, references.astype(np.float64)).sum(axis=0) / 4
    linear = (ins - outs) * (own.astype(np.float64) - (ins + outs) / 2)
    score = FIXED.score(evidence(FIXED, own, references, masks))
    assert np.allclose(score / score.std(), linear / linear.std(), atol=1e-5)
    assert np.array_equal(np.argsort(score), np.argsort(linear))


def test_offline_with_one_variance_ranks_as_the_calibrated_log_odds():
    own, references, masks, _ = drawn(10, 3000, "watson")
    watson = Calibrated()
    first = OFFLINE_FIXED.score(evidence(OFFLINE_FIXED, own, references, masks))
    second = watson.score(evidence(watson, own, references, masks))
    assert np.array_equal(np.argsort(first), np.argsort(second))


@pytest.mark.parametrize("z", [8.0, 20.0, 37.0, 60.0])
def test_the_tail_is_exact_far_out(z):
    references = np.array([[-1.0], [1.0], [-1.0], [1.0]])
    deviation = np.sqrt(4 / 3)
    own = np.array([z * deviation])
    score = OFFLINE_PER_RECORD.score(evidence(OFFLINE_PER_RECORD, own, references, np.zeros((4, 1))))[0]
    x = float(np.float32(own[0])) / deviation / np.sqrt(2)
    exact = x * x - np.log(erfcx(x) / 2)
    assert score == pytest.approx(exact, rel=1e-9)


def test_the_far_tail_still_adds_up_over_queries_and_has_no_ties():
    distances = np.linspace(5, 45, 400)
    references = np.tile(np.array([-1.0, 1.0, -1.0, 1.0])[:, None, None], (1, 400, 2))
    own = np.stack([distances, np.zeros(400)], axis=1)
    score = OFFLINE_PER_RECORD.score(evidence(OFFLINE_PER_RECORD, own, references, np.zeros((4, 400))))
    assert (np.diff(score) > 0).all()


def test_queries_add_up():
    draw = rng(3, "queries")
    masks = balanced_masks(8, 60, draw)
    references, own = draw.normal(size=(8, 60, 3)), draw.normal(size=(60, 3))
    for attack in (PER_RECORD, FIXED, OFFLINE_PER_RECORD):
        together = attack.score(evidence(attack, own, references, masks))
        apart = sum(attack.score(evidence(attack, own[:, a], references[:, :, a], masks)) for a in range(3))
        assert np.allclose(together, apart)


EVERY = [
    *(LiRA(variance=v, centre=c) for v in ("shrunk", "pooled", "per_record") for c in ("shrunk", "mean", "median")),
    *(LiRAOffline(variance=v, centre=c) for v in ("shrunk", "pooled", "per_record") for c in ("shrunk", "mean")),
    OFFLINE_TWO,
]


@pytest.mark.parametrize("attack", EVERY, ids=repr)
def test_lopsided_and_flat_references_give_finite_scores(attack):
    draw = rng(4, "lopsided")
    references = draw.normal(size=(6, 80)).astype(np.float32)
    masks = draw.random((6, 80)) < 0.5
    masks[:, 0], masks[:, 1] = True, False  # no OUT, no IN
    masks[:, 2] = np.arange(6) == 0  # one IN
    references[:, 3] = 1.0  # no spread
    references[masks[:, 4], 4] = 2.0
    own = draw.normal(size=80)
    own[5] = 1e6
    assert np.isfinite(attack.score(evidence(attack, own, references, masks))).all()
    flat = attack.score(evidence(attack, np.ones(80), np.ones((6, 80)), masks))
    assert np.isfinite(flat).all()
    for records in (1, 2):
        few = evidence(attack, own[:records], references[:, :records], masks[:, :records])
        assert np.isfinite(attack.score(few)).all()
    for side in (0, 1):
        assert np.isfinite(attack.score(evidence(attack, own, references, np.full((6, 80), side)))).all()
    assert np.isfinite(attack.score(evidence(attack, own, references[:0], masks[:0]))).all()


@pytest.mark.parametrize("attack", [LiRA(), FIXED, PER_RECORD, LiRA(variance="shrunk", centre="mean")], ids=repr)
def test_a_record_without_one_side_still_ranks_sensibly(attack):
    own, references, masks, _ = drawn(8, 400, "missing")
    masks[:, :20], masks[:, 20:40] = True, False
    hard = references.mean(axis=0)
    for shown in (+1.0, -1.0):
        own[:40] = hard[:40] + np.where(np.arange(40) < 20, -0.5, 0.5) + 0.8 * shown
        scores = attack.score(evidence(attack, own, references, masks))[:40]
        assert (shown * scores > 0).mean() > 0.9


def test_borrowing_strength_reaches_the_oracle_with_two_references_a_side():
    own, references, masks, truth = drawn(4, 20_000, "borrow")
    attack = LiRA()
    scores = attack.score(evidence(attack, own, references, masks))
    plain = FIXED.score(evidence(FIXED, own, references, masks))
    # Means of four references each tell as much about the record as the pair of sides can: Φ(δ / σ√(2 + 2/4)).
    assert auc(scores, truth) == pytest.approx(norm.cdf(1 / (0.5 * np.sqrt(2 + 2 / 4))), abs=0.01)
    assert tpr_at(scores, truth, 0.01) > tpr_at(plain, truth, 0.01)


def varied(models, records, draw):
    """Records whose deviations differ fourfold: a shared variance is wrong for nearly all of them."""
    deviation = 0.5 * np.exp(draw.normal(0, 0.7, records))
    masks = balanced_masks(models, records, draw)
    truth = np.arange(records) % 2 == 0
    own = truth * 1.0 + deviation * draw.normal(size=records)
    return own, masks * 1.0 + deviation * draw.normal(size=(models, records)), masks, truth


def test_shrunk_variance_is_pooled_when_records_agree_and_their_own_when_they_do_not():
    own, references, masks, truth = drawn(6, 8000, "agree")
    scores = {v: LiRA(variance=v, centre="mean") for v in ("shrunk", "pooled", "per_record")}
    area = {v: auc(a.score(evidence(a, own, references, masks)), truth) for v, a in scores.items()}
    assert area["shrunk"] == pytest.approx(area["pooled"], abs=0.003)
    assert area["shrunk"] > area["per_record"] + 0.01
    for models, slack in ((8, 0.0), (128, 0.003)):
        own, references, masks, truth = varied(models, 6000, rng(5, "varied", models))
        power = {v: tpr_at(a.score(evidence(a, own, references, masks)), truth, 0.01) for v, a in scores.items()}
        area = {v: auc(a.score(evidence(a, own, references, masks)), truth) for v, a in scores.items()}
        assert area["shrunk"] >= max(area["pooled"], area["per_record"]) - slack
        assert power["shrunk"] >= max(power["pooled"], power["per_record"]) - 0.02


def test_the_prior_on_variances_is_recovered():
    draw = rng(6, "prior")
    strength, typical, freedom = 8.0, 0.3, 5.0
    variances = strength * typical / draw.chisquare(strength, 60_000)
    scatter = variances * draw.chisquare(freedom, 60_000)
    got = prior(scatter, np.full(60_000, freedom), 1.0)
    assert got[0] == pytest.approx(strength, rel=0.1)
    assert got[1] == pytest.approx(typical, rel=0.03)
    equal = prior(0.3 * draw.chisquare(freedom, 500), np.full(500, freedom), 0.3)
    assert equal[0] > 50
    assert equal[1] == pytest.approx(0.3, rel=0.1)


@pytest.mark.parametrize("y", [0.01, 0.5, 3.0, 1e3, 1e6])
def test_trigamma_is_inverted(y):
    assert trigamma_inverse(float(polygamma(1, y))) == pytest.approx(y, rel=1e-6)


def test_the_density_is_scipys():
    residual, variance = np.array([[0.3, -2.0, 9.0]]).T, np.array([[1.5, 0.2, 2.0]]).T
    freedom = np.array([[4.0, np.inf, 30.0]]).T
    expected = [t.logpdf(0.3, 4, scale=1.5**0.5), norm.logpdf(-2, 0, 0.2**0.5), t.logpdf(9, 30, scale=2**0.5)]
    assert np.allclose(log_density(residual, variance, freedom)[:, 0], np.array(expected) + 0.5 * np.log(2 * np.pi))


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10), st.floats(-5, 5))
@settings(max_examples=25, deadline=None)
def test_units_and_origin_of_the_signal_do_not_matter(seed, scale, origin):
    own, references, masks, _ = TOY.draw(8, 60, rng(seed, "units"))
    for attack in (LiRA(), PER_RECORD, FIXED, LiRAOffline()):
        plain = attack.score(evidence(attack, own, references, masks))
        moved = attack.score(evidence(attack, own * scale + origin, references * scale + origin, masks))
        assert np.allclose(plain, moved, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("attack", [LiRA, LiRAOffline])
def test_impossible_options_are_refused(attack):
    with pytest.raises(UsageError, match="variance"):
        attack(variance="global")
    with pytest.raises(UsageError, match="centre"):
        attack(centre="mode")
    with pytest.raises(UsageError, match="sides"):
        LiRAOffline(sides="three")
