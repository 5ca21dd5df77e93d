import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reference import slow_epsilon
from reference.slow_epsilon import gaussian_delta, pure_delta, toy_scores
from vestige.errors import DataError, UsageError
from vestige.metrics.epsilon.curve import EPSILONS, claim_on_curve, limit_of, p_values, tpr_limit
from vestige.metrics.epsilon.thresholds import Bonferroni, Counts, Explicit, MultiSplit, Split, counts_above
from vestige.seeds import rng

RATES = np.array([0.0, 1e-5, 1e-3, 0.01, 0.1, 0.5, 0.9, 1.0])


@pytest.mark.parametrize("mu", [0.2, 1.0, 3.0])
def test_a_gaussians_curve_from_its_deltas_is_the_exact_one(mu):
    exact = stats.norm.cdf(stats.norm.ppf(RATES) + mu)
    assert tpr_limit(RATES, mu) == pytest.approx(exact, rel=1e-12)
    found = tpr_limit(RATES, gaussian_delta(mu))
    assert found == pytest.approx(exact, rel=5e-4, abs=1e-9)
    assert (found >= exact - 1e-12).all()  # a grid of true limits can only allow more


def test_the_last_row_of_the_published_table():
    assert tpr_limit([0.001, 0.01], gaussian_delta(1.0)) == pytest.approx([0.0183, 0.0924], abs=5e-5)


@pytest.mark.parametrize(
    ("noise", "rate", "steps", "expected"), [(1.0, 0.01, 1000, (0.0041, 0.029)), (3.0, 0.082, 2500, (0.046, 0.178))]
)
def test_a_privacy_loss_distribution_is_read(noise, rate, steps, expected):
    pytest.importorskip("dp_accounting")
    from dp_accounting.pld import privacy_loss_distribution

    loss = privacy_loss_distribution.from_gaussian_mechanism(
        noise, value_discretization_interval=1e-3, sampling_prob=rate
    ).self_compose(steps)
    assert tpr_limit([0.001, 0.01], loss) == pytest.approx(expected, rel=0.02)


def test_a_point_claim_is_its_two_straight_lines():
    def delta(epsilon):
        return 1e-5 if epsilon >= 2 else 1.0

    rates = np.array([0.001, 0.1, 0.8])
    lines = np.minimum(math.e**2 * rates + 1e-5, 1 - math.e**-2 * (1 - 1e-5 - rates))
    assert tpr_limit(rates, delta) == pytest.approx(lines, abs=1e-9)


@pytest.mark.parametrize("source", [gaussian_delta(0.3), gaussian_delta(4.0), pure_delta, lambda e: 0.0])
def test_the_envelope_is_the_lowest_of_all_lines(source):
    deltas, grown = np.array([source(e) for e in EPSILONS]), np.exp(EPSILONS)
    rates = np.concatenate([np.geomspace(1e-9, 1, 50), np.linspace(0, 1, 50)])
    slow = np.minimum(grown * rates[:, None] + deltas, 1 - (1 - deltas - rates[:, None]) / grown).min(axis=1)
    assert tpr_limit(rates, source) == pytest.approx(np.clip(slow, 0, 1), abs=1e-12)


def test_no_leak_allowed_is_the_diagonal():
    assert tpr_limit(RATES, lambda epsilon: 0.0) == pytest.approx(RATES)
    assert tpr_limit(RATES, 0.0) == pytest.approx(RATES)


@pytest.mark.parametrize("case", [(73, 500, 10, 480), (30, 60, 12, 50), (10, 10, 0, 12), (3, 50, 3, 50)])
@pytest.mark.parametrize("source", [0.0, 0.5, 1.0])
def test_p_values_are_the_largest_of_a_plain_scan(case, source):
    limit = limit_of(source)
    found = p_values(Counts(*(np.array([float(each)]) for each in case)), limit)[0]
    slow = slow_epsilon.largest_p_value(*case, limit)
    assert found == pytest.approx(slow, abs=4 * math.sqrt(slow / 4e6) + 2e-3 * slow + 1e-7)


AUDITS = 250
CLAIMS = {"null": 0.0, "laplace": pure_delta, "response, tied": pure_delta, "0.5": 0.5, "1": 1.0, "2": 2.0}


