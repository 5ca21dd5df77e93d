"""Ranks released with the scores of other inputs, and labels that are private answer by answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vestige.defend.answers.rank_release import RankedAnswers, RankRelease, falling, random_inputs
from vestige.defend.base import Serving
from vestige.defend.tickets import Tickets
from vestige.errors import ConfigError, ModelError, UsageError
from vestige.records import Records
from vestige.target import Access, Outputs

POOL = -np.sort(-np.random.default_rng(0).dirichlet(np.ones(6), 40), axis=1)


@given(
    arrays(np.float64, (5, 6), elements=st.floats(-1e3, 1e3).map(lambda v: round(v, 1))), st.sampled_from(["f4", "f8"])
)
def test_falling_is_a_stable_sort(values: np.ndarray, kind: str) -> None:
    values = values.astype(kind)
    assert np.array_equal(falling(values), np.argsort(-values, axis=1, kind="stable"))


def test_scores_nearer_than_single_precision_still_rank() -> None:
    values = np.array([[0.25, 0.25 + 1e-12, 0.5 - 1e-12, 0.0, -0.0]])
    assert falling(values).tolist() == [[2, 1, 0, 3, 4]]


@given(arrays(np.float32, (20, 6), elements=st.integers(-3, 3)))
def test_the_ranking_stays_and_the_scores_are_the_pools(logits: np.ndarray) -> None:
    found = RankedAnswers(POOL).apply(Outputs("logits", logits), Tickets(np.arange(20)[:, None], b"k")).values
    assert (found.argmax(1) == logits.argmax(1)).all()
    assert np.array_equal(np.argsort(-found, axis=1, kind="stable"), np.argsort(-logits, axis=1, kind="stable"))
    rows = {tuple(row) for row in POOL.tolist()}
    assert all(tuple(sorted(row, reverse=True)) in rows for row in found.tolist())


def test_the_scores_hang_on_the_ticket_and_not_on_the_answer() -> None:
    tickets = Tickets(np.arange(50)[:, None], b"k")
    r = np.random.default_rng(1)
    first, second = (
        np.sort(RankedAnswers(POOL).apply(Outputs("logits", r.standard_normal((50, 6))), tickets).values, axis=1)
        for _ in range(2)
    )
    assert np.array_equal(first, second)
    assert len(np.unique(first, axis=0)) > 20


def test_where_the_largest_scores_tie_the_class_stays() -> None:
    pool = np.full((1, 3), 1 / 3)
    found = RankedAnswers(pool).apply(Outputs("logits", np.eye(3)), Tickets(np.arange(3)[:, None], b"k")).values
    assert (found.argmax(1) == np.arange(3)).all()


def test_one_class_and_another_number_of_classes() -> None:
    tickets = Tickets(np.arange(3)[:, None], b"k")
    found = RankedAnswers(np.ones((2, 1))).apply(Outputs("logits", np.zeros((3, 1))), tickets).values
    assert np.array_equal(found, np.ones((3, 1)))
    with pytest.raises(ModelError, match="fitted to 6 classes"):
        RankedAnswers(POOL).apply(Outputs("logits", np.zeros((3, 4))), tickets)


def test_random_inputs_are_like_the_records() -> None:
    pd = pytest.importorskip("pandas")
    draw = np.random.default_rng(0)
    bits = random_inputs(np.array([[0, 1, 0], [1, 0, 0.0]], np.float32), 500, draw)
    assert set(np.unique(bits[:, :2])) == {0.0, 1.0}
    assert (bits[:, 2] == 0).all()
    assert abs(bits[:, :2].mean() - 0.5) < 0.1
    pixels = random_inputs(np.array([[[0, 255]], [[255, 0]]], np.uint8), 300, draw)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (300, 1, 2)
    assert len(np.unique(pixels)) > 100
    frame = pd.DataFrame({"a": ["x", "y", None], "b": [0.5, 1.5, np.nan], "c": [1, 5, 5]})
    drawn = random_inputs(frame, 200, draw)
    assert set(drawn["a"]) == {"x", "y"}
    assert drawn["b"].between(0.5, 1.5).all()
    assert drawn["c"].dtype == frame["c"].dtype


class Linear:
    access = Access.SCORE

    def query(self, x: np.ndarray, want: Access) -> Outputs:
        return Outputs("logits", 5 * np.asarray(x))


def test_it_is_fitted_by_asking_the_model_about_random_inputs() -> None:
    x = np.random.default_rng(0).random((30, 4))
    records = Records(x, np.zeros(30, np.int64), np.arange(30))
    rows = np.arange(30)
    fitted = RankRelease(samples=25).prepare(
        Serving(target=Linear(), records=records, rows=rows[:15], reserve=rows[15:], seed=0)
    )
    assert fitted.scores.shape == (25, 4)
    assert (np.diff(fitted.scores, axis=1) <= 0).all()
    np.testing.assert_allclose(fitted.scores.sum(1), 1)
    assert np.array_equal(RankRelease().restore(fitted.state()).scores, fitted.scores)


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(ConfigError):
        RankRelease(samples=0)
    with pytest.raises(ModelError, match="scores to rank"):
        RankedAnswers(POOL).apply(Outputs("labels", np.zeros(2, np.int64)), Tickets(np.zeros((2, 1)), b"k"))
    none = Records(np.zeros((0, 0)), np.zeros(0, np.int64), np.zeros(0, np.int64))
    with pytest.raises(UsageError, match="given none"):
        RankRelease().prepare(Serving(target=Linear(), records=none, rows=none.y, reserve=none.y, seed=0))
