import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import slow_epsilon
from vestige.errors import DataError, UsageError
from vestige.metrics.epsilon.thresholds import Bonferroni, Counts, Explicit, MultiSplit, Split, by_rank, ranks
from vestige.seeds import rng

DESIGNS = [
    Explicit(0.5),
    Explicit((0.2, 0.5), (1, 3)),
    Bonferroni(),
    Bonferroni(looks=3),
    Split(),
    MultiSplit(splits=5),
]


def gap(counts: Counts, errors):
    """A lower bound that is easy to work out: TPR − FPR, less what a small share of the error costs."""
    return counts.hits / counts.members - counts.alarms / counts.nonmembers - 0.01 / errors


def test_explicit_counts_scores_strictly_above():
    found = Explicit((1.0, 2.0)).largest(np.array([1.0, 2, 3]), np.array([0.0, 1.0]), gap, 1.0)
    assert found == pytest.approx(2 / 3 - 0 - 0.02)


def test_weights_are_shares_of_the_error():
    members, nonmembers = np.array([1.0, 2, 3]), np.array([0.0, 1.0])
    found = Explicit((1.0, 9.0), weights=(3, 1)).largest(members, nonmembers, gap, 1.0)
    assert found == pytest.approx(2 / 3 - 0.01 / 0.75)


def test_ranks_are_fixed_by_the_number_of_records():
    assert ranks(500, 5).tolist() == [0, 4, 15, 54, 200]
    assert ranks(1, 5).tolist() == [0]
    assert ranks(3, 5).tolist() == [0, 1]
    assert ranks(50, 1).tolist() == [0]
    assert ranks(50, 0).tolist() == []


@pytest.mark.parametrize("looks", [1, 2, 7, 10])
def test_bonferroni_counts_what_a_plain_loop_counts(looks):
    draw = rng(0, "ranks")
    members, nonmembers = draw.normal(1, 1, 60), draw.normal(0, 1, 45)
    counts = Bonferroni(looks=looks).counts(members, nonmembers)
    above, below = ranks(45, looks - looks // 2), ranks(60, looks // 2)
    assert counts.hits[: len(above)].tolist() == [slow_epsilon.rank_counts(members, nonmembers, r) for r in above]
    assert counts.hits[len(above) :].tolist() == [slow_epsilon.rank_counts(-nonmembers, -members, r) for r in below]
    assert counts.alarms.tolist() == [*above, *below]
    assert counts.members.tolist() == [60] * len(above) + [45] * len(below)
    assert counts.nonmembers.tolist() == [45] * len(above) + [60] * len(below)


def test_bonferroni_divides_by_the_ranks_it_really_looks_at():
    seen = []

    def lower(counts, errors):
        seen.append(errors)
        return gap(counts, errors)

    Bonferroni(looks=10).largest(np.arange(3.0), np.arange(4.0), lower, 0.05)
    assert len(seen[0]) < 10
    assert seen[0].sum() == pytest.approx(0.05)


def test_ties_are_broken_without_regard_to_membership():
    members, nonmembers = np.array([1.0] * 30 + [0.0] * 10), np.array([1.0] * 20 + [0.0] * 40)
    orders = np.array([by_rank(members, nonmembers, seed) for seed in range(400)])
    assert (orders[:, :50].sum(axis=1) == 30).all()
    # within the 50 tied scores every place is a member's in 30 of 50 orders
    assert np.abs(orders[:, :50].mean(axis=0) - 0.6).max() < 5 * np.sqrt(0.24 / 400)


@pytest.mark.parametrize("design", DESIGNS, ids=str)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), tied=st.booleans())
def test_the_order_of_records_does_not_matter(design, seed, tied):
    draw = np.random.default_rng(seed)
    members, nonmembers = draw.normal(0.6, 1, 30), draw.normal(0, 1, 25)
    if tied:
        members, nonmembers = np.round(members), np.round(nonmembers)
    shuffled = draw.permutation(members), draw.permutation(nonmembers)
    assert design.largest(members, nonmembers, gap, 0.05) == design.largest(*shuffled, gap, 0.05)


@pytest.mark.parametrize("design", [Bonferroni(), Bonferroni(looks=1)], ids=str)
def test_ranks_do_not_change_when_scores_are_stretched(design):
    draw = rng(1, "stretch")
    members, nonmembers = draw.normal(1, 1, 80), draw.normal(0, 1, 70)
    assert design.ranks_only
    found = [design.largest(f(members), f(nonmembers), gap, 0.05) for f in (np.asarray, np.exp, lambda x: x**3 - 7)]
    assert found[0] == found[1] == found[2]


def test_multi_split_is_reached_by_half_of_its_splits():
    draw = rng(2, "splits")
    members, nonmembers = draw.normal(1, 1, 80), draw.normal(0, 1, 70)
    found = MultiSplit(splits=6, seed=3).largest(members, nonmembers, gap, 0.1)
    single = [Split(seed=3 + s).largest(members, nonmembers, gap, 0.05) for s in range(6)]
    assert found in single
    assert sum(value >= found for value in single) >= 3


def test_a_split_never_counts_the_scores_that_chose():
    sizes = []

    def lower(counts, errors):
        sizes.append((counts.members[0], counts.nonmembers[0]))
        return gap(counts, errors)

    Split(fraction=0.3).largest(np.arange(100.0), np.arange(50.0), lower, 0.05)
    assert sizes == [(30, 15), (70, 35)]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Explicit(()), "at least one threshold"),
        (lambda: Explicit(float("nan")), "no NaN"),
        (lambda: Explicit((1, 2), weights=(1,)), "2 positive weights"),
        (lambda: Explicit((1, 2), weights=(1, 0)), "2 positive weights"),
        (lambda: Bonferroni(looks=0), "at least one look"),
        (lambda: Split(fraction=1.0), "fraction"),
        (lambda: MultiSplit(splits=0), "at least one split"),
        (lambda: MultiSplit(fraction=0), "fraction"),
    ],
)
def test_impossible_designs_are_refused(make, words):
    with pytest.raises(UsageError, match=words):
        make()


def test_one_record_cannot_be_split():
    with pytest.raises(DataError, match="at least 2 members to split, got 1"):
        Split().largest(np.ones(1), np.ones(5), gap, 0.05)
