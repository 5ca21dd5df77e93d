"""Random numbers that belong to a query."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vestige.defend.tickets import Tickets, spread
from vestige.errors import DataError

KEY = b"k" * 32


def queries(count: int = 3000, width: int = 4) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, width)).astype(np.float32)


def test_draws_follow_their_laws_and_do_not_hang_together() -> None:
    tickets = Tickets(queries(), KEY)
    uniform, normal, laplace = (draw(5, "a") for draw in (tickets.uniform, tickets.normal, tickets.laplace))
    assert stats.kstest(uniform.ravel(), "uniform").pvalue > 1e-3
    assert stats.kstest(normal.ravel(), "norm").pvalue > 1e-3
    assert stats.kstest(laplace.ravel(), "laplace").pvalue > 1e-3
    correlations = np.corrcoef(uniform.T)
    assert np.abs(correlations - np.eye(5)).max() < 0.08


def test_streams_keys_and_queries_draw_differently() -> None:
    x = queries(50)
    base = Tickets(x, KEY).uniform(3, "a")
    for other in (Tickets(x, KEY).uniform(3, "b"), Tickets(x, b"other").uniform(3, "a")):
        assert not np.isclose(base, other).any()
    moved = x.copy()
    moved[:, 0] = np.nextafter(moved[:, 0], np.inf)
    assert not np.isclose(base, Tickets(moved, KEY).uniform(3, "a")).any()


@given(st.permutations(range(12)), st.integers(1, 12))
def test_a_query_draws_the_same_wherever_it_stands_and_with_whom(order: list[int], cut: int) -> None:
    x = queries(12)
    whole = Tickets(x, KEY).normal(4, "n")
    assert np.array_equal(Tickets(x[order], KEY).normal(4, "n"), whole[order])
    assert np.array_equal(Tickets(x[:cut], KEY).normal(4, "n"), whole[:cut])
    assert np.array_equal(Tickets(x, KEY).normal(2, "n"), whole[:, :2])


def test_the_same_record_in_other_types_is_the_same_query() -> None:
    numbers = np.array([[0, 1, 0, 255]], np.uint8)
    draws = [
        Tickets(numbers.astype(kind), KEY).uniform(1, "a") for kind in (np.uint8, np.float32, np.float64, np.int64)
    ]
    assert len({float(one[0, 0]) for one in draws}) == 1
    signed = [Tickets(np.array([[zero]]), KEY).uniform(1, "a")[0, 0] for zero in (0.0, -0.0)]
    assert signed[0] == signed[1]


def test_frames_and_texts_have_tickets_and_objects_none() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": ["x", "y", "x"], "b": [1, 2, 1]})
    found = Tickets(frame, KEY).uniform(1, "a")[:, 0]
    assert found[0] == found[2] != found[1]
    assert len(Tickets(np.array(["one", "two"]), KEY).digests) == 2
    with pytest.raises(DataError, match="numbers or text"):
        _ = Tickets(np.array([[1j]]), KEY).digests


@pytest.mark.parametrize("width", [33, 600, 1024, 2500])
def test_wide_queries_are_told_apart_by_any_one_feature(width: int) -> None:
    x = (np.random.default_rng(1).random((40, width)) < 0.5).astype(np.uint8)
    whole = Tickets(x, KEY).digests
    assert len(set(whole.tolist())) == 40
    one = np.repeat(x[:1], width, axis=0)
    one[np.arange(width), np.arange(width)] ^= 1
    assert len({*Tickets(one, KEY).digests.tolist(), int(whole[0])}) == width + 1
    for kind in (np.float32, np.float64, np.int64):
        assert np.array_equal(Tickets(x.astype(kind), KEY).digests, whole)
    assert np.array_equal(Tickets(x[::-1], KEY).digests[::-1], whole)
    assert np.array_equal(np.concatenate([Tickets(row[None], KEY).digests for row in x]), whole)
    assert not np.isin(Tickets(x, b"other").digests, whole).any()


def test_folds_are_sums_over_whole_numbers_without_any_rounding() -> None:
    from vestige.defend import tickets

    x = np.random.default_rng(2).standard_normal((6, 1500)).astype(np.float32)
    found = tickets._folded(x, KEY)
    halves = x.view(np.uint16).astype(object)
    factors = tickets._factors(KEY, 1500).astype(np.int64).astype(object)
    slow = [[halves[:, :2048] @ factors[:2048], halves[:, 2048:] @ factors[2048:]]]
    wanted = np.concatenate(slow[0], axis=1).astype(np.float64)
    assert np.array_equal(found, wanted)
    assert found.max() < 2**53
    assert not np.array_equal(factors[:2048], factors[952:])


def test_normal_draws_are_the_quantiles_of_uniform_ones() -> None:
    from scipy.special import ndtri

    tickets = Tickets(queries(20_000), KEY)
    exact = ndtri(tickets.uniform(20, "n"))
    np.testing.assert_allclose(tickets.normal(20, "n"), exact, atol=1e-6)
    assert np.abs(exact).max() > 4


def test_queries_close_together_share_a_cell_however_many_features_they_have() -> None:
    draw = np.random.default_rng(3)
    for width in (4, 40, 1500):
        x = draw.random((400, width))
        own = Tickets(x, KEY).near(0.2).digests
        assert len(np.unique(own)) >= (300 if width == 4 else 395)
        assert np.array_equal(own[::-1], Tickets(x[::-1], KEY).near(0.2).digests)
        assert np.array_equal(own[:3], np.concatenate([Tickets(row[None], KEY).near(0.2).digests for row in x[:3]]))
        for move, least, most in ((0.0005, 0.94, 1.0), (0.005, 0.7, 0.95), (0.4, 0.0, 0.03)):
            moved = x + move * draw.standard_normal(x.shape)
            same = (Tickets(moved, KEY).near(0.2).digests == own).mean()
            assert least <= same <= most, (width, move, same)


def test_whoever_averages_over_near_duplicates_gets_the_same_noise() -> None:
    x = np.random.default_rng(4).random((1, 300))
    tries = np.repeat(x, 500, axis=0) + 1e-5 * np.random.default_rng(5).standard_normal((500, 300))
    shared = Tickets(tries, KEY).near(0.2).normal(1, "noise")[:, 0]
    assert len(np.unique(shared)) <= 3
    assert abs(Tickets(tries, KEY).normal(1, "noise").mean()) < 0.25 < np.abs(shared).max() + 0.25


def test_cells_hang_on_the_key_and_leave_what_is_no_number_as_it_stands() -> None:
    pd = pytest.importorskip("pandas")
    x = np.random.default_rng(6).random((200, 5))
    cells = [Tickets(x, key)._cells(x, 0.5) for key in (KEY, b"other")]
    assert (cells[0] == cells[1]).all(1).mean() < 0.05
    frame = pd.DataFrame({"a": ["x", "y"] * 100, "b": x[:, 0], "c": [1, None] * 100})
    own = Tickets(frame, KEY).near(0.2).digests
    assert np.array_equal(own, Tickets(frame.assign(b=x[:, 0]), KEY).near(0.2).digests)
    assert (own == Tickets(frame.assign(b=x[:, 0] + 1e-6), KEY).near(0.2).digests).mean() > 0.98
    assert not (own == Tickets(frame.assign(a="z"), KEY).near(0.2).digests).any()
    words = Tickets(np.array(["one", "two"]), KEY)
    assert words.near(0.1) is words
    assert words.near(0.0) is words
    extreme = np.array([[np.nan, np.inf, -np.inf, 1e30, 0.0]])
    assert len(Tickets(extreme, KEY).near(0.1).digests) == 1


def test_the_spread_is_the_distance_between_two_records() -> None:
    from scipy.spatial.distance import pdist

    x = np.random.default_rng(7).standard_normal((60, 9)) * np.arange(1, 10)
    pairs = np.sqrt((pdist(x) ** 2 / 9).sum() * 2 / 60**2)
    assert spread(x) == pytest.approx(pairs)
    assert spread(np.array(["one", "two"])) == 0.0
