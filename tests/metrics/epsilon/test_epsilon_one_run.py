from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.epsilon.looks import looks_of
from reference import slow_one_run as slow
from vestige.errors import UsageError
from vestige.metrics.epsilon.base import Coins, coins
from vestige.metrics.epsilon.guess_law import crossing, fixed_count
from vestige.metrics.epsilon.guesses import (
    GuessBonferroni,
    GuessScan,
    GuessShare,
    GuessSplit,
    look,
    perfect,
)
from vestige.metrics.epsilon.one_run import epsilon_of_guesses, one_run, planned

DESIGNS = [GuessScan(), GuessShare(), GuessBonferroni(), GuessSplit()]
GOLDEN = [
    (1000, 100, 100, 0, 3.493),
    (1000, 100, 95, 0, 2.172),
    (1000, 100, 90, 1e-5, 1.626),
    (1000, 200, 150, 1e-5, 0.820),
    (5000, 500, 400, 1e-5, 1.195),
    (1000, 1000, 550, 1e-5, 0.094),
]


def gaussian(m, mu, seed, rate=0.5):
    draws = np.random.default_rng(seed)
    included = draws.random(m) < rate
    return Coins(scores=mu * included + draws.normal(size=m), included=included, rate=rate)


def randomised_response(m, epsilon, seed):
    """Two score values only, and the included canaries first."""
    draws = np.random.default_rng(seed)
    included = draws.random(m) < 0.5
    kept = draws.random(m) < math.exp(epsilon) / (1 + math.exp(epsilon))
    scores = np.where(kept, included, ~included).astype(float)
    return coins(scores[included], scores[~included])


# --- the law of the guesses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "r", "v", "delta", "expected"), GOLDEN)
def test_published_counts(m, r, v, delta, expected):
    assert epsilon_of_guesses(m, r, v, delta=delta) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("m", "r", "v", "delta", "expected"), GOLDEN)
def test_coins_with_published_counts(m, r, v, delta, expected):
    """The same figures from scores: v right among the r/2 highest and the r/2 lowest."""
    ranks, half = np.arange(m), r // 2
    included = ranks % 2 == 0
    included[m - half :] = np.arange(half) < v - v // 2
    included[:half] = np.arange(half) >= v // 2
    bound = one_run(Coins(scores=ranks.astype(float), included=included), delta=delta, guesses=GuessShare(share=r / m))
    assert bound.value == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("m", "r", "v"), [(10, 4, 3), (30, 12, 9), (60, 60, 31), (200, 40, 40)])
@pytest.mark.parametrize("epsilon", [0.0, 0.7, 2.0])
def test_theorem_term_by_term(m, r, v, epsilon):
    tail = crossing(epsilon, looks_of([r], [0], [v], canaries=m), np.array([v]))
    assert tail + fixed_count(epsilon, r, v, m, 1e-4) == pytest.approx(
        slow.steinke_p_value(m, r, v, epsilon, 1e-4), rel=1e-9
    )


@pytest.mark.parametrize("rate", [0.5, 0.2, 0.7])
@pytest.mark.parametrize("epsilon", [-0.4, 0.0, 1.3])
@pytest.mark.parametrize(
    ("inside", "outside", "needed"),
    [
        ([1, 3, 5], [1, 3, 5], [2, 5, 8]),
        ([0, 2, 6], [3, 4, 4], [3, 9, 8]),
        ([4], [4], [0]),
        ([4, 4, 5], [0, 0, 1], [4, 4, 5]),
        ([2, 8], [0, 0], [5, 9]),
    ],
)
def test_crossing_agrees_with_every_walk(rate, epsilon, inside, outside, needed):
    counts = looks_of(inside, outside, needed, canaries=20, rate=rate)
    expected = slow.crossing_by_walks(epsilon, rate, inside, outside, needed)
    assert crossing(epsilon, counts, np.array(needed)) == pytest.approx(expected, abs=1e-12)


def test_crossing_of_long_walks_is_the_binomial_tail():
    from scipy import stats

    counts = looks_of([2500], [2500], [2700], canaries=5000)
    tail = stats.binom.sf(2699, 5000, 1 / (1 + math.exp(-0.1)))
    assert crossing(0.1, counts, np.array([2700])) == pytest.approx(tail, rel=1e-8)


