"""gdp_fit and the Gaussian curve: against areas and scans, under symmetries, and in thousands of simulated audits."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import slow_gaussian as slow
from vestige.errors import UsageError
from vestige.metrics.epsilon.base import Coins, coins
from vestige.metrics.epsilon.gaussian import LARGEST_T, auc_law, gdp_fit, mu_from_auc, noncentrality
from vestige.metrics.epsilon.gdp import gdp_delta, gdp_epsilon
from vestige.seeds import rng

DELTA = 1e-5


def fit(flips, mechanism="gaussian", delta=DELTA, **options):
    return gdp_fit(flips, mechanism=mechanism, delta=delta, **options)


def flip(seen, canaries, *path, rate=0.5):
    """One audit's coins; ``seen(generator, included)`` are the scores."""
    generator = rng(0, "gdp", *path)
    included = generator.random(canaries) < rate
    return Coins(scores=seen(generator, included), included=included, rate=rate)


def location(mu):
    return lambda generator, included: generator.standard_normal(len(included)) + mu * included


def exceeding(truth, audits, seen, canaries, *path, **options):
    """The share of audits whose bound is above the truth."""
    over = [fit(flip(seen, canaries, *path, i), **options).value > truth + 1e-9 for i in range(audits)]
    return float(np.mean(over))


def allowed(audits, errors=3):
    return 0.05 + errors * math.sqrt(0.05 * 0.95 / audits)


@pytest.mark.parametrize(("sigma", "epsilon"), [(7.0318, 0.5), (3.7306, 1), (1.0812, 4), (0.4999, 10), (1, 4.3772)])
def test_published_noise_multipliers(sigma, epsilon):
    assert gdp_epsilon(1 / sigma, DELTA) == pytest.approx(epsilon, rel=3e-4)


@pytest.mark.parametrize("mu", [0.1, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("delta", [1e-8, 1e-5, 0.01])
def test_the_curve_is_an_area(mu, delta):
    assert gdp_epsilon(mu, delta) == pytest.approx(slow.gdp_epsilon(mu, delta), abs=1e-6)


@pytest.mark.parametrize("mu", [1e-8, 3e-5, 1e-3, 0.3, 3.0, 30.0, 1e3, 1e5])
def test_the_curve_agrees_with_an_accountant_from_almost_nothing_to_everything(mu):
    accounting = pytest.importorskip("dp_accounting")
    for delta in (1e-12, 1e-5, 0.3):
        assert gdp_epsilon(mu, delta) == pytest.approx(accounting.get_epsilon_gaussian(1 / mu, delta), rel=1e-7)


@given(st.floats(-6, 3), st.floats(-12, -0.1))
def test_epsilon_and_delta_are_inverse(log_mu, log_delta):
    mu, delta = 10**log_mu, 10**log_delta
    epsilon = gdp_epsilon(mu, delta)
    if epsilon == 0:
        assert gdp_delta(mu, 0.0) <= delta * (1 + 1e-9)
    else:
        assert gdp_delta(mu, epsilon) == pytest.approx(delta, rel=1e-6)
    assert gdp_epsilon(mu * 1.01, delta) >= epsilon


def test_the_curve_ends_where_it_should():
    assert gdp_epsilon(0.0, DELTA) == 0.0
    assert gdp_delta(0.0, 0.0) == 0.0
    assert gdp_delta(1.0, math.inf) == 0.0
    for wrong in (-1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="mu to be a finite number"):
            gdp_epsilon(wrong, DELTA)
    with pytest.raises(UsageError, match="epsilon to be at least 0"):
        gdp_delta(1.0, -1.0)


@pytest.mark.parametrize("mu", [0.0, 0.3, 1.0, 2.5, 4.0])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 7), (500, 480)])
def test_the_law_of_the_auc(mu, sizes):
    assert auc_law(mu, *sizes) == pytest.approx(slow.auc_law(mu, *sizes), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("auc", "sizes"), [(0.76, (500, 500)), (0.55, (300, 200)), (0.97, (40, 60)), (1.0, (30, 30))])
@pytest.mark.parametrize("confidence", [0.95, 0.999])
def test_mu_is_the_first_that_is_not_too_unlikely(auc, sizes, confidence):
    found = mu_from_auc(auc, *sizes, confidence=confidence)
    assert found == pytest.approx(slow.mu_from_auc(auc, *sizes, confidence, 0.01), abs=0.0101)


