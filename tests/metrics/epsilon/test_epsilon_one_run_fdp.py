from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from reference import slow_one_run as slow
from vestige.errors import UsageError
from vestige.metrics.epsilon.base import Coins
from vestige.metrics.epsilon.gdp import gdp_epsilon
from vestige.metrics.epsilon.guesses import GuessBonferroni, GuessScan, GuessShare
from vestige.metrics.epsilon.one_run import one_run
from vestige.metrics.epsilon.one_run_fdp import least_mass, one_run_fdp


def gaussian(m, mu, seed):
    draws = np.random.default_rng(seed)
    included = draws.random(m) < 0.5
    return Coins(scores=mu * included + draws.normal(size=m), included=included)


def blame(mu):
    return lambda x: float(special.ndtr(special.ndtri(x) - mu))


def as_gaussian(audit, **options):
    return one_run_fdp(audit, **{"delta": 1e-5, "curve": "gaussian", "mechanism": "gaussian", **options})


# --- the laws -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "r", "v"), [(20, 20, 13), (50, 10, 9), (300, 60, 41), (1000, 200, 150)])
@pytest.mark.parametrize("alpha", [0.05, 0.3])
@pytest.mark.parametrize("mu", [1e-4, 0.1, 0.3, 0.6, 1.0, 2.0])
def test_recursion_agrees_with_the_papers_form(m, r, v, alpha, mu):
    assert (least_mass(alpha, m, r, v, blame(mu)) > 1) == slow.fdp_rejects(m, r, v, alpha, mu)


@pytest.mark.parametrize("correct", [1, 2])
def test_no_gaussian_mechanism_beats_the_recursion(correct):
    """Over all mechanisms on three canaries that guess two, under tangents of the Gaussian curve (so, even more)."""
    outputs = [
        (pair, values) for pair in itertools.combinations(range(3), 2) for values in itertools.product((0, 1), repeat=2)
    ]

    def succeeds(output, truth):
        pair, values = output
        return sum(truth[i] == value for i, value in zip(pair, values, strict=True)) >= correct

    mu = 0.8
    tangents = [
        (e, stats.norm.cdf(mu / 2 - e / mu) - math.exp(e) * stats.norm.cdf(-mu / 2 - e / mu))
        for e in np.linspace(0, 2.5, 9)
    ]
    best = slow.best_mechanism(3, outputs, succeeds, tangents)
    assert least_mass(best - 0.01, 3, 2, correct, blame(mu)) <= 1
    assert best > 0.5 if correct == 2 else best > 0.8


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["other", "laplace", "randomized_response"])
def test_gaussian_curve_is_refused_unless_declared(mechanism):
    bound = one_run_fdp(gaussian(500, 1.0, 0), delta=1e-5, curve="gaussian", mechanism=mechanism)
    assert bound.refused
    assert bound.ceiling is None
    assert mechanism in bound.reason
    assert not bound.refutes(0.0)
    assert not one_run_fdp(gaussian(500, 1.0, 0), delta=1e-5, mechanism=mechanism).refused


def test_refused_without_delta_or_fair_coins():
    assert "delta" in as_gaussian(gaussian(500, 1.0, 0), delta=0.0).reason
    audit = gaussian(500, 1.0, 0)
    unfair = Coins(scores=audit.scores, included=audit.included, rate=0.3)
    for bound in (as_gaussian(unfair), one_run_fdp(unfair, delta=1e-5)):
        assert bound.refused
        assert "0.3" in bound.reason