# --- guesses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.5, 0.3])
@pytest.mark.parametrize("tails", ["both", "top", "bottom"])
def test_counts_agree_with_slow(tails, rate):
    audit = gaussian(101, 1.0, seed=4, rate=rate)
    found = look(audit, (0.1, 0.45, 1.0), tails, seed=0)
    for j in range(3):
        expected = slow.guesses_right(audit.scores, audit.included, found.inside[j], found.outside[j])
        assert found.correct[j] == expected
    assert np.all(found.guessed <= 101)
    assert (found.outside.sum() == 0) == (tails == "top")
    assert (found.inside.sum() == 0) == (tails == "bottom")


def test_ties_fall_at_random_and_not_by_position():
    """Two scores that mean nothing, the included first: a guess is right half the time, whatever the seed."""
    rights = []
    for seed in range(200):
        audit = randomised_response(600, 0.0, seed)
        rights.append(look(audit, (0.2,), "both", seed=0).correct[0])
    assert np.mean(rights) == pytest.approx(60, abs=3 * np.sqrt(120 / 4 / 200))
    assert np.var(rights) == pytest.approx(120 / 4, rel=0.35)


def test_equal_scores_are_not_guessed_both_ways():
    """Two canaries stand out, the others are equal: only the two are guessed, and the rest counts as wrong."""
    scores = np.append(np.zeros(98), [1.0, -1.0])
    audit = Coins(scores=scores, included=np.arange(100) % 2 == 0)
    found = look(audit, (0.02, 0.5, 1.0), "both", seed=0)
    assert found.correct.tolist() == [2, 2, 2]
    assert found.guessed.tolist() == [2, 50, 100]
    assert look(coins(np.zeros(30), np.zeros(70)), (0.1, 1.0), "both", seed=0).correct.tolist() == [0, 0]


def test_ties_are_deterministic_under_the_seed():
    audit = randomised_response(300, 1.0, seed=1)
    assert one_run(audit, seed=5).value == one_run(audit, seed=5).value
    values = {one_run(audit, guesses=GuessShare(), seed=seed).value for seed in range(8)}
    assert len(values) > 1


@pytest.mark.parametrize(
    "build",
    [
        lambda: GuessShare(share=0.0),
        lambda: GuessShare(share=1.5),
        lambda: GuessShare(share=math.nan),
        lambda: GuessScan(shares=()),
        lambda: GuessScan(shares=(0.5, 0.2)),
        lambda: GuessBonferroni(shares=(0.2, 0.2)),
        lambda: GuessSplit(fraction=1.0),
        lambda: GuessShare(tails="left"),
    ],
)
def test_impossible_designs_are_refused(build):
    with pytest.raises(UsageError):
        build()


