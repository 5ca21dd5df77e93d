from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.learners import population
from vestige.canary.coins import calibrated, flip
from vestige.canary.design import KINDS, Design
from vestige.canary.making import make
from vestige.errors import DataError, UsageError
from vestige.privacy_claim import PrivacyClaim
from vestige.records import Records

RECORDS = population(120)
EXCHANGE = PrivacyClaim(epsilon=1.0, adjacency="replace_one")
MADE = [kind for kind in KINDS if kind != "gradient"]


def design(**options):
    return Design(**{"count": 40, **options})


@pytest.mark.parametrize("kind", MADE)
def test_coins_decide_over_the_canaries_and_nothing_else(kind):
    canaries = make(RECORDS, design(kind=kind))
    coins = flip(design(kind=kind)).targets[0]
    mask = canaries.mask(coins)
    assert (mask[canaries.inside] == coins[:, None]).all()
    assert mask.sum() == canaries.always + canaries.inside.shape[1] * coins.sum()
    assert canaries.always == 80


@pytest.mark.parametrize("kind", MADE)
def test_ids_stay_distinct_and_other_records_as_they_were(kind):
    canaries = make(RECORDS, design(kind=kind))
    pool = canaries.pool
    assert len(set(pool.ids.tolist())) == len(pool)
    place = {one: k for k, one in enumerate(pool.ids.tolist())}
    touched = set(canaries.coined.tolist())
    same = [(k, place[one]) for k, one in enumerate(RECORDS.ids.tolist()) if one in place and place[one] not in touched]
    assert len(same) == canaries.always
    here, there = (np.array(side) for side in zip(*same, strict=True))
    assert (pool.x[there] == RECORDS.x[here]).all()
    assert (pool.y[there] == RECORDS.y[here]).all()


def test_natural_canaries_are_the_records_themselves():
    assert make(RECORDS, design()).pool is RECORDS


def test_mislabelled_ones_keep_their_features_and_have_another_label():
    canaries = make(RECORDS, design(kind="mislabelled"))
    rows = canaries.inside[:, 0]
    assert (canaries.pool.x == RECORDS.x).all()
    assert (canaries.pool.y[rows] != RECORDS.y[rows]).all()


def test_a_mislabelled_number_lies_half_the_ranks_away():
    records = Records.build(np.arange(100.0)[:, None], np.arange(100.0) + 0.5)
    canaries = make(records, design(kind="mislabelled"))
    rows = canaries.inside[:, 0]
    assert (np.abs(canaries.pool.y[rows] - records.y[rows]) == 50).all()


def test_noise_stays_within_each_feature_and_whole_numbers_whole():
    x = np.random.default_rng(0).integers(0, 5, (100, 3)) * np.array([1, 10, 100])
    records = Records.build(x.astype(np.float32), np.arange(100) % 3)
    canaries = make(records, design(kind="out_of_distribution"))
    values = canaries.pool.x[canaries.inside[:, 0]]
    assert (values == np.round(values)).all()
    assert (values.max(axis=0) <= [4, 40, 400]).all()
    assert len(np.unique(values, axis=0)) > 30


def test_blank_ones_have_a_few_features_and_a_lone_one_none():
    records = Records.build(1 + np.random.default_rng(0).random((50, 9)), np.arange(50) % 2)
    canaries = make(records, design(kind="blank", count=20))
    low = records.x.min(axis=0)
    assert ((canaries.pool.x[canaries.inside[:, 0]] != low).sum(axis=1) == 3).all()
    assert len(np.unique(canaries.pool.x[canaries.inside[:, 0]], axis=0)) == 20
    lone = make(records, design(kind="blank", count=1))
    rest = np.delete(records.x, lone.inside[0, 0], axis=0)
    assert (lone.pool.x[lone.inside[0, 0]] <= rest.min(axis=0) + 1e-6).all()