@pytest.mark.parametrize(
    "options", [{"delta": -1.0}, {"delta": 1.0}, {"confidence": 0.0}, {"curve": "laplace"}, {"guesses": GuessScan()}]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(UsageError):
        one_run_fdp(gaussian(50, 1.0, 0), **{"delta": 1e-5, **options})


def test_subsampled_gaussian_is_labelled_an_estimate():
    bound = as_gaussian(gaussian(1000, 2.0, 0), mechanism="subsampled_gaussian")
    assert bound.kind == "estimate"
    assert bound.value == as_gaussian(gaussian(1000, 2.0, 0)).value
    assert not bound.refutes(0.0)


# --- the bounds ---------------------------------------------------------------------------------------------------


def test_without_delta_the_approximate_curve_is_one_run():
    for seed in range(20):
        audit = gaussian(400, 1.5, seed)
        assert one_run_fdp(audit, delta=0.0).value == pytest.approx(
            one_run(audit, guesses=GuessShare()).value, abs=1e-6
        )


@pytest.mark.parametrize("delta", [1e-5, 1e-4, 1e-3])
def test_approximate_curve_is_never_below_one_run_with_the_same_guesses(delta):
    for seed in range(20):
        audit = gaussian(1000, 1.5, seed)
        assert one_run_fdp(audit, delta=delta).value >= one_run(audit, delta=delta, guesses=GuessShare()).value - 1e-6


@given(st.integers(0, 10_000))
def test_transforms_tails_and_order_change_nothing(seed):
    audit = gaussian(120, 1.5, seed)
    order = np.random.default_rng(seed).permutation(120)
    same = [
        Coins(scores=np.exp(audit.scores), included=audit.included),
        Coins(scores=-audit.scores, included=~audit.included),
        Coins(scores=audit.scores[order], included=audit.included[order]),
    ]
    for bound in (as_gaussian, lambda a: one_run_fdp(a, delta=1e-5)):
        assert [bound(other).value for other in same] == pytest.approx([bound(audit).value] * 3, abs=1e-8)


@pytest.mark.parametrize("design", [GuessShare(), GuessBonferroni(), GuessShare(share=1.0)])
def test_ceiling_is_what_perfect_separation_shows(design):
    audit = Coins(scores=np.arange(1000.0), included=np.arange(1000) >= 500)
    for bound in (as_gaussian(audit, guesses=design), one_run_fdp(audit, delta=1e-5, guesses=design)):
        assert bound.value == bound.ceiling > 3
        assert as_gaussian(gaussian(1000, 1.0, 0), guesses=design).value < bound.ceiling


@pytest.mark.parametrize("m", [1, 2, 3, 10, 60])
@pytest.mark.parametrize("delta", [1e-9, 1e-5, 0.1, 0.9])
def test_nothing_crashes(m, delta):
    for included in (np.zeros(m, bool), np.ones(m, bool), np.arange(m) % 2 == 0, np.arange(m) >= m / 2):
        for scores in (np.zeros(m), np.arange(m)):
            for design in (GuessShare(), GuessBonferroni(), GuessShare(share=1.0)):
                audit = Coins(scores=scores, included=included)
                for bound in (
                    as_gaussian(audit, delta=delta, guesses=design),
                    one_run_fdp(audit, delta=delta, guesses=design),
                ):
                    assert 0 <= bound.value <= bound.ceiling + 1e-9
                    assert math.isfinite(bound.ceiling)


def test_leak_to_nothing_and_to_everything():
    for mu in (0.0, 1e-3, 1e-1, 30.0, 1e6):
        for seed in range(20):
            assert math.isfinite(as_gaussian(gaussian(300, mu, seed)).value)


@pytest.mark.parametrize("mu", [0.5, 1.0, 2.0])
def test_gaussian_curve_holds_for_gaussian_mechanisms(mu):
    over = [as_gaussian(gaussian(200, mu, seed)).value > gdp_epsilon(mu, 1e-5) for seed in range(400)]
    assert np.mean(over) <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_approximate_curve_holds_for_tied_randomised_response(epsilon):
    def audit(seed):
        draws = np.random.default_rng(seed)
        included = draws.random(200) < 0.5
        kept = draws.random(200) < 1 / (1 + math.exp(-epsilon))
        return Coins(scores=np.where(kept, included, ~included).astype(float), included=included)

    over = [one_run_fdp(audit(seed), delta=0.0).value > epsilon for seed in range(400)]
    assert np.mean(over) <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 400)


def test_power():
    audits = [gaussian(1000, 1.0, seed) for seed in range(100)]
    declared = np.median([as_gaussian(audit).value for audit in audits])
    assert 2.2 <= declared <= 4.377
    assert np.median([one_run_fdp(audit, delta=1e-5).value for audit in audits]) >= 1.4
