from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from vestige.errors import DataError, UsageError
from vestige.split import Split, draw

SIMPLE = [(1, 2), (1, 3), (2, 3), (1, 4), (3, 4), (2, 5), (3, 10), (9, 10)]


def inside(split: Split, models: np.ndarray) -> np.ndarray:
    return split.masks[models].sum(axis=0)


class TestBlocks:
    @given(st.integers(20, 60), st.sampled_from(SIMPLE), st.integers(1, 3), st.integers(0, 2**31))
    def test_every_record_is_in_exactly_k_of_each_block(self, n, share, count, seed):
        k, size = share
        split = draw(n, shadows=size * count, seed=seed, fraction=k / size)
        assert split.blocks[0] == -1
        for block in range(count):
            models = np.flatnonzero(split.blocks == block)
            assert len(models) == size
            assert np.all(inside(split, models) == k)

    @given(st.integers(10, 60), st.sampled_from(SIMPLE), st.integers(0, 2**31))
    def test_models_of_a_block_have_nearly_equal_sizes(self, n, share, seed):
        k, size = share
        sizes = draw(n, shadows=size, seed=seed, fraction=k / size).masks[1:].sum(axis=1)
        assert np.all(np.abs(sizes - n * k / size) < k + 1)
        assert np.all((sizes > 0) & (sizes < n))

    def test_pairs_are_complementary_and_odd_counts_are_halved(self):
        split = draw(7, shadows=2, seed=0)
        assert np.array_equal(split.masks[1], ~split.masks[2])
        assert sorted(split.masks[1:].sum(axis=1).tolist()) == [3, 4]

    @given(
        st.integers(0, 12),
        st.integers(0, 12),
        st.sampled_from([0.5, 0.3, 2 / 3]),
        st.sampled_from(["blocks", "bernoulli"]),
    )
    def test_more_shadows_never_change_the_earlier_ones(self, fewer, more, fraction, design):
        fewer, more = sorted((fewer, more))
        few, many = (
            draw(100, shadows=m, seed=3, fraction=fraction, design=design, population=0.1) for m in (fewer, more)
        )
        assert np.array_equal(few.masks, many.masks[: 1 + fewer])
        assert np.array_equal(few.blocks, many.blocks[: 1 + fewer])
        assert np.array_equal(few.population, many.population)

    def test_different_blocks_and_seeds_differ(self):
        a, b = draw(50, shadows=4, seed=0), draw(50, shadows=4, seed=1)
        assert len({mask.tobytes() for mask in np.concatenate([a.masks, b.masks])}) == 10

    @given(st.integers(1, 9), st.sampled_from(SIMPLE), st.integers(0, 2**31))
    def test_references_of_a_target_do_not_tell_its_members(self, blocks, share, seed):
        """Leave-one-out over the pool: every record, member or not, has the same number of IN references."""
        k, size = share
        split = draw(40, shadows=blocks * size, seed=seed, fraction=k / size)
        for target in range(1 + split.shadows):
            references = split.references(target)
            assert target not in references
            assert not np.any(split.blocks[references] == split.blocks[target])
            left = blocks - (target > 0)
            assert len(references) == left * size
            assert np.all(inside(split, references) == left * k)

    def test_a_block_cut_short_does_not_tell_members_either(self):
        """Over many seeds the IN references of a record are independent of every target's own row."""
        table = np.zeros((2, 2))
        for seed in range(400):
            split = draw(20, shadows=5, seed=seed)
            for target in (1, 5):
                own, count = split.masks[target], inside(split, split.references(target))
                for member, high in zip(own, count > count.mean(), strict=True):
                    table[int(member), int(high)] += 1
        assert table.sum() == 400 * 2 * 20
        assert stats.chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue > 1e-3

    def test_odd_counts_and_none(self):
        assert draw(9, shadows=0, seed=0).masks.shape == (1, 9)
        assert draw(9, shadows=0, seed=0).references().tolist() == []
        split = draw(9, shadows=5, seed=0)
        assert split.blocks.tolist() == [-1, 0, 0, 1, 1, 2]
        assert split.references(5).tolist() == [1, 2, 3, 4]