@pytest.mark.parametrize("sizes", [(6, 6), (2, 10), (10, 3), (4, 30), (10, 10), (50, 50), (10, 400), (500, 500)])
@pytest.mark.parametrize("confidence", [0.95, 0.975, 0.99])
def test_perfect_separation_is_never_likelier_than_promised(sizes, confidence):
    """At its extreme the normal law of the AUC can be checked exactly."""
    most = mu_from_auc(1.0, *sizes, confidence=confidence)
    assert most > 0 or slow.separates(0.0, *sizes) > 0
    assert most == 0 or slow.separates(most, *sizes) <= 1 - confidence


@pytest.mark.parametrize("sizes", [(6, 6), (2, 12), (20, 20)])
def test_the_normal_law_of_the_auc_errs_on_the_safe_side(sizes):
    """Whatever AUC a bound is made from, the bound makes that AUC or more as unlikely as promised."""
    draws, (members, nonmembers) = 40_000, sizes
    noise = rng(0, "auc", *sizes).standard_normal((draws, members + nonmembers))
    for wins in np.unique(np.linspace(0.6, 1.0, 12) * members * nonmembers // 1):
        least = mu_from_auc(wins / members / nonmembers, *sizes, confidence=0.95)
        shown = noise[:, :members] + least
        beaten = sum((shown > noise[:, members + i, None]).sum(axis=1) for i in range(nonmembers))
        assert least == 0 or np.mean(beaten >= wins) <= allowed(draws)


def test_a_low_confidence_is_answered_with_a_higher_one():
    assert mu_from_auc(0.7, 50, 50, confidence=0.6) == mu_from_auc(0.7, 50, 50, confidence=0.95)


@pytest.mark.parametrize(("t", "freedom"), [(3.0, 2), (3.0, 998), (15.8, 998), (300.0, 198), (LARGEST_T, 18)])
def test_the_noncentral_t_is_inverted(t, freedom):
    shift = noncentrality(t, freedom, confidence=0.95)
    assert slow.noncentral_t_cdf(t, freedom, shift) == pytest.approx(0.95, abs=2e-5)


def test_a_small_t_shows_nothing():
    assert noncentrality(1.6, 998, confidence=0.95) == 0.0
    assert noncentrality(-50.0, 998, confidence=0.95) == 0.0
    assert noncentrality(0.0, 10, confidence=0.3) > 0.0
    assert noncentrality(-0.2, 10, confidence=0.1) > 0.0


@pytest.mark.parametrize("mechanism", ["laplace", "randomized_response", "other"])
@pytest.mark.parametrize("scores", ["any", "gaussian"])
def test_any_other_mechanism_is_refused(mechanism, scores):
    bound = fit(flip(location(1.0), 100), mechanism=mechanism, scores=scores)
    assert bound.refused
    assert bound.ceiling is None
    assert mechanism in bound.reason
    assert not bound.refutes(0.0)
    assert not bound.could_refute(0.0)


def test_a_delta_of_zero_is_refused():
    bound = fit(flip(location(1.0), 100), delta=0.0)
    assert bound.refused
    assert "delta 0" in bound.reason


def test_a_subsampled_mechanism_gets_an_estimate():
    flips = flip(location(1.0), 500)
    bound, estimate = fit(flips), fit(flips, mechanism="subsampled_gaussian")
    assert (bound.kind, estimate.kind) == ("bound", "estimate")
    assert estimate.value == bound.value
    assert "approximately" in estimate.reason
    assert not estimate.refutes(0.0)
    assert bound.reason == ""


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"mechanism": "gausian"}, "one of gaussian, subsampled_gaussian"),
        ({"scores": "normal"}, "'any' or 'gaussian'"),
        ({"delta": -0.1}, "delta"),
        ({"confidence": 1.0}, "confidence"),
    ],
)
def test_misuse_is_named(options, complaint):
    with pytest.raises(UsageError, match=complaint):
        fit(flip(location(1.0), 50), **options)


def test_each_form_names_its_assumption():
    flips = flip(location(1.0), 50)
    assert "independent" in fit(flips).assumption
    assert "normal" not in fit(flips).assumption
    assert "scores are normal" in fit(flips, scores="gaussian").assumption


@pytest.mark.parametrize("canaries", [200, 1000, 5000])
@pytest.mark.parametrize("mu", [0.0, 0.5, 1.0, 2.0])
def test_it_seldom_exceeds_the_truth(canaries, mu):
    over = exceeding(gdp_epsilon(mu, DELTA), 500, location(mu), canaries, "valid", canaries, int(10 * mu))
    assert over <= allowed(500)