@pytest.mark.parametrize("name", CLAIMS)
@pytest.mark.parametrize("size", [200, 1000])
def test_true_claims_are_broken_no_more_often_than_said(name, size):
    draw, limit = rng(0, "curve", name, size), limit_of(CLAIMS[name])
    broken = sum(claim_on_curve(*toy_scores(name, size, draw), limit).broken for _ in range(AUDITS))
    assert broken / AUDITS <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / AUDITS)


def test_false_claims_are_broken():
    draw = rng(1, "curve")
    runs = [toy_scores("1", 1000, draw) for _ in range(40)]
    limit = limit_of(gaussian_delta(0.5))
    assert np.mean([claim_on_curve(*run, limit).broken for run in runs]) > 0.9
    # ε = 1.99 at δ = 1e-5 is what μ = 0.5 amounts to: the whole curve refutes what that one point cannot
    point = limit_of(lambda epsilon: 1e-5 if epsilon >= 1.993 else 1.0)
    assert np.mean([claim_on_curve(*run, point).broken for run in runs]) < 0.5


@pytest.mark.parametrize("design", [Bonferroni(), Explicit((0.5, 1.5)), Split(), MultiSplit(splits=5)], ids=str)
def test_broken_is_a_small_p_value_whatever_the_design(design):
    draw = rng(2, "designs")
    members, nonmembers = toy_scores("2", 1000, draw)
    limit = limit_of(1.0)
    strict, loose = (claim_on_curve(members, nonmembers, limit, thresholds=design, confidence=c) for c in (0.99, 0.9))
    assert strict.broken
    assert loose.broken
    if not isinstance(design, Split | MultiSplit):  # which choose their threshold knowing the error
        assert strict.p_value == pytest.approx(loose.p_value, rel=1e-9)


def test_bonferroni_multiplies_the_smallest_p_value_by_the_looks():
    draw = rng(3, "looks")
    members, nonmembers = toy_scores("1", 400, draw)
    limit, places = limit_of(0.5), (0.5, 1.0, 1.5)
    found = claim_on_curve(members, nonmembers, limit, thresholds=Explicit(places)).p_value
    each = p_values(counts_above(members, nonmembers, np.array(places)), limit)
    assert found == pytest.approx(3 * each.min())


@pytest.mark.parametrize("design", [Explicit(0.0), Bonferroni(), Bonferroni(looks=3), Split()], ids=str)
@given(
    members=st.lists(st.integers(-4, 4), min_size=2, max_size=40),
    nonmembers=st.lists(st.integers(-4, 4), min_size=2, max_size=40),
    mu=st.sampled_from([0.0, 1.0, 5.0]),
)
@settings(max_examples=15, deadline=None)
def test_perfect_separation_gives_the_smallest_p_value(design, members, nonmembers, mu):
    found = claim_on_curve(members, nonmembers, limit_of(mu), thresholds=design)
    assert found.p_value >= found.smallest * (1 - 1e-9)
    apart = claim_on_curve(np.array(members) + 99, np.array(nonmembers) - 99, limit_of(mu), thresholds=design)
    assert apart.p_value == pytest.approx(found.smallest, rel=1e-9)
    assert apart.broken == found.could_break


def test_a_claim_too_weak_to_be_broken_is_said_to_be():
    verdict = claim_on_curve(np.ones(50), np.zeros(50), limit_of(9.0))
    assert not verdict.broken
    assert not verdict.could_break


def test_bad_input_is_one_sentence():
    limit = limit_of(1.0)
    for call, words, kind in (
        (lambda: limit_of(-1.0), "mu of a Gaussian claim to be at least 0, got -1.0", UsageError),
        (lambda: limit_of(float("nan")), "mu", UsageError),
        (lambda: limit_of("8"), "function of epsilon", UsageError),
        (lambda: limit_of(lambda epsilon: 2.0), "between 0 and 1", UsageError),
        (lambda: tpr_limit([1.2], 1.0), "between 0 and 1", UsageError),
        (lambda: claim_on_curve([np.nan], [0.0], limit), "finite", DataError),
        (lambda: claim_on_curve([1.0], [], limit), "non-member", DataError),
        (lambda: claim_on_curve([1.0], [0.0], limit, confidence=0), "confidence", UsageError),
        (lambda: claim_on_curve([1.0], [0.0], limit, trials="x"), "one_run", UsageError),
    ):
        with pytest.raises(kind, match=words):
            call()