class TestTarget:
    @given(st.integers(2, 200), st.floats(0.05, 0.95), st.integers(0, 2**31))
    def test_has_exactly_the_share_rounded_down(self, n, fraction, seed):
        wanted = int(n * fraction + 1e-9)
        assume(0 < wanted < n)
        assert draw(n, shadows=0, seed=seed, fraction=fraction).masks[0].sum() == wanted

    def test_is_independent_of_the_shadow_models(self):
        """Over seeds, being in the target and being in a shadow model are uncorrelated, record by record."""
        seeds = 2000
        masks = np.stack([draw(12, shadows=3, seed=seed).masks for seed in range(seeds)])
        for shadow in (1, 2, 3):
            together = (masks[:, 0] & masks[:, shadow]).mean(axis=0)
            assert np.abs(together - 0.25).max() < 4.5 * np.sqrt(0.25 * 0.75 / seeds)
        overlap = (masks[:, 0] & masks[:, 1]).sum(axis=1)
        expected = stats.hypergeom(12, 6, 6).pmf(np.arange(7)) * seeds
        counts = np.bincount(overlap, minlength=7)
        merged = np.array([counts[:2].sum(), *counts[2:5], counts[5:].sum()])
        assert stats.chisquare(merged, [expected[:2].sum(), *expected[2:5], expected[5:].sum()]).pvalue > 1e-3

    def test_every_record_is_equally_often_a_member(self):
        masks = np.stack([draw(11, shadows=0, seed=seed).masks[0] for seed in range(2000)])
        assert stats.chisquare(masks.sum(axis=0)).pvalue > 1e-3

    def test_members_of_an_existing_one_are_kept(self):
        members = np.arange(30) % 3 == 0
        split = draw(30, shadows=4, seed=0, members=members, population=0.2)
        assert np.array_equal(split.masks[0], members)
        assert len(split.population) == 6
        assert not members[split.population].any()
        assert draw(30, shadows=0, seed=0, members=members.astype(int)).masks[0].sum() == 10

    def test_shadow_models_do_not_depend_on_the_members(self):
        members = np.arange(30) % 3 == 0
        assert np.array_equal(
            draw(30, shadows=6, seed=5, members=members).masks[1:], draw(30, shadows=6, seed=5).masks[1:]
        )


class TestPopulation:
    @given(st.integers(60, 120), st.floats(0.05, 0.5), st.sampled_from(["blocks", "bernoulli"]), st.integers(0, 2**31))
    def test_is_in_no_model_and_not_audited(self, n, share, design, seed):
        split = draw(n, shadows=6, seed=seed, population=share, design=design)
        assert len(split.population) == int(n * share + 1e-9)
        assert not split.masks[:, split.population].any()
        assert sorted([*split.population, *split.audited]) == list(range(n))

    def test_leaves_given_masks_and_audited_rows_alone(self):
        masks = np.zeros((2, 20), bool)
        masks[0, :6], masks[1, 3:9] = True, True
        split = draw(20, shadows=2, seed=0, design="given", masks=masks, population=0.3)
        assert split.population.min() >= 9
        audited = np.arange(10)
        split = draw(20, shadows=2, seed=0, audited=audited, population=0.5)
        assert split.population.tolist() == list(range(10, 20))

    @pytest.mark.parametrize(
        ("options", "error", "match"),
        [
            ({"population": 0.01}, UsageError, "at least one record"),
            ({"population": 1.0}, UsageError, "below 1"),
            ({"population": -0.1}, UsageError, "at least 0"),
            ({"population": 0.9, "members": np.arange(20) < 15}, DataError, "the 18 of the population, got 5"),
            ({"population": 0.25, "members": np.arange(20) < 15}, DataError, "15 members of 15"),
            ({"population": 0.95}, UsageError, "leaves some out"),
        ],
    )
    def test_that_leaves_nothing_to_audit_is_refused(self, options, error, match):
        with pytest.raises(error, match=match):
            draw(20, shadows=2, seed=0, **options)


class TestGroups:
    @given(
        st.lists(st.integers(0, 9), min_size=24, max_size=60),
        st.sampled_from(["blocks", "bernoulli"]),
        st.floats(0, 0.3),
        st.integers(0, 2**31),
    )
    @settings(max_examples=60)
    def test_never_straddle(self, groups, design, population, seed):
        codes = np.array(groups)
        assume(len(set(groups)) >= 6)
        try:
            split = draw(len(codes), shadows=4, seed=seed, groups=codes, design=design, population=population)
        except (UsageError, DataError):
            assume(False)
        held = np.isin(np.arange(len(codes)), split.population)
        for group in set(groups):
            rows = codes == group
            assert len(np.unique(held[rows])) == 1
            assert np.all(split.masks[:, rows].all(axis=1) | ~split.masks[:, rows].any(axis=1))

    def test_halves_are_balanced_by_records_not_groups(self):
        codes = np.repeat(np.arange(100), np.arange(1, 101))
        sizes = draw(len(codes), shadows=20, seed=0, groups=codes).masks.sum(axis=1)
        assert np.all(np.abs(sizes / len(codes) - 0.5) < 0.02)

    def test_groups_of_one_record_are_records(self):
        alone = draw(30, shadows=4, seed=0, groups=np.arange(30) + 5)
        assert np.array_equal(alone.masks, draw(30, shadows=4, seed=0).masks)

    @pytest.mark.parametrize(
        ("groups", "match"), [(np.zeros(20, int), "at least two groups"), (np.zeros(3, int), "one group per record")]
    )
    def test_that_cannot_be_split_are_refused(self, groups, match):
        with pytest.raises(DataError, match=match):
            draw(20, shadows=2, seed=0, groups=groups)

    def test_one_giant_group_is_refused_for_many_parts(self):
        codes = np.r_[np.zeros(200, int), np.arange(1, 10)]
        with pytest.raises(DataError, match=r"10 parts of similar size, got one with 200 of 209"):
            draw(209, shadows=10, seed=0, groups=codes, fraction=0.1, members=np.arange(209) < 200)