@pytest.mark.parametrize("mu", [0.0, 0.5, 1.0, 2.0])
def test_normal_scores_seldom_exceed_the_truth(mu):
    truth = gdp_epsilon(mu, DELTA)
    over = exceeding(truth, 300, location(mu), 200, "normal", int(10 * mu), scores="gaussian")
    assert over <= allowed(300)


def thresholded(generator, shown):
    return (shown > 0.5).astype(np.float64)


def rounded(generator, shown):
    return np.round(shown)


def clipped(generator, shown):
    return np.clip(shown, -0.3, 1.3)


def mixed(generator, shown):
    return np.where(generator.random(len(shown)) < 0.9, shown, 3 * generator.standard_normal(len(shown)))


def blurred(generator, shown):
    return np.floor(2 * shown) + generator.random(len(shown))


def stretched(generator, shown):
    return np.sinh(shown) ** 3


@pytest.mark.parametrize("process", [thresholded, rounded, clipped, mixed, blurred, stretched])
@pytest.mark.parametrize("mu", [0.0, 1.0, 2.0])
def test_it_holds_for_whatever_is_made_of_a_gaussian_mechanism(process, mu):
    def seen(generator, included):
        return process(generator, location(mu)(generator, included))

    over = exceeding(gdp_epsilon(mu, DELTA), 400, seen, 200, process.__name__, int(10 * mu))
    assert over <= allowed(400)


@pytest.mark.parametrize("rate", [0.1, 0.8])
@pytest.mark.parametrize("mu", [0.0, 1.0])
def test_it_holds_for_unfair_coins(rate, mu):
    truth = gdp_epsilon(mu, DELTA)
    bounds = [fit(flip(location(mu), 100, "unfair", i, rate=rate)).value for i in range(500)]
    assert np.mean(np.array(bounds) > truth) <= allowed(500)


def test_it_holds_for_canaries_that_differ():
    """Each canary has a level of its own, and some leak less than declared."""
    levels, leaks = np.linspace(-2, 2, 300), np.where(np.arange(300) % 2, 1.0, 0.9)
    over = exceeding(
        gdp_epsilon(1.0, DELTA), 300, lambda g, coin: levels + leaks * coin + g.standard_normal(300), 300, "differ"
    )
    assert over <= allowed(300)


@pytest.mark.parametrize("dimensions", [2, 30, 300])
def test_it_holds_when_the_canaries_of_a_gaussian_mechanism_overlap(dimensions):
    """Σ of the included canaries' unit vectors plus spherical noise, scored by their inner products."""

    def seen(generator, included):
        vectors = generator.standard_normal((dimensions, 150))
        vectors /= np.linalg.norm(vectors, axis=0)
        released = vectors @ included + generator.standard_normal(dimensions)
        return vectors.T @ (released - vectors.sum(axis=1) / 2)

    assert exceeding(gdp_epsilon(1.0, DELTA), 300, seen, 150, "overlap", dimensions) <= allowed(300)


def test_one_noise_for_all_canaries_is_outside_the_assumption():
    """Per canary this mechanism is exactly 1-GDP, and yet its canaries all leak more in the same runs."""

    def seen(generator, included):
        sureness = abs(generator.standard_normal() + 0.5)
        right = generator.random(len(included)) < 1 / (1 + math.exp(-sureness))
        return np.where(right == included, 1.0, -1.0)

    over = exceeding(gdp_epsilon(1.0, DELTA), 200, seen, 1000, "shared")
    assert over > 0.1
    assert "independent of the other canaries' noise" in fit(flip(seen, 50)).assumption


@pytest.mark.parametrize(("scores", "least"), [("any", 3.6), ("gaussian", 3.6)])
def test_it_is_powerful_and_fast(scores, least):
    audits = [flip(location(1.0), 1000, "power", i) for i in range(60)]
    start = time.perf_counter()
    bounds = [fit(flips, scores=scores).value for flips in audits]
    assert (time.perf_counter() - start) / len(audits) < 0.5
    assert np.median(bounds) >= least


SIDES = st.integers(12, 30).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-40, 40), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.randoms(use_true_random=False),
    )
)


def built(scores, included):
    return Coins(scores=np.array(scores, dtype=np.float64), included=np.array(included, dtype=np.bool_))