@pytest.mark.parametrize("arguments", [{"delta": -1e-9}, {"delta": 1.0}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_impossible_levels_are_refused(arguments):
    with pytest.raises(UsageError):
        one_run(gaussian(50, 1.0, seed=0), **arguments)


@pytest.mark.parametrize("counts", [(10, 5, 6), (10, 11, 5), (10, 5, -1)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(UsageError):
        epsilon_of_guesses(*counts)


# --- the bound ----------------------------------------------------------------------------------------------------


@given(st.integers(2, 300), st.floats(0.02, 1), st.floats(0, 1e-3))
def test_more_right_guesses_never_lower_the_bound(canaries, part, delta):
    guessed = max(1, int(part * canaries))
    values = [epsilon_of_guesses(canaries, guessed, v, delta=delta) for v in np.linspace(0, guessed, 12, dtype=int)]
    assert all(later >= earlier - 1e-8 for earlier, later in itertools.pairwise(values))
    assert values[0] == 0.0


@given(st.integers(0, 10_000), st.sampled_from(DESIGNS), st.sampled_from([0.0, 1e-5]))
def test_rising_transforms_of_the_scores_change_nothing(seed, design, delta):
    audit = gaussian(120, 1.0, seed)
    moved = Coins(scores=np.exp(2 * audit.scores) + 3, included=audit.included)
    assert one_run(audit, delta=delta, guesses=design).value == one_run(moved, delta=delta, guesses=design).value


@given(st.integers(0, 10_000), st.sampled_from(DESIGNS[:3]))
def test_order_of_canaries_changes_nothing(seed, design):
    audit = gaussian(120, 1.5, seed)
    order = np.random.default_rng(seed).permutation(120)
    moved = Coins(scores=audit.scores[order], included=audit.included[order])
    assert one_run(audit, guesses=design).value == one_run(moved, guesses=design).value


@given(st.integers(0, 10_000), st.sampled_from(DESIGNS[:3]), st.sampled_from([0.5, 0.3]))
def test_swapping_the_tails_changes_nothing(seed, design, rate):
    audit = gaussian(121, 1.5, seed, rate)
    swapped = Coins(scores=-audit.scores, included=~audit.included, rate=1 - rate)
    assert one_run(audit, guesses=design).value == pytest.approx(one_run(swapped, guesses=design).value, abs=1e-7)


@given(st.integers(0, 10_000), st.sampled_from(DESIGNS), st.sampled_from([0.5, 0.3]))
def test_delta_and_confidence_only_cost(seed, design, rate):
    audit = gaussian(200, 2.0, seed, rate)
    plain = one_run(audit, guesses=design)
    assert one_run(audit, guesses=design, delta=1e-4).value <= plain.value + 1e-8
    assert one_run(audit, guesses=design, confidence=0.99).value <= plain.value + 0.15
    assert 0 <= plain.value <= plain.ceiling


@pytest.mark.parametrize("design", DESIGNS[:3])
@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_ceiling_is_what_perfect_separation_shows(design, rate):
    included = np.arange(400) >= 400 * (1 - rate)
    bound = one_run(Coins(scores=np.arange(400.0), included=included, rate=rate), delta=1e-5, guesses=design)
    assert bound.value == bound.ceiling > 2
    assert bound.could_refute(bound.ceiling - 0.1)
    assert not bound.could_refute(bound.ceiling)


@pytest.mark.parametrize("rate", [0.5, 0.05])
@pytest.mark.parametrize("design", [*DESIGNS, None])
@pytest.mark.parametrize("m", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("delta", [0.0, 1e-5, 0.1, 0.9])
def test_nothing_crashes(rate, design, m, delta):
    for included in (np.zeros(m, bool), np.ones(m, bool), np.arange(m) % 2 == 0):
        for scores in (np.zeros(m), np.arange(m), -np.arange(m)):
            bound = one_run(Coins(scores=scores, included=included, rate=rate), delta=delta, guesses=design)
            assert 0 <= bound.value <= bound.ceiling + 1e-9
            assert math.isfinite(bound.ceiling)
            assert bool(bound.reason) == (bound.ceiling == 0)


def test_no_leak_backwards():
    """Scores that order the canaries exactly the wrong way show nothing."""
    included = np.arange(500) < 250
    assert one_run(Coins(scores=np.arange(500.0), included=included)).value == 0.0


def test_scan_of_one_look_is_the_share():
    audit = gaussian(600, 1.0, seed=3)
    assert one_run(audit, guesses=GuessScan(shares=(0.2,))).value == pytest.approx(
        one_run(audit, guesses=GuessShare(share=0.2)).value, abs=1e-7
    )


def test_scan_costs_less_than_bonferroni_over_the_same_looks():
    scan, each = [], []
    for seed in range(60):
        audit = gaussian(1000, 1.0, seed)
        scan.append(one_run(audit, delta=1e-5).value)
        each.append(one_run(audit, delta=1e-5, guesses=GuessBonferroni(shares=GuessScan().shares)).value)
    assert np.median(scan) > np.median(each) + 0.02


def test_the_default_design_knows_only_sizes():
    assert planned(1000, 1e-5, 0.05) == GuessScan()
    assert planned(1000, 1e-4, 0.05) == GuessShare()
    bound = one_run(gaussian(1000, 2.0, seed=0), delta=1e-4)
    assert bound.design == str(GuessShare())
    assert bound.value > 1.0


def test_perfect_looks_are_all_right():
    made = perfect(1001, 0.5, (0.1, 1.0), "both")
    assert made.guessed.tolist() == [100, 1000]
    assert np.array_equal(made.correct, made.guessed)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize(
    ("draw", "epsilon"),
    [
        (lambda m, seed: gaussian(m, 0.0, seed), 0.0),
        (lambda m, seed: randomised_response(m, 1.0, seed), 1.0),
        (lambda m, seed: coins(np.zeros(n := 60 + seed % 80), np.zeros(m - n)), 0.0),
    ],
    ids=["noise", "randomised response, tied", "all scores equal"],
)
def test_bounds_hold(design, draw, epsilon):
    over = [one_run(draw(200, seed), guesses=design).value > epsilon for seed in range(400)]
    assert np.mean(over) <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_bounds_hold_at_other_inclusion_rates(rate):
    def laplace(seed):
        draws = np.random.default_rng(seed)
        included = draws.random(200) < rate
        return Coins(scores=included + draws.laplace(size=200), included=included, rate=rate)

    over = [one_run(laplace(seed)).value > 1.0 for seed in range(400)]
    assert np.mean(over) <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 400)


def test_power_without_assumptions():
    values = [one_run(gaussian(1000, 1.0, seed), delta=1e-5).value for seed in range(100)]
    assert np.median(values) >= 1.5
