"""What δ adds to the chance of right guesses: never less than a mechanism could gain, and no more than it must."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.epsilon.looks import looks_of
from reference import slow_one_run as slow
from vestige.metrics.epsilon.base import Coins
from vestige.metrics.epsilon.guess_law import any_event, crossing, fixed_count, fixed_count_sharp, highest
from vestige.metrics.epsilon.guesses import GuessBonferroni, GuessScan, GuessShare
from vestige.metrics.epsilon.one_run import one_run
from vestige.metrics.epsilon.one_run_fdp import one_run_fdp


@pytest.mark.parametrize("delta", [0.0, 0.02])
@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_no_mechanism_beats_the_scan(delta, epsilon):
    """Over all mechanisms on three fair canaries that name one first guess and guess all: one look at 1, one at 3."""
    outputs = list(itertools.product(range(3), itertools.product((0, 1), repeat=3)))

    def succeeds(output, truth):
        first, guessed = output
        right = [a == b for a, b in zip(guessed, truth, strict=True)]
        return right[first] or sum(right) >= 2

    best = slow.best_mechanism(3, outputs, succeeds, [(epsilon, delta)])
    law = crossing(epsilon, looks_of([1, 3], [0, 0], [1, 2], canaries=3), np.array([1, 2]))
    assert best <= law + any_event(epsilon, 3, 0.5, delta) + 1e-7
    if delta == 0:
        assert best == pytest.approx(law, abs=1e-7)  # randomised response reaches it


@pytest.mark.parametrize("delta", [0.0, 0.02])
@pytest.mark.parametrize("rate", [0.25, 0.6])
def test_no_mechanism_beats_the_scan_at_other_inclusion_rates(delta, rate):
    """Over all mechanisms on four canaries that guess "in" for one of them first, then for two others."""
    outputs = [
        (first, rest) for first in range(4) for rest in itertools.combinations(sorted({0, 1, 2, 3} - {first}), 2)
    ]

    def succeeds(output, truth):
        first, rest = output
        return truth[first] == 1 or all(truth[i] for i in rest)

    best = slow.best_mechanism(4, outputs, succeeds, [(0.7, delta)], rate)
    law = crossing(0.7, looks_of([1, 3], [0, 0], [1, 2], canaries=4, rate=rate), np.array([1, 2]))
    blind = 1 - (1 - rate) * (1 - rate**2)
    assert blind <= best <= law + any_event(0.7, 4, rate, delta) + 1e-7


@pytest.mark.parametrize("delta", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("correct", [1, 2])
def test_no_mechanism_beats_the_count(delta, correct):
    """Over all mechanisms on four fair canaries that guess any two of them."""
    outputs = [
        (pair, values) for pair in itertools.combinations(range(4), 2) for values in itertools.product((0, 1), repeat=2)
    ]

    def succeeds(output, truth):
        pair, values = output
        return sum(truth[i] == value for i, value in zip(pair, values, strict=True)) >= correct

    epsilon = 0.8
    best = slow.best_mechanism(4, outputs, succeeds, [(epsilon, delta)])
    tail = crossing(epsilon, looks_of([2], [0], [correct], canaries=4), np.array([correct]))
    assert best <= tail + fixed_count_sharp(epsilon, 2, correct, 4, delta) + 1e-7
    assert best <= tail + any_event(epsilon, 4, 0.5, delta) + 1e-7
    if delta == 0:
        assert best == pytest.approx(tail, abs=1e-7)  # randomised response reaches it
    if tail < 0.5:
        assert best <= tail + fixed_count(epsilon, 2, correct, 4, delta) + 1e-7


@given(
    st.integers(1, 40),
    st.integers(0, 20),
    st.floats(0, 1),
    st.floats(0, 3),
    st.floats(1e-6, 1e-2),
)
def test_sharp_term_is_the_linear_programme(guessed, spare, where, epsilon, delta):
    correct = 1 + round(where * (guessed - 1))
    canaries = guessed + spare
    tail = crossing(epsilon, looks_of([guessed], [0], [correct], canaries=canaries), np.array([correct]))
    sharp = min(tail + fixed_count_sharp(epsilon, guessed, correct, canaries, delta), 1.0)
    assert sharp >= slow.largest_tail(canaries, guessed, correct, epsilon, delta) - 1e-7
    if sharp < 0.9:
        assert sharp == pytest.approx(slow.largest_tail(canaries, guessed, correct, epsilon, delta), abs=1e-6)
    if tail < 0.5:
        assert sharp <= tail + fixed_count(epsilon, guessed, correct, canaries, delta) + 1e-9


@pytest.mark.parametrize(
    ("canaries", "guessed", "delta"), [(1000, 200, 0.05), (5000, 500, 0.01), (5000, 1000, 0.02), (2000, 1999, 0.9)]
)
def test_delta_alone_explains_guesses_that_are_all_right(canaries, guessed, delta):
    """A (0, δ)-private mechanism reveals this many random canaries with probability δ · canaries / guessed > α."""
    revealed = min(delta * canaries / guessed, 1.0)
    assert fixed_count_sharp(0.0, guessed, guessed, canaries, delta) >= revealed * (1 - 1e-9)
    included = np.arange(canaries) % 2 == 0
    found = one_run_fdp(
        Coins(scores=included.astype(float), included=included),
        delta=delta,
        guesses=GuessShare(share=guessed / canaries),
    )
    assert found.value == 0.0


def test_highest_finds_the_last_root_when_delta_hurts_small_epsilon_more():
    """tail + slack falls below α only between ε = 1.5 and ε = 2.5."""
    found = highest(lambda e: 0.04 if e < 2.5 else 1.0, lambda e: 0.02 if e < 1.5 else 0.0, 0.05)
    assert found == pytest.approx(2.5, abs=1e-6)
    assert highest(lambda e: min(0.1 + e, 1.0), lambda _: 0.0, 0.05) == 0.0


@pytest.mark.parametrize("design", [GuessScan(), GuessShare(), GuessBonferroni()])
def test_bounds_hold_for_a_mechanism_that_spends_delta(design):
    """Once in 40 runs it gives a tenth of the canaries away, which is (ε, 0.0025)-DP for each."""

    def leaky(seed):
        draws = np.random.default_rng(seed)
        included = draws.random(200) < 0.5
        kept = draws.random(200) < 1 / (1 + math.exp(-0.5))
        scores = np.where(kept, included, ~included) + 0.5 * draws.random(200)
        if draws.random() < 0.025:
            given = draws.permutation(200)[:20]
            scores[given] = np.where(included[given], 3, -3)
        return Coins(scores=scores, included=included)

    over = [one_run(leaky(seed), delta=0.0025, guesses=design).value > 0.5 for seed in range(400)]
    assert np.mean(over) <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 400)
