"""The Jensen–Shannon divergence: 0 for one law, 1 for disjoint ones, and no leak found where there is none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vestige.errors import DataError, UsageError
from vestige.metrics.divergence import divergence, jensen_shannon
from vestige.seeds import rng

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60)


def slow(members, nonmembers, bins=100):
    """The definition, bin by bin: mean of both sides' entropies taken from the entropy of their mixture."""
    low, high = min([*members, *nonmembers]), max([*members, *nonmembers])

    def shares(values):
        found = [0] * bins
        for value in values:
            place = 0 if high == low else int((value / 2 - low / 2) / (high / 2 - low / 2) * bins)
            found[min(place, bins - 1)] += 1
        return [count / len(values) for count in found]

    def entropy(p):
        return -sum(x * np.log2(x) for x in p if x > 0)

    p, q = shares(members), shares(nonmembers)
    return entropy([(a + b) / 2 for a, b in zip(p, q, strict=True)]) - (entropy(p) + entropy(q)) / 2


@given(VALUES, VALUES)
def test_it_is_what_the_definition_says_whichever_side_comes_first(members, nonmembers):
    found = jensen_shannon(members, nonmembers)
    assert found == pytest.approx(slow(members, nonmembers), abs=1e-9)
    assert found == pytest.approx(jensen_shannon(nonmembers, members), abs=1e-12)
    assert 0 <= found <= 1


def test_identical_histograms_have_none_and_disjoint_ones_a_bit():
    values = rng(0, "test").standard_normal(300)
    assert jensen_shannon(values, values) == 0
    assert jensen_shannon(values, np.tile(values, 3)) == pytest.approx(0, abs=1e-12)
    assert jensen_shannon(values, values + 100) == pytest.approx(1, abs=1e-12)
    assert jensen_shannon([1.0, 1.0], [1.0]) == 0
    assert jensen_shannon([-1.7e308], [1.7e308]) == 1
    found = divergence(values, values + 100)
    assert [found.corrected.low, found.corrected.value, found.corrected.high] == pytest.approx([1, 1, 1])


def test_a_coin_against_a_fair_one_has_the_closed_form():
    members, nonmembers = [0] * 25 + [1] * 75, [0] * 50 + [1] * 50
    middle = np.array([0.375, 0.625])
    expected = 0.5 * np.sum([0.25, 0.75] * np.log2([0.25, 0.75] / middle)) + 0.5 * np.sum(0.5 * np.log2(0.5 / middle))
    assert jensen_shannon(members, nonmembers) == pytest.approx(expected)


@pytest.mark.parametrize("count", [200, 2000])
def test_one_law_shows_what_chance_shows_and_nothing_is_left_of_it(count):
    plain, left, chance = [], [], []
    for seed in range(30):
        random = rng(seed, "one law")
        # Equal shares of 100 bins, whose ends are always reached.
        sides = [np.append(random.integers(0, 100, count - 2), [0, 99]) for _ in range(2)]
        found = divergence(*sides, draws=200, seed=seed)
        plain.append(found.plain)
        chance.append(found.chance)
        left.append(found.corrected.value)
        assert found.corrected.low <= found.corrected.value <= found.corrected.high
    assert np.mean(plain) == pytest.approx(np.mean(chance), rel=0.05)
    assert np.mean(chance) == pytest.approx(99 * (2 / count) / (8 * np.log(2)), rel=0.25)
    assert np.mean(left) < 0.1 * np.mean(plain)


def test_the_interval_holds_a_divergence_that_is_known():
    bins = np.arange(100)
    p, q = (np.exp(-0.5 * ((bins - centre) / 12) ** 2) for centre in (50, 62))
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    true = 0.5 * float((p * np.log2(p / middle)).sum() + (q * np.log2(q / middle)).sum())
    held = 0
    for seed in range(60):
        random = rng(seed, "known")
        sides = [np.append(random.choice(100, 998, p=law), [0, 99]) for law in (p, q)]
        found = divergence(*sides, draws=200, seed=seed).corrected
        held += found.low <= true <= found.high
    assert held >= 52  # of 95 % less than this has a probability of 1 %


def test_what_makes_no_sense_is_one_sentence():
    with pytest.raises(DataError, match="members' values to be finite, got 1 NaN"):
        divergence([1.0, np.nan], [1.0])
    with pytest.raises(UsageError, match="at least 2 bins, got 1"):
        jensen_shannon([1.0], [2.0], bins=1)
    with pytest.raises(UsageError, match="at least 2 draws, got 1"):
        divergence([1.0], [2.0], draws=1)