@settings(deadline=None)
@given(SIDES)
def test_only_the_order_of_the_scores_matters(case):
    scores, included, _ = case
    stretched_scores = [score**3 + score for score in scores]
    assert fit(built(scores, included)) == fit(built(stretched_scores, included))


@settings(deadline=None)
@given(SIDES, st.sampled_from(["any", "gaussian"]))
def test_the_order_of_the_canaries_does_not_matter(case, form):
    scores, included, random = case
    pairs = list(zip(scores, included, strict=True))
    random.shuffle(pairs)
    one, other = fit(built(scores, included), scores=form), fit(built(*zip(*pairs, strict=True)), scores=form)
    assert one.value == pytest.approx(other.value, rel=1e-6, abs=1e-9)
    assert one.ceiling == other.ceiling


@settings(deadline=None)
@given(SIDES, st.sampled_from(["any", "gaussian"]))
def test_in_and_out_are_mirror_images(case, form):
    scores, included, _ = case
    mirror = built([-score for score in scores], [not coin for coin in included])
    one, other = fit(built(scores, included), scores=form), fit(mirror, scores=form)
    assert one.value == pytest.approx(other.value, rel=1e-6, abs=1e-9)


@settings(deadline=None)
@given(SIDES, st.floats(0.1, 10), st.floats(-5, 5))
def test_normal_scores_have_no_unit(case, scale, shift):
    scores, included, _ = case
    moved = [scale * score + shift for score in scores]
    one, other = fit(built(scores, included), scores="gaussian"), fit(built(moved, included), scores="gaussian")
    assert one.value == pytest.approx(other.value, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_scores_of_any_size(scale):
    flips = flip(location(2.0), 100)
    for form in ("any", "gaussian"):
        scaled = fit(Coins(scores=scale * flips.scores, included=flips.included), scores=form)
        assert scaled.value == pytest.approx(fit(flips, scores=form).value, rel=1e-6)
    assert fit(built([1e-300, 0, 1, 1], [True, True, False, False]), scores="gaussian").value == 0.0


@settings(deadline=None)
@given(SIDES)
def test_a_member_that_scores_higher_never_lowers_the_bound(case):
    scores, included, random = case
    if not any(included):
        return
    raised = list(scores)
    raised[random.choice([i for i, coin in enumerate(included) if coin])] += random.randrange(1, 40)
    assert fit(built(raised, included)).value >= fit(built(scores, included)).value - 1e-9


@settings(deadline=None)
@given(SIDES, st.sampled_from(["any", "gaussian"]))
def test_the_ceiling_is_never_passed_and_more_confidence_says_less(case, form):
    scores, included, _ = case
    flips = built(scores, included)
    bounds = [fit(flips, scores=form, confidence=confidence) for confidence in (0.9, 0.95, 0.999)]
    values = [bound.value for bound in bounds]
    assert all(0 <= bound.value <= bound.ceiling < math.inf for bound in bounds)
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("size", [6, 200, 1000])
def test_perfect_separation_reaches_the_ceiling(size):
    bound = fit(coins(np.arange(size) + 1.0, -np.arange(size) - 1.0))
    assert bound.value == bound.ceiling > 0
    far = fit(coins(1e9 + np.arange(size) / size, np.arange(size) / size), scores="gaussian")
    assert far.value == pytest.approx(far.ceiling)
    assert far.ceiling > bound.ceiling


@pytest.mark.parametrize("form", ["any", "gaussian"])
@pytest.mark.parametrize("inside", [[1.0, 1.0, 1.0], [], [0.0], [0.0, 1.0]])
def test_nothing_to_see_is_a_bound_of_zero(form, inside):
    flips = built([*inside, *[1.0] * 3], [True] * len(inside) + [False] * 3)
    bound = fit(flips, scores=form)
    assert bound.value == 0.0


def test_why_there_is_nothing_to_see():
    assert "left out" in fit(built([1, 2], [False, False])).reason
    assert "included" in fit(built([1, 2], [True, True])).reason
    assert "Fewer than 12" in fit(built([1, 2], [True, False])).reason
    assert fit(built([0.1] * 13, [True] * 3 + [False] * 10), scores="gaussian").value == 0.0
    assert "do not vary" in fit(built([1, 1, 0, 0], [True, True, False, False]), scores="gaussian").reason


def test_one_canary_of_each_kind():
    for form in ("any", "gaussian"):
        assert fit(built([1, 0], [True, False]), scores=form).value == 0.0
