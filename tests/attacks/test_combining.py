"""Scores of several attacks as one: the common scale, and the rules, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from vestige.attacks.combining import intersection, log_odds, mean_rank, probit_weights, scale_of, union
from vestige.testing.conformance import auc

SIDE = 20_000


def sides(shift, sigma, *, seed=0, count=SIDE):
    """Return (count, J) scores of members, shifted, and of non-members; both with covariance ``sigma``."""
    draw = np.random.default_rng(seed)
    root = np.linalg.cholesky(np.asarray(sigma, float))
    noise = draw.standard_normal((2, count, len(root))) @ root.T
    return noise[0] + shift, noise[1]


def area(members, others):
    return auc(np.concatenate([members, others]), np.arange(len(members) + len(others)) < len(members))


@given(
    st.lists(st.floats(-1e6, 1e6).map(np.float32), min_size=1, max_size=40),
    st.lists(st.floats(-1e6, 1e6).map(np.float32), min_size=2, max_size=40, unique=True),
)
def test_the_scale_rises_and_never_ends(known, asked):
    known, asked = np.array(known, float), np.sort(np.array(asked, float))
    z = scale_of(known)(asked)
    assert np.isfinite(z).all()
    assert (np.diff(z) >= -1e-12).all()
    # Scores that lie apart by more than rounding on the scale of what is known stay apart.
    span = max(np.ptp(known), 1.0)
    apart = np.diff(asked) > 1e-6 * (span + np.abs(asked[1:]) + np.abs(asked[:-1]))
    assert (np.diff(z)[apart] > 0).all()


def test_ranks_become_normal_scores_with_ties_midway():
    known = np.array([3.0, 1.0, 2.0, 2.0, 9.0])
    z = scale_of(known)(np.array([1.0, 2.0, 3.0, 9.0]))
    assert z == pytest.approx(ndtri(np.array([1, 2.5, 4, 5]) / 6))
    assert scale_of(np.empty(0))(np.array([-2.0, 0.0, 5.0])) == pytest.approx([-np.log(3), 0, np.log(6)])


@pytest.mark.parametrize("copies", [1, 2, 5])
@pytest.mark.parametrize("rule", ["mean_rank", "union", "intersection", "probit"])
def test_copies_of_one_attack_rank_as_it_does(rule, copies):
    draw = np.random.default_rng(3)
    known, asked = draw.standard_cauchy(500), np.sort(draw.standard_cauchy(400) * 5)
    scale = scale_of(known)
    z = np.column_stack([scale(asked)] * copies)
    members = np.column_stack([scale(known + 1)] * copies)
    weights = probit_weights(members, np.column_stack([scale(known)] * copies))
    joined = {
        "mean_rank": lambda: mean_rank(z),
        "union": lambda: union(z, 0.01),
        "intersection": lambda: intersection(z, 0.01),
        "probit": lambda: z @ weights,
    }[rule]()
    assert (np.diff(joined) > 0).all()


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_two_independent_gaussian_attacks_are_as_strong_as_one_root_two_times_as_strong(strength):
    members, others = sides(np.full(2, strength), np.eye(2))
    z, known = (np.column_stack([scale_of(o)(s) for o, s in zip(others.T, side.T, strict=True)])
                for side in (members, others))  # fmt: skip
    weights = probit_weights(z, known)
    fresh, fresh_others = sides(np.full(2, strength), np.eye(2), seed=1)
    scales = [scale_of(column) for column in others.T]
    joined = [sum(w * f(c) for w, f, c in zip(weights, scales, side.T, strict=True)) for side in (fresh, fresh_others)]
    error = np.sqrt(1 / (6 * SIDE))
    assert area(fresh[:, 0], fresh_others[:, 0]) == pytest.approx(ndtr(strength / np.sqrt(2)), abs=3 * error)
    assert area(*joined) == pytest.approx(ndtr(strength), abs=3 * error)


def test_weights_by_covariance_beat_a_plain_sum_of_correlated_attacks():
    shift, sigma = np.ones(3), np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])
    weights = probit_weights(*sides(shift, sigma))
    exact = np.linalg.solve(sigma, shift)
    assert weights / weights.sum() == pytest.approx(exact / exact.sum(), abs=0.02)
    members, others = sides(shift, sigma, seed=1)
    error = np.sqrt(1 / (6 * SIDE))
    found = {}
    for name, w in (("plain", np.ones(3)), ("weighted", weights)):
        expected = ndtr(w @ shift / np.sqrt(2 * w @ sigma @ w))
        found[name] = area(members @ w, others @ w)
        assert found[name] == pytest.approx(expected, abs=3 * error)
    assert found["weighted"] > found["plain"] + 3 * error


def test_no_attack_counts_against_a_record():
    # Beside the second, the first only tells its noise: the unbounded optimum would subtract it.
    shift, sigma = np.array([0.2, 1.0]), np.array([[1, 0.8], [0.8, 1]])
    assert (np.linalg.solve(sigma, shift) < 0).any()
    assert probit_weights(*sides(shift, sigma)) == pytest.approx([0, 1.0], abs=0.05)
    assert (probit_weights(*sides(np.full(2, -1.0), np.eye(2))) == 1).all()
    assert (probit_weights(np.zeros((0, 3)), np.zeros((5, 3))) == 1).all()


@pytest.mark.parametrize("correlation", [0.0, 0.95])
@pytest.mark.parametrize("alpha", [0.01, 0.1])
def test_verdicts_wrong_at_most_alpha_of_fresh_non_members(alpha, correlation):
    sigma = (1 - correlation) * np.eye(4) + correlation
    _, known = sides(0, sigma)
    _, fresh = sides(0, sigma, seed=5)
    z = np.column_stack([scale_of(k)(f) for k, f in zip(known.T, fresh.T, strict=True)])
    for rule in (union, intersection):
        rate = (rule(z, alpha) >= 0).mean()
        # The thresholds and the rate are each measured on so many.
        assert rate <= alpha + 3 * np.sqrt(2 * alpha / SIDE)
    if correlation == 0:
        wrong = (union(z, alpha) >= 0).mean()
        assert wrong == pytest.approx(1 - (1 - alpha / 4) ** 4, abs=3 * np.sqrt(2 * alpha / SIDE))


def test_mean_rank_is_the_log_odds_of_the_mean_rank():
    z = np.random.default_rng(0).standard_normal((50, 3))
    assert mean_rank(z) == pytest.approx(log_odds(ndtr(z).mean(axis=1)))
