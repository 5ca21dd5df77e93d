"""Random numbers that belong to a query."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vestige.defend.tickets import Tickets
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


def test_coarse_queries_are_those_rounded_in_any_form() -> None:
    pd = pytest.importorskip("pandas")
    tenths = np.array([[0.1, 0.9], [0.3, 0.5]])
    assert np.array_equal(Tickets(tenths, KEY).coarse(0.1).digests, Tickets(tenths + 0.04, KEY).coarse(0.1).digests)
    frames = [pd.DataFrame({"a": ["x", "y"], "b": tenths[:, 0] + move}) for move in (0.0, 0.04)]
    assert np.array_equal(*(Tickets(frame, KEY).coarse(0.1).digests for frame in frames))
    words = Tickets(np.array(["one", "two"]), KEY)
    assert words.coarse(0.1) is words
    assert words.coarse(0.0) is words