@pytest.mark.parametrize("kind", ["out_of_distribution", "blank", "mislabelled", "duplicated"])
def test_data_frames_stay_data_frames(kind):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"age": np.arange(60), "height": np.linspace(1, 2, 60), "town": pandas.Categorical(list("abc") * 20)}
    )
    records = Records.build(frame, np.arange(60) % 2)
    pool = make(records, design(kind=kind, count=15)).pool
    assert list(pool.x.columns) == list(records.x.columns)
    assert list(pool.x.dtypes) == list(records.x.dtypes)
    assert not pool.x.isna().to_numpy().any()


def test_copies_are_the_same_record_in_other_places():
    canaries = make(RECORDS, design(kind="duplicated", copies=3))
    assert canaries.inside.shape == (40, 3)
    assert len(canaries.pool) == 120 + 40 * 2
    for copy in range(1, 3):
        assert (canaries.pool.x[canaries.inside[:, copy]] == canaries.pool.x[canaries.inside[:, 0]]).all()
    assert not (np.diff(np.sort(canaries.inside.reshape(-1))) == 1).all()


def test_one_exchanged_for_another_keeps_the_number_of_records():
    asked = design(claim=EXCHANGE, copies=2)
    canaries = make(RECORDS, asked)
    for coins in (flip(asked).targets[0], np.ones(40, bool), np.zeros(40, bool)):
        assert canaries.mask(coins).sum() == canaries.always + 80
    assert not set(canaries.inside.reshape(-1)) & set(canaries.instead.reshape(-1))


def test_too_few_records():
    with pytest.raises(DataError, match="at least 121 records, one for each canary, got 120"):
        make(RECORDS, design(count=121))
    with pytest.raises(DataError, match="at least 122 records, two for each canary"):
        make(RECORDS, design(count=61, claim=EXCHANGE))


@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 9))
def test_further_runs_and_references_never_change_the_earlier_coins(count, runs, references):
    references += references == 1
    few = flip(Design(count=count, runs=runs, references=references))
    more = flip(Design(count=count, runs=runs + 3, references=references + 4))
    assert (more.targets[:runs] == few.targets).all()
    assert (more.references[:references] == few.references).all()


def test_coins_are_fair_and_independent():
    flips = flip(Design(count=2000, runs=20)).targets
    assert abs(flips.mean() - 0.5) < 4 * 0.5 / np.sqrt(flips.size)
    assert np.abs(np.corrcoef(flips) - np.eye(20)).max() < 0.11


def test_references_hold_each_canary_in_half_of_their_pairs():
    pairs = flip(Design(count=50, references=8)).references
    assert (pairs.sum(axis=0) == 4).all()


def test_without_references_scores_stay_as_they_are():
    flips = flip(Design(count=10, runs=2))
    scores = np.arange(20.0).reshape(2, 10)
    assert (calibrated(scores, flips) == scores).all()


def test_references_make_unequal_canaries_comparable():
    flips = flip(Design(count=2000, runs=1, references=8))
    random = np.random.default_rng(0)
    level = 10 * random.standard_normal(2000)
    noise = random.standard_normal((9, 2000))
    raw = level + 2 * flips.all + noise
    coins = flips.targets[0]

    def right(scores):
        return ((scores > np.median(scores)) == coins).mean()

    assert right(raw[0]) < 0.56
    assert right(calibrated(raw, flips)[0]) > 0.78  # Φ(1) = .84 for known levels


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "mislabeled"}, "Did you mean 'mislabelled'"),
        ({"count": 0}, "Expected count to be a whole number of at least 1, got 0"),
        ({"count": True}, "Expected count to be a whole number"),
        ({"runs": 1.5}, "Expected runs"),
        ({"copies": 0}, "Expected copies"),
        ({"score": "los"}, "Did you mean 'loss'"),
        ({"score": "top_probabilities"}, "no canary score called"),
        ({"references": 1}, "no references, or at least 2"),
        ({"confidence": 1.0}, "strictly between 0 and 1"),
        ({"delta": -0.1}, "Expected delta"),
        ({"kind": "gradient", "score": "hinge"}, "only be scored by the gradient"),
        ({"score": "gradient", "references": 2}, "not calibrated"),
        ({"claim": PrivacyClaim(epsilon=float("inf"))}, "finite claimed epsilon"),
    ],
)
def test_impossible_designs(options, words):
    with pytest.raises(UsageError, match=words):
        design(**options)
