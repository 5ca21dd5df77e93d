"""order_statistics: its law against quadrature, its guesses against every order of ties, its audits simulated."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reference import slow_order_statistics as slow
from vestige.errors import UsageError
from vestige.metrics.epsilon.base import Coins, coins
from vestige.metrics.epsilon.gdp import gdp_epsilon
from vestige.metrics.epsilon.order_statistics import RightGuesses, order_statistics
from vestige.metrics.epsilon.surest import guess_surest
from vestige.seeds import rng

DELTA = 1e-5


def bound_of(flips, mechanism="gaussian", delta=DELTA, **options):
    return order_statistics(flips, mechanism=mechanism, delta=delta, **options)


def flip(process, mu, canaries, *path, rate=0.5):
    generator = rng(0, "order", *path)
    included = generator.random(canaries) < rate
    shown = generator.standard_normal(canaries) + mu * included
    return Coins(scores=process(generator, shown), included=included, rate=rate)


def exceeding(process, mu, canaries, audits, *, share=0.75, rate=0.5):
    """The share of audits with more right guesses than the true μ allows, which is when the bound exceeds the truth."""
    guesses = round(share * canaries)
    law = RightGuesses(canaries=canaries, guesses=guesses, rate=rate)
    too_many = next(right for right in range(guesses + 2) if right > guesses or law.tail(right, mu) < 0.05)
    path = (process.__name__, canaries, int(10 * mu), int(100 * share))
    counts = [guess_surest(flip(process, mu, canaries, *path, i, rate=rate), guesses).right for i in range(audits)]
    return float(np.mean(np.array(counts) >= too_many))


def allowed(audits):
    return 0.05 + 3 * math.sqrt(0.05 * 0.95 / audits)


@pytest.mark.parametrize(("canaries", "guesses"), [(2, 1), (5, 4), (60, 60), (200, 30), (1000, 750), (5000, 4990)])
@pytest.mark.parametrize("mu", [1e-6, 0.2, 1.0, 3.0])
def test_the_law_of_right_guesses(canaries, guesses, mu):
    law = RightGuesses(canaries=canaries, guesses=guesses)
    for right in {1, guesses // 2 + 1, round(0.7 * guesses) + 1, guesses}:
        if right <= guesses:
            assert law.tail(right, mu) == pytest.approx(slow.tail(right, canaries, guesses, mu), abs=1e-8)


@pytest.mark.parametrize("rate", [0.5, 0.3, 0.95])
@pytest.mark.parametrize("guesses", [3, 20, 25])
@pytest.mark.parametrize("mu", [1e-4, 0.4, 2.0])
def test_the_law_of_right_guesses_for_any_coin(rate, guesses, mu):
    repeats = 4000
    counts = slow.simulate(repeats, 25, guesses, mu, rate, rng(1, "law", int(100 * rate), guesses, int(10 * mu)))
    law = RightGuesses(canaries=25, guesses=guesses, rate=rate)
    for right in np.unique(np.quantile(counts, [0.2, 0.5, 0.9]).astype(int)):
        expected = law.tail(int(right), mu)
        assert np.mean(counts >= right) == pytest.approx(expected, abs=4 * math.sqrt(0.25 / repeats))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 400), st.floats(0.01, 1), st.floats(0.02, 0.98), st.floats(0, 4), st.floats(0, 1))
def test_the_law_is_one(canaries, share, rate, mu, where):
    guesses = max(round(share * canaries), 1)
    law = RightGuesses(canaries=canaries, guesses=guesses, rate=rate)
    right = round(where * guesses)
    tail = law.tail(right, mu)
    assert 0 <= tail <= 1
    assert law.tail(0, mu) == 1.0
    assert law.tail(right + 1, mu) <= tail + 1e-9
    assert law.tail(right, mu + 0.1) >= tail - 1e-9


@pytest.mark.parametrize(("canaries", "right"), [(100, 60), (1000, 700), (5000, 3000)])
def test_guessing_everyone_is_an_exact_binomial(canaries, right):
    least = stats.binomtest(right, canaries, alternative="greater").proportion_ci(0.95, method="exact").low
    law = RightGuesses(canaries=canaries, guesses=canaries)
    assert law.mu_from(right, 0.95) == pytest.approx(2 * stats.norm.ppf(least), abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.integers(5, 300), st.floats(0.05, 1), st.floats(0, 1), st.floats(0.6, 0.999))
def test_the_bound_is_where_the_count_becomes_unlikely(canaries, share, where, confidence):
    guesses = max(round(share * canaries), 1)
    law = RightGuesses(canaries=canaries, guesses=guesses)
    right = round(where * guesses)
    mu = law.mu_from(right, confidence)
    if mu == 0:
        assert law.tail(right, 0.0) >= 1 - confidence
    else:
        assert law.tail(right, mu) == pytest.approx(1 - confidence, abs=1e-7)


SMALL = st.integers(1, 7).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 4), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.integers(1, n),
        st.sampled_from([0.5, 0.2, 0.9]),
    )
)


@settings(deadline=None, max_examples=300)
@given(SMALL)
def test_guesses_follow_the_scores_and_ties_count_against(case):
    scores, included, guesses, rate = case
    flips = Coins(scores=np.array(scores, dtype=np.float64), included=np.array(included), rate=rate)
    guessed = guess_surest(flips, guesses)
    assert guessed.right == slow.right(scores, included, guesses, rate)
    assert 0 <= guessed.right <= guesses
    assert (guessed.tied == 0) or len(set(scores)) < len(scores)


def test_a_cut_through_ties_is_moved_or_told():
    everyone = coins([1.0] * 30, [0.0] * 20)
    assert bound_of(everyone, share=1.0).reason == ""
    assert bound_of(everyone, share=1.0).value == bound_of(everyone, share=1.0).ceiling
    some = bound_of(everyone, share=0.5)
    assert "tied" in some.reason
    mixed = coins([1.0] * 20 + [0.0] * 10, [0.0] * 20 + [1.0] * 10)
    assert bound_of(mixed, share=0.75).value == 0.0
    assert bound_of(mixed, share=0.5).reason == ""  # the upper half ties with none of the lower


@pytest.mark.parametrize("mechanism", ["laplace", "randomized_response", "other"])
def test_any_other_mechanism_is_refused(mechanism):
    bound = bound_of(flip(identity, 1.0, 100), mechanism=mechanism)
    assert bound.refused
    assert mechanism in bound.reason
    assert bound.ceiling is None


def test_what_may_be_said():
    flips = flip(identity, 1.0, 500)
    bound, estimate = bound_of(flips), bound_of(flips, mechanism="subsampled_gaussian")
    assert (bound.kind, estimate.kind) == ("bound", "estimate")
    assert estimate.value == bound.value
    assert "approximately" in estimate.reason
    assert "375 most extreme of 500" in bound.design
    assert "independent" in bound.assumption
    assert "delta 0" in bound_of(flips, delta=0.0).reason


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, math.nan])
def test_an_impossible_share_is_named(share):
    with pytest.raises(UsageError, match="share of canaries to guess"):
        bound_of(flip(identity, 1.0, 20), share=share)


def identity(generator, shown):
    return shown


def thresholded(generator, shown):
    return (shown > 0.5).astype(np.float64)


def rounded(generator, shown):
    return np.round(4 * shown) / 4


def mixed(generator, shown):
    return np.where(generator.random(len(shown)) < 0.9, shown, 3 * generator.standard_normal(len(shown)))


def blurred(generator, shown):
    return np.floor(2 * shown) + generator.random(len(shown))


@pytest.mark.parametrize("canaries", [200, 1000, 5000])
@pytest.mark.parametrize("mu", [0.0, 0.5, 1.0, 2.0])
def test_it_seldom_exceeds_the_truth(canaries, mu):
    assert exceeding(identity, mu, canaries, 1000) <= allowed(1000)


@pytest.mark.parametrize("process", [thresholded, rounded, mixed, blurred])
@pytest.mark.parametrize("mu", [0.0, 1.0])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_it_holds_for_whatever_is_made_of_a_gaussian_mechanism(process, mu, share):
    assert exceeding(process, mu, 300, 1000, share=share) <= allowed(1000)


@pytest.mark.parametrize("rate", [0.2, 0.9])
@pytest.mark.parametrize("mu", [0.0, 1.0, 2.0])
def test_it_holds_for_unfair_coins(rate, mu):
    assert exceeding(identity, mu, 200, 1000, rate=rate, share=1.0) <= allowed(1000)


def test_exceeding_the_count_is_exceeding_the_truth():
    """What the simulations count is what a user would see."""
    truth, law = gdp_epsilon(1.0, DELTA), RightGuesses(canaries=200, guesses=150)
    for i in range(40):
        flips = flip(identity, 1.0, 200, "same", i)
        unlikely = law.tail(guess_surest(flips, 150).right, 1.0) < 0.05
        assert (bound_of(flips).value > truth) == unlikely


def test_it_is_powerful_and_fast():
    audits = [flip(identity, 1.0, 1000, "power", i) for i in range(60)]
    start = time.perf_counter()
    values = [bound_of(flips).value for flips in audits]
    assert (time.perf_counter() - start) / len(audits) < 0.5
    assert np.median(values) >= 3.5


@pytest.mark.parametrize("share", [0.05, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("size", [1, 2, 100, 1500])
def test_perfect_separation_reaches_the_ceiling(share, size):
    bound = bound_of(coins(np.arange(size) + 1.0, -np.arange(size) - 1.0), share=share)
    assert bound.value == bound.ceiling
    assert bound.ceiling > 0 or size < 100
    assert not bound.could_refute(bound.ceiling)


@pytest.mark.parametrize("included", [True, False])
def test_coins_that_all_fell_alike_show_nothing(included):
    flips = Coins(scores=np.arange(50.0), included=np.full(50, included))
    assert bound_of(flips).value == 0.0


CASES = st.lists(st.tuples(st.integers(-30, 30), st.booleans()), min_size=4, max_size=40)


@settings(deadline=None, max_examples=60)
@given(CASES, st.sampled_from([0.3, 0.75, 1.0]), st.randoms(use_true_random=False))
def test_only_the_order_of_the_scores_matters(case, share, random):
    def of(pairs, change):
        scores, included = zip(*pairs, strict=True)
        flips = Coins(scores=np.array([float(change(score)) for score in scores]), included=np.array(included))
        return bound_of(flips, share=share)

    shuffled = random.sample(case, len(case))
    assert of(case, lambda score: score) == of(shuffled, lambda score: score**3 + score)


@settings(deadline=None, max_examples=60)
@given(CASES, st.sampled_from([0.3, 0.75, 1.0]))
def test_the_ceiling_is_never_passed_and_more_confidence_says_less(case, share):
    scores, included = zip(*case, strict=True)
    flips = Coins(scores=np.array(scores, dtype=np.float64), included=np.array(included))
    bounds = [bound_of(flips, share=share, confidence=confidence) for confidence in (0.8, 0.95, 0.999)]
    assert all(0 <= bound.value <= bound.ceiling < math.inf for bound in bounds)
    assert bounds[0].value >= bounds[1].value >= bounds[2].value