class TestOtherDesigns:
    def test_bernoulli_models_are_blocks_of_their_own_at_the_fraction(self):
        split = draw(20_000, shadows=5, seed=0, fraction=0.3, design="bernoulli")
        assert split.blocks.tolist() == [-1, 0, 1, 2, 3, 4]
        assert np.abs(split.masks[1:].mean(axis=1) - 0.3).max() < 4.5 * np.sqrt(0.21 / 20_000)
        assert np.abs(np.corrcoef(split.masks) - np.eye(6)).max() < 4.5 / np.sqrt(20_000)
        assert split.references(2).tolist() == [1, 3, 4, 5]

    def test_given_masks_are_used_as_they_are(self):
        masks = np.array([[1, 0, 1, 0, 1, 0], [0, 1, 1, 1, 0, 0]])
        split = draw(6, shadows=2, seed=0, design="given", masks=masks)
        assert np.array_equal(split.masks[1:], masks.astype(bool))
        assert split.blocks.tolist() == [-1, 0, 1]
        assert split.rows(1).tolist() == [0, 2, 4]

    @pytest.mark.parametrize(
        ("masks", "options", "match"),
        [
            (np.ones((2, 6), bool), {}, "6 of 6 for model 0"),
            ([[1, 0, 0, 0, 0, 0], [0] * 6], {}, "0 of 6 for model 1"),
            (np.ones((3, 6), bool), {}, r"shape \(2, 6\), got \(3, 6\)"),
            (np.full((2, 6), 0.5), {}, "float64"),
            ([[1, 0, 0, 0, 0, 0]] * 2, {"groups": np.array([0, 0, 1, 1, 2, 2])}, "mask 0 divides the group of row 1"),
        ],
    )
    def test_given_masks_are_checked(self, masks, options, match):
        with pytest.raises(DataError, match=match):
            draw(6, shadows=2, seed=0, design="given", masks=masks, **options)


class TestAudited:
    def test_rows_or_mask(self):
        mask = np.arange(20) < 12
        by_mask, by_rows = (draw(20, shadows=2, seed=0, audited=a) for a in (mask, np.flatnonzero(mask)[::-1]))
        assert by_mask.audited.tolist() == by_rows.audited.tolist() == list(range(12))

    @pytest.mark.parametrize(
        ("audited", "match"),
        [
            ([0, 20], "between 0 and 19, got 0 to 20"),
            ([-1, 2], "between 0 and 19"),
            ([3, 3], "distinct"),
            ([], "list of row numbers"),
            ([0.5], "list of row numbers"),
            (np.ones(5, bool), r"shape \(20,\)"),
        ],
    )
    def test_are_checked(self, audited, match):
        with pytest.raises(DataError, match=match):
            draw(20, shadows=2, seed=0, audited=audited)

    def test_need_members_and_non_members(self):
        with pytest.raises(DataError, match="2 members of 2"):
            draw(6, shadows=0, seed=0, members=[1, 1, 1, 0, 0, 0], audited=[0, 1])


@pytest.mark.parametrize(
    ("n", "options", "match"),
    [
        (1, {}, "at least 2 records"),
        (20, {"shadows": -1}, "0 or more"),
        (20, {"fraction": 0.0}, "strictly between 0 and 1"),
        (20, {"fraction": 1.0}, "strictly between 0 and 1"),
        (20, {"fraction": 0.04}, "'bernoulli' takes any fraction|leaves some out"),
        (200, {"fraction": 0.04}, "'bernoulli' takes any fraction"),
        (20, {"design": "halves"}, "'blocks', 'bernoulli' or 'given'"),
        (20, {"design": "given"}, "Masks go with"),
        (20, {"masks": np.eye(20, dtype=bool)}, "Masks go with"),
        (4, {"shadows": 8}, "at most 6 shadow models.*4 records.* got 8"),
        (4, {"shadows": 100, "design": "bernoulli"}, "at most 14 shadow models"),
        (5, {"fraction": 0.3}, "at least 10 records"),
        (3, {"fraction": 0.1}, "leaves some out"),
    ],
)
def test_impossible_options_are_usage_errors(n, options, match):
    with pytest.raises(UsageError, match=match):
        draw(n, **{"shadows": 2, "seed": 0, **options})


@pytest.mark.parametrize(
    ("members", "match"),
    [
        (np.ones(20, bool), "every record is a member"),
        (np.zeros(20, bool), "no record is a member"),
        (np.ones(5, bool), r"shape \(20,\), got \(5,\)"),
        (np.full(20, "yes"), "true or false"),
        (np.arange(20), "true or false"),
    ],
)
def test_members_are_checked(members, match):
    with pytest.raises(DataError, match=match):
        draw(20, shadows=2, seed=0, members=members)
